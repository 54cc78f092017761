"""Judge: one of five DataNodes is decommissioned while stock readers and writers (hdfs-native) go on.

The orders are those of Hadoop's own `dfsadmin` (2.7.3). Nothing the clients do may fail, the NameNode tells how far it is
(JMX), the node ends Decommissioned, and when it is then killed every byte is still there; back on the list, it serves again.
"""

import json
import os
import sys
import threading
import time
import urllib.parse
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from lib import fetch  # noqa: E402
from lib.cluster import Daemons  # noqa: E402
from lib.java import OPENS  # noqa: E402
from lib.judge import Judge, pattern, run, wait_until  # noqa: E402

import hdfs_native  # noqa: E402

FILES = 30
READERS = 3
LIMIT_SECONDS = 120


class Load:
    """Readers and a writer that keep a list of what went wrong."""

    def __init__(self, url):
        self.url = url
        self.stop = threading.Event()
        self.files = 0
        self.reads = 0
        self.errors = []
        self.threads = [threading.Thread(target=self.guarded, args=(self.read, number)) for number in range(READERS)]
        self.threads.append(threading.Thread(target=self.guarded, args=(self.write, 0)))

    def guarded(self, work, number):
        client = hdfs_native.Client(self.url)
        while not self.stop.is_set():
            number += 1
            try:
                work(client, number)
            except Exception as error:  # noqa: BLE001: the client raises several kinds
                self.errors.append(f"{work.__name__}: {type(error).__name__}: {error}")
                return

    def write(self, client, _):
        number = self.files
        with client.create(f"/files/{number}", hdfs_native.WriteOptions(create_parent=True)) as writer:
            writer.write(content(number))
        self.files = number + 1

    def read(self, client, number):
        number %= max(self.files, 1)
        with client.read(f"/files/{number}") as reader:
            if reader.read() != content(number):
                raise ValueError(f"file {number} has other bytes")
        self.reads += 1


def get_jmx(http, name):
    """The attributes of one bean."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{http}/jmx?qry={urllib.parse.quote(name, safe=':=,')}", timeout=10) as answer:
        return json.load(answer)["beans"][0]


class DfsAdmin:
    """Stock `hdfs dfsadmin`."""

    def __init__(self, judge, url):
        java, class_path = judge.fetch(fetch.java_client, "2.7.3")
        self.command = [java, *OPENS, "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", f"-Dhadoop.home.dir={judge.scratch}",
                        "-cp", class_path, "org.apache.hadoop.hdfs.tools.DFSAdmin", "-fs", url]

    def __call__(self, *arguments):
        return run([*self.command, *arguments])


def content(number):
    return pattern(number, 40_000 + 1_000 * (number % 50))


def main():
    judge = Judge(__doc__)
    hosts = os.path.join(judge.scratch, "exclude")
    open(hosts, "w").close()
    settings = {"dfs.replication": "3", "dfs.hosts.exclude": hosts, "dfs.namenode.decommission.interval": "1",
                "dfs.namenode.redundancy.interval.seconds": "1", "dfs.namenode.heartbeat.recheck-interval": "500"}
    with Daemons(judge.hadron, datanodes=5, settings=settings) as cluster:
        def nodes(kind):
            bean = get_jmx(cluster.http, "Hadoop:service=NameNode,name=NameNodeInfo")
            return json.loads(bean[kind])

        def refresh(text):
            with open(hosts, "w") as file:
                file.write(text)
            code, out, errors = admin("-refreshNodes")
            judge.check("refreshNodes", code == 0 and "Refresh nodes successful" in out, (out + errors)[:500])

        def status(address):
            """What `dfsadmin -report` says of a node."""
            _, out, _ = admin("-report")
            part = next((part for part in out.split("\n\n") if f"Name: {address}" in part), "")
            return next((line.split(": ")[1] for line in part.splitlines() if line.startswith("Decommission Status")), part)

        admin = DfsAdmin(judge, cluster.url)

        load = Load(cluster.url)
        client = hdfs_native.Client(cluster.url)
        for _ in range(FILES):
            load.write(client, 0)
        for thread in load.threads:
            thread.start()
        live = nodes("LiveNodes")
        judge.equal("five nodes", len(live), 5)
        name, about = max(live.items(), key=lambda item: item[1]["numBlocks"])
        judge.equal("in service at first", about["adminState"], "In Service")
        refresh(about["xferaddr"] + "\n")
        seen = []

        def left():
            seen.extend(nodes("DecomNodes").values())
            return nodes("LiveNodes")[name]["adminState"] == "Decommissioned"

        started, before = time.monotonic(), load.reads
        try:
            wait_until(left, LIMIT_SECONDS, "the node is decommissioned")
            print(f"  decommissioned after {time.monotonic() - started:.1f} s, {load.reads - before} reads meanwhile", flush=True)
        except TimeoutError as late:
            judge.check("the node ends Decommissioned", False, f"{late}; {seen[-1:]}")
        judge.check("progress was told", any(one["underReplicatedBlocks"] > 0 for one in seen), seen[:3])
        judge.check("there was load", load.reads > before)
        # Some more, with the node still there but out of service.
        after = load.files
        wait_until(lambda: load.files >= after + 3 or load.errors, 30, "more files")
        judge.equal("dfsadmin -report", status(about["xferaddr"]), "Decommissioned")
        load.stop.set()
        for thread in load.threads:
            thread.join()
        judge.equal("nothing failed", load.errors[:3], [])

        index = next(number for number in range(5) if listens(cluster, number, about["xferaddr"]))
        cluster.kill(f"dn{index}")
        for number in range(load.files):
            with client.read(f"/files/{number}") as reader:
                judge.check(f"file {number} without the node", reader.read() == content(number))
        refresh("")
        cluster.start_datanode(index)
        wait_until(lambda: sum(node["adminState"] == "In Service" for node in nodes("LiveNodes").values()) == 5, 60,
                   "all five are in service")
        judge.check("nothing is missing", get_jmx(cluster.http, "Hadoop:service=NameNode,name=NameNodeInfo")["NumberOfMissingBlocks"] == 0)
    judge.finish()


def listens(cluster, index, address):
    """Whether the log of a DataNode names the address it serves."""
    with open(cluster.children.log(f"dn{index}"), errors="replace") as log:
        return address in log.read()


if __name__ == "__main__":
    main()
