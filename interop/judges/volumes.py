"""Judge: volumes filled to the brim, and volumes pulled away while files are written.

Every volume is a real file system, a tmpfs of a few MiB. Full: the client hears a clear error, nothing crashes, what was
acked stays readable, and with space back writing goes on. Pulled away: the DataNode goes on with its other volume, the
NameNode counts the failure, every file that was acked is readable and comes back to full replication; a DataNode that
loses more volumes than it may stops and says why.
"""

import contextlib
import glob
import json
import os
import subprocess
import sys
import threading
import time
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from lib.children import wait_operational  # noqa: E402
from lib.cluster import Daemons  # noqa: E402
from lib.judge import Judge, pattern, wait_until  # noqa: E402

import hdfs_native  # noqa: E402

MIB = 1 << 20
BLOCK = MIB
LIMIT_SECONDS = 60
COMMON = {
    "dfs.blocksize": str(BLOCK), "dfs.namenode.fs-limits.min-block-size": "1024",
    "dfs.namenode.heartbeat.recheck-interval": "500", "dfs.namenode.redundancy.interval.seconds": "1",
    "dfs.namenode.replication.work.multiplier.per.iteration": "20", "dfs.namenode.replication.max-streams": "20",
    "dfs.namenode.replication.max-streams-hard-limit": "40", "dfs.namenode.replication.pending.timeout-sec": "5",
    "dfs.datanode.disk.check.min.gap": "1s",
}


class Volumes(Daemons):
    """Daemons whose DataNodes keep their replicas on tmpfs volumes: per DataNode a list of sizes in MiB."""

    def __init__(self, judge, sizes, settings=None, own=None):
        super().__init__(judge.hadron, datanodes=len(sizes), settings={**COMMON, **(settings or {})})
        self.mounted = []
        self.sizes = sizes
        common = {
            **COMMON, **(settings or {}),
            "dfs.namenode.rpc-address": f"127.0.0.1:{self.rpc_port}", "dfs.heartbeat.interval": "1",
            "dfs.datanode.address": "127.0.0.1:0", "dfs.datanode.http.address": "127.0.0.1:0",
            "dfs.datanode.ipc.address": "127.0.0.1:0", "dfs.datanode.hostname": "127.0.0.1",
        }
        for node, volumes in enumerate(sizes):
            dirs = ",".join(f"[DISK]file://{self.dir(node, number)}" for number in range(len(volumes)))
            self.configure(f"dn{node}", {**common, **(own or {}).get(node, {}), "dfs.datanode.data.dir": dirs})

    def dir(self, node, volume):
        return os.path.join(self.folder, f"volume{node}-{volume}")

    def mount(self, node, volume, size):
        path = self.dir(node, volume)
        os.makedirs(path, exist_ok=True)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}m", "tmpfs", path], capture_output=True, text=True)
        if done.returncode != 0:
            raise PermissionError(done.stderr.strip())
        self.mounted.append(path)

    def pull(self, node, volume):
        """Takes a volume away under a running DataNode: what is open stays, every name on it is gone."""
        path = self.dir(node, volume)
        subprocess.run(["umount", "-l", path], check=True)
        self.mounted.remove(path)

    def start(self):
        for node, volumes in enumerate(self.sizes):
            for number, size in enumerate(volumes):
                self.mount(node, number, size)
        return super().start()

    def wait_ready(self, seconds=30):
        running = sum(name.startswith("dn") and process.poll() is None for name, process in self.processes.items())
        wait_operational(self.http, lambda state: state["NumLiveDataNodes"] >= running and state["CapacityTotal"] > 0,
                         seconds, self.children)

    def bean(self, name):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{self.http}/jmx?qry=Hadoop:service=NameNode,name={name}", timeout=5) as answer:
            return json.load(answer)["beans"][0]

    def said(self, name, *words):
        """Whether a daemon's log has a line with all the words."""
        with open(self.children.log(name), errors="replace") as log:
            return any(all(word in line for word in words) for line in log)

    def __exit__(self, *arguments):
        # Nobody uses the volumes any more once the daemons have ended.
        self.children.end()
        for path in self.mounted:
            subprocess.run(["umount", "-l", path], check=False)
        super().__exit__(*arguments)


def client_of(cluster):
    return hdfs_native.Client(cluster.url, config={"dfs.blocksize": str(BLOCK), "dfs.replication": "1"})


def write(client, path, data, replication=1):
    options = hdfs_native.WriteOptions(block_size=BLOCK, replication=replication, overwrite=True)
    writer = client.create(path, options)
    # Not `with`: its close, which must fail after a failed write, would hide what the write said.
    for start in range(0, len(data), MIB):
        writer.write(data[start:start + MIB])
    writer.close()


def read(client, path):
    with client.read(path) as reader:
        return reader.read()


def check_all(judge, name, client, files):
    """Reads every file and compares it byte for byte."""
    wrong = []
    for path, (seed, length) in files.items():
        try:
            held = read(client, path) == pattern(seed, length)
            if not held:
                wrong.append(f"{path}: other bytes")
        except Exception as error:  # noqa: BLE001: the client raises several kinds
            wrong.append(f"{path}: {error}")
    judge.check(name, files and not wrong, "; ".join(wrong)[:500] or "no file at all")


def remaining(cluster):
    return cluster.bean("FSNamesystemState")["CapacityRemaining"]


def brim(judge):
    """One DataNode, two volumes: filled through the client, then by somebody else while a block is written."""
    size = 24
    with Volumes(judge, [[size, size]], {"dfs.replication": "1"}) as cluster:
        client = client_of(cluster)
        files, said = {}, None
        for number in range(4 * size):
            path = f"/full/{number}"
            try:
                write(client, path, pattern(number, 3 * MIB))
                files[path] = (number, 3 * MIB)
            except Exception as error:  # noqa: BLE001
                said = f"{type(error).__name__}: {error}"
                break
        judge.check("writing to full volumes fails", said is not None)
        # A block refused by the DataNode itself is told in each client's own words; the NameNode's follow with the next
        # heartbeat, and the DataNode's log has the reason.
        clear = "could only be written to 0 of the 1 minReplication nodes"
        try:
            wait_until(lambda: clear in refusal(client), LIMIT_SECONDS, "the NameNode says that no node has room")
        except TimeoutError:
            judge.check("the client hears why", False, refusal(client))
        judge.check("the DataNode says which room it lacks", clear in (said or "") or cluster.said("dn0", "Out of space"), said)
        judge.check("the volumes were really filled", len(files) * 3 >= 2 * size - 12, f"{len(files)} files of 3 MiB")
        judge.check("nobody crashed", cluster.alive())
        check_all(judge, "all that was acked is readable while full", client, files)
        for path in list(files)[::2]:
            client.delete(path)
            del files[path]
        wait_until(lambda: remaining(cluster) > size * MIB // 2, LIMIT_SECONDS, "space is back")
        for number in range(3):
            write(client, f"/again/{number}", pattern(100 + number, 2 * MIB))
            files[f"/again/{number}"] = (100 + number, 2 * MIB)
        check_all(judge, "with space back writing goes on", client, files)

        # Somebody else takes all the room while a block is being written.
        fillers = [os.path.join(cluster.dir(0, number), "filler") for number in range(2)]
        said = None
        try:
            writer = client.create("/torn", hdfs_native.WriteOptions(block_size=BLOCK, replication=1, overwrite=True))
            writer.write(pattern(7, 2 * MIB))
            for filler in fillers:
                fill(filler)
            for number in range(4):
                writer.write(pattern(number, MIB))
            writer.close()
        except Exception as error:  # noqa: BLE001
            said = f"{type(error).__name__}: {error}"
        # A writer that outlives its cluster looks for it for three minutes when it is freed.
        writer = None
        judge.check("a block that runs out of disk fails", said is not None)
        judge.check("nobody crashed when the disk was full", cluster.alive())
        check_all(judge, "other files are readable on the full disk", client, files)
        judge.equal("a full volume is no failed one", cluster.bean("FSNamesystemState")["VolumeFailuresTotal"], 0)
        for filler in fillers:
            os.remove(filler)

        def written():
            try:
                write(client, "/after", pattern(8, 3 * MIB))
                return True
            except Exception as error:  # noqa: BLE001
                written.error = str(error)
                return False

        try:
            wait_until(written, LIMIT_SECONDS, "writing goes on")
        except TimeoutError:
            judge.check("writing goes on once the disk has room", False, written.error)
        files["/after"] = (8, 3 * MIB)
        check_all(judge, "everything is readable in the end", client, files)
        judge.equal("the DataNode ends in order", cluster.children.stop("dn0"), 0)
        used = glob.glob(f"{cluster.dir(0, 0)}/current/BP-*/current/dfsUsed")
        judge.check("it leaves its usage behind", used and len(open(used[0]).read().split()) == 2, used)


def refusal(client):
    """What the client hears when a file of one block cannot be written; empty when it can."""
    try:
        write(client, "/full/probe", pattern(1, BLOCK))
        client.delete("/full/probe")
    except Exception as error:  # noqa: BLE001
        return str(error)
    return ""


def fill(path):
    with contextlib.suppress(OSError), open(path, "wb", buffering=0) as file:
        while True:
            file.write(bytes(64 << 10))


class Load(threading.Thread):
    """Writes files until told to stop; remembers those whose close was acked."""

    def __init__(self, cluster):
        super().__init__(daemon=True)
        self.client = client_of(cluster)
        self.files, self.errors = {}, []
        self.halt = threading.Event()

    def run(self):
        number = 0
        while not self.halt.is_set():
            number += 1
            path, length = f"/load/{number}", 100_000 + 37_000 * (number % 40)
            try:
                write(self.client, path, pattern(number, length), replication=2)
                self.files[path] = (number, length)
            except Exception as error:  # noqa: BLE001
                self.errors.append(f"{path}: {error}")
            time.sleep(0.02)


def pulled(judge):
    """Three DataNodes, the first one with two volumes of which one may fail."""
    tolerant = {0: {"dfs.datanode.failed.volumes.tolerated": "1"}}
    with Volumes(judge, [[256, 256], [512], [512]], {"dfs.replication": "2"}, tolerant) as cluster:
        load = Load(cluster)
        load.start()
        wait_until(lambda: len(load.files) >= 10, LIMIT_SECONDS, "there is load")
        cluster.pull(0, 1)
        before = len(load.files)
        wait_until(lambda: cluster.bean("FSNamesystemState")["VolumeFailuresTotal"] == 1, LIMIT_SECONDS, "the NameNode counts the failed volume")
        wait_until(lambda: len(load.files) >= before + 20, LIMIT_SECONDS, "the load goes on")
        load.halt.set()
        load.join()
        print(f"  {len(load.files)} files acked, {len(load.errors)} refused while a volume was pulled{'; ' if load.errors else ''}"
              + "; ".join(load.errors)[:300], flush=True)
        judge.check("the DataNode goes on", cluster.children.alive("dn0"))
        judge.check("it says which volume failed", cluster.said("dn0", "volume failed", cluster.dir(0, 1)))
        judge.check("nothing was written where the volume was", os.listdir(cluster.dir(0, 1)) == [])
        check_all(judge, "every acked file is readable", load.client, load.files)
        healed(cluster)
        # More than it may: the DataNode stops, and the others have everything.
        cluster.pull(0, 0)

        def poke():
            with contextlib.suppress(Exception):
                write(load.client, "/poke", pattern(1, MIB), replication=2)
            return cluster.processes["dn0"].poll() is not None

        wait_until(poke, LIMIT_SECONDS, "the DataNode without volumes stops")
        judge.check("its exit code says so", cluster.processes["dn0"].poll() not in (0, None), cluster.processes["dn0"].poll())
        judge.check("it says why", cluster.said("dn0", "too many failed volumes"))
        check_all(judge, "the other DataNodes have every file", load.client, load.files)
        # One usable volume and one that is none: it may start like that.
        cluster.mount(0, 0, 256)
        os.rmdir(cluster.dir(0, 1))
        with open(cluster.dir(0, 1), "w"):
            pass
        cluster.start_datanode(0)
        wait_until(lambda: cluster.bean("FSNamesystemState")["VolumeFailuresTotal"] >= 1 and cluster.bean("FSNamesystemState")["NumLiveDataNodes"] == 3,
                   LIMIT_SECONDS, "the DataNode is back with one volume")
        healed(cluster)
        check_all(judge, "every file is readable in the end", load.client, load.files)
        judge.check("everybody runs in the end", all(cluster.children.alive(name) for name in ["nn", "dn0", "dn1", "dn2"]))


def healed(cluster):
    """Waits until no block has too few replicas."""
    def whole():
        state = cluster.bean("FSNamesystem")
        return state["MissingBlocks"] == 0 and state["UnderReplicatedBlocks"] == 0 and state["PendingReplicationBlocks"] == 0

    wait_until(whole, LIMIT_SECONDS, "every block has two replicas again")


def main():
    judge = Judge(__doc__)
    for name, part in [("brim", brim), ("pulled", pulled)]:
        try:
            part(judge)
        except PermissionError as error:
            judge.skip(f"file systems cannot be mounted here: {error}")
        except TimeoutError as error:
            judge.check(name, False, error)
    judge.finish()


if __name__ == "__main__":
    main()
