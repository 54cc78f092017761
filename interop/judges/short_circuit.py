"""Judge: short-circuit reads by Hadoop's own clients 3.3.4 and 2.7.3 from a Hadron DataNode.

Hadoop's native library is not in its jars, so interop/native-hadoop stands in for it; the Java code above it, cache,
shared memory and all, is Hadoop's.
"""

import hashlib
import os
import re
import signal
import sys
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from lib import fetch  # noqa: E402
from lib.cluster import Daemons  # noqa: E402
from lib.java import JavaDriver  # noqa: E402
from lib.judge import Judge, pattern, run, wait_until  # noqa: E402

BLOCK = 1 << 20
LENGTH = 3 * BLOCK + 12_345
DEAD_CLIENT_SECONDS = 10


def md5(data):
    return f"{len(data)} {hashlib.md5(data).hexdigest()}"


def put(judge, cluster, name, data):
    local = os.path.join(judge.scratch, "local")
    with open(local, "wb") as file:
        file.write(data)
    code, _, err = run([judge.hadron, "fs", "-fs", cluster.url, "-D", f"dfs.blocksize={BLOCK}", "-D", "dfs.replication=1", "-put", local, name])
    judge.check(f"put {name}", code == 0, err[:300])


def metric(cluster, name):
    address = cluster.settings["dn0"]["dfs.datanode.http.address"]
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=20) as page:
        text = page.read().decode()
    return int(re.search(rf"^hadron_datanode_{name} (\d+)$", text, re.M).group(1))


# covers: SC-01, SC-02, SC-03, SC-10, SC-38, XC-18, XC-20
def reads(judge, cluster, version, native, settings):
    java, classes = judge.fetch(fetch.java_client, version)
    data = pattern(7, LENGTH)
    name = f"/read-{version}"
    put(judge, cluster, name, data)
    before = metric(cluster, "bytes_read_total")
    passed = metric(cluster, "short_circuit_replicas_total")
    options = [f"{key}={value}" for key, value in {"fs.defaultFS": cluster.url, **settings}.items()]
    scratch = os.path.join(judge.scratch, version)
    os.makedirs(scratch)
    with JavaDriver(java, classes, "LocalReads", scratch, options, native) as client:
        judge.equal(f"{version}: open", client("open", "a", name), "ok")
        judge.equal(f"{version}: read", client("read", "a", LENGTH + 1), md5(data))
        judge.equal(f"{version}: pread", client("pread", "a", BLOCK - 100, 200), md5(data[BLOCK - 100:BLOCK + 100]))
        judge.equal(f"{version}: all of it by short circuit", client("stats", "a"), f"{LENGTH + 200} {LENGTH + 200} {LENGTH + 200} 0")
        judge.equal(f"{version}: four replicas passed", metric(cluster, "short_circuit_replicas_total") - passed, 4)
        judge.equal(f"{version}: segments and slots", [metric(cluster, "short_circuit_segments"), metric(cluster, "short_circuit_slots")], [1, 4])
        client("open", "z", name)
        judge.equal(f"{version}: without copying", client("zero", "z", LENGTH), md5(data))
        judge.equal(f"{version}: mapped", client("stats", "z").split(" ")[3], str(LENGTH))
        client("open", "n", name)
        refused = client("anchored", "n", 100)
        judge.check(f"{version}: nothing is mapped with checksums unless it is locked", refused.startswith("failed"), refused)
        # The DataNode is not asked for anything any more.
        client("open", "s", name)
        client("read", "s", 1000)
        cluster.processes["dn0"].send_signal(signal.SIGSTOP)
        try:
            judge.equal(f"{version}: read on without the DataNode", client("read", "s", LENGTH), md5(data[1000:]))
        finally:
            cluster.processes["dn0"].send_signal(signal.SIGCONT)
        judge.equal(f"{version}: nothing over a socket", metric(cluster, "bytes_read_total"), before)
        client.process.kill()
        wait_until(lambda: metric(cluster, "short_circuit_segments") == 0, DEAD_CLIENT_SECONDS, "the segment of a killed client is gone")
        judge.equal(f"{version}: its slots as well", metric(cluster, "short_circuit_slots"), 0)


# covers: SC-05, SC-07, SC-39
def many_replicas(judge, cluster, version, native, settings):
    """More replicas than a segment has slots, and a client that is told of no socket."""
    java, classes = judge.fetch(fetch.java_client, version)
    data = pattern(9, 140 * 4096)
    local = os.path.join(judge.scratch, "many")
    with open(local, "wb") as file:
        file.write(data)
    code, _, err = run([judge.hadron, "fs", "-fs", cluster.url, "-D", "dfs.blocksize=4096", "-D", "dfs.replication=1", "-put", local, f"/many-{version}"])
    judge.check(f"{version}: put 140 blocks", code == 0, err[:300])
    options = [f"{key}={value}" for key, value in {"fs.defaultFS": cluster.url, **settings}.items()]
    scratch = os.path.join(judge.scratch, version + "-many")
    os.makedirs(scratch)
    with JavaDriver(java, classes, "LocalReads", scratch, options, native) as client:
        client("open", "a", f"/many-{version}")
        judge.equal(f"{version}: 140 blocks", client("read", "a", len(data)), md5(data))
        judge.equal(f"{version}: two segments", [metric(cluster, "short_circuit_segments"), metric(cluster, "short_circuit_slots")], [2, 140])
    wait_until(lambda: metric(cluster, "short_circuit_segments") == 0, DEAD_CLIENT_SECONDS, "the segments of a client that ended are gone")
    before = metric(cluster, "bytes_read_total")
    with JavaDriver(java, classes, "LocalReads", scratch, [f"fs.defaultFS={cluster.url}", "dfs.client.read.shortcircuit=true",
                                                          f"dfs.domain.socket.path={judge.scratch}/nobody"], native) as client:
        client("open", "a", f"/many-{version}")
        judge.equal(f"{version}: over TCP where there is no socket", client("read", "a", len(data)), md5(data))
        judge.equal(f"{version}: none by short circuit", client("stats", "a").split(" ")[2], "0")
        judge.check(f"{version}: bytes over TCP", metric(cluster, "bytes_read_total") >= before + len(data))


def main():
    judge = Judge(__doc__)
    native = judge.fetch(fetch.native_hadoop)
    client = {"dfs.client.read.shortcircuit": "true", "dfs.domain.socket.path": f"{judge.scratch}/dn._PORT"}
    server = {**client, "hadron.domain.socket.check-directories": "false", "dfs.namenode.fs-limits.min-block-size": "4096"}
    with Daemons(judge.hadron, 1, server, steady=True) as cluster:
        for version in ["3.3.4", "2.7.3"]:
            reads(judge, cluster, version, native, client)
            many_replicas(judge, cluster, version, native, client)
        judge.check("the daemons still run at the end", cluster.alive())
    judge.finish()


if __name__ == "__main__":
    main()
