"""Judge: a replica that rots on one disk while Java's clients read, found and told by Hadron's DataNodes, and healed.

Three copies on three nodes, one of them damaged: a byte of its data or of its checksums, its length, or its files. Found by
Java's readers while the scanners sleep, by the block scanner and by the directory scanner while nobody reads; below Hadron's
NameNode and below Apache's 2.7.3. Hadoop's fsck shows the corrupt replica, a fourth node comes, and fsck shows health; the
files on the disks are right and Java's client has read the right bytes at every moment.
"""

import contextlib
import glob
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from lib import apache, fetch  # noqa: E402
from lib.children import fixed_ports  # noqa: E402
from lib.cluster import Daemons  # noqa: E402
from lib.datanodes import replicas, unlike  # noqa: E402
from lib.judge import Judge, wait_until  # noqa: E402
from lib.streams import Clients  # noqa: E402
from lib.tools import VERSION, Tools  # noqa: E402

LIMIT_SECONDS = 45
LENGTH = 700_000
SETTINGS = {"dfs.replication": "3", "dfs.blocksize": "1048576", "dfs.heartbeat.interval": "1",
            "dfs.namenode.heartbeat.recheck-interval": "500", "dfs.namenode.replication.interval": "1",
            "dfs.namenode.redundancy.interval.seconds": "1", "dfs.namenode.replication.pending.timeout-sec": "5",
            # Deletions wait for reports of all storages after a NameNode's start.
            "dfs.blockreport.intervalMsec": "5000"}
ASLEEP = {"dfs.datanode.scan.period.hours": "-1", "dfs.datanode.directoryscan.interval": "-1"}
BLOCKS_AWAKE = {"internal.dfs.datanode.scan.period.ms.key": "1000", "dfs.block.scanner.volume.bytes.per.second": "1073741824",
                "dfs.datanode.directoryscan.interval": "-1"}
DIRECTORIES_AWAKE = {"dfs.datanode.scan.period.hours": "-1", "dfs.datanode.directoryscan.interval": "1"}
CLIENT = {"dfs.client.socket-timeout": 8000}


def files_of(folder, block):
    """Data and meta file of a replica."""
    found = sorted(glob.glob(f"{folder}/current/BP-*/current/finalized/**/blk_{block}*", recursive=True), key=len)
    return found[0], found[1]


def flip(path, at):
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 0x20]))


def cut(path, length):
    os.truncate(path, length)


DAMAGES = {
    "a byte of the data": lambda data, meta: flip(data, 300_001),
    "a byte of the checksums": lambda data, meta: flip(meta, 7 + 4 * 500 + 1),
    "the meta file's header": lambda data, meta: flip(meta, 1),
    "the data is cut": lambda data, meta: cut(data, 300_000),
    "the meta file is gone": lambda data, meta: os.remove(meta),
    "the data file is gone": lambda data, meta: os.remove(data),
}


class Scene:
    """A running cluster: its clients, its fsck, the folders of its nodes, the one whose replicas rot."""

    def __init__(self, judge, name, clients, tools, folders, victim):
        self.judge, self.name, self.clients, self.tools = judge, name, clients, tools
        self.folders, self.victim = folders, victim
        self.files = {}

    def write(self, kind, damages):
        """One file for each damage; returns after all copies are there."""
        with self.clients.start(kind) as client:
            for salt, damage in enumerate(damages, 1):
                path = f"/rot-{len(self.files)}"
                before = set(replicas(self.folders, digest=False))
                client("create", path)
                client("write", path, salt, 0, LENGTH)
                client("close", path)
                wait_until(lambda: len(set(replicas(self.folders, digest=False)) - before) == 1
                           and not unlike(self.folders, 3), LIMIT_SECONDS, "three copies of the file")
                block = (set(replicas(self.folders, digest=False)) - before).pop()
                self.files[path] = (damage, salt, block)

    def wait_healthy(self):
        wait_until(lambda: self.tools.healthy("/"), LIMIT_SECONDS, "fsck shows health before the damage")

    def damage(self):
        for damage, _, block in self.files.values():
            DAMAGES[damage](*files_of(self.victim, block))

    def read(self, client):
        for path, (damage, salt, _) in self.files.items():
            seen = client("view", path, salt).split(" ")[0]
            if seen != str(LENGTH):
                self.judge.equal(f"{self.name}: {damage}: a reader's bytes", seen, str(LENGTH))

    def is_told(self, damage, block):
        """Whether the NameNode has heard. A replica without data is gone, not corrupt."""
        if damage == "the data file is gone":
            return not self.tools.healthy("/")
        return self.tools.corrupt(block) == 1

    def wait_told(self, reader=None):
        for path, (damage, _, block) in self.files.items():
            def told():
                if reader:
                    self.read(reader)
                return self.is_told(damage, block)  # noqa: B023: called within its round
            try:
                wait_until(told, LIMIT_SECONDS, "fsck shows it")
                self.judge.check(f"{self.name}: {damage}: told", True)
            except TimeoutError as late:
                self.judge.check(f"{self.name}: {damage}: told", False, f"{late}: {self.tools.fsck('-blockId', f'blk_{block}')}")

    def wait_healed(self, folders, reader):
        self.folders = folders
        try:
            wait_until(lambda: self.tools.healthy("/") and not unlike(folders, 3), LIMIT_SECONDS, "fsck shows health")
            self.judge.check(f"{self.name}: healthy", True)
        except TimeoutError as late:
            self.judge.check(f"{self.name}: healthy", False, f"{late}: {unlike(folders, 3)} {self.tools.fsck('/')[-1500:]}")
        for damage, _, block in self.files.values():
            self.judge.equal(f"{self.name}: {damage}: corrupt at the end", self.tools.corrupt(block), 0)
        self.read(reader)


def below_hadron(judge, name, awake, damages, by_readers):
    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(Daemons(judge.hadron, datanodes=3, settings={**SETTINGS, **awake}, steady=True))
        clients = stack.enter_context(Clients(judge, cluster.url, CLIENT, ["java-3.3.4"]))
        tools = stack.enter_context(Tools(judge, cluster.url, cluster.http))
        folders = [cluster.data(index) for index in range(3)]
        scene = Scene(judge, name, clients, tools, folders, folders[0])
        scene.write("java-3.3.4", damages)
        scene.wait_healthy()
        reader = stack.enter_context(clients.start("java-3.3.4"))
        scene.damage()
        scene.wait_told(reader if by_readers else None)
        ports = fixed_ports(3)
        cluster.configure("dn3", {**cluster.settings["dn0"], "dfs.datanode.data.dir": f"file://{cluster.data(3)}",
                                  **{f"dfs.datanode.{which}address": f"127.0.0.1:{port}"
                                     for which, port in zip(["", "http.", "ipc."], ports)}})
        cluster.start_datanode(3)
        scene.wait_healed([*folders, cluster.data(3)], reader)
        judge.check(f"{name}: the cluster still runs at the end", cluster.alive())


def below_apache(judge, home, name, awake, damages):
    """Two of Apache's DataNodes and one of ours, whose replicas rot."""
    folder = os.path.join(judge.scratch, "apache-" + str(len(os.listdir(judge.scratch))))
    os.makedirs(folder)
    with contextlib.ExitStack() as stack:
        theirs = stack.enter_context(apache.Apache(home, folder, datanodes=2, settings=SETTINGS, quick=True))
        # Only its files: the daemons below are started one by one.
        ours = Daemons(judge.hadron, datanodes=0, settings=SETTINGS)
        stack.callback(ours.__exit__)

        def guest(number):
            ports = fixed_ports(3)
            ours.configure(f"guest{number}", {
                **SETTINGS, **awake, "fs.defaultFS": theirs.url, "dfs.namenode.rpc-address": f"127.0.0.1:{theirs.rpc_port}",
                "dfs.datanode.hostname": "127.0.0.1", "dfs.datanode.data.dir": f"file://{ours.folder}/guest{number}",
                **{f"dfs.datanode.{which}address": f"127.0.0.1:{port}" for which, port in zip(["", "http.", "ipc."], ports)}})
            ours.launch(f"guest{number}", "datanode")
            return f"{ours.folder}/guest{number}"

        victim = guest(0)
        folders = [f"{folder}/data0", f"{folder}/data1", victim]
        clients = stack.enter_context(Clients(judge, theirs.url, CLIENT, ["java-3.3.4", "java-2.7.3"]))
        tools = stack.enter_context(Tools(judge, theirs.url, theirs.http))
        wait_until(lambda: "Number of data-nodes:\t\t3" in tools.fsck("/"), LIMIT_SECONDS, "three nodes")
        scene = Scene(judge, name, clients, tools, folders, victim)
        scene.write("java-2.7.3", damages)
        scene.wait_healthy()
        scene.damage()
        scene.wait_told()
        folders.append(guest(1))
        with clients.start("java-3.3.4") as reader:
            scene.wait_healed(folders, reader)
        judge.check(f"{name}: our DataNodes still run", ours.alive())


def main():
    judge = Judge(__doc__)
    if judge.options.url:
        judge.skip("it starts clusters of its own")
    judge.fetch(fetch.java_client, "3.3.4")
    judge.fetch(fetch.java_client, VERSION)
    bytes_flipped = list(DAMAGES)[:3]
    files_damaged = list(DAMAGES)[3:]
    rounds = [
        ("Java's readers", lambda name: below_hadron(judge, name, ASLEEP, list(DAMAGES)[:2], by_readers=True)),
        ("the block scanner", lambda name: below_hadron(judge, name, BLOCKS_AWAKE, bytes_flipped, by_readers=False)),
        ("the directory scanner", lambda name: below_hadron(judge, name, DIRECTORIES_AWAKE, files_damaged, by_readers=False)),
    ]
    try:
        home = apache.unpack(judge.work)
        rounds += [
            ("Apache's NameNode, the block scanner", lambda name: below_apache(judge, home, name, BLOCKS_AWAKE, bytes_flipped)),
            ("Apache's NameNode, the directory scanner",
             lambda name: below_apache(judge, home, name, DIRECTORIES_AWAKE, files_damaged)),
        ]
    except fetch.Absent as absent:
        print(f"  note: not below Apache's NameNode: {absent}", flush=True)
    for name, run in rounds:
        started = time.monotonic()
        try:
            run(name)
        except TimeoutError as late:
            judge.check(name, False, late)
        print(f"  {name}: {time.monotonic() - started:.1f} s", flush=True)
    judge.finish()


if __name__ == "__main__":
    main()
