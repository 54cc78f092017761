"""Judge: pipelines of Hadron's and Apache HDFS 2.7.3's DataNodes, below each other's NameNode, with clients of both.

Three rounds: Apache's cluster alone; the same with two of our DataNodes in every pipeline; ours with Apache's in every
pipeline. In each, our client and Java's write, hflush, append into partial chunks, lose a DataNode of each make in
mid-write, and die with the file open, after which the lease is recovered. The bytes are right each time, acked ones stay,
and replicas on both makes of DataNodes are alike.
"""

import contextlib
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from lib import apache, fetch  # noqa: E402
from lib.children import fixed_ports  # noqa: E402
from lib.cluster import Daemons  # noqa: E402
from lib.datanodes import unlike  # noqa: E402
from lib.guests import Node, our_guest, their_guest  # noqa: E402
from lib.judge import Judge, wait_until  # noqa: E402
from lib.streams import Clients, Refused, Silent  # noqa: E402

KINDS = ("hadron", "java-3.3.4", "java-2.7.3")
LIMIT_SECONDS = 120
SETTINGS = {"dfs.replication": "3", "dfs.blocksize": "1048576", "dfs.heartbeat.interval": "1",
            "dfs.namenode.heartbeat.recheck-interval": "500", "dfs.namenode.replication.interval": "1",
            "dfs.namenode.redundancy.interval.seconds": "1", "dfs.namenode.replication.work.multiplier.per.iteration": "20",
            "dfs.namenode.replication.max-streams": "20", "dfs.namenode.replication.max-streams-hard-limit": "40",
            "dfs.client.socket-timeout": "8000", "dfs.blockreport.intervalMsec": "10000",
            # 2.7's DataNodes refuse a copy while they have an older replica; its NameNode tries again after five minutes by default.
            "dfs.namenode.replication.pending.timeout-sec": "10"}
CLIENT = {"dfs.client.socket-timeout": 8000, "dfs.client.block.write.replace-datanode-on-failure.best-effort": "true"}


def in_pipeline(nodes):
    """Those that hold the newest open block with its newest stamp."""
    held = [(node, node.holds_open()) for node in nodes]
    newest = max((replica for _, replicas in held for replica in replicas), default=None)
    return [node for node, replicas in held if newest in replicas]


def journeys(judge, name, clients, nodes):
    """What every round does."""
    for turn, kind in enumerate(clients.kinds):
        try:
            journey(judge, f"{name}, {kind}", clients, kind, nodes, 10 * turn)
        except (Refused, Silent, TimeoutError) as error:
            judge.check(f"{name}, {kind}", False, error)


def journey(judge, name, clients, kind, nodes, salt):
    path, length = f"/mixed-{kind}", 0

    def put(client, count, flush=True):
        nonlocal length
        client("write", path, salt, length, count)
        length += count
        if flush:
            client("hflush", path)

    def seen(client, what):
        judge.equal(f"{name}: {what}", client("view", path, salt).split(" ")[0], str(length))

    with clients.start(kind) as writer, clients.start("java-3.3.4" if kind == "hadron" else "hadron") as reader:
        writer("create", path)
        put(writer, 100_001)
        seen(reader, "flushed bytes are seen")
        makes = {node.make for node in in_pipeline(nodes)}
        judge.equal(f"{name}: makes of DataNodes in the pipeline", makes, {node.make for node in nodes})
        put(writer, 1_500_000)
        writer("close", path)
        seen(reader, "a file of two blocks")
        for count in [1, 511, 70_000]:
            writer("append", path)
            put(writer, count, flush=False)
            writer("close", path)
        seen(reader, "three appends")

        # One DataNode of each make dies below the open file.
        writer("append", path)
        put(writer, 10)
        for make in sorted(makes):
            put(writer, 5_000)
            victim = next((node for node in in_pipeline(nodes) if node.make == make), None)
            if not judge.check(f"{name}: a DataNode of {make} holds the open block", victim):
                continue
            victim.children.kill(victim.name)
            put(writer, 40_000)
            seen(reader, f"flushed bytes after a DataNode of {make} died")
            victim.start()
        put(writer, 3_000)
        # The writer dies with the file open.
        acked = length
        writer.send("write", path, salt, length, 90_000)
        writer.kill()
        wait_until(lambda: tried(reader, "recover", path) == "true", LIMIT_SECONDS, "the lease is recovered")
        left = int(reader("view", path, salt).split(" ")[0])
        judge.check(f"{name}: what was acked survives its writer", acked <= left <= acked + 90_000, f"{left}, acked {acked}")
        length = left
        wait_until(lambda: tried(reader, "append", path) == "", LIMIT_SECONDS, "the file can be appended to")
        put(reader, 700)
        reader("close", path)
        seen(reader, "somebody else goes on")


def tried(client, *words):
    try:
        return client(*words)
    except Refused:
        return None


def alike(judge, name, nodes, copies):
    folders = [node.folder for node in nodes]
    try:
        wait_until(lambda: not unlike(folders, copies), LIMIT_SECONDS, "all replicas are alike")
    except TimeoutError as late:
        judge.check(f"{name}: replicas", False, f"{late}: {'; '.join(unlike(folders, copies))[:1500]}")


def spread(judge, clients, nodes, what):
    """Waits until the NameNode gives out every one of `nodes`."""
    def all_used():
        with clients.start("hadron", **{"dfs.replication": len(nodes)}) as client:
            try:
                client("create", "/spread")
                client("write", "/spread", 1, 0, 10)
                client("hflush", "/spread")
                used = len(in_pipeline(nodes))
                client("close", "/spread")
                client("delete", "/spread")
                return used == len(nodes)
            except (Refused, Silent):
                return False
    try:
        wait_until(all_used, LIMIT_SECONDS, what)
    except TimeoutError as late:
        judge.check(what, False, late)


def main():
    judge = Judge(__doc__)
    if judge.options.url:
        judge.skip("it starts clusters of its own")
    try:
        home = apache.unpack(judge.work)
    except fetch.Absent as absent:
        judge.skip(str(absent))
    folder = os.path.join(judge.scratch, "apache")
    os.makedirs(folder)
    with contextlib.ExitStack() as stack:
        theirs = stack.enter_context(apache.Apache(home, folder, datanodes=3, settings=SETTINGS, quick=True))
        ours = stack.enter_context(Daemons(judge.hadron, datanodes=1, settings=SETTINGS, steady=True))

        def apache_node(index):
            start = lambda: theirs.children.launch(f"dn{index}", theirs.java(f"dn{index}", "datanode.DataNode", heap="-Xmx512m"))  # noqa: E731
            return Node("apache", f"{folder}/data{index}", theirs.children, f"dn{index}", start)

        started = time.monotonic()
        clients = stack.enter_context(Clients(judge, theirs.url, CLIENT, KINDS))
        nodes = [apache_node(index) for index in range(3)]
        journeys(judge, "Apache's cluster", clients, nodes)
        # On as many nodes as replicas 2.7's NameNode makes no third copy while it keeps the stale one as corrupt.
        alike(judge, "Apache's cluster", nodes, 2)
        print(f"  Apache's cluster: {time.monotonic() - started:.1f} s", flush=True)

        started = time.monotonic()
        guests = [our_guest(ours, theirs, f"guest{number}", SETTINGS) for number in range(2)]
        # With one of Apache's gone, every pipeline of three has both makes.
        theirs.children.kill("dn2")
        nodes = [*nodes[:2], *guests]
        spread(judge, clients, nodes, "Apache's NameNode uses our DataNodes")
        for kind in clients.kinds:
            with clients.start("hadron") as client:
                client("delete", f"/mixed-{kind}")
        journeys(judge, "Apache's NameNode, DataNodes of both", clients, nodes)
        alike(judge, "Apache's NameNode, DataNodes of both", nodes, 3)
        for name in ["nn", "dn0", "dn1"]:
            theirs.children.kill(name)
        for guest in guests:
            guest.children.kill(guest.name)
        print(f"  Apache's NameNode, DataNodes of both: {time.monotonic() - started:.1f} s", flush=True)

        started = time.monotonic()
        clients = stack.enter_context(Clients(judge, ours.url, CLIENT, KINDS))
        own = Node("hadron", ours.data(0), ours.children, "dn0", lambda: ours.start_datanode(0))
        ours.configure("dn1", {**ours.settings["dn0"], "dfs.datanode.data.dir": f"file://{ours.data(1)}",
                               **{f"dfs.datanode.{which}address": f"127.0.0.1:{port}" for which, port in
                                  zip(["", "http.", "ipc."], fixed_ports(3))}})
        ours.start_datanode(1)
        second = Node("hadron", ours.data(1), ours.children, "dn1", lambda: ours.start_datanode(1))
        nodes = [own, second, *(their_guest(theirs, ours, f"guest{number}", SETTINGS) for number in (2, 3))]
        spread(judge, clients, nodes, "our NameNode uses Apache's DataNodes")
        journeys(judge, "our NameNode, DataNodes of both", clients, nodes)
        alike(judge, "our NameNode, DataNodes of both", nodes, 3)
        print(f"  our NameNode, DataNodes of both: {time.monotonic() - started:.1f} s", flush=True)
        logs = "".join(open(ours.children.log(name), errors="replace").read() for name in ours.processes)
        judge.check("nothing panicked", "panicked" not in logs)
    judge.finish()


if __name__ == "__main__":
    main()
