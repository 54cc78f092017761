"""Judge: short-circuit reads by Hadoop's own clients 3.3.4 and 2.7.3 from a Hadron DataNode, and by Hadron's client from
Hadron's and Apache's.

Hadoop's native library is not in its jars, so interop/native-hadoop stands in for it; the Java code above it, cache,
shared memory and all, is Hadoop's.
"""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from lib import apache, fetch  # noqa: E402
from lib.cluster import Daemons  # noqa: E402
from lib.java import JavaDriver  # noqa: E402
from lib.judge import Judge, pattern, run, wait_until  # noqa: E402

BLOCK = 1 << 20
LENGTH = 3 * BLOCK + 12_345
DEAD_CLIENT_SECONDS = 10
CACHE_SECONDS = 60
NOBODY = 65534


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


def ours(judge, url, settings, name, data, **options):
    """Hadron's client reads a file and says how."""
    words = [part for key, value in settings.items() for part in ["-D", f"{key}={value}"]]
    command = [options.pop("binary", judge.hadron), "fs", "-v", "-fs", url, *words, "-cat", name]
    done = subprocess.run(command, capture_output=True, timeout=120, **options)
    judge.equal(f"{name} by Hadron's client", md5(done.stdout), md5(data))
    said = done.stderr.decode(errors="replace")
    wanted = f"{len(data)} bytes read: {len(data)} by short-circuit (0 of them zero-copy), 0 by TCP on this machine"
    judge.check(f"{name} by short circuit", wanted in said, said[:500])


def locked(cluster):
    """Bytes that the DataNode keeps locked in memory."""
    address = cluster.settings["dn0"]["dfs.datanode.http.address"]
    with urllib.request.urlopen(f"http://{address}/jmx", timeout=20) as page:
        beans = json.load(page)["beans"]
    return next(bean["CacheUsed"] for bean in beans if "CacheUsed" in bean)


# covers: SC-12, SC-13, SC-14, SC-15, SC-38
def anchored(judge, cluster, native, settings):
    """What is locked in memory is mapped with nobody's checksums, and stays locked while somebody relies on it."""
    java, classes = judge.fetch(fetch.java_client, "3.3.4")
    data = pattern(17, LENGTH)
    put(judge, cluster, "/cached", data)
    def admin(*words):
        code, out, err = run([judge.hadron, "cacheadmin", "-fs", cluster.url, *words])
        judge.check(" ".join(words[:2]), code == 0, (out + err)[:300])
        return out
    admin("-addPool", "judged")
    number = re.search(r"\d+", admin("-addDirective", "-path", "/cached", "-pool", "judged")).group()
    wait_until(lambda: locked(cluster) >= LENGTH, CACHE_SECONDS, "all blocks are locked in memory")
    options = [f"{key}={value}" for key, value in {"fs.defaultFS": cluster.url, **settings}.items()]
    scratch = os.path.join(judge.scratch, "anchored")
    os.makedirs(scratch)
    with JavaDriver(java, classes, "LocalReads", scratch, options, native) as client:
        client("open", "a", "/cached")
        judge.equal("mapped, vouched for by the DataNode", client("anchored", "a", LENGTH), md5(data))
        client("open", "h", "/cached")
        judge.equal("held", client("hold", "h", LENGTH), md5(data))
        admin("-removeDirective", number)
        def refused():
            client("open", "n", "/cached")
            return client("anchored", "n", 100).startswith("failed")
        wait_until(refused, CACHE_SECONDS, "no new anchors are given")
        judge.check("locked while it is held", locked(cluster) >= LENGTH, locked(cluster))
        client.process.kill()
        wait_until(lambda: locked(cluster) == 0, DEAD_CLIENT_SECONDS, "what a killed client held is unlocked")


# covers: SC-01, SC-02, SC-39
def other_user(judge, cluster, settings):
    """A user who may not read the block files gets their descriptors."""
    data = pattern(11, LENGTH)
    put(judge, cluster, "/others", data)
    for folder, _, names in os.walk(cluster.data(0)):
        for each in names:
            os.chmod(os.path.join(folder, each), 0o600)
    before = metric(cluster, "bytes_read_total")
    public = tempfile.mkdtemp(prefix="hadron-judge-", dir="/tmp")
    try:
        os.chmod(public, 0o755)
        binary = os.path.join(public, "hadron")
        shutil.copy(judge.hadron, binary)
        os.chmod(judge.scratch, 0o711)
        as_root = os.geteuid() == 0
        ours(judge, cluster.url, settings, "/others", data, binary=binary, cwd=public, **({"user": NOBODY, "group": NOBODY, "extra_groups": []} if as_root else {}))
    finally:
        shutil.rmtree(public)
    judge.equal("nothing over a socket", metric(cluster, "bytes_read_total"), before)
    put(judge, cluster, "/remote", data)
    code, _, err = run([judge.hadron, "fs", "-v", "-fs", cluster.url, "-D", "dfs.client.read.shortcircuit=true", "-cat", "/remote"])
    judge.check("without a socket's path by TCP", code == 0 and f"{LENGTH} by TCP on this machine" in err, err[:500])


# covers: SC-09, SC-10, SC-22, XC-25
def from_apache(judge, native, settings):
    """Hadron's client and a DataNode of Apache HDFS."""
    home = judge.fetch(apache.unpack)
    folder = os.path.join(judge.scratch, "apache")
    os.makedirs(folder)
    server = {**settings, "dfs.replication": "1"}
    data = pattern(13, LENGTH)
    with apache.Apache(home, folder, 1, server, quick=True, native=native) as cluster:
        put(judge, cluster, "/theirs", data)
        ours(judge, cluster.url, settings, "/theirs", data)
        java, classes = judge.fetch(fetch.java_client, "3.3.4")
        options = [f"{key}={value}" for key, value in {"fs.defaultFS": cluster.url, **settings}.items()]
        scratch = os.path.join(judge.scratch, "java-apache")
        os.makedirs(scratch)
        with JavaDriver(java, classes, "LocalReads", scratch, options, native) as client:
            client("open", "a", "/theirs")
            client("read", "a", LENGTH)
            judge.equal("Java from Apache's DataNode, so that the native library is not to blame", client("stats", "a").split(" ")[2], str(LENGTH))


def main():
    judge = Judge(__doc__)
    native = judge.fetch(fetch.native_hadoop)
    client = {"dfs.client.read.shortcircuit": "true", "dfs.domain.socket.path": f"{judge.scratch}/dn._PORT"}
    server = {**client, "hadron.domain.socket.check-directories": "false", "dfs.namenode.fs-limits.min-block-size": "4096",
              "dfs.datanode.max.locked.memory": str(8 * BLOCK), "dfs.cachereport.intervalMsec": "1000",
              "dfs.namenode.path.based.cache.refresh.interval.ms": "1000", "dfs.datanode.cache.revocation.polling.ms": "200"}
    with Daemons(judge.hadron, 1, server, steady=True) as cluster:
        for version in ["3.3.4", "2.7.3"]:
            reads(judge, cluster, version, native, client)
            many_replicas(judge, cluster, version, native, client)
        anchored(judge, cluster, native, client)
        other_user(judge, cluster, client)
        judge.check("the daemons still run at the end", cluster.alive())
    from_apache(judge, native, client)
    judge.finish()


if __name__ == "__main__":
    main()
