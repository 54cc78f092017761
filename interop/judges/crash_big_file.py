"""Judge: 2 GiB in, kill -9 of everything, restart, 2 GiB out with the same SHA-256; for mini and for separate daemons."""

import hashlib
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from lib import fetch  # noqa: E402
from lib.cluster import Daemons, Mini  # noqa: E402
from lib.judge import Judge, pattern, run, sha256_file, wait_until  # noqa: E402

CHUNK = 8 << 20


def make(path, length, seed):
    """Writes a file in which no two chunks are alike; returns its SHA-256."""
    body = bytearray(pattern(seed, CHUNK))
    digest = hashlib.sha256()
    with open(path, "wb") as file:
        for number in range(length // CHUNK):
            body[:8] = number.to_bytes(8, "big")
            digest.update(body)
            file.write(body)
    return digest.hexdigest()


class Client:
    """The Go client, or our own shell where the Go client cannot be had."""

    def __init__(self, judge):
        try:
            self.go = fetch.go_client(judge.work)
        except fetch.Absent as reason:
            print(f"  note: without the Go client ({reason}); our own shell stands in")
            self.go = None
        self.judge = judge

    def put(self, url, source, target):
        return self.run(url, ["put", source, target], ["-put", source, target])

    def get(self, url, source, target):
        return self.run(url, ["get", source, target], ["-get", source, target])

    def run(self, url, go, own):
        if self.go:
            environment = {"HADOOP_NAMENODE": url.removeprefix("hdfs://"), "HADOOP_CONF_DIR": self.judge.scratch}
            return run([self.go, *go], env=environment, timeout=600)
        return run([self.judge.hadron, "fs", "-fs", url, *own], timeout=600)


def journey(judge, name, client, cluster, kill, restart, source, digest):
    started = time.monotonic()
    code, _, errors = client.put(cluster.url, source, "/big")
    judge.check(f"{name}: put", code == 0, errors[:500])
    written = time.monotonic()
    kill()
    restart()
    ready = time.monotonic()
    target = os.path.join(judge.scratch, "back")

    def fetched():
        code, _, errors = client.get(cluster.url, "/big", target)
        fetched.errors = errors
        return code == 0

    try:
        # The DataNodes may still be reporting; a client that is refused a location simply asks again.
        wait_until(fetched, 60, "get succeeds")
    except TimeoutError:
        judge.check(f"{name}: get", False, fetched.errors[:500])
        return
    judge.equal(f"{name}: SHA-256 after the restart", sha256_file(target), digest)
    os.remove(target)
    size = os.path.getsize(source) / (1 << 20)
    print(f"  {name}: in {size / (written - started):.0f} MiB/s, restart {ready - written:.2f} s, "
          f"out {size / (time.monotonic() - ready):.0f} MiB/s", flush=True)


def main():
    judge = Judge(__doc__)
    client = Client(judge)
    source = os.path.join(judge.scratch, "big")
    digest = make(source, (64 if judge.options.small else 2048) << 20, judge.seed)
    with Mini(judge.hadron, datanodes=2, settings={"dfs.replication": "2"}) as mini:
        journey(judge, "mini", client, mini, mini.kill, mini.start, source, digest)
        judge.equal("mini: exit code after SIGTERM", mini.stop(), 0)
    with Daemons(judge.hadron, datanodes=2, settings={"dfs.replication": "2"}) as daemons:
        def restart():
            daemons.start_namenode()
            for index in range(daemons.datanodes):
                daemons.start_datanode(index)
            daemons.wait_ready()

        journey(judge, "daemons", client, daemons, daemons.kill_all, restart, source, digest)
        judge.check("daemons: all run", daemons.alive())
    judge.finish()


if __name__ == "__main__":
    main()
