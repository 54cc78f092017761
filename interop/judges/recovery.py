"""Judge: truncate, append, lease recovery and DataNode administration through stock clients, old and new."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from lib import fetch  # noqa: E402
from lib.children import free_ports  # noqa: E402
from lib.cluster import Daemons  # noqa: E402
from lib.java import JavaShell  # noqa: E402
from lib.judge import Judge, pattern, run, wait_until  # noqa: E402

VERSIONS = ["3.3.4", "2.7.3"]
DEBUG = "org.apache.hadoop.hdfs.tools.DebugAdmin"
ADMIN = "org.apache.hadoop.hdfs.tools.DFSAdmin"


def driver_bytes(count):
    """The bytes that LeaseDriver writes."""
    return bytes(i * 31 % 251 for i in range(count))


class Client:
    """A shell and a lease driver of one Hadoop version."""

    def __init__(self, judge, url, version):
        self.judge, self.version, self.base = judge, version, f"/judge-recovery-{version}"
        java, class_path = judge.fetch(fetch.java_client, version)
        self.shell = JavaShell(java, class_path, url, judge.scratch)
        self.new_driver = lambda: JavaShell(java, class_path, url, judge.scratch, driver="LeaseDriver")
        self.driver = self.new_driver()

    def fs(self, *arguments, code=0, out=None, err=None):
        got, stdout, stderr = self.shell(*arguments)
        return self.score("hdfs dfs " + " ".join(arguments), got, stdout, stderr, code, out, err)

    def do(self, *arguments, code=0, out=None, err=None):
        got, stdout, stderr = self.driver(*arguments)
        return self.score(" ".join(arguments), got, stdout, stderr, code, out, err)

    def score(self, what, got, stdout, stderr, code, out, err):
        name = f"{self.version}: {what}".replace(self.judge.scratch, "…")
        self.judge.check(f"{name}: exit code", got == code, f"{got}, wanted {code}: {stderr.strip()[:500]}")
        if out is not None:
            self.judge.check(f"{name}: output", out in stdout, f"{stdout!r:.500} is without {out!r}")
        if err is not None:
            self.judge.check(f"{name}: errors", err in stderr, f"{stderr!r:.500} is without {err!r}")
        return stdout

    def content(self, path, want):
        local = os.path.join(self.judge.scratch, "back-" + self.version)
        if os.path.exists(local):
            os.remove(local)
        self.fs("-get", path, local)
        with open(local, "rb") as file:
            got = file.read()
        self.judge.check(f"{self.version}: {path} has {len(want)} right bytes", got == want, f"{len(got)} bytes")

    def closed(self, path):
        def is_closed():
            return self.driver("isFileClosed", path)[1].strip() == "true"
        wait_until(is_closed, 60, f"{path} is closed")

    def end(self):
        self.shell.__exit__()
        self.driver.__exit__()


def truncate(client):
    judge, base = client.judge, client.base
    local = os.path.join(judge.scratch, "data")
    data = pattern(1, 300_000)
    with open(local, "wb") as file:
        file.write(data)
    client.fs("-mkdir", "-p", base)
    client.fs("-put", "-f", local, f"{base}/cut")
    client.fs("-truncate", "-w", "200001", f"{base}/cut", out=f"Truncated {base}/cut to length: 200001")
    client.content(f"{base}/cut", data[:200_001])
    client.fs("-truncate", "100000", f"{base}/cut", out="Wait for block recovery to complete")
    client.closed(f"{base}/cut")
    client.content(f"{base}/cut", data[:100_000])
    client.fs("-truncate", "100000", f"{base}/cut", out=f"Truncated {base}/cut to length: 100000")
    client.fs("-truncate", "100001", f"{base}/cut", code=-1,
              err="Cannot truncate to a larger file size. Current size: 100000, truncate size: 100001.")
    client.do("truncate", f"{base}/cut", "100001", code=1,
              err="Cannot truncate to a larger file size. Current size: 100000, truncate size: 100001.")
    client.do("truncate", f"{base}/none", "0", code=1, err=f"File does not exist: {base}/none")
    client.do("truncate", base, "0", code=1, err=f"Path is not a file: {base}")
    client.fs("-appendToFile", local, f"{base}/cut")
    client.content(f"{base}/cut", data[:100_000] + data)
    client.fs("-truncate", "0", f"{base}/cut", out=f"Truncated {base}/cut to length: 0")
    client.content(f"{base}/cut", b"")


def append(client):
    base = client.base

    local = os.path.join(client.judge.scratch, "piece")
    whole = b""
    client.fs("-touchz", f"{base}/grown")
    for step, length in enumerate([1, 511, 1, 700, 130_000]):
        piece = pattern(step, length)
        with open(local, "wb") as file:
            file.write(piece)
        client.fs("-appendToFile", local, f"{base}/grown")
        whole += piece
    client.content(f"{base}/grown", whole)
    client.do("append", f"{base}/grown", "1000")
    client.content(f"{base}/grown", whole + driver_bytes(1000))
    client.fs("-appendToFile", local, base, code=1, err="already exists as a directory")


def writers(client):
    base = client.base
    client.do("write", f"{base}/kept", "5000")
    client.fs("-appendToFile", os.path.join(client.judge.scratch, "piece"), f"{base}/kept", code=1,
              err="because this file lease is currently owned by")
    client.do("append", f"{base}/kept", "1", code=1, err="is already the current lease holder")
    with client.new_driver() as writer:
        code, _, stderr = writer("write", f"{base}/died", "70001")
        client.judge.check(f"{client.version}: a writer that will die", code == 0, stderr)
        writer.process.kill()
        writer.process.wait()
    client.do("isFileClosed", f"{base}/died", out="false")
    if client.version == "2.7.3":
        client.do("tool", DEBUG, "recoverLease", "-path", f"{base}/died", "-retries", "10",
                  out=f"recoverLease SUCCEEDED on {base}/died")
    else:
        wait_until(lambda: client.do("recoverLease", f"{base}/died").strip() == "true", 60, "the lease is recovered")
    client.content(f"{base}/died", driver_bytes(70_001))
    client.do("isFileClosed", f"{base}/died", out="true")
    client.do("recoverLease", f"{base}/none", code=1, err=f"File does not exist: {base}/none")


def administration(client, cluster, ports):
    """DFSAdmin is in the 2.7.3 jars only."""
    node = f"127.0.0.1:{ports[0]}"
    client.do("tool", ADMIN, "-getDatanodeInfo", node, out="Software version: 3.3.6")
    client.do("tool", ADMIN, "-triggerBlockReport", node, out="Triggering a full block report on")
    client.do("tool", ADMIN, "-triggerBlockReport", "-incremental", node, out="Triggering an incremental block report on")
    client.do("tool", ADMIN, "-refreshNamenodes", node)
    client.do("tool", ADMIN, "-deleteBlockPool", node, "BP-1-127.0.0.1-1", "force")
    client.do("tool", ADMIN, "-reconfig", "datanode", node, "start", out="Started reconfiguration task on DataNode")
    client.do("tool", ADMIN, "-reconfig", "datanode", node, "status", out="Reconfiguring status for DataNode")
    client.do("tool", ADMIN, "-shutdownDatanode", node, out="Submitted a shutdown request to datanode")
    wait_until(lambda: cluster.processes["dn0"].poll() is not None, 30, "the DataNode has ended")
    client.judge.equal("exit code of a DataNode that was told to shut down", cluster.processes["dn0"].returncode, 0)


def go(judge, url):
    command = judge.fetch(fetch.go_client)
    environment = {"HADOOP_NAMENODE": url.removeprefix("hdfs://"), "HADOOP_CONF_DIR": judge.scratch, "HADOOP_HOME": judge.scratch}
    data = pattern(3, 200_000)
    local, back = os.path.join(judge.scratch, "go"), os.path.join(judge.scratch, "go-back")
    with open(local, "wb") as file:
        file.write(data)

    def client(*arguments):
        return run([command, *arguments], env=environment, cwd=judge.scratch)

    client("rm", "-f", "/judge-recovery-go")
    code, _, stderr = client("put", local, "/judge-recovery-go")
    judge.check("Go puts", code == 0, stderr)
    code, _, stderr = client("truncate", "100001", "/judge-recovery-go")
    judge.check("Go truncates", code == 0, stderr)

    def is_cut():
        if os.path.exists(back):
            os.remove(back)
        client("get", "/judge-recovery-go", back)
        with open(back, "rb") as file:
            return file.read() == data[:100_001]
    wait_until(is_cut, 60, "the file is cut")
    judge.check("Go reads what it cut", True)


def main():
    judge = Judge(__doc__)
    if judge.options.url:
        judge.skip("it needs DataNodes whose ports it knows")
    ports = free_ports(3)
    cluster = Daemons(judge.hadron)
    for index, port in enumerate(ports):
        cluster.reconfigure(f"dn{index}", {"dfs.datanode.ipc.address": f"127.0.0.1:{port}"})
    with cluster:
        for version in VERSIONS:
            client = Client(judge, cluster.url, version)
            truncate(client)
            append(client)
            writers(client)
            if version == "2.7.3":
                # Go's client does not try another DataNode when one is down, which the NameNode learns late.
                go(judge, cluster.url)
                administration(client, cluster, ports)
            client.end()
    judge.finish()


if __name__ == "__main__":
    main()
