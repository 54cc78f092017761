"""Judge: an oracle watches stock clients and our own write, flush, append and close while everything is killed.

Clients, DataNodes and the NameNode get SIGKILL, DataNodes SIGSTOP and orderly restarts, at moments a seed decides. What
was acked must be there, what was not may be; see `lib/history.py` for the rules. In the end every file is read back and
all replicas of every block must be alike and as many as asked for.

    python3 interop/judges/oracle.py --hadron target/release/hadron [--minutes N] [--seed S]

The seed decides every choice of the clients and of the disturber; threads and processes still run at their own pace.
With ORACLE_SABOTAGE=1 in the environment open replicas are cut short while all DataNodes are dead: the judge must fail.
"""

import collections
import glob
import os
import random
import re
import signal
import sys
import threading
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from lib.cluster import Daemons  # noqa: E402
from lib.datanodes import unlike  # noqa: E402
from lib.history import File  # noqa: E402
from lib.judge import Judge, wait_until  # noqa: E402
from lib.streams import Clients, Refused, Silent  # noqa: E402

SECONDS = 60
DATANODES, REPLICAS, BLOCK = 5, 3, 1 << 18
# Who writes: one client of each is kept per author until it is killed.
AUTHORS = [["hadron"], ["hadron", "java-3.3.4"], ["hadron", "native"], ["java-3.3.4", "hadron"]]
WATCHERS = ["hadron", "java-3.3.4"]
LENGTHS = [1, 100, 511, 512, 513, 5_000, 64_512, 70_000, 300_000]
MAX_LENGTH = 1_500_000
SETTLE_SECONDS = 150
LAST_SECONDS = 180
SERVER = {
    "dfs.replication": REPLICAS, "dfs.heartbeat.interval": "1", "dfs.namenode.heartbeat.recheck-interval": "500",
    "dfs.namenode.redundancy.interval.seconds": "1", "dfs.namenode.replication.work.multiplier.per.iteration": "20",
    "dfs.namenode.replication.max-streams": "20", "dfs.namenode.replication.max-streams-hard-limit": "40",
    "dfs.blockreport.intervalMsec": "20000", "dfs.namenode.fs-limits.min-block-size": "4096", "dfs.client.socket-timeout": "4000",
}
CLIENT = {
    "dfs.blocksize": BLOCK, "dfs.replication": REPLICAS, "dfs.client.socket-timeout": 4000, "dfs.client.datanode-restart.timeout": 10,
    "dfs.client.block.write.replace-datanode-on-failure.best-effort": "true", "ipc.client.connect.max.retries": 20,
    "dfs.client.retry.interval-ms.get-last-block-length": 500, "dfs.client.retry.window.base": 300,
}


class Stage:
    """What all threads share."""

    def __init__(self, judge, cluster, clients, until):
        self.judge, self.cluster, self.clients, self.until = judge, cluster, clients, until
        self.files, self.problems, self.lock = [], [], threading.Lock()
        self.counts = dict.fromkeys(["acked", "unknown", "settled", "looks", "unseen", "dips", "fenced", "kills"], 0)
        self.authors = []
        # What clients said when they failed, shortened -> how often.
        self.refusals = collections.Counter()

    def over(self):
        return time.monotonic() > self.until or len(self.problems) >= 3

    def problem(self, text):
        with self.lock:
            self.problems.append(f"{time.strftime('%H:%M:%S')} {text}")

    def count(self, what):
        with self.lock:
            self.counts[what] += 1


def patiently(stage, kind, holder, words, seconds=SETTLE_SECONDS, accept=lambda answer: True):
    """Asks helper clients again and again until one answers acceptably; returns the answer. Wrong bytes are no answer."""
    deadline = time.monotonic() + seconds
    last = ""
    while time.monotonic() < deadline:
        try:
            if not holder or not holder[0].alive():
                holder[:] = [stage.clients.start(kind)]
            answer = holder[0](*words)
            if accept(answer):
                return answer
            last = answer
        except (Refused, Silent, RuntimeError) as error:
            last = str(error)
            if isinstance(error, Silent):
                holder[0].end()
            if "WRONG" in last or "File does not exist" in last or "FileNotFound" in last:
                raise Refused(last) from None
        time.sleep(0.2)
    raise TimeoutError(f"{' '.join(map(str, words))}: after {seconds} s still {last[:300]}")


class Author(threading.Thread):
    """Writes one file after the other; settles what is in doubt."""

    def __init__(self, stage, index, kinds):
        super().__init__(daemon=True)
        self.stage, self.index, self.kinds = stage, index, kinds
        self.random = random.Random(f"{stage.judge.seed}-author-{index}")
        self.client, self.helper, self.made = None, [], 0

    def run(self):
        try:
            while not self.stage.over():
                self.one_file()
        except Exception:  # noqa: BLE001: nothing may end unseen
            self.stage.problem(f"author {self.index} broke: {traceback.format_exc()[-1200:]}")

    # -- one file ----------------------------------------------------------------------------

    def one_file(self):
        self.made += 1
        file = File(f"/oracle/{self.index}-{self.made}", self.index * 1000 + self.made)
        with self.stage.lock:
            self.stage.files.append(file)
        verb = "create"
        for _ in range(self.random.randrange(1, 5)):
            if not self.session(file, verb):
                return
            if self.stage.over() or file.issued > MAX_LENGTH:
                break
            verb = "append"
        fate = self.random.choice(["keep", "keep", "rename", "delete"])
        if fate != "keep" and not self.stage.over():
            getattr(self, fate)(file)

    def use(self, kind):
        if self.client and (self.client.kind != kind or not self.client.alive()):
            self.client.end()
            self.client = None
        if not self.client:
            self.client = self.stage.clients.start(kind)

    def session(self, file, verb):
        """Opens the file, writes some, and closes it or is killed. False where the file is not there afterwards."""
        kind = self.random.choice(self.kinds)
        script = [(self.random.choice(LENGTHS), self.random.choice(["hflush"] * 5 + ["hsync", "", ""]))
                  for _ in range(self.random.randrange(1, 12))]
        end = self.random.choices(["close", "die", "zombie"], [6, 2, 1])[0]
        patience = self.random.uniform(0, 0.05)
        try:
            self.use(kind)
        except (RuntimeError, Silent):
            return verb != "create"  # killed while it started: nothing was asked
        try:
            file.exists = None if verb == "create" else True
            file.doubt()
            self.client(verb, file.path)
            file.opened()
            for count, flush in script:
                self.client("write", file.path, file.salt, file.issue(count), count)
                if flush:
                    self.client(flush, file.path)
                    file.ack()
                    self.stage.count("acked")
                if self.stage.over() or file.issued > MAX_LENGTH:
                    break
            if end == "zombie":
                return self.zombie(file)
            if end == "die":
                count = self.random.choice(LENGTHS)
                self.client.send("write", file.path, file.salt, file.issue(count), count)
                self.client.send("hflush", file.path)
                time.sleep(patience)
                self.client.kill()
                raise Silent("killed by its author")
            self.client("close", file.path)
            file.ack(closed=True)
            self.stage.count("acked")
            return True
        except (Refused, Silent) as error:
            self.stage.count("unknown")
            self.stage.refusals[f"{self.client.kind}: {re.sub('[0-9]+', '#', str(error))[:160]}"] += 1
            if isinstance(error, Silent):
                if self.client.late:
                    self.late(error, file)
                self.client.end()
            return self.settle(file)

    def late(self, error, file):
        # hdfs-native waits for acks in its own time, which no key shortens.
        if self.client.kind != "native":
            self.stage.problem(f"{file.path}: {error}")

    def zombie(self, file):
        """The writer sleeps, another one takes over and goes on; the writer wakes up and must get nothing done."""
        sleeper = self.client
        sleeper.pause()
        self.client = None
        try:
            if not self.settle(file):
                return False
            if not self.session_of_successor(file):
                return self.settle(file)
            length = file.acked
            sleeper.go_on()
            try:
                sleeper("write", file.path, file.salt, length, 10)
                sleeper("hflush", file.path)
                if sleeper.alive():
                    self.stage.problem(f"{file.path}: a {sleeper.kind} writer whose lease was taken flushed at {length}")
            except (Refused, Silent):
                self.stage.count("fenced")
            return True
        finally:
            sleeper.end()

    def session_of_successor(self, file):
        count = self.random.choice(LENGTHS)
        try:
            self.use("hadron")
            file.doubt()
            self.client("append", file.path)
            self.client("write", file.path, file.salt, file.issue(count), count)
            self.client("close", file.path)
            file.ack(closed=True)
            return True
        except (Refused, Silent, RuntimeError):
            return False

    def settle(self, file):
        """Recovers the lease of a file in doubt and looks what it holds. False where it does not exist."""
        self.stage.count("settled")
        try:
            self.ask("recover", file.path, accept=lambda answer: answer == "true")
            answer = self.ask("view", file.path, file.salt)
        except Refused as error:
            if "WRONG" not in str(error) and file.exists is not True:
                file.exists = None
                return False
            self.stage.problem(f"{file.path}, acked to {file.acked}: {error}")
            return False
        except TimeoutError as error:
            self.stage.problem(f"{file.path}, acked to {file.acked}: {error}")
            return False
        wrong = file.settled(int(answer.split(" ")[0]))
        if wrong:
            self.stage.problem(wrong)
        return True

    def ask(self, *words, accept=lambda answer: True):
        return patiently(self.stage, "hadron", self.helper, words, accept=accept)

    def rename(self, file):
        """Its answer may get lost; then it is asked for again, and the file must be at one of both places."""
        target = file.path + "-moved"
        with file.lock:
            file.other_path = target
        try:
            self.use(self.kinds[0])
            self.client("rename", file.path, target)
        except (Refused, Silent, RuntimeError):
            self.stage.count("unknown")
            try:
                while True:
                    places = [self.ask("status", place) != "absent" for place in (file.path, target)]
                    if places == [False, True]:
                        break
                    if places != [True, False]:
                        self.stage.problem(f"{file.path}: after a rename without answer it is at {places.count(True)} places")
                        return
                    self.ask("rename", file.path, target)
            except (Refused, TimeoutError) as error:
                self.stage.problem(f"rename of {file.path}: {error}")
                return
        with file.lock:
            file.path, file.other_path = target, None

    def delete(self, file):
        with file.lock:
            file.exists = None
        try:
            self.use(self.kinds[0])
            self.client("delete", file.path)
        except (Refused, Silent, RuntimeError):
            self.stage.count("unknown")
            try:
                self.ask("delete", file.path)
                self.ask("status", file.path, accept=lambda answer: answer == "absent")
            except (Refused, TimeoutError) as error:
                self.stage.problem(f"delete of {file.path}: {error}")
                return
        with file.lock:
            file.exists = False

    def end(self):
        for client in [self.client, *self.helper]:
            if client:
                client.end()


class Watcher(threading.Thread):
    """Opens files all the time and compares what it sees with what is known."""

    def __init__(self, stage, index, kind):
        super().__init__(daemon=True)
        self.stage, self.kind, self.client = stage, kind, None
        self.random = random.Random(f"{stage.judge.seed}-watcher-{index}")

    def run(self):
        try:
            while not self.stage.over():
                with self.stage.lock:
                    files = self.stage.files[-8:]
                if files:
                    self.look(self.random.choice(files))
                time.sleep(0.02)
        except Exception:  # noqa: BLE001
            self.stage.problem(f"watcher {self.kind} broke: {traceback.format_exc()[-1200:]}")
        if self.client:
            self.client.end()

    def look(self, file):
        """One look; where the length fell within a stamp, more until it rose or the stamp did."""
        deadline = time.monotonic() + SETTLE_SECONDS
        fell = True
        while fell and time.monotonic() < deadline:
            look = file.begin_look()
            if look[2] is not True or file.other_path:
                return
            try:
                if not self.client or not self.client.alive():
                    self.client = self.stage.clients.start(self.kind)
                length, block, stamp = self.client("view", file.path, file.salt).split(" ")
            except (Refused, Silent, RuntimeError) as error:
                if isinstance(error, Silent):
                    self.client.end()
                text = str(error)
                if "WRONG" in text:
                    self.stage.problem(f"{file.path}, read by {self.kind}: {text}")
                elif ("FileNotFound" in text or "does not exist" in text) and file.exists is True and not file.other_path \
                        and not file.path.endswith("-moved"):
                    self.stage.problem(f"{file.path} is gone for {self.kind}: {text[:300]}")
                self.stage.count("unseen")
                return
            known = (int(block), int(stamp)) if block != "-" else (None, None)
            wrong, fell = file.saw(look, int(length), *known)
            self.stage.count("looks")
            if wrong:
                self.stage.problem(f"{wrong} (read by {self.kind})")
                return
            if fell:
                self.stage.count("dips")
                time.sleep(0.1)
        if fell:
            self.stage.problem(f"{file.path}: the visible length fell within a stamp and stays so: {file.seen}")


class Disturber(threading.Thread):
    """Kills and stops what the seed says, and starts it again."""

    def __init__(self, stage):
        super().__init__(daemon=True)
        self.stage, self.cluster = stage, stage.cluster
        self.random = random.Random(f"{stage.judge.seed}-disturber")

    def run(self):
        try:
            while not self.stage.over():
                time.sleep(self.random.uniform(0.3, 2.5))
                kind = self.random.choices(["datanode", "stop", "restart", "namenode", "client", "two", "all"], [5, 2, 2, 2, 5, 2, 1])[0]
                chosen = self.random.sample(range(DATANODES), DATANODES)
                pause = self.random.choice([0, 0.5, 2, 5, 9])
                self.stage.count("kills")
                getattr(self, kind)(chosen, pause)
        except Exception:  # noqa: BLE001
            self.stage.problem(f"the disturber broke: {traceback.format_exc()[-1200:]}")

    def kill_datanodes(self, chosen, pause):
        for index in chosen:
            self.cluster.kill(f"dn{index}")
        time.sleep(pause)
        if len(chosen) == DATANODES and os.environ.get("ORACLE_SABOTAGE"):
            for path in glob.glob(f"{self.cluster.folder}/data*/current/BP-*/current/rbw/blk_*"):
                if not path.endswith(".meta"):
                    os.truncate(path, os.path.getsize(path) // 2)
        for index in chosen:
            self.cluster.start_datanode(index)

    def datanode(self, chosen, pause):
        self.kill_datanodes(chosen[:1], pause)

    def two(self, chosen, pause):
        self.kill_datanodes(chosen[:2], pause)

    def all(self, chosen, pause):
        self.kill_datanodes(chosen, min(pause, 2))

    def stop(self, chosen, pause):
        process = self.cluster.processes[f"dn{chosen[0]}"]
        process.send_signal(signal.SIGSTOP)
        time.sleep(pause)
        process.send_signal(signal.SIGCONT)

    def restart(self, chosen, _pause):
        self.cluster.children.stop(f"dn{chosen[0]}")
        self.cluster.start_datanode(chosen[0])

    def namenode(self, _chosen, pause):
        self.cluster.kill("nn")
        time.sleep(min(pause, 2))
        self.cluster.start_namenode()

    def client(self, _chosen, _pause):
        client = self.random.choice(self.stage.authors).client
        if client and client.alive():
            client.process.kill()


def rules_can_fail(judge):
    """The rules find what they are there for: each history has one lie in it."""
    def look(file, length, stamp=None):
        return file.saw(file.begin_look(), length, *((7, stamp) if stamp else ()))

    def history(*acked):
        file = File("/rules", 1)
        file.opened()
        for count in acked:
            file.issue(count)
            file.ack()
        return file

    judge.equal("what is acked and seen is right", look(history(10, 5), 15), (None, False))
    judge.check("an acked byte that is gone is noticed", look(history(10, 5), 14)[0])
    judge.check("a byte nobody wrote is noticed", look(history(10, 5), 16)[0])
    file = history(10)
    file.issue(5)
    judge.equal("a byte without an answer may be there or not", [look(file, length)[0] for length in (10, 15, 13)], [None] * 3)
    judge.check("a file that settles short is noticed", file.settled(9))
    judge.check("a file that settles long is noticed", history(10).settled(11))
    file = history(10)
    file.issue(5)
    looks = [look(file, length, stamp) for length, stamp in [(12, 1001), (11, 1001), (11, 1002), (10, 1001)]]
    judge.equal("a length may fall with a new stamp only", looks[:3], [(None, False), (None, True), (None, False)])
    judge.check("a stamp that falls is noticed", looks[3][0])
    early = file.begin_look()
    file.settled(13)
    judge.equal("what was settled binds those that look later", [file.saw(early, 11)[0] is None, look(file, 12)[0] is None], [True, False])


def last_look(judge, stage):
    """Everything runs again: every file is settled and read, all replicas are alike."""
    helper = []
    lengths = 0
    for file in stage.files:
        if file.exists is not True:
            continue
        try:
            ask = lambda *words, **options: patiently(stage, "hadron", helper, words, LAST_SECONDS, **options)  # noqa: E731
            ask("recover", file.path, accept=lambda answer: answer == "true")
            length = int(ask("view", file.path, file.salt).split(" ")[0])
        except (Refused, TimeoutError) as error:
            judge.check(f"{file.path}, acked to {file.acked}, is whole in the end", False, error)
            continue
        wrong = file.settled(length)
        lengths += length
        judge.check(f"{file.path} in the end", not wrong, wrong)
    for client in helper:
        client.end()
    folders = [stage.cluster.data(index) for index in range(DATANODES)]
    try:
        wait_until(lambda: not unlike(folders, REPLICAS), LAST_SECONDS, "all replicas are alike and enough")
    except TimeoutError as late:
        judge.check("replication heals", False, f"{late}: {'; '.join(unlike(folders, REPLICAS))[:1500]}")
    return lengths


def main():
    judge = Judge(__doc__)
    if judge.options.url:
        judge.skip("it kills daemons of its own")
    rules_can_fail(judge)
    seconds = judge.options.minutes * 60 or SECONDS
    with Daemons(judge.hadron, datanodes=DATANODES, settings=SERVER, steady=True) as cluster, \
            Clients(judge, cluster.url, CLIENT) as clients:
        print(f"  seed {judge.seed}, {seconds:.0f} s", flush=True)
        stage = Stage(judge, cluster, clients, time.monotonic() + seconds)
        for index, kinds in enumerate(AUTHORS):
            stage.authors.append(Author(stage, index, [kind for kind in kinds if kind in clients.kinds]))
        watchers = [Watcher(stage, index, kind) for index, kind in enumerate(WATCHERS) if kind in clients.kinds]
        disturber = Disturber(stage)
        for thread in [*stage.authors, *watchers, disturber]:
            thread.start()
        for thread in [*stage.authors, *watchers, disturber]:
            thread.join(timeout=seconds + 2 * SETTLE_SECONDS)
            judge.check(f"{type(thread).__name__} comes to its end", not thread.is_alive())
        for author in stage.authors:
            author.end()
        for name in cluster.processes:
            judge.check(f"{name} runs when nobody kills any more", cluster.children.alive(name))
        cluster.wait_ready(LAST_SECONDS)
        lengths = last_look(judge, stage)
        for problem in stage.problems:
            judge.check("oracle", False, problem)
        logs = "".join(open(cluster.children.log(name), errors="replace").read() for name in cluster.processes)
        judge.check("nothing panicked", "panicked" not in logs)
        judge.check("the oracle saw enough", stage.counts["acked"] >= 10 and stage.counts["looks"] >= 10, stage.counts)
        print(f"  {len(stage.files)} files, {lengths} bytes kept; " + ", ".join(f"{count} {what}" for what, count in stage.counts.items()),
              flush=True)
        if judge.failed:
            for text, count in stage.refusals.most_common(12):
                print(f"  {count} × {text}", flush=True)
            print(f"  replay: interop/judges/oracle.py --seed {judge.seed} --minutes {seconds / 60:g}; "
                  "HADRON_KEEP=1 keeps the cluster's folder", flush=True)
    judge.finish()


if __name__ == "__main__":
    main()
