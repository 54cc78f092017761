"""Judge: writers are killed, their replicas differ in length and stamp, and their leases are recovered in every way there is.

Java's client, hdfs-native and our own each leave files open. Of their pipelines one DataNode was killed while they wrote
and came back with an old stamp, another one was frozen while they wrote on and then killed, so that it came back short.
Then every lease is recovered: by a second writer after the soft limit, by the NameNode after the hard limit, by
`hdfs debug recoverLease`, by `hadron debug recoverLease` and by the clients' own call. Whatever the way: no byte that was
acked is missing, what is there is what was written, all replicas are alike, and appending goes on where the file ends.
"""

import contextlib
import glob
import os
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from lib import fetch  # noqa: E402
from lib.cluster import Daemons  # noqa: E402
from lib.datanodes import unlike  # noqa: E402
from lib.java import JavaShell  # noqa: E402
from lib.judge import Judge, run, wait_until  # noqa: E402
from lib.streams import Clients, Refused, Silent  # noqa: E402

DEBUG = "org.apache.hadoop.hdfs.tools.DebugAdmin"
KINDS = ("hadron", "java-3.3.4", "native")
# Ways to a closed file; "hard" has a cluster of its own, whose hard limit is short.
WAYS = ["soft", "java debug", "hadron debug", "client"]
SOFT_LIMIT, HARD_LIMIT = 60, 40
LIMIT_SECONDS = 180
REPLICAS = 3
SERVER = {"dfs.replication": REPLICAS, "dfs.namenode.heartbeat.recheck-interval": "500", "dfs.namenode.redundancy.interval.seconds": "1",
          "dfs.client.socket-timeout": "20000"}
CLIENT = {"dfs.client.socket-timeout": 20_000, "dfs.client.datanode-restart.timeout": 5}
# Java's pipelines go on with two nodes, the others' get a third one again.
POLICY = {"java-3.3.4": {"dfs.client.block.write.replace-datanode-on-failure.policy": "NEVER"}}


class File:
    """A file somebody left open."""

    def __init__(self, kind, way, salt):
        self.kind, self.way, self.salt = kind, way, salt
        self.path = f"/{way.replace(' ', '-')}-{kind}"
        self.acked, self.issued = 0, 0

    def write(self, client, count, wait=True):
        start, self.issued = self.issued, self.issued + count
        for words in [("write", self.path, self.salt, start, count), ("hflush", self.path)]:
            client.send(*words)
            if wait:
                client.answer()
        if wait:
            self.acked = self.issued


def being_written(cluster, index):
    """Lengths of the replicas one DataNode holds open: {block file name: bytes}."""
    found = glob.glob(f"{cluster.data(index)}/current/BP-*/current/rbw/blk_*")
    return {os.path.basename(path): os.path.getsize(path) for path in found if not path.endswith(".meta")}


def abandon(judge, cluster, clients, ways):
    """Leaves files open whose replicas differ; returns them once their writers are dead."""
    files, writers = [], {kind: clients.start(kind, **POLICY.get(kind, {})) for kind in clients.kinds}
    for kind, client in writers.items():
        for way in ways:
            files.append(File(kind, way, len(files) + 1))
            client("create", files[-1].path)
            files[-1].write(client, 100_000)

    # One DataNode dies, everybody writes on without it, and it comes back with replicas of the old stamp.
    cluster.kill("dn0")
    for file in files:
        if file.kind == "native":
            continue  # it may hang; so its last blocks have replicas of one stamp, one of which waits for recovery
        try:
            file.write(writers[file.kind], 50_001)
        except (Refused, Silent) as error:
            judge.check(f"{file.kind} writes on without a DataNode", False, error)
    old = being_written(cluster, 0)
    judge.check("the dead DataNode holds old replicas", old, old)
    cluster.start_datanode(0)
    cluster.wait_ready()

    # Another one is frozen: what comes now is acked to nobody, and it never gets all of it.
    before = {index: being_written(cluster, index) for index in (1, 2, 3)}
    frozen = max(before, key=lambda index: len(before[index]))
    cluster.processes[f"dn{frozen}"].send_signal(signal.SIGSTOP)
    for client in writers.values():
        first = next(file for file in files if writers[file.kind] is client)
        first.write(client, 200_003, wait=False)

    def grown():
        return any(size > before[index].get(name, size) for index in (1, 2, 3) if index != frozen
                   for name, size in being_written(cluster, index).items())
    try:
        wait_until(grown, 20, "some replica is longer than acked")
    except TimeoutError as late:
        judge.check("replicas differ in length", False, late)
    for client in writers.values():
        client.kill()
    cluster.kill(f"dn{frozen}")
    cluster.start_datanode(frozen)
    cluster.wait_ready()
    return files, time.monotonic()


def closed(helper, path):
    try:
        return helper("status", path).endswith(" true")
    except Refused:
        return False


def settle(judge, file, helper):
    """The file is closed: what does it hold?"""
    name = f"{file.kind}, {file.way}"
    try:
        length = int(helper("view", file.path, file.salt).split(" ")[0])
    except Refused as error:
        judge.check(f"{name}: readable", False, error)
        return
    judge.check(f"{name}: length", file.acked <= length <= file.issued, f"{length}, acked {file.acked}, written {file.issued}")
    try:
        helper("append", file.path)
        helper("write", file.path, file.salt, length, 777)
        helper("close", file.path)
        judge.equal(f"{name}: goes on", helper("view", file.path, file.salt).split(" ")[0], str(length + 777))
    except Refused as error:
        judge.check(f"{name}: goes on", False, error)


def soft(judge, file, clients, died):
    """A second writer asks until it may."""
    kind = "hadron" if file.kind != "hadron" else clients.kinds[-1]
    refusals = set()
    with clients.start(kind) as client:
        while True:
            try:
                client("append", file.path)
                break
            except Refused as error:
                refusals.add("RecoveryInProgress" if "RecoveryInProgress" in str(error) or "recovery" in str(error).lower() else "held")
                if time.monotonic() > died + LIMIT_SECONDS:
                    judge.check(f"{file.kind}, soft: {kind} takes over", False, error)
                    return
            time.sleep(1)
        waited = time.monotonic() - died
        judge.check(f"{file.kind}, soft: not before the limit", waited > SOFT_LIMIT - 35, f"{waited:.1f} s")
        judge.check(f"{file.kind}, soft: refused at first", refusals, refusals)
        try:
            client("close", file.path)
        except (Refused, Silent) as error:
            judge.check(f"{file.kind}, soft: {kind} closes", False, error)


def recover(judge, file, clients, tool):
    """One of the ways that need no waiting."""
    if file.way == "hadron debug":
        code, out, err = run([judge.hadron, "debug", "-fs", clients.url, "recoverLease", "-path", file.path, "-retries", "10"])
        judge.check(f"{file.kind}, {file.way}", code == 0 and f"recoverLease SUCCEEDED on {file.path}" in out, out + err)
    elif file.way == "java debug":
        code, out, err = tool("tool", DEBUG, "recoverLease", "-path", file.path, "-retries", "10")
        judge.check(f"{file.kind}, {file.way}", code == 0 and f"recoverLease SUCCEEDED on {file.path}" in out, out + err)
    else:
        with clients.start(file.kind) as client:
            try:
                wait_until(lambda: client("recover", file.path) == "true", LIMIT_SECONDS, "recoverLease says true")
            except (Refused, TimeoutError) as error:
                judge.check(f"{file.kind}, {file.way}", False, error)


def alike(judge, cluster, name):
    folders = [cluster.data(index) for index in range(cluster.datanodes)]
    try:
        wait_until(lambda: not unlike(folders, REPLICAS), LIMIT_SECONDS, "all replicas are alike")
    except TimeoutError as late:
        judge.check(f"{name}: replicas", False, f"{late}: {'; '.join(unlike(folders, REPLICAS))[:1500]}")


def hard_limit(judge, stack):
    """Nobody asks; the NameNode closes the files by itself."""
    settings = {**SERVER, "dfs.namenode.lease-hard-limit-sec": HARD_LIMIT, "dfs.namenode.lease-recheck-interval-ms": 500}
    cluster = stack.enter_context(Daemons(judge.hadron, datanodes=4, settings=settings, steady=True))
    clients = stack.enter_context(Clients(judge, cluster.url, CLIENT, KINDS))
    files, _ = abandon(judge, cluster, clients, ["hard"])
    with clients.start("hadron") as helper:
        for file in files:
            try:
                wait_until(lambda file=file: closed(helper, file.path), LIMIT_SECONDS, f"{file.path} is closed")
            except TimeoutError as late:
                judge.check(f"{file.kind}, hard", False, late)
                continue
            settle(judge, file, helper)
    alike(judge, cluster, "hard")


def main():
    judge = Judge(__doc__)
    if judge.options.url:
        judge.skip("it kills daemons of its own")
    java, class_path = judge.fetch(fetch.java_client, "2.7.3")
    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(Daemons(judge.hadron, datanodes=4, settings=SERVER, steady=True))
        clients = stack.enter_context(Clients(judge, cluster.url, CLIENT, KINDS))
        files, died = abandon(judge, cluster, clients, WAYS)
        waiting = [threading.Thread(target=soft, args=(judge, file, clients, died)) for file in files if file.way == "soft"]
        for thread in waiting:
            thread.start()
        tool = stack.enter_context(JavaShell(java, class_path, cluster.url, judge.scratch, driver="LeaseDriver"))
        with clients.start("hadron") as helper:
            for file in files:
                if file.way != "soft":
                    recover(judge, file, clients, tool)
                    settle(judge, file, helper)
        # The soft limit is a minute, whatever one configures; the hard limit's turn comes meanwhile.
        with contextlib.ExitStack() as inner:
            hard_limit(judge, inner)
        for thread in waiting:
            thread.join()
        with clients.start("hadron") as helper:
            for file in files:
                if file.way == "soft":
                    settle(judge, file, helper)
        alike(judge, cluster, "all ways")
        logs = "".join(open(cluster.children.log(name), errors="replace").read() for name in cluster.processes)
        judge.check("nothing panicked", "panicked" not in logs)
    judge.finish()


if __name__ == "__main__":
    main()
