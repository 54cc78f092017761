"""Judge: Hadron's DataNodes in Apache's cluster, Apache's in Hadron's, and one make in the other's directories.

Three legs. Hadron's DataNodes alone below Apache's NameNode 2.7.3, and Apache's alone below Hadron's: they register, carry
out every kind of command (copy, delete, recover, re-register, keep to a bandwidth), serve Java's and our clients, and what
the NameNode believes is what lies on their disks. Then directories change hands under Apache's NameNode: Hadron's DataNodes
start on those of stopped Java ones, as the same nodes with the same storages, read all, append, write, delete, recover a
file whose writer died before; and hand them back to Java's, which find everything, old and new.
"""

import contextlib
import glob
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from lib import apache, fetch  # noqa: E402
from lib.cluster import Daemons  # noqa: E402
from lib.datanodes import replicas, unlike  # noqa: E402
from lib.guests import Node, our_guest, their_guest  # noqa: E402
from lib.judge import Judge, wait_until  # noqa: E402
from lib.streams import Clients, Refused, Silent  # noqa: E402
from lib.tools import VERSION, Tools  # noqa: E402

KINDS = ("hadron", "java-3.3.4", "java-2.7.3")
LIMIT_SECONDS = 60
SETTINGS = {"dfs.replication": "3", "dfs.blocksize": "1048576", "dfs.heartbeat.interval": "1",
            "dfs.namenode.heartbeat.recheck-interval": "500", "dfs.namenode.replication.interval": "1",
            "dfs.namenode.redundancy.interval.seconds": "1", "dfs.namenode.replication.work.multiplier.per.iteration": "20",
            "dfs.namenode.replication.max-streams": "20", "dfs.namenode.replication.max-streams-hard-limit": "40",
            "dfs.namenode.replication.pending.timeout-sec": "5", "dfs.client.socket-timeout": "8000",
            "dfs.blockreport.intervalMsec": "4000"}
CLIENT = {"dfs.client.socket-timeout": 8000, "dfs.client.block.write.replace-datanode-on-failure.best-effort": "true"}


class Leg:
    """One cluster: its NameNode's tools, its clients, its DataNodes, and what its files hold."""

    def __init__(self, judge, name, clients, tools, nodes):
        self.judge, self.name, self.clients, self.tools, self.nodes = judge, name, clients, tools, nodes
        self.files = {}
        self.salt = 0

    def check(self, what, held, detail=""):
        return self.judge.check(f"{self.name}: {what}", held, detail)

    def wait(self, what, condition, detail=lambda: ""):
        try:
            wait_until(condition, LIMIT_SECONDS, what)
            return self.check(what, True)
        except TimeoutError as late:
            return self.check(what, False, f"{late} {detail()}")

    @property
    def folders(self):
        return [node.folder for node in self.nodes]

    def write(self, client, path, length):
        self.salt += 1
        client("create", path)
        client("write", path, self.salt, 0, length)
        client("close", path)
        self.files[path] = (self.salt, length)

    def append(self, client, path, count):
        salt, length = self.files[path]
        client("append", path)
        client("write", path, salt, length, count)
        client("close", path)
        self.files[path] = (salt, length + count)

    def read_all(self, what, kinds=KINDS):
        """Every file through clients of every kind: lengths, bytes and checksums."""
        for kind in kinds:
            if kind not in self.clients.kinds:
                continue
            wrong = []
            with self.clients.start(kind) as client:
                for path, (salt, length) in self.files.items():
                    try:
                        seen = client("view", path, salt).split(" ")[0]
                    except (Refused, Silent) as error:
                        seen = str(error)[:200]
                    if seen != str(length):
                        wrong.append(f"{path}: {seen}, want {length}")
            self.check(f"{what}: {kind} reads everything", self.files and not wrong, "; ".join(wrong)[:800])

    def wait_agreement(self, what, copies=3):
        """fsck, block reports and disks say the same."""
        def agrees():
            held = replicas(self.folders, digest=False)
            blocks = self.tools.figure("Total blocks (validated)")
            over = self.tools.figure("Over-replicated blocks")
            return (self.tools.healthy() and over == 0 and blocks == len(held) and not unlike(self.folders, copies)
                    and all(len(where) == copies for where in held.values()))

        def detail():
            held = replicas(self.folders, digest=False)
            odd = {block: len(where) for block, where in held.items() if len(where) != copies}
            return f"{odd} {unlike(self.folders, copies)[:3]} {self.tools.fsck('/')[-1200:]}"
        return self.wait(f"{what}: fsck, reports and disks agree on {copies} copies", agrees, detail)

    def dead_writer(self, kind, path, acked):
        """A writer that dies with `acked` bytes flushed."""
        self.salt += 1
        client = self.clients.start(kind)
        client("create", path)
        client("write", path, self.salt, 0, acked)
        client("hflush", path)
        client.kill()
        self.files[path] = (self.salt, acked)

    def recover(self, path):
        with self.clients.start("hadron") as client:
            def recovered():
                try:
                    return client("recover", path) == "true"
                except Refused:
                    return False
            return self.wait(f"{path} of a dead writer is recovered", recovered)


def commands(leg, spare):
    """Everything a NameNode asks of its DataNodes. `spare`: starts a fourth node."""
    leg.wait("all register", lambda: leg.tools.nodes() == 3)
    for number, kind in enumerate(leg.clients.kinds):
        with leg.clients.start(kind) as client:
            leg.write(client, f"/written-{number}", 2_500_001)
            leg.append(client, f"/written-{number}", 100_000)
    leg.read_all("after writing")
    leg.wait_agreement("after writing")

    # Deletions and copies on the NameNode's order.
    for target in ["2", "3"]:
        code, _, errors = leg.tools.shell("-setrep", target, "/written-0")
        leg.check(f"setrep {target}", code == 0, errors)
        blocks = len(replicas(leg.folders, digest=False))
        wanted = 3 * blocks - (3 - int(target)) * 3
        count = lambda: sum(len(held) for held in replicas(leg.folders, digest=False).values())  # noqa: E731
        leg.wait(f"replicas after setrep {target}", lambda: count() == wanted, lambda: f"{count()}, want {wanted}")
    with leg.clients.start("hadron") as client:
        before = len(replicas(leg.folders, digest=False))
        client("delete", "/written-0")
        del leg.files["/written-0"]
        leg.wait("the replicas of a deleted file go", lambda: len(replicas(leg.folders, digest=False)) == before - 3)

    # Bandwidth, reports on demand.
    code, out, errors = leg.tools.admin("-setBalancerBandwidth", "3000000")
    leg.check("setBalancerBandwidth", code == 0, f"{out} {errors}")
    if leg.nodes[0].make == "hadron":
        log = leg.nodes[0].children.log(leg.nodes[0].name)
        leg.wait("the bandwidth reaches the DataNode", lambda: "bandwidth=3000000" in open(log, errors="replace").read())

    # A dead writer's block.
    leg.dead_writer("java-3.3.4", "/open", 1_300_007)
    leg.recover("/open")
    with leg.clients.start("java-2.7.3" if "java-2.7.3" in leg.clients.kinds else "hadron") as client:
        leg.append(client, "/open", 5)
    leg.read_all("after the recovery", ["java-3.3.4"])

    # A node dies, another takes its replicas, and it comes back.
    fourth = spare()
    leg.wait("a fourth node registers", lambda: leg.tools.nodes() == 4)
    victim = leg.nodes.pop(0)
    victim.kill()
    leg.nodes.append(fourth)
    leg.wait_agreement("after a node's death")
    leg.read_all("after a node's death", ["java-3.3.4", "hadron"])
    victim.start()
    leg.nodes.append(victim)
    leg.wait("it comes back", lambda: leg.tools.nodes() == 4)
    leg.wait_agreement("after it came back")
    leg.check("the DataNodes still run", all(node.children.alive(node.name) for node in leg.nodes))


def version_files(folder):
    """What a directory says of itself, comments left out."""
    found = {}
    for path in [f"{folder}/current/VERSION", *glob.glob(f"{folder}/current/BP-*/current/VERSION")]:
        with open(path) as file:
            found[os.path.basename(os.path.dirname(os.path.dirname(path))) if "BP-" in path else ""] = sorted(
                line.strip() for line in file if not line.startswith("#"))
    return found


def stop_all(leg, nodes):
    for node in nodes:
        try:
            leg.check(f"{node.name} ends when told", node.stop() in (0, 143), node.name)
        except subprocess.TimeoutExpired:
            leg.check(f"{node.name} ends when told", False)
            node.kill()


def hand_over(judge, theirs, ours, stack):
    """Apache's cluster, whose DataNodes' directories go to Hadron's and back."""
    def java_node(index):
        start = lambda: theirs.children.launch(f"dn{index}", theirs.java(f"dn{index}", "datanode.DataNode", heap="-Xmx512m"))  # noqa: E731
        return Node("apache", f"{theirs.folder}/data{index}", theirs.children, f"dn{index}", start)

    clients = stack.enter_context(Clients(judge, theirs.url, CLIENT, KINDS))
    tools = stack.enter_context(Tools(judge, theirs.url, theirs.http))
    java_nodes = [java_node(index) for index in range(3)]
    leg = Leg(judge, "Java's directories", clients, tools, java_nodes)
    for number, kind in enumerate(clients.kinds):
        with clients.start(kind) as client:
            leg.write(client, f"/old-{number}", 1_700_003)
            leg.write(client, f"/old-to-go-{number}", 300_000)
            leg.append(client, f"/old-{number}", 999)
    leg.wait_agreement("before")
    leg.dead_writer("java-2.7.3" if "java-2.7.3" in clients.kinds else "java-3.3.4", "/open-java", 777_777)
    identities = {node.folder: version_files(node.folder) for node in java_nodes}
    stop_all(leg, java_nodes)

    ports = [[int(theirs_port(theirs, f"dn{index}", which)) for which in ["", "http.", "ipc."]] for index in range(3)]
    ours_nodes = [our_guest(ours, theirs, f"heir{index}", SETTINGS, folder=node.folder, ports=ports[index])
                  for index, node in enumerate(java_nodes)]
    leg.name, leg.nodes = "in Hadron's hands", ours_nodes
    leg.wait("all blocks are reported", lambda: leg.tools.nodes() == 3 and leg.tools.healthy(), lambda: leg.tools.fsck("/")[-1200:])
    for node in ours_nodes:
        judge.equal(f"the same node and storages: {node.name}", version_files(node.folder), identities[node.folder])
    leg.recover("/open-java")
    leg.read_all("old data")
    for number, kind in enumerate(clients.kinds):
        with clients.start(kind) as client:
            leg.write(client, f"/new-{number}", 1_200_001)
            leg.append(client, f"/old-{number}", 65_537)
            client("delete", f"/old-to-go-{number}")
            del leg.files[f"/old-to-go-{number}"]
    leg.read_all("old and new data")
    leg.wait_agreement("written on")
    leg.dead_writer("hadron", "/open-hadron", 444_444)
    stop_all(leg, ours_nodes)
    leg.check("nothing panicked", not any("panicked" in open(ours.children.log(node.name), errors="replace").read() for node in ours_nodes))

    leg.name, leg.nodes = "back in Java's hands", java_nodes
    for node in java_nodes:
        node.start()
    leg.wait("all blocks are reported", lambda: leg.tools.nodes() == 3 and leg.tools.healthy(), lambda: leg.tools.fsck("/")[-1200:])
    for node in java_nodes:
        judge.equal(f"the same node and storages: {node.name}", version_files(node.folder), identities[node.folder])
    leg.recover("/open-hadron")
    leg.read_all("everything")
    with clients.start("java-3.3.4") as client:
        for path in ["/new-0", "/open-hadron", "/open-java"]:
            leg.append(client, path, 1000)
        leg.write(client, "/newest", 1_100_000)
    leg.read_all("written on")
    leg.wait_agreement("at the end")


def theirs_port(theirs, name, which):
    """The port that an Apache DataNode is configured with."""
    with open(os.path.join(theirs.folder, "conf", name, "hdfs-site.xml")) as file:
        text = file.read()
    return text.split(f"<name>dfs.datanode.{which}address</name><value>127.0.0.1:")[1].split("<")[0]


def main():
    judge = Judge(__doc__)
    if judge.options.url:
        judge.skip("it starts clusters of its own")
    judge.fetch(fetch.java_client, VERSION)
    try:
        home = apache.unpack(judge.work)
    except fetch.Absent as absent:
        judge.skip(str(absent))
    guest_settings = SETTINGS

    def apache_cluster(stack, name, datanodes):
        folder = os.path.join(judge.scratch, name)
        os.makedirs(folder)
        return stack.enter_context(apache.Apache(home, folder, datanodes=datanodes, settings=SETTINGS, quick=True))

    def ours_below_theirs(stack):
        theirs = apache_cluster(stack, "apache-a", 0)
        ours = Daemons(judge.hadron, datanodes=0, settings=SETTINGS)
        stack.callback(ours.__exit__)
        make = lambda number: our_guest(ours, theirs, f"guest{number}", guest_settings)  # noqa: E731
        nodes = [make(number) for number in range(3)]
        clients = stack.enter_context(Clients(judge, theirs.url, CLIENT, KINDS))
        tools = stack.enter_context(Tools(judge, theirs.url, theirs.http))
        commands(Leg(judge, "Hadron's DataNodes below Apache's NameNode", clients, tools, nodes), lambda: make(3))

    def theirs_below_ours(stack):
        folder = os.path.join(judge.scratch, "apache-c")
        os.makedirs(folder)
        # Its NameNode is not started: only what starts DataNodes is used.
        theirs = apache.Apache(home, folder, datanodes=0, settings=SETTINGS, quick=True)
        stack.callback(theirs.__exit__)
        ours = stack.enter_context(Daemons(judge.hadron, datanodes=0, settings=SETTINGS))
        make = lambda number: their_guest(theirs, ours, f"guest{number}", guest_settings)  # noqa: E731
        nodes = [make(number) for number in range(3)]
        clients = stack.enter_context(Clients(judge, ours.url, CLIENT, KINDS))
        tools = stack.enter_context(Tools(judge, ours.url, ours.http))
        commands(Leg(judge, "Apache's DataNodes below Hadron's NameNode", clients, tools, nodes), lambda: make(3))
        judge.check("our NameNode still runs", ours.alive())

    def in_place(stack):
        theirs = apache_cluster(stack, "apache-b", 3)
        ours = Daemons(judge.hadron, datanodes=0, settings=SETTINGS)
        stack.callback(ours.__exit__)
        hand_over(judge, theirs, ours, stack)

    for name, run in [("ours below theirs", ours_below_theirs), ("directories change hands", in_place),
                      ("theirs below ours", theirs_below_ours)]:
        started = time.monotonic()
        try:
            with contextlib.ExitStack() as stack:
                run(stack)
        except (TimeoutError, Refused, Silent, RuntimeError) as error:
            judge.check(name, False, f"{type(error).__name__}: {error}")
        print(f"  {name}: {time.monotonic() - started:.1f} s", flush=True)
    judge.finish()


if __name__ == "__main__":
    main()
