"""Judge: Hadoop's administrative tools of the 2.7 line (DFSAdmin, DFSck, CacheAdmin, …), and `hadron`'s own beside them."""

import os
import re
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from lib import fetch  # noqa: E402
from lib.cluster import Daemons  # noqa: E402
from lib.java import JavaShell  # noqa: E402
from lib.judge import Judge  # noqa: E402

TOOLS = "org.apache.hadoop.hdfs.tools."
DATE = r"\w{3} \w{3} \d\d \d\d:\d\d:\d\d \S+ \d{4}"


class Tool:
    """One of Hadoop's tools, scored."""

    def __init__(self, judge, java, name):
        self.judge, self.java, self.name = judge, java, name

    def __call__(self, *arguments, code=0, like=None, holds=(), err=None):
        got, out, errors = self.java(TOOLS + self.name, *arguments)
        label = f"{self.name} {' '.join(arguments)}"
        self.judge.check(f"{label}: exit code", got == code, f"{got}, wanted {code}: {out[-300:]!r} {errors[-500:]!r}")
        if like is not None:
            self.judge.check(f"{label}: output", re.fullmatch(like, out, re.DOTALL), f"{out!r:.1500} is not like {like!r}")
        for part in holds:
            self.judge.check(f"{label}: output", part in out, f"{part!r} is not in {out!r:.1500}")
        if err is not None:
            self.judge.check(f"{label}: errors", err in errors, f"{err!r} is not in {errors!r:.1000}")
        return out


def dfsadmin(judge, admin, logs):
    admin("-report", holds=["Configured Capacity: ", "Live datanodes (3):", "Decommission Status : Normal", "Hostname: 127.0.0.1"])
    admin("-safemode", "get", like="Safe mode is OFF\n")
    admin("-saveNamespace", code=-1, err="saveNamespace: Safe mode should be turned ON in order to create namespace image.")
    admin("-safemode", "enter", like="Safe mode is ON\n")
    admin("-saveNamespace", like="Save namespace successful\n")
    admin("-rollEdits", code=-1, err="rollEdits: Log not rolled. Name node is in safe mode.")
    admin("-safemode", "leave", like="Safe mode is OFF\n")
    admin("-rollEdits", like=r"Successfully rolled edit logs.\nNew segment starts at txid \d+\n")
    admin("-restoreFailedStorage", "check", like="restoreFailedStorage is set to false\n")
    admin("-restoreFailedStorage", "true", like="restoreFailedStorage is set to true\n")
    admin("-refreshNodes", like="Refresh nodes successful\n")
    admin("-finalizeUpgrade", like="Finalize upgrade successful\n")
    admin("-rollingUpgrade", "query", holds=["There is no rolling upgrade in progress"])
    admin("-metasave", "judged", holds=["Created metasave file judged in the log directory"])
    path = os.path.join(logs, "judged")
    judge.check("the metasave file is there", os.path.exists(path), path)
    admin("-metasave", "../judged", code=-1)
    admin("-refreshServiceAcl", code=-1, err="Service Level Authorization not enabled!")
    admin("-refreshUserToGroupsMappings", like="Refresh user to groups mapping successful\n")
    admin("-refreshSuperUserGroupsConfiguration", like="Refresh super user groups configuration successful\n")
    admin("-refreshCallQueue", like="Refresh call queue successful\n")
    admin("-printTopology", like=r"Rack: /default-rack\n(   127.0.0.1:\d+ \(\S+\)\n){3}\n")
    admin("-setBalancerBandwidth", "1048576", holds=["Balancer bandwidth is set to 1048576"])
    admin("-allowSnapshot", "/", code=-1, err="snapshots are not supported by this NameNode")


def refusals(judge, java):
    cache = Tool(judge, java, "CacheAdmin")
    cache("-listPools", like=r"Found 0 results\.\n")
    cache("-listDirectives", like=r"Found 0 entries\n.*|.*")
    cache("-addPool", "p", like=r"Successfully added cache pool p\.\n")
    cache("-addPool", "p", code=2, err="Cache pool p already exists.")
    cache("-removePool", "p", like=r"Successfully removed cache pool p\.\n")
    cache("-removePool", "p", code=2, err="Cannot remove non-existent cache pool p")
    crypto = Tool(judge, java, "CryptoAdmin")
    crypto("-listZones", like=".*")
    snapshots = Tool(judge, java, "snapshot.LsSnapshottableDir")
    snapshots(like="\n")
    policies = Tool(judge, java, "StoragePolicyAdmin")
    policies("-listPolicies", holds=["HOT"])
    groups = Tool(judge, java, "GetGroups")
    groups("nobody-there", holds=["nobody-there :"])


def fsck(judge, java, put):
    check = Tool(judge, java, "DFSck")
    put("/judge-admin/f")
    check("/judge-admin", like=rf".*FSCK started by \S+ \(auth:SIMPLE\) from /127.0.0.1 for path /judge-admin at {DATE}\n.*"
          r"Status: HEALTHY\n.*Total dirs:\t+1\n.*Total files:\t1\n Total blocks \(validated\):\t1 \(avg. block size 5 B\)\n.*"
          r"Minimally replicated blocks:\t1 \(100.0 %\)\n.*Default replication factor:\t3\n Average block replication:\t3.0\n.*"
          r"The filesystem under path '/judge-admin' is HEALTHY\n")
    check("/judge-admin", "-files", "-blocks", "-locations",
          like=r".*/judge-admin <dir>\n/judge-admin/f 5 bytes, .*1 block\(s\):  OK\n0\. BP-\S+:blk_\d+_\d+ len=5 Live_repl=3  "
          r"\[(DatanodeInfoWithStorage\[127.0.0.1:\d+,DS-[0-9a-f-]+,DISK\](, )?){3}\]\n.*is HEALTHY\n")
    check("/judge-admin", "-files", "-blocks", "-racks", holds=["/default-rack/127.0.0.1:"])
    # The tool itself looks for the path before it asks for a check.
    check("/judge-none", like="", err="FileSystem is inaccessible due to:\njava.io.FileNotFoundException: File does not exist: ")
    check("/", "-list-corruptfileblocks", holds=["The filesystem under path '/' has 0 CORRUPT files"])
    block = re.search(r"blk_\d+", java(TOOLS + "DFSck", "/judge-admin", "-files", "-blocks")[1]).group()
    check("-blockId", block, holds=[f"Block Id: {block}", "Block belongs to: /judge-admin/f", "No. of live Replica: 3", "is HEALTHY"])


def watch(judge, java, hadron, url):
    code, _, errors = java("watch", "open")
    judge.check("the event stream opens", code == 0, errors)
    for words in [["-mkdir", "/judge-watch"], ["-touchz", "/judge-watch/a"], ["-mv", "/judge-watch/a", "/judge-watch/b"],
                  ["-chmod", "600", "/judge-watch/b"], ["-rm", "-r", "-skipTrash", "/judge-watch"]]:
        subprocess.run([hadron, "fs", "-fs", url, *words], check=True, capture_output=True)
    code, out, errors = java("watch", "poll", "6")
    want = ["CREATE DIRECTORY /judge-watch", "CREATE FILE /judge-watch/a", "CLOSE /judge-watch/a 0",
            "RENAME /judge-watch/a /judge-watch/b", "METADATA PERMS /judge-watch/b", "UNLINK /judge-watch"]
    judge.check("the watcher gets its batches", code == 0, f"{out} {errors}")
    judge.equal("the watcher sees every change in order", out.splitlines(), want)


def own(judge, hadron, cluster):
    """`hadron dfsadmin`, `fsck` and `getconf` say the same."""

    def run(*words):
        done = subprocess.run([hadron, *words], capture_output=True, text=True,
                              env={**os.environ, "HADOOP_CONF_DIR": cluster.conf("nn")})
        return done.returncode, done.stdout, done.stderr

    code, out, errors = run("dfsadmin", "-report")
    judge.check("hadron dfsadmin -report", code == 0 and "Live datanodes (3):" in out and "Replicated Blocks:" in out, out + errors)
    for words, want in [
        (["-safemode", "get"], (0, "Safe mode is OFF\n", "")),
        (["-saveNamespace"], (255, "", "saveNamespace: Safe mode should be turned ON in order to create namespace image.\n")),
        (["-refreshNodes"], (0, "Refresh nodes successful\n", "")),
        (["-refreshCallQueue"], (0, "Refresh call queue successful\n", "")),
        (["-setBalancerBandwidth", "10m"], (0, "Balancer bandwidth is set to 10485760\n", "")),
        (["-safemode", "sideways"], (255, "", "Usage: hdfs dfsadmin [-safemode <enter | leave | get | wait | forceExit>]\n")),
    ]:
        judge.equal(f"hadron dfsadmin {' '.join(words)}", run("dfsadmin", *words), want)
    address = cluster.url.removeprefix("hdfs://")
    code, out, _ = run("dfsadmin", "-reconfig", "namenode", address, "properties")
    judge.check("hadron dfsadmin -reconfig lists", code == 0 and "dfs.heartbeat.interval\n" in out, out)
    code, out, _ = run("dfsadmin", "-reconfig", "namenode", address, "start")
    judge.equal("hadron dfsadmin -reconfig starts", (code, out), (0, f"Started reconfiguration task on node [{address}].\n"))
    for _ in range(50):
        code, out, _ = run("dfsadmin", "-reconfig", "namenode", address, "status")
        if " and finished at " in out:
            break
        time.sleep(0.1)
    judge.check("hadron dfsadmin -reconfig ends", " and finished at " in out, out)
    code, out, _ = run("fsck", "/")
    judge.check("hadron fsck", code == 0 and out.endswith("The filesystem under path '/' is HEALTHY\n"), out)
    code, out, _ = run("fsck", "/judge-none")
    judge.check("hadron fsck of nothing", code == 0 and "Path '/judge-none' does not exist" in out, f"{code} {out}")
    judge.equal("hadron getconf", run("getconf", "-confKey", "dfs.heartbeat.interval"), (0, "1\n", ""))


def main():
    judge = Judge(__doc__)
    java, class_path = judge.fetch(fetch.java_client, "2.7.3")
    hadron = judge.hadron
    logs = os.path.join(judge.scratch, "logs")
    with Daemons(hadron, settings={"hadoop.log.dir": logs}) as cluster:
        def put(path):
            subprocess.run([hadron, "fs", "-fs", cluster.url, "-mkdir", "-p", os.path.dirname(path)], check=True)
            subprocess.run([hadron, "fs", "-fs", cluster.url, "-put", "-", path], input=b"hello", check=True)

        settings = {"dfs.namenode.http-address": cluster.http.removeprefix("http://")}
        with JavaShell(java, class_path, cluster.url, judge.scratch, settings=settings, driver="ToolDriver") as tools:
            dfsadmin(judge, Tool(judge, tools, "DFSAdmin"), logs)
            refusals(judge, tools)
            fsck(judge, tools, put)
            watch(judge, tools, hadron, cluster.url)
        with JavaShell(java, class_path, cluster.url, judge.scratch, user="alice", settings=settings, driver="ToolDriver") as tools:
            alice = Tool(judge, tools, "DFSAdmin")
            alice("-rollEdits", code=-1, err="rollEdits: Access denied for user alice. Superuser privilege is required")
        own(judge, hadron, cluster)
        judge.check("the cluster still runs at the end", cluster.alive())
    judge.finish()


if __name__ == "__main__":
    main()
