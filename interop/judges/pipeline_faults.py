"""Judge: DataNodes die, hang, restart and corrupt below writers of every kind.

- a DataNode of the pipeline is killed when its replica has reached a length the seed decides (Java 3.3.4 and 2.7.3,
  hdfs-native, Go, our own): the file equals what was written, stamps rise, no stale replica stays, replication heals;
- a DataNode that hangs (SIGSTOP) is timed out and left out, and the write goes on;
- every DataNode is restarted in turn, told so, during one long write: no failure, and none of them is left out;
- DataNodes that corrupt all they get: the write fails after five recoveries with Hadoop's text.
"""

import concurrent.futures
import glob
import os
import re
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from lib import fetch  # noqa: E402
from lib.cluster import Daemons  # noqa: E402
from lib.corrupter import Relay  # noqa: E402
from lib.datanodes import unlike  # noqa: E402
from lib.judge import Judge, run, wait_until  # noqa: E402
from lib.streams import Clients, Refused, Silent, pattern  # noqa: E402

KINDS = ("hadron", "java-3.3.4", "java-2.7.3", "native")
REPLICAS = 3
SERVER = {"dfs.replication": REPLICAS, "dfs.namenode.replication.pending.timeout-sec": 10, "dfs.namenode.heartbeat.recheck-interval": "500", "dfs.namenode.redundancy.interval.seconds": "1",
          "dfs.namenode.replication.work.multiplier.per.iteration": "20", "dfs.namenode.replication.max-streams": "20",
          "dfs.namenode.replication.max-streams-hard-limit": "40", "dfs.client.socket-timeout": "3000"}
CLIENT = {"dfs.blocksize": 8 << 20, "dfs.client.socket-timeout": 3000, "dfs.client.datanode-restart.timeout": 20}
LIMIT_SECONDS = 60
# A client notices after its own time-out, and five seconds for each node.
HUNG_SECONDS = 60
FIVE = "Failing write. Tried pipeline recovery 5 times without success."


def open_replicas(cluster, index):
    """Replicas one DataNode holds open: {block id: (stamp, length)}."""
    found = {}
    for meta in glob.glob(f"{cluster.data(index)}/current/BP-*/current/rbw/blk_*.meta"):
        block, stamp = (int(part) for part in os.path.basename(meta)[len("blk_"):-len(".meta")].split("_"))
        try:
            found[block] = (stamp, os.path.getsize(os.path.join(os.path.dirname(meta), f"blk_{block}")))
        except FileNotFoundError:
            pass
    return found


def all_open(cluster):
    """Ids of all blocks with an open replica anywhere, left over ones among them."""
    return {block for index in range(cluster.datanodes) for block in open_replicas(cluster, index)}


def pipeline(cluster, known):
    """DataNodes that hold a replica open of a block that is not among `known`: {index: (block, stamp, length)}."""
    nodes = {}
    for index in range(cluster.datanodes):
        for block, (stamp, length) in open_replicas(cluster, index).items():
            if block not in known:
                nodes[index] = (block, stamp, length)
    return nodes


def heals(judge, cluster, name):
    folders = [cluster.data(index) for index in range(cluster.datanodes)]
    try:
        wait_until(lambda: not unlike(folders, REPLICAS), LIMIT_SECONDS, "all replicas are alike and enough")
    except TimeoutError as late:
        wrong = unlike(folders, REPLICAS)
        told = [run([judge.hadron, "fsck", "-fs", cluster.url, "-blockId", problem.split(" ")[0]])[1] for problem in wrong[:2]]
        judge.check(f"{name}: replication heals", False, f"{late}: {'; '.join(wrong)[:1000]}; {' '.join(told)[:1500]}")


def write(client, path, salt, start, count):
    client("write", path, salt, start, count)


# -- killed --------------------------------------------------------------------------------------


def killed(judge, cluster, clients):
    """For each kind of client: a DataNode at each place of the pipeline dies, at lengths by chance."""
    done = []
    for turn, kind in enumerate(clients.kinds):
        path, salt, total = f"/killed-{kind}", turn, 20 << 20
        known = all_open(cluster)
        with clients.start(kind) as client:
            client("create", path)
            write(client, path, salt, 0, 1000)
            client("hflush", path)
            nodes = pipeline(cluster, known)
            victim = judge.random.choice(sorted(nodes))
            block, stamp, _ = nodes[victim]
            client.send("write", path, salt, 1000, total - 1000)
            wanted = judge.random.randrange(1, 7 << 20)

            def reached():
                held = open_replicas(cluster, victim).get(block)
                return held is None or held[1] >= wanted
            wait_until(reached, LIMIT_SECONDS, f"{kind}: the replica has {wanted} bytes")
            still_open = block in open_replicas(cluster, victim)
            cluster.kill(f"dn{victim}")
            try:
                client.answer()
                client("hflush", path)
                if still_open:
                    rose = [held[block][0] for held in (open_replicas(cluster, index) for index in range(cluster.datanodes)
                                                        if index != victim) if block in held]
                    rose += [int(re.search(rf"blk_{block}_(\d+)", meta)[1]) for index in range(cluster.datanodes) if index != victim
                             for meta in glob.glob(f"{cluster.data(index)}/current/BP-*/current/finalized/**/blk_{block}_*", recursive=True)]
                    judge.check(f"{kind}: the stamp rises", rose and min(rose) > stamp, f"{rose}, was {stamp}")
                client("close", path)
                judge.equal(f"{kind}: what was written is there", client("view", path, salt).split(" ")[0], str(total))
                done.append((path, salt))
            except (Refused, Silent) as error:
                if kind == "native":
                    # It gives up where the first node dies, and may hang (see lib/streams.py).
                    print(f"  note: hdfs-native does not go on: {error}", flush=True)
                else:
                    judge.check(f"{kind}: writes on without DataNode {victim}, killed at {wanted} bytes", False, error)
                client.kill()
                with clients.start("hadron") as helper:
                    helper("delete", path)
            cluster.start_datanode(victim)
            cluster.wait_ready()
    go(judge, cluster)
    heals(judge, cluster, "killed")
    with clients.start("hadron") as reader:
        for path, salt in done:
            try:
                judge.equal(f"{path} when all is healed", reader("view", path, salt).split(" ")[0], str(20 << 20))
            except Refused as error:
                judge.check(f"{path} when all is healed", False, error)


def go(judge, cluster):
    """The Go client does not recover a pipeline, and its command keeps quiet of that: what it left is a piece of the file."""
    try:
        command = fetch.go_client(judge.work)
    except fetch.Absent as reason:
        print(f"  note: without Go: {reason}", flush=True)
        return
    local, back = os.path.join(judge.scratch, "go"), os.path.join(judge.scratch, "go-back")
    with open(local, "wb") as file:
        file.write(pattern(99, 0, 1 << 20) * 40)
    known = all_open(cluster)
    environment = {"HADOOP_NAMENODE": cluster.url.removeprefix("hdfs://"), "HADOOP_CONF_DIR": judge.scratch, "HADOOP_HOME": judge.scratch}
    with concurrent.futures.ThreadPoolExecutor() as pool:
        put = pool.submit(run, [command, "put", local, "/killed-go"], env=environment)
        wait_until(lambda: put.done() or pipeline(cluster, known), LIMIT_SECONDS, "Go writes")
        victim = judge.random.choice(sorted(pipeline(cluster, known)) or [0])
        cluster.kill(f"dn{victim}")
        put.result()
    cluster.start_datanode(victim)
    cluster.wait_ready()
    code, _, errors = run([judge.hadron, "debug", "-fs", cluster.url, "recoverLease", "-path", "/killed-go", "-retries", "10"])
    judge.check("Go's file is closed", code == 0, errors)
    code, _, errors = run([judge.hadron, "fs", "-fs", cluster.url, "-get", "/killed-go", back])
    if judge.check("Go's file is readable", code == 0, errors):
        with open(local, "rb") as one, open(back, "rb") as two:
            judge.check("what Go left is what it wrote", one.read().startswith(two.read()))


# -- hung ----------------------------------------------------------------------------------------


def hung(judge, cluster, clients):
    """All kinds at once write when one DataNode of each one's pipeline stops; it comes back when they are done."""
    kinds = [kind for kind in clients.kinds if kind != "native"]  # its time-outs are fixed, and long
    # Where the first node takes nothing any more, Java's writer stands in write for eight minutes by default, its error known.
    settings = {"dfs.client.block.write.replace-datanode-on-failure.policy": "ALWAYS", "dfs.datanode.socket.write.timeout": 3000}
    open_ones = {kind: clients.start(kind, **settings) for kind in kinds}
    known = all_open(cluster)
    for turn, (kind, client) in enumerate(open_ones.items()):
        client("create", f"/hung-{kind}")
        write(client, f"/hung-{kind}", turn, 0, 70_000)
        client("hflush", f"/hung-{kind}")
    held = {index: set(open_replicas(cluster, index)) - known for index in range(cluster.datanodes)}
    victim = max(held, key=lambda index: len(held[index]))
    cluster.processes[f"dn{victim}"].send_signal(signal.SIGSTOP)
    try:
        for turn, (kind, client) in enumerate(open_ones.items()):
            client.send("write", f"/hung-{kind}", turn, 70_000, 1_000_000)
        for kind, client in list(open_ones.items()):
            try:
                client.answer(HUNG_SECONDS)
                client("hflush", f"/hung-{kind}", seconds=HUNG_SECONDS)
            except (Refused, Silent) as error:
                judge.check(f"{kind}: goes on without the DataNode that hangs", False, error)
                open_ones.pop(kind).end()
        nodes = pipeline(cluster, known)
        judge.check("other DataNodes stand in", all(len([1 for index in range(cluster.datanodes) if index != victim
                                                         and block in open_replicas(cluster, index)]) == REPLICAS for block in held[victim])
                    or len(open_ones) < len(kinds), nodes)
        for kind, client in open_ones.items():
            try:
                client("close", f"/hung-{kind}")
            except (Refused, Silent) as error:
                judge.check(f"{kind}: closes", False, error)
    finally:
        cluster.processes[f"dn{victim}"].send_signal(signal.SIGCONT)
    cluster.wait_ready()
    for kind, client in open_ones.items():
        try:
            judge.equal(f"{kind}: what was written is there", client("view", f"/hung-{kind}", kinds.index(kind)).split(" ")[0], "1070000")
        except Refused as error:
            judge.check(f"{kind}: what was written is there", False, error)
        client.end()
    heals(judge, cluster, "hung")


# -- restarted -----------------------------------------------------------------------------------


def rolling_restart(judge, cluster, clients):
    """Every DataNode is restarted, saying so, below two long writes of one block each."""
    kinds = [kind for kind in ("java-3.3.4", "hadron") if kind in clients.kinds]
    going, failures, known = threading.Event(), {}, all_open(cluster)
    lengths = dict.fromkeys(kinds, 0)
    going.set()

    def long_write(kind, salt):
        path = f"/rolling-{kind}"
        try:
            with clients.start(kind, **{"dfs.blocksize": 128 << 20}) as client:
                client("create", path)
                while going.is_set() or lengths[kind] == 0:
                    write(client, path, salt, lengths[kind], 100_003)
                    client("hflush", path)
                    lengths[kind] += 100_003
                    time.sleep(0.02)
                client("close", path)
                seen = client("view", path, salt).split(" ")[0]
                if seen != str(lengths[kind]):
                    failures[kind] = f"{seen} bytes of {lengths[kind]}"
        except (Refused, Silent, RuntimeError) as error:
            failures[kind] = str(error)

    threads = [threading.Thread(target=long_write, args=(kind, 50 + salt)) for salt, kind in enumerate(kinds)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: failures or all(lengths.values()), LIMIT_SECONDS, "both write")
        def holders():
            held = {}
            for index in range(cluster.datanodes):
                for block in set(open_replicas(cluster, index)) - known:
                    held.setdefault(block, set()).add(index)
            return held
        before = holders()
        for index in range(cluster.datanodes):
            address = cluster.settings[f"dn{index}"]["dfs.datanode.ipc.address"]
            code, _, errors = run([judge.hadron, "dfsadmin", "-fs", cluster.url, "-shutdownDatanode", address, "upgrade"])
            judge.check(f"DataNode {index} is told to restart", code == 0, errors)
            process = cluster.processes[f"dn{index}"]
            wait_until(lambda process=process: process.poll() is not None, LIMIT_SECONDS, "the DataNode ends")
            cluster.start_datanode(index)
            cluster.wait_ready()
            at = dict(lengths)
            wait_until(lambda at=at: failures or all(lengths[kind] > at[kind] + 300_000 for kind in kinds), LIMIT_SECONDS, "both write on")
        judge.equal("the same DataNodes hold both blocks as in the beginning", holders(), before)
    except TimeoutError as late:
        judge.check("rolling restart", False, f"{late}; {failures}")
    going.clear()
    for thread in threads:
        thread.join()
    judge.check("no write failed during the rolling restart", not failures, failures)


# -- corrupting ----------------------------------------------------------------------------------


def corrupting(judge):
    """Everything on the way to any DataNode is spoiled: each of the five recoveries needs another one."""
    count = 9
    cluster = Daemons(judge.hadron, datanodes=count, settings=SERVER, steady=True)
    pairs = []
    for index in range(count):
        # The NameNode advertises the address a DataNode calls from, 127.0.0.1, with the port it listens on.
        port = int(cluster.settings[f"dn{index}"]["dfs.datanode.address"].split(":")[1])
        cluster.reconfigure(f"dn{index}", {"dfs.datanode.address": f"127.0.0.2:{port}"})
        pairs.append((("127.0.0.1", port), ("127.0.0.2", port)))
    with Relay(pairs) as relay, cluster, Clients(judge, cluster.url, CLIENT, ("hadron", "java-3.3.4")) as clients:
        for salt, kind in enumerate(clients.kinds):
            with clients.start(kind) as client:
                relay.spoils = False
                try:
                    client("create", f"/right-{kind}")
                    write(client, f"/right-{kind}", salt, 0, 300_000)
                    client("close", f"/right-{kind}")
                except (Refused, Silent) as error:
                    judge.check(f"{kind}: writes through relays that spoil nothing", False, error)
                relay.spoils, before = True, relay.spoiled
                said = ""
                try:
                    client("create", f"/spoiled-{kind}")
                    write(client, f"/spoiled-{kind}", salt, 0, 300_000)
                    client("close", f"/spoiled-{kind}")
                except (Refused, Silent) as error:
                    said = str(error)
                relay.spoils = False
                judge.check(f"{kind}: fails with Hadoop's text", FIVE in said, said or "it did not fail")
                judge.check(f"{kind}: something was spoiled", relay.spoiled > before)
                try:
                    judge.equal(f"{kind}: reads what was right", client("view", f"/right-{kind}", salt).split(" ")[0], "300000")
                except (Refused, Silent) as error:
                    judge.check(f"{kind}: reads what was right", False, error)
        closed = f"{cluster.folder}/data*/current/BP-*/current/finalized/**/blk_*.meta"
        judge.check("nothing spoiled was finalized", len({re.search(r"blk_\d+", path)[0] for path in glob.glob(closed, recursive=True)})
                    <= len(clients.kinds))


def remove_all(clients):
    """Makes room for another round."""
    names = [f"/{part}-{kind}" for part in ("killed", "hung", "rolling") for kind in clients.kinds]
    with clients.start("hadron") as client:
        for name in [*names, "/killed-go"]:
            try:
                client("delete", name)
            except Refused:
                pass


def main():
    judge = Judge(__doc__)
    if judge.options.url:
        judge.skip("it kills daemons of its own")
    with Daemons(judge.hadron, datanodes=5, settings=SERVER, steady=True) as cluster, Clients(judge, cluster.url, CLIENT, KINDS) as clients:
        ends = time.monotonic() + judge.options.minutes * 60
        while True:
            for part in (killed, hung, rolling_restart):
                started = time.monotonic()
                part(judge, cluster, clients)
                print(f"  {part.__name__}: {time.monotonic() - started:.1f} s", flush=True)
            if time.monotonic() >= ends:
                break
            remove_all(clients)
        logs = "".join(open(cluster.children.log(name), errors="replace").read() for name in cluster.processes)
        judge.check("nothing panicked", "panicked" not in logs)
    started = time.monotonic()
    corrupting(judge)
    print(f"  corrupting: {time.monotonic() - started:.1f} s", flush=True)
    judge.finish()


if __name__ == "__main__":
    main()
