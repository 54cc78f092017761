"""Judge: a DataNode is killed; every block comes back to full replication without anybody asking.

Proof by content: of four DataNodes one is killed, and when the other three hold every block, two more are killed; the
last one alone must serve every byte.
"""

import glob
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from lib.cluster import Daemons  # noqa: E402
from lib.judge import Judge, pattern, run, wait_until  # noqa: E402

FILES = 40
LIMIT_SECONDS = 90


def blocks(cluster, index):
    """Ids of the finalized blocks on one DataNode's disk."""
    found = glob.glob(f"{cluster.folder}/data{index}/current/BP-*/current/finalized/**/blk_*", recursive=True)
    return {os.path.basename(path) for path in found if not path.endswith(".meta")}


def main():
    judge = Judge(__doc__)
    settings = {"dfs.replication": "3", "dfs.namenode.heartbeat.recheck-interval": "500", "dfs.blocksize": "1048576",
                # At Apache's own pace, two blocks a node every three seconds, these few would need a minute.
                "dfs.namenode.replication.work.multiplier.per.iteration": "20", "dfs.namenode.replication.max-streams": "20",
                "dfs.namenode.replication.max-streams-hard-limit": "40", "dfs.namenode.redundancy.interval.seconds": "1"}
    with Daemons(judge.hadron, datanodes=4, settings=settings) as cluster:
        fs = [judge.hadron, "fs", "-fs", cluster.url]
        folder = os.path.join(judge.scratch, "files")
        os.makedirs(folder)
        for index in range(FILES):
            with open(os.path.join(folder, str(index)), "wb") as file:
                file.write(pattern(index, 1 + index * 70_000))
        code, _, errors = run([*fs, "-D", "dfs.blocksize=1048576", "-put", folder, "/files"])
        judge.check("put", code == 0, errors[:500])
        everything = set.union(*(blocks(cluster, index) for index in range(4)))
        judge.check("there are blocks of several files", len(everything) >= FILES, len(everything))
        copies = sum(len(blocks(cluster, index)) for index in range(4))
        judge.equal("three replicas of each", copies, 3 * len(everything))
        judge.check("the first node holds some", blocks(cluster, 0))

        cluster.kill("dn0")
        lost = time.monotonic()
        try:
            wait_until(lambda: all(blocks(cluster, index) == everything for index in (1, 2, 3)), LIMIT_SECONDS,
                       "three nodes hold every block")
            print(f"  full replication {time.monotonic() - lost:.1f} s after the loss", flush=True)
        except TimeoutError as late:
            missing = {index: len(everything - blocks(cluster, index)) for index in (1, 2, 3)}
            judge.check("full replication again", False, f"{late}; missing per node {missing}")
        cluster.kill("dn1")
        cluster.kill("dn2")
        back = os.path.join(judge.scratch, "back")
        code, _, errors = run([*fs, "-get", "/files", back], timeout=300)
        judge.check("get from the last node", code == 0, errors[:500])
        for index in range(FILES):
            path = os.path.join(back, str(index))
            held = os.path.exists(path) and open(path, "rb").read() == pattern(index, 1 + index * 70_000)
            judge.check(f"content of file {index}", held)
        judge.check("the NameNode and the last node still run", cluster.processes["nn"].poll() is None
                    and cluster.processes["dn3"].poll() is None)
    judge.finish()


if __name__ == "__main__":
    main()
