"""Judge: random namespace operations from many concurrent stock clients, against a model of the tree.

Each of the clients (hdfs-native, one process each) works below a folder of its own and knows what must be there; before that
they race for the same names, and exactly one may win each race. Where we own the cluster, the NameNode is killed with
SIGKILL and restarted while they work: what was answered must be there afterwards, what was not answered must be either
wholly done or not done at all. At the end each compares the tree, the modes and every byte.
"""

import multiprocessing
import os
import random
import sys
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from lib.cluster import Daemons  # noqa: E402
from lib.judge import Judge  # noqa: E402

import hdfs_native  # noqa: E402

BASE = "/judge-random"
CLIENTS = 16
RACES = 12
MAX_ENTRIES = 60
RESTART_SECONDS = 60
# What an answer of the NameNode looks like, as opposed to a lost connection.
ANSWERS = ["FileNotFoundError", "FileExistsError", "PathIsNotEmptyDirectoryException", "ParentNotDirectoryException",
           "AlreadyBeingCreated", "IsADirectory", "NotADirectory", "java.io.IOException", "ot a directory"]
NOT_NOW = ["SafeMode", "safe mode", "could only be"]


def said(error):
    return f"{type(error).__name__}: {error}"


class Worker:
    """One client with its model: path -> None for a folder, (bytes, mode) for a file."""

    def __init__(self, url, index, seed):
        self.url = url
        self.root = f"{BASE}/client-{index}"
        self.random = random.Random(seed * 1000 + index)
        self.model = {self.root: None}
        self.client = hdfs_native.Client(url)
        self.operations = 0
        self.unsure = 0
        self.problems = []

    def problem(self, text):
        self.problems.append(f"{self.root}: {text}")

    # -- what the server shows ------------------------------------------------------------

    def patiently(self, action):
        """Repeats a harmless action until the server answers it."""
        deadline = time.monotonic() + RESTART_SECONDS
        while True:
            try:
                return action(self.client)
            except Exception as error:  # noqa: BLE001: the client raises several kinds
                text = said(error)
                if any(answer in text for answer in ANSWERS) and not any(word in text for word in NOT_NOW):
                    raise
                if time.monotonic() > deadline:
                    raise TimeoutError(f"no answer within {RESTART_SECONDS} s: {text[:300]}") from error
                time.sleep(0.1)
                self.client = hdfs_native.Client(self.url)

    def shown(self):
        """The tree as the server lists it: path -> None, or (length, mode)."""
        listed = self.patiently(lambda client: list(client.list_status(self.root, True)))
        tree = {status.path: None if status.isdir else (status.length, status.permission & 0o777) for status in listed}
        tree[self.root] = None
        return tree

    @staticmethod
    def outline(model):
        return {path: None if entry is None else (len(entry[0]), entry[1]) for path, entry in model.items()}

    def expect_tree(self):
        shown, wanted = self.shown(), self.outline(self.model)
        if shown != wanted:
            missing = {path: entry for path, entry in wanted.items() if shown.get(path, 0) != entry}
            surplus = {path: entry for path, entry in shown.items() if wanted.get(path, 0) != entry}
            self.problem(f"tree differs: wanted {str(missing)[:500]}, shown {str(surplus)[:500]}")
            return
        for path, entry in self.model.items():
            if entry is not None and entry[0]:
                got = self.patiently(lambda client, path=path: client.read(path).read())
                if got != entry[0]:
                    self.problem(f"content of {path} differs: {len(got)} bytes, wanted {len(entry[0])}")

    # -- one random operation ---------------------------------------------------------------

    def folders(self):
        return [path for path, entry in self.model.items() if entry is None]

    def files(self):
        return [path for path, entry in self.model.items() if entry is not None]

    def below(self, path):
        return [other for other in self.model if other == path or other.startswith(path + "/")]

    def choose(self):
        """Returns (name, action, model afterwards or None when it must be refused)."""
        pick = self.random
        after = dict(self.model)
        fresh = f"{pick.choice(self.folders())}/{pick.choice('abcdefgh')}{pick.randrange(1000)}"
        anything = pick.choice(list(self.model))
        kind = pick.choices(["mkdir", "create", "overwrite", "rename", "delete", "chmod", "wrong"], [3, 6, 2, 5, 3, 2, 2])[0]
        if len(self.model) > MAX_ENTRIES:
            kind = "delete"
        if kind == "mkdir" and fresh not in after:
            after[fresh] = None
            return f"mkdir {fresh}", lambda client: client.mkdirs(fresh), after
        if kind in ("create", "overwrite"):
            path = pick.choice(self.files()) if kind == "overwrite" and self.files() else fresh
            if path in after and after[path] is None:
                return None
            data = pick.randbytes(pick.choice([0, 1, 700, 5000]))
            after[path] = (data, 0o644)
            return f"create {path}", lambda client: self.write(client, path, data), after
        if kind == "rename" and anything != self.root and fresh not in after and not fresh.startswith(anything + "/"):
            for path in self.below(anything):
                after[fresh + path[len(anything):]] = after.pop(path)
            return f"rename {anything} {fresh}", lambda client: client.rename(anything, fresh), after
        if kind == "delete" and anything != self.root:
            for path in self.below(anything):
                del after[path]
            return f"delete {anything}", lambda client: client.delete(anything, True), after
        if kind == "chmod" and self.files():
            path, mode = pick.choice(self.files()), pick.choice([0o600, 0o644, 0o755])
            after[path] = (after[path][0], mode)
            return f"chmod {path}", lambda client: client.set_permission(path, mode), after
        if kind == "wrong":
            wrongs = [(f"rename {self.root}/none", lambda client: client.rename(f"{self.root}/none", fresh))]
            if self.files():
                path = pick.choice(self.files())
                wrongs.append((f"mkdir {path}/x", lambda client, path=path: client.mkdirs(f"{path}/x", create_parent=True)))
                wrongs.append((f"mkdir {path}", lambda client, path=path: client.mkdirs(path)))
            full = [path for path in self.folders() if len(self.below(path)) > 1]
            if full:
                path = pick.choice(full)
                wrongs.append((f"delete of full {path}", lambda client, path=path: client.delete(path, False)))
            name, action = pick.choice(wrongs)
            return f"wrong {name}", action, None
        return None

    @staticmethod
    def write(client, path, data):
        with client.create(path, hdfs_native.WriteOptions(overwrite=True, permission=0o644)) as writer:
            if data:
                writer.write(data)

    def step(self):
        chosen = self.choose()
        if chosen is None:
            return
        name, action, after = chosen
        self.operations += 1
        try:
            action(self.client)
        except Exception as error:  # noqa: BLE001: the client raises several kinds
            text = said(error)
            answered = any(answer in text for answer in ANSWERS) and not any(word in text for word in NOT_NOW)
            if after is None:
                if not answered:
                    self.settle(name, self.model, text)
                return
            # An answer may belong to the second try of a call whose first try was lost with the NameNode.
            self.settle(name, after, text, answered)
            return
        if after is None:
            self.problem(f"{name} was not refused")
            return
        self.model = after

    def settle(self, name, after, text, answered=False):
        """Finds out whether an operation without a clear answer happened."""
        self.unsure += 1
        self.client = hdfs_native.Client(self.url)
        shown = self.shown()
        if shown == self.outline(after):
            if name.startswith("create"):
                # The length is right, but the file may still be open; take the doubt away.
                self.remove(name.split(" ", 1)[1], after)
                return
            self.model = after
            return
        if shown == self.outline(self.model):
            if answered and not name.startswith("create"):
                self.problem(f"{name} was refused for no reason: {text[:200]}")
            return
        if name.startswith("create"):
            path = name.split(" ", 1)[1]
            rest = {other: entry for other, entry in shown.items() if other != path}
            if rest == {other: entry for other, entry in self.outline(self.model).items() if other != path}:
                self.remove(path, self.model)
                return
        differences = {path: (shown.get(path, "absent"), self.outline(self.model).get(path, "absent"))
                       for path in set(shown) | set(self.model) if shown.get(path, 0) != self.outline(self.model).get(path, 0)}
        self.problem(f"{name} is half done after {text[:100]!r}: {str(differences)[:500]}")
        self.model = {path: (entry if entry is None else self.model.get(path) or (b"?", 0)) for path, entry in shown.items()}

    def remove(self, path, model):
        """Deletes a file whose fate is unclear, until that is sure."""
        self.patiently(lambda client: client.delete(path, True))
        self.model = {other: entry for other, entry in model.items() if other != path}


def races(url, index):
    """Everybody wants the same names. Returns which races this client won."""
    client = hdfs_native.Client(url)
    won = []
    for number in range(RACES):
        for kind, action in [
            ("create", lambda number=number: client.create(f"{BASE}/races/file-{number}").close()),
            ("mkdir", lambda number=number: client.rename(f"{BASE}/races/source-{number}", f"{BASE}/races/target-{number}")),
        ]:
            try:
                action()
                won.append(f"{kind}-{number}")
            except Exception:  # noqa: BLE001: losing takes several forms
                pass
    return won


def work(url, index, seed, seconds, minimum, start, answers):
    """A client process: races, then random operations until the time is over."""
    try:
        worker = Worker(url, index, seed)
        start.wait()
        won = races(url, index)
        worker.patiently(lambda client: client.mkdirs(worker.root, create_parent=True))
        deadline = time.monotonic() + seconds
        while (worker.operations < minimum or time.monotonic() < deadline) and len(worker.problems) < 3:
            worker.step()
        if not worker.problems:
            worker.expect_tree()
        answers.put((index, won, worker.operations, worker.unsure, worker.problems))
    except BaseException:  # noqa: BLE001: the parent must hear of everything
        answers.put((index, [], 0, 0, [f"client {index} broke: {traceback.format_exc()[-1500:]}"]))


def load(judge, url, seconds, minimum, disturb):
    """Runs all clients; `disturb` is called once they work. Returns nothing; scores."""
    setup = hdfs_native.Client(url)
    setup.delete(BASE, recursive=True)
    setup.mkdirs(f"{BASE}/races", create_parent=True)
    for number in range(RACES):
        setup.mkdirs(f"{BASE}/races/source-{number}")
    context = multiprocessing.get_context("spawn")
    start, answers = context.Event(), context.Queue()
    clients = [context.Process(target=work, args=(url, index, judge.seed, seconds, minimum, start, answers))
               for index in range(CLIENTS)]
    for client in clients:
        client.start()
    start.set()
    disturb()
    results = [answers.get(timeout=seconds + 300) for _ in clients]
    for client in clients:
        client.join()
    wins = [race for result in results for race in result[1]]
    for number in range(RACES):
        for kind in ["create", "mkdir"]:
            judge.equal(f"winners of race {kind}-{number}", wins.count(f"{kind}-{number}"), 1)
    for index, _, operations, _, problems in sorted(results):
        judge.check(f"client {index} did its share", operations >= minimum or problems, operations)
        judge.check(f"client {index} found its tree", not problems, "; ".join(problems))
    print(f"  {CLIENTS} clients, {sum(result[2] for result in results)} operations, "
          f"{sum(result[3] for result in results)} of them in doubt", flush=True)
    setup = hdfs_native.Client(url)
    setup.delete(BASE, recursive=True)


def main():
    judge = Judge(__doc__)
    seconds = judge.options.minutes * 60 or 20
    if judge.options.url:
        load(judge, judge.options.url.rstrip("/"), 5, 40, lambda: None)
        judge.finish()
    with Daemons(judge.hadron, datanodes=3) as cluster:
        def disturb():
            for _ in range(max(2, int(seconds / 10))):
                time.sleep(judge.random.uniform(2, 6))
                cluster.kill("nn")
                cluster.start_namenode()
                cluster.wait_ready()

        load(judge, cluster.url, seconds, 40, disturb)
        judge.check("all daemons still run", cluster.alive())
    judge.finish()


if __name__ == "__main__":
    main()
