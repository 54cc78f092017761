"""Judge: Hadoop's CacheAdmin (2.7.3) and `hadron cacheadmin`: one script, each on a Hadron cluster of its own, outcomes equal."""

import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from lib import fetch  # noqa: E402
from lib.cluster import Daemons  # noqa: E402
from lib.java import JavaShell  # noqa: E402
from lib.judge import Judge, wait_until  # noqa: E402

CACHE_ADMIN = "org.apache.hadoop.hdfs.tools.CacheAdmin"
DATE = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}"
# (what is said, the exit code that Hadoop gives)
SCRIPT = [
    ("-listPools", 0),
    ("-listPools -stats", 0),
    ("-listDirectives", 0),
    ("-addPool", 1),
    ("-addPool p", 0),
    ("-addPool p", 2),
    ("-addPool q -owner alice -group staff -mode 0700 -limit 10 -maxTtl 2h", 0),
    ("-addPool r -mode 9", 255),
    ("-addPool r -limit x", 255),
    ("-addPool r -limit -5", 2),
    ("-addPool r -maxTtl 5y", 1),
    ("-addPool r -owner", 255),
    ("-listPools", 0),
    ("-listPools q", 0),
    ("-listPools -stats q", 0),
    ("-listPools none", 0),
    ("-modifyPool q -mode 0755 -limit unlimited", 0),
    ("-modifyPool q -owner bob -group guests -maxTtl never", 0),
    ("-modifyPool q", 1),
    ("-modifyPool none -limit 5", 2),
    ("-listPools q", 0),
    ("-removePool none", 2),
    ("-removePool", 1),
    ("-addDirective", 1),
    ("-addDirective -path /judge", 1),
    ("-addDirective -path /judge -pool none", 2),
    ("-addDirective -path /judge -pool p -replication x", 255),
    ("-addDirective -path /judge -pool p -replication 0", 2),
    ("-addDirective -path /judge -pool p -ttl 5", 1),
    ("-addDirective -path /judge -pool p -ttl abcd", 1),
    ("-addDirective -path /judge -pool p extra", 1),
    ("-addDirective -path /judge -pool p", 0),
    ("-addDirective -path /judge/f -pool q -replication 2 -ttl 30m", 0),
    ("-addDirective -path relative -pool p -force -ttl never", 0),
    ("-listDirectives", 0),
    ("-listDirectives -stats", 0),
    ("-listDirectives -path /judge", 0),
    ("-listDirectives -pool q -stats", 0),
    ("-listDirectives -id 3", 0),
    ("-listDirectives -id 99", 2),
    ("-listDirectives -id x", 255),
    ("-listPools -stats", 0),
    ("-modifyDirective", 1),
    ("-modifyDirective -id 1", 1),
    ("-modifyDirective -id 99 -replication 2", 2),
    ("-modifyDirective -id 1 -replication 3 -path /judge/g", 0),
    ("-modifyPool q -limit 9", 0),
    ("-modifyDirective -id 1 -pool q -path /judge", 2),
    ("-modifyDirective -id 1 -pool q -path /judge -force", 0),
    ("-addDirective -path /judge -pool q", 2),
    ("-listDirectives -stats", 0),
    ("-listPools -stats q", 0),
    ("-removeDirective", 1),
    ("-removeDirective x", 1),
    ("-removeDirective 0", 1),
    ("-removeDirective 99", 2),
    ("-removeDirective 2", 0),
    ("-addDirective -path /judge -pool p", 0),
    ("-removeDirectives", 1),
    ("-removeDirectives -path /judge", 0),
    ("-removeDirectives -path /nothing", 0),
    ("-listDirectives", 0),
    ("-removePool p", 0),
    ("-listPools", 0),
    ("-help a b", 0),
    ("-help fly", 1),
]
# What somebody says who owns none of the pools.
STRANGER = [
    ("-listPools", 0),
    ("-listPools -stats", 0),
    ("-listDirectives", 0),
    ("-addPool mine", 2),
    ("-removePool open", 2),
    ("-addDirective -path /judge -pool open", 0),
    ("-addDirective -path /judge -pool closed", 2),
    ("-removeDirective 1", 2),
    ("-removeDirectives -path /judge", 0),
]
PREPARE = ["-addPool open -mode 0777", "-addPool closed -mode 0700", "-addDirective -path /closed -pool closed"]


def plain(text):
    """Without what the time of day decides."""
    return re.sub(DATE, "DATE", text)


class Hadron:
    """`hadron cacheadmin` on one cluster."""

    def __init__(self, hadron, url, user=None):
        self.command = [hadron, "cacheadmin", "-fs", url]
        self.environment = {**os.environ, **({"HADOOP_USER_NAME": user} if user else {})}

    def __call__(self, words):
        done = subprocess.run([*self.command, *words.split()], capture_output=True, text=True, env=self.environment)
        return done.returncode, plain(done.stdout), plain(done.stderr)


class Hadoop:
    """Hadoop's CacheAdmin on one cluster."""

    def __init__(self, tools):
        self.tools = tools

    def __call__(self, words):
        code, out, errors = self.tools(CACHE_ADMIN, *words.split())
        return code % 256, plain(out), plain(errors)


def compare(judge, script, ours, theirs):
    for words, want in script:
        got, wanted = ours(words), theirs(words)
        judge.equal(f"Hadoop's exit code of {words}", wanted[0], want)
        judge.equal(f"cacheadmin {words}", got, wanted)


def usages(judge, ours, theirs):
    """The usage has all of Hadoop's sub-commands; options that came after 2.7 are ours alone."""
    for words in ["", "-fly", "fly"]:
        got, wanted = ours(words), theirs(words)
        judge.equal(f"exit code of cacheadmin {words}", got[0], wanted[0])
        judge.equal(f"output of cacheadmin {words}", got[1], wanted[1])
        newer = " [-defaultReplication <defaultReplication>]"
        # Hadoop forgot some closing brackets.
        judge.equal(f"usage of cacheadmin {words}", got[2].replace(newer, "").replace("]", ""), wanted[2].replace("]", ""))


def caching(judge, hadron, cluster, ours):
    """A directive has a DataNode lock a block in memory, and give it up."""
    def stats():
        return ours("-listDirectives -stats")[1].split()[-4:]

    ours("-addPool cached")
    ours("-addDirective -path /judge/f -pool cached")
    wait_until(lambda: stats() == ["5", "5", "1", "1"], 30, "the block is cached")
    judge.equal("what is cached is shown", stats(), ["5", "5", "1", "1"])

    def used(shown):
        report = subprocess.run([hadron, "dfsadmin", "-fs", cluster.url, "-report"], capture_output=True, text=True).stdout
        return f"Cache Used: {shown}" in report

    judge.check("the node's cache is in use", wait_until(lambda: used("4096 (4 KB)"), 10, "heartbeats tell of it"))
    ours("-removePool cached")
    judge.check("the block is given up", wait_until(lambda: used("0 (0 B)"), 30, "the block is given up"))


def main():
    judge = Judge(__doc__)
    java, class_path = judge.fetch(fetch.java_client, "2.7.3")
    hadron = judge.hadron
    settings = {"dfs.datanode.max.locked.memory": "65536", "dfs.cachereport.intervalMsec": "200",
                "dfs.namenode.path.based.cache.refresh.interval.ms": "500"}
    with Daemons(hadron, datanodes=1, settings=settings) as one, Daemons(hadron, datanodes=1) as other:
        for cluster in [one, other]:
            for name in ["f", "g"]:
                words = [hadron, "fs", "-fs", cluster.url, "-D", "dfs.replication=1"]
                subprocess.run([*words, "-mkdir", "-p", "/judge"], check=True)
                subprocess.run([*words, "-put", "-", f"/judge/{name}"], input=b"hello", check=True)
        with JavaShell(java, class_path, other.url, judge.scratch, driver="ToolDriver") as tools:
            theirs, ours = Hadoop(tools), Hadron(hadron, one.url)
            compare(judge, SCRIPT, ours, theirs)
            usages(judge, ours, theirs)
            for words in PREPARE:
                judge.equal(f"cacheadmin {words}", ours(words), theirs(words))
        with JavaShell(java, class_path, other.url, judge.scratch, user="alice", driver="ToolDriver") as tools:
            compare(judge, STRANGER, Hadron(hadron, one.url, "alice"), Hadoop(tools))
        caching(judge, hadron, one, Hadron(hadron, one.url))
        judge.check("the clusters still run at the end", one.alive() and other.alive())
    judge.finish()


if __name__ == "__main__":
    main()
