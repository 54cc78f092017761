"""Judge: Apache's balancer evens out a Hadron cluster, and `hadron balancer` one of Apache HDFS 2.7.3.

Two full DataNodes and two empty ones, each on a file system of its own, a tmpfs. While blocks move no block is ever on
fewer disks than it should be; afterwards every DataNode is within the threshold, every block has just as many replicas as
before, all alike, and every file has its bytes. Of two balancers the second refuses, whoever made the first.
"""
# covers: XC-14, XC-15, XC-25

import contextlib
import os
import re
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from lib import apache, fetch  # noqa: E402
from lib.children import fixed_ports, wait_operational  # noqa: E402
from lib.cluster import Daemons  # noqa: E402
from lib.datanodes import replicas, unlike  # noqa: E402
from lib.judge import Judge, pattern, wait_until  # noqa: E402

MIB = 1 << 20
# Balancers leave blocks of less than 10 MiB alone.
BLOCK = 11 * MIB
VOLUME_MIB = 320
FILES = 15
COPIES = 2
NODES = 4
THRESHOLD = 10
LIMIT_SECONDS = 240
SETTINGS = {"dfs.replication": str(COPIES), "dfs.blocksize": str(BLOCK), "dfs.heartbeat.interval": "1",
            "dfs.namenode.replication.interval": "1", "dfs.namenode.heartbeat.recheck-interval": "500",
            "dfs.datanode.balance.bandwidthPerSec": "104857600", "dfs.datanode.balance.max.concurrent.moves": "5"}


class Volumes:
    """Mounts tmpfs volumes, and takes them away at the end."""

    def __init__(self):
        self.mounted = []

    def mount(self, path):
        os.makedirs(path, mode=0o700, exist_ok=True)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={VOLUME_MIB}m,mode=0700", "tmpfs", path],
                              capture_output=True, text=True)
        if done.returncode != 0:
            raise PermissionError(done.stderr.strip())
        self.mounted.append(path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for path in self.mounted:
            subprocess.run(["umount", "-l", path], check=False)


def content(number):
    return pattern(number, BLOCK - 1000 * number)


def fill(judge, url):
    """Writes the files, of one block each."""
    for number in range(FILES):
        subprocess.run([judge.hadron, "fs", "-D", f"dfs.blocksize={BLOCK}", "-D", f"dfs.replication={COPIES}", "-fs", url,
                        "-put", "-", f"/file{number}"], input=content(number), check=True)


def used(folders):
    """Percent of each volume that replicas take."""
    held = {folder: 0 for folder in folders}
    for places in replicas(folders, digest=False).values():
        for folder, (_, length, _) in places.items():
            held[folder] += length
    return [100 * held[folder] / (VOLUME_MIB * MIB) for folder in folders]


class Watch(threading.Thread):
    """Looks for blocks that are on too few disks, all the time."""

    def __init__(self, folders, blocks):
        super().__init__(daemon=True)
        self.folders, self.blocks = folders, blocks
        self.over = threading.Event()
        self.looks, self.missed = 0, []

    def run(self):
        while not self.over.wait(0.02):
            # Folders are listed one after another: a block that moved on meanwhile is looked for again.
            short = self.short(self.blocks)
            if short and (again := self.short(short)):
                self.missed.append(again)
            self.looks += 1

    def short(self, blocks):
        held = replicas(self.folders, digest=False)
        return [block for block in blocks if len(held.get(block, {})) < COPIES]

    def end(self):
        self.over.set()
        self.join()


def balance(judge, name, folders, url, command, rival):
    """Runs the balancer `command` and, while it runs, its `rival`, on a cluster that was filled."""
    before = used(folders)
    blocks = sorted(replicas(folders, digest=False))
    judge.check(f"{name}: uneven before", max(before) > 40 and min(before) == 0 and len(blocks) == FILES, f"{before}, {len(blocks)}")
    watch = Watch(folders, blocks)
    watch.start()
    started = time.monotonic()
    with open(os.path.join(judge.scratch, "balancer.log"), "w+") as errors:
        first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            mark = [judge.hadron, "fs", "-fs", url, "-test", "-e", "/system/balancer.id"]
            wait_until(lambda: subprocess.run(mark).returncode == 0 or first.poll() is not None, 60, "the mark of a balancer")
            second = subprocess.run(rival, capture_output=True, text=True, timeout=LIMIT_SECONDS)
            running = first.poll() is None
            judge.check(f"{name}: a second balancer refuses", running and second.returncode == 252
                        and "Another Balancer is running" in second.stdout, f"{running} {second.returncode} {second.stdout}")
            out, _ = first.communicate(timeout=LIMIT_SECONDS)
        finally:
            first.kill()
            first.wait()
        errors.seek(0)
        said = errors.read()[-3000:]
    watch.end()
    judge.check(f"{name}: exit code 0", first.returncode == 0, f"{first.returncode}\n{out}\n{said}")
    judge.check(f"{name}: it says that the cluster is balanced", "The cluster is balanced. Exiting..." in out, out)
    judge.check(f"{name}: the table", re.search(r"^Time Stamp +Iteration# +Bytes Already Moved", out, re.M)
                and re.search(r"^\w{3} \d+.*[AP]M +0 +[\d.]+ \w*B +[\d.]+ \w*B +[\d.]+ \w*B", out, re.M)
                and re.search(r"Balancing took [\d.]+ (minutes|seconds)", out), out)
    judge.check(f"{name}: no block was ever on fewer disks", watch.looks > 10 and not watch.missed, f"{watch.looks} {watch.missed[:3]}")
    # The balancer's mark was a file, too: only the files' blocks count.
    counts = lambda held: {block: len(held.get(block, {})) for block in blocks}  # noqa: E731
    wanted = dict.fromkeys(blocks, COPIES)
    with contextlib.suppress(TimeoutError):
        wait_until(lambda: counts(replicas(folders, digest=False)) == wanted, 60, "surplus replicas are gone")
    judge.equal(f"{name}: replicas of each block", counts(replicas(folders, digest=False)), wanted)
    judge.equal(f"{name}: all are alike", unlike(folders, COPIES, blocks), [])
    after = used(folders)
    average = sum(after) / len(after)
    judge.check(f"{name}: within the threshold", all(abs(share - average) <= THRESHOLD for share in after), after)
    for number in range(FILES):
        got = subprocess.run([judge.hadron, "fs", "-fs", url, "-cat", f"/file{number}"], capture_output=True)
        judge.check(f"{name}: /file{number}", got.stdout == content(number), got.stderr[-300:])
    print(f"  {name}: {time.monotonic() - started:.1f} s, {watch.looks} looks, {[round(share) for share in after]} %", flush=True)


def their_balancer(theirs, rpc_port, url):
    """Apache's balancer on the cluster `url`."""
    name = f"balancer{rpc_port}"
    theirs.configure(name, {**SETTINGS, "dfs.namenode.rpc-address": f"127.0.0.1:{rpc_port}", "fs.defaultFS": url})
    return theirs.java(name, "balancer.Balancer", "-threshold", str(THRESHOLD), heap="-Xmx512m")


def our_balancer(judge, url, **settings):
    options = [word for key, value in {**SETTINGS, **settings}.items() for word in ("-D", f"{key}={value}")]
    return [judge.hadron, "balancer", "-fs", url, *options, "-threshold", str(THRESHOLD)]


def node_settings(common, folder):
    names = ["dfs.datanode.address", "dfs.datanode.http.address", "dfs.datanode.ipc.address"]
    ports = [f"127.0.0.1:{port}" for port in fixed_ports(3)]
    return {**common, **dict(zip(names, ports)), "dfs.datanode.hostname": "127.0.0.1", "dfs.datanode.data.dir": f"file://{folder}"}


def main():
    judge = Judge(__doc__)
    if judge.options.url:
        judge.skip("it starts clusters of its own")
    try:
        home = apache.unpack(judge.work)
    except fetch.Absent as absent:
        judge.skip(str(absent))
    folder = os.path.join(judge.scratch, "apache")
    os.makedirs(folder)
    all_live = lambda state: state["NumLiveDataNodes"] == NODES  # noqa: E731
    with contextlib.ExitStack() as stack:
        volumes = stack.enter_context(Volumes())
        theirs = apache.Apache(home, folder, datanodes=COPIES, settings=SETTINGS, quick=True)
        ours = Daemons(judge.hadron, datanodes=COPIES, settings=SETTINGS, steady=True)
        their_folders = [f"{folder}/data{index}" for index in range(NODES)]
        our_folders = [ours.data(index) for index in range(NODES)]
        try:
            for path in [*their_folders, *our_folders]:
                volumes.mount(path)
        except PermissionError as error:
            judge.skip(f"it may not mount: {error}")
        ours.wait_ready = lambda: wait_operational(ours.http, lambda state: state["NumLiveDataNodes"] == COPIES, 30, ours.children)

        stack.enter_context(ours)
        fill(judge, ours.url)
        for index in range(COPIES, NODES):
            ours.configure(f"dn{index}", node_settings(ours.settings["nn"], our_folders[index]))
            ours.start_datanode(index)
        wait_operational(ours.http, all_live, 30, ours.children)
        balance(judge, "Apache's balancer on Hadron", our_folders, ours.url, their_balancer(theirs, ours.rpc_port, ours.url),
                our_balancer(judge, ours.url))
        logs = "".join(open(ours.children.log(name), errors="replace").read() for name in ours.processes)
        judge.check("nothing panicked", "panicked" not in logs)
        ours.children.end()

        stack.enter_context(theirs)
        fill(judge, theirs.url)
        common = {**SETTINGS, "dfs.namenode.rpc-address": f"127.0.0.1:{theirs.rpc_port}"}
        for index in range(COPIES, NODES):
            theirs.configure(f"dn{index}", node_settings(common, their_folders[index]))
            theirs.children.launch(f"dn{index}", theirs.java(f"dn{index}", "datanode.DataNode", heap="-Xmx512m"))
        wait_operational(theirs.http, all_live, 60, theirs.children)
        # Ours waits long between two iterations, so that the other one, a JVM, meets it.
        balance(judge, "Hadron's balancer on Apache", their_folders, theirs.url, our_balancer(judge, theirs.url, **{"dfs.heartbeat.interval": "5"}),
                their_balancer(theirs, theirs.rpc_port, theirs.url))
        theirs.children.end(patience=20)
    judge.finish()


if __name__ == "__main__":
    main()
