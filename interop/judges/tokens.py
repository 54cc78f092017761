"""Judge: block access tokens, as stock clients of 2.7 and 3.3 and Apache's own servers see them.

Tokens live a few seconds and keys change as often, so that every client meets both. Hadoop's classes make and judge
tokens; Apache's DataNode serves behind our NameNode, ours behind Apache's, each checking what the other makes.
"""

import contextlib
import os
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from lib import apache, fetch  # noqa: E402
from lib.cluster import Daemons, free_ports  # noqa: E402
from lib.java import JavaDriver, JavaShell  # noqa: E402
from lib.judge import Judge, pattern, run, sha256_file, wait_until  # noqa: E402

import hdfs_native  # noqa: E402

TOKENS = {"dfs.block.access.token.enable": "true"}
# Hadoop reads minutes; the units are an extension of ours.
SHORT_LIVES = {**TOKENS, "dfs.block.access.key.update.interval": "2s", "dfs.block.access.token.lifetime": "3s"}
ACCESS_TOKEN_REFUSED = 5

# What docs/formats/block-token.md and the tests of hadron-wire hold to be Hadoop's bytes.
SHORT_FORM = ("8a018bcfe5687b4d00000005616c6963650000001042502d312d3132372e302e302e312d328c40000001020452454144055752495445")
STORAGES = "02044449534b03535344020000000444532d310000000444532d32"
PROTOBUF = ("08fbd095ffbc31104d1a05616c696365221042502d312d3132372e302e302e312d322881808080043001300238013802420444532d31"
            "420444532d32")
SAMPLE = ["1700000000123", "77", "alice", "BP-1-127.0.0.1-2", "1073741825", "READ,WRITE", "DISK,SSD", "DS-1,DS-2", "0102030405060708"]


def golden(judge, old, new):
    """Hadoop's classes still make the bytes that our tests hold golden, and read each other's as we do."""
    with JavaDriver(*old, "BlockTokens", judge.scratch) as java27, JavaDriver(*new, "BlockTokens", judge.scratch) as java33:
        judge.equal("2.7.3 writes the short form", java27("make", "legacy", *SAMPLE).split(" ")[0], SHORT_FORM)
        judge.equal("3.3.4 writes the full form", java33("make", "legacy", *SAMPLE).split(" ")[0], SHORT_FORM + STORAGES)
        judge.equal("3.3.4 writes protobuf", java33("make", "proto", *SAMPLE).split(" ")[0], PROTOBUF)
        judge.check("3.3.4 reads the short form as good for any storage",
                    java33("read", SHORT_FORM).endswith("storageTypes= [], storageIds= [])"))
        # Why a NameNode with an old DataNode must not name storages: 2.7 computes passwords over what it understood.
        judge.check("2.7.3 loses what it does not know", java27("read", SHORT_FORM + STORAGES).startswith(SHORT_FORM + " "))


def varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def read_block(port, pool, block, stamp, identifier=b"", password=b""):
    """Sends READ_BLOCK; returns the status of the answer."""
    token = field(1, identifier) + field(2, password) + field(3, b"HDFS_BLOCK_TOKEN") + field(4, b"")
    extended = field(1, pool.encode()) + field(2, block) + field(3, stamp) + field(4, 0)
    header = field(1, field(1, extended) + field(2, token)) + field(2, b"judge")
    message = field(1, header) + field(2, 0) + field(3, 1)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(struct.pack(">hB", 28, 81) + varint(len(message)) + message)
        answer = connection.recv(4096)
    # Length of the message, tag of the status, status.
    return answer[2] if len(answer) > 2 and answer[1] == 8 else answer


def refusals(judge, cluster, java33):
    """A token that nobody gave is refused with ERROR_ACCESS_TOKEN."""
    found = []
    for folder, _, files in os.walk(f"{cluster.folder}/data0/current"):
        found += [(folder, name) for name in files if name.endswith(".meta")]
    folder, name = found[0]
    pool = next(part for part in folder.split("/") if part.startswith("BP-"))
    block, stamp = (int(part) for part in name[len("blk_"):-len(".meta")].split("_"))
    log = open(os.path.join(cluster.folder, "dn0.log"), encoding="utf-8", errors="replace").read()
    port = int(log.split("DataNode started", 1)[1].split("xfer=127.0.0.1:", 1)[1].split(" ", 1)[0])
    judge.equal("no token", read_block(port, pool, block, stamp), ACCESS_TOKEN_REFUSED)
    made = java33("make", "legacy", str(int(time.time() * 1000) + 60_000), "1", "eve", pool, block, "READ", "", "", "00" * 8)
    identifier, password = (bytes.fromhex(part) for part in made.split(" "))
    judge.equal("a forged token", read_block(port, pool, block, stamp, identifier, password), ACCESS_TOKEN_REFUSED)


def clients(judge, url, old, new, go):
    """Four clients put and get files of several blocks while keys change."""
    data = pattern(3, 5_000_000)
    local = os.path.join(judge.scratch, "local-file")
    with open(local, "wb") as file:
        file.write(data)
    small_blocks = {"dfs.blocksize": "1048576", "dfs.replication": "3"}
    shells = {}
    with contextlib.ExitStack() as stack:
        for version, java in [("2.7.3", old), ("3.3.4", new)]:
            shells[version] = stack.enter_context(JavaShell(*java, url, judge.scratch, settings=small_blocks))
        native = hdfs_native.Client(url)
        environment = {"HADOOP_NAMENODE": url.removeprefix("hdfs://"), "HADOOP_CONF_DIR": judge.scratch, "HADOOP_HOME": judge.scratch}
        for turn in range(3):
            for version, shell in shells.items():
                code, _, errors = shell("-put", local, f"/java-{version}-{turn}")
                judge.check(f"{version} puts, turn {turn}", code == 0 and not errors, errors[:500])
            code, _, errors = run([go, "put", local, f"/go-{turn}"], env=environment, cwd=judge.scratch)
            judge.check(f"Go puts, turn {turn}", code == 0, errors[:500])
            with native.create(f"/native-{turn}", hdfs_native.WriteOptions(block_size=1 << 20)) as writer:
                writer.write(data)
            time.sleep(1.5)
        names = [f"/{who}-{turn}" for turn in range(3) for who in ["java-2.7.3", "java-3.3.4", "go", "native"]]
        for name in names:
            back = os.path.join(judge.scratch, "back")
            for version, shell in shells.items():
                code, _, errors = shell("-get", name, back)
                judge.check(f"{version} gets {name}", code == 0 and sha256_file(back) == sha256_file(local), errors[:500])
                os.remove(back)
            code, _, errors = run([go, "get", name, back], env=environment, cwd=judge.scratch)
            judge.check(f"Go gets {name}", code == 0 and sha256_file(back) == sha256_file(local), errors[:500])
            os.remove(back)
            with native.read(name) as reader:
                judge.check(f"hdfs-native gets {name}", bytes(reader.read()) == data)
        sums = {shell("-checksum", "/java-3.3.4-0")[1] for shell in shells.values()}
        judge.check("both checksum alike", len(sums) == 1 and "MD5-of" in next(iter(sums)), sums)
        for version, shell in shells.items():
            shell("-put", local, f"/grown-{version}")
            code, _, errors = shell("-appendToFile", local, f"/grown-{version}")
            judge.check(f"{version} appends", code == 0, errors[:500])
            judge.equal(f"{version} sees both halves", shell("-stat", "%b", f"/grown-{version}")[1].strip(), str(2 * len(data)))


def open_files(judge, url, old, new):
    """Readers and writers that are open longer than their tokens live; lengths of open files over the IPC port."""
    settings = [f"fs.defaultFS={url}", "dfs.replication=3"]
    for version, java in [("2.7.3", old), ("3.3.4", new)]:
        with JavaDriver(*java, "OpenFiles", judge.scratch, settings) as driver:
            name = f"/open-{version}"
            judge.equal(f"{version} writes and flushes", driver("write", name, 100_000), "OK")
            judge.equal(f"{version} reads what is flushed", driver("read", name), "OK 100000")
            judge.equal(f"{version} opens", driver("open", name), "OK 0")
            time.sleep(4)
            judge.equal(f"{version} writes on", driver("write", name, 3_000_000), "OK")
            judge.equal(f"{version} reads on with a dead token", driver("rest", name), "OK 100000")
            judge.equal(f"{version} closes", driver("close", name), "OK")
            judge.equal(f"{version} reads it all", driver("read", name), "OK 3100000")


def blocks(folder):
    """Names of the finalized blocks below a DataNode's folder."""
    return {name for _, _, files in os.walk(folder) for name in files if name.startswith("blk_") and not name.endswith(".meta")}


def failures(judge, cluster, old, new):
    """A DataNode dies in the middle of a file, another one takes its copies; the NameNode is killed and comes back."""
    settings = [f"fs.defaultFS={cluster.url}", "dfs.replication=3"]
    with JavaDriver(*old, "OpenFiles", judge.scratch, settings) as java27, JavaDriver(*new, "OpenFiles", judge.scratch, settings) as java33:
        both = {"2.7.3": java27, "3.3.4": java33}
        for version, driver in both.items():
            judge.equal(f"{version} begins a file", driver("write", f"/wounded-{version}", 500_000), "OK")
        time.sleep(4)
        cluster.kill("dn1")
        for version, driver in both.items():
            judge.equal(f"{version} writes on without a node", driver("write", f"/wounded-{version}", 500_000), "OK")
            judge.equal(f"{version} closes", driver("close", f"/wounded-{version}"), "OK")
            judge.equal(f"{version} reads it back", driver("read", f"/wounded-{version}"), "OK 1000000")
        whole = set.union(*(blocks(f"{cluster.folder}/data{index}/current") for index in (0, 2, 3)))
        try:
            wait_until(lambda: all(blocks(f"{cluster.folder}/data{index}/current") >= whole for index in (0, 2, 3)), 90,
                       "three nodes hold every block")
        except TimeoutError as late:
            judge.check("every block has three replicas again", False, late)
        for version, driver in both.items():
            driver("open", f"/wounded-{version}")
        cluster.kill("nn")
        cluster.start_namenode()
        cluster.wait_ready()
        for version, driver in both.items():
            judge.equal(f"{version} reads on across the restart", driver("rest", f"/wounded-{version}"), "OK 1000000")
            # Hadoop's clients do not look at idle connections: a call on one that ended fails, and the next connects anew.
            driver("read", f"/wounded-{version}")
            judge.equal(f"{version} writes after it", driver("write", f"/after-{version}", 100_000), "OK")
            judge.equal(f"{version} closes after it", driver("close", f"/after-{version}"), "OK")
            judge.equal(f"{version} reads after it", driver("read", f"/after-{version}"), "OK 100000")


def with_apache(judge, home, new):
    """Our DataNode behind Apache's NameNode and Apache's behind ours, two replicas each: both make tokens and check them."""
    mixed = {**TOKENS, "dfs.replication": "2", "dfs.blocksize": "1048576", "dfs.heartbeat.interval": "1",
             "dfs.namenode.heartbeat.recheck-interval": "500", "dfs.namenode.replication.interval": "1"}
    data = pattern(5, 3_000_000)
    local = os.path.join(judge.scratch, "mixed-file")
    with open(local, "wb") as file:
        file.write(data)

    def check(name, url, raise_replication):
        with JavaShell(*new, url, judge.scratch, settings={"dfs.replication": "2", "dfs.blocksize": "1048576"}) as shell:
            for target in ["/a", "/b", "/c"]:
                code, _, errors = shell("-put", local, target)
                judge.check(f"{name}: put {target}", code == 0, errors[:800])
            for target in ["/a", "/b", "/c"]:
                back = os.path.join(judge.scratch, "mixed-back")
                code, _, errors = shell("-get", target, back)
                judge.check(f"{name}: get {target}", code == 0 and sha256_file(back) == sha256_file(local), errors[:800])
                if os.path.exists(back):
                    os.remove(back)
            code, _, errors = shell("-D", "dfs.replication=1", "-put", local, "/single")
            judge.check(f"{name}: put /single", code == 0, errors[:800])
            shell("-setrep", "2", "/single")
            try:
                wait_until(raise_replication, 60, "each copied to the other")
            except TimeoutError as late:
                judge.check(f"{name}: copies between the nodes", False, late)

    folder = os.path.join(judge.scratch, "apache-nn")
    os.makedirs(folder)
    with apache.Apache(home, folder, datanodes=1, settings=mixed) as theirs, Daemons(judge.hadron, datanodes=1, settings=mixed) as ours:
        # Ours is a cluster of its own; another DataNode of ours joins Apache's NameNode.
        ours.configure("guest", {**mixed, "dfs.namenode.rpc-address": f"127.0.0.1:{theirs.rpc_port}", "fs.defaultFS": theirs.url,
                                 "dfs.datanode.address": "127.0.0.1:0", "dfs.datanode.http.address": "127.0.0.1:0",
                                 "dfs.datanode.ipc.address": "127.0.0.1:0", "dfs.datanode.hostname": "127.0.0.1",
                                 "dfs.datanode.data.dir": f"file://{ours.folder}/guest"})
        ours.launch("guest", "datanode")
        ports = free_ports(3)
        theirs.configure("guest", {**mixed, "dfs.namenode.rpc-address": f"127.0.0.1:{ours.rpc_port}", "fs.defaultFS": ours.url,
                                   "dfs.datanode.address": f"127.0.0.1:{ports[0]}", "dfs.datanode.http.address": f"127.0.0.1:{ports[1]}",
                                   "dfs.datanode.ipc.address": f"127.0.0.1:{ports[2]}", "dfs.datanode.hostname": "127.0.0.1",
                                   "dfs.datanode.data.dir": f"file://{folder}/guest"})
        os.makedirs(f"{folder}/guest", mode=0o700)
        theirs.children.launch("guest", theirs.java("guest", "datanode.DataNode", heap="-Xmx512m"))
        wait_until(lambda: os.path.exists(f"{ours.folder}/guest/current/VERSION") and os.path.exists(f"{folder}/guest/current/VERSION"),
                   60, "both guests are taken in")
        time.sleep(3)
        both = [f"{folder}/data0/current", f"{ours.folder}/guest/current"]
        check("our DataNode, Apache's NameNode", theirs.url,
              lambda: len(blocks(both[0])) == 12 and blocks(both[0]) == blocks(both[1]))
        others = [f"{ours.folder}/data0/current", f"{folder}/guest/current"]
        check("Apache's DataNode, our NameNode", ours.url,
              lambda: len(blocks(others[0])) == 12 and blocks(others[0]) == blocks(others[1]))


def main():
    judge = Judge(__doc__)
    old, new = judge.fetch(fetch.java_client, "2.7.3"), judge.fetch(fetch.java_client, "3.3.4")
    go = judge.fetch(fetch.go_client)
    golden(judge, old, new)
    settings = {**SHORT_LIVES, "dfs.replication": "3", "dfs.namenode.heartbeat.recheck-interval": "500",
                "dfs.namenode.redundancy.interval.seconds": "1", "dfs.namenode.replication.max-streams": "20",
                "dfs.namenode.replication.work.multiplier.per.iteration": "20", "dfs.namenode.replication.max-streams-hard-limit": "40"}
    with Daemons(judge.hadron, datanodes=4, settings=settings) as cluster:
        clients(judge, cluster.url, old, new, go)
        open_files(judge, cluster.url, old, new)
        with JavaDriver(*new, "BlockTokens", judge.scratch) as java33:
            refusals(judge, cluster, java33)
        failures(judge, cluster, old, new)
        logs = "".join(open(os.path.join(cluster.folder, f"{name}.log"), errors="replace").read() for name in ["nn", "dn0", "dn2", "dn3"])
        judge.check("keys changed meanwhile", logs.count("block keys changed") >= 5, logs.count("block keys changed"))
        judge.check("nothing panicked", "panicked" not in logs)
    with_apache(judge, apache_home(judge), new)
    judge.finish()


def apache_home(judge):
    try:
        return apache.unpack(judge.work)
    except fetch.Absent as absent:
        judge.skip(str(absent))


if __name__ == "__main__":
    main()
