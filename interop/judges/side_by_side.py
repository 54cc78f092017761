"""Judge: old and new clients at the same time on one cluster and in the same folders.

Hadoop's shells of 2.7.3, 3.3.4 and 3.4.1, the Go command, hdfs-native, snakebite and `hadron fs` write, read, append,
rename and delete, each on what the others made. Between the rounds every client reads every file; at the end all must
see the same tree, the same counts and the same sizes.
"""

import concurrent.futures
import hashlib
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from lib import fetch  # noqa: E402
from lib.clients import ClientError, GoClient, HadronClient, JavaClient, NativeClient, SnakebiteClient  # noqa: E402
from lib.judge import Judge, pattern  # noqa: E402

BASE = "/judge-together"
SIZES = [0, 1, 70_001, (1 << 20) - 1, 2_500_003]
RACES = 12


class Round:
    """All clients, the files that should be there, and work done by all at once."""

    def __init__(self, judge, clients):
        self.judge = judge
        self.clients = clients
        self.files = {}  # path: bytes
        self.pool = concurrent.futures.ThreadPoolExecutor(len(clients))

    def local(self, client, data):
        """A local file of `client` with these bytes."""
        path = os.path.join(client.folder, "source")
        with open(path, "wb") as file:
            file.write(data)
        return path

    def together(self, name, work):
        """Runs `work(client, index)` for all clients at once; returns what each gave, None for one that failed."""
        running = [self.pool.submit(work, client, index) for index, client in enumerate(self.clients)]
        results = []
        for client, future in zip(self.clients, running):
            try:
                results.append(future.result())
                self.judge.check(f"{name}: {client.name}", True)
            except Exception as error:  # noqa: BLE001: one client's trouble is a finding, not the end
                results.append(None)
                self.judge.check(f"{name}: {client.name}", False, f"{type(error).__name__}: {error}")
        return results

    def read_all(self, name):
        """Every client reads every file."""
        want = {path: hashlib.sha256(data).hexdigest() for path, data in self.files.items()}
        for client, got in zip(self.clients, self.together(name, lambda client, _: {path: client.digest(path) for path in want})):
            wrong = [path for path in want if got and got[path] != want[path]]
            self.judge.equal(f"{name}: what {client.name} read otherwise", wrong, [])

    def write(self):
        def work(client, index):
            if "mkdir" in client.can:
                client.mkdir(f"{BASE}/made-by-{client.name}")
            if "put" not in client.can:
                return {}
            made = {}
            for number, size in enumerate(SIZES):
                path, data = f"{BASE}/shared/{client.name}-{number}", pattern(index * 100 + number, size)
                client.put(self.local(client, data), path)
                made[path] = data
            return made
        for made in self.together("write", work):
            self.files.update(made or {})

    def append(self):
        """Each client that can appends twice to a file of every other."""
        adders = [client for client in self.clients if "append" in client.can]
        writers = [client for client in self.clients if "put" in client.can]
        turns = {}
        for place, writer in enumerate(writers):
            for number in range(len(SIZES)):
                turns.setdefault(adders[(place + number) % len(adders)].name, []).append(f"{BASE}/shared/{writer.name}-{number}")

        def work(client, index):
            grown = {}
            for number, path in enumerate(turns.get(client.name, [])):
                data = self.files[path]
                for size in [511, 600_000]:
                    more = pattern(index * 1_000 + number + size, size)
                    client.append(self.local(client, more), path)
                    data += more
                grown[path] = data
            return grown
        for grown in self.together("append", work):
            self.files.update(grown or {})

    def move_and_delete(self):
        """Each client moves some files of its neighbour and deletes one."""
        writers = [client for client in self.clients if "put" in client.can]
        victims = {client.name: writers[(place + 1) % len(writers)].name for place, client in enumerate(self.clients)}
        owners = {}
        for client in self.clients:  # no two have the same victim's files
            owners.setdefault(victims[client.name], client.name)
        before = dict(self.files)

        def work(client, _):
            victim = victims[client.name]
            if owners[victim] != client.name:
                return {}
            changed = {}
            for number in [1, 3]:
                source, target = f"{BASE}/shared/{victim}-{number}", f"{BASE}/made-by-{victim}/{client.name}-took-{number}"
                client.move(source, target)
                changed[source], changed[target] = None, before[source]
            client.delete(f"{BASE}/shared/{victim}-0")
            changed[f"{BASE}/shared/{victim}-0"] = None
            return changed
        for changed in self.together("move and delete", work):
            self.files.update(changed or {})
        self.files = {path: data for path, data in self.files.items() if data is not None}

    def race(self):
        """All try to move the same file: one wins each time."""
        data = b"the prize"
        maker = next(client for client in self.clients if "put" in client.can)
        maker.mkdir(f"{BASE}/won")
        for number in range(RACES):
            prize = f"{BASE}/prize-{number}"
            maker.put(self.local(maker, data), prize)

            def work(client, _, prize=prize, number=number):
                try:
                    client.move(prize, f"{BASE}/won/{number}-{client.name}")
                    return True
                except ClientError:
                    return False
            won = [client.name for client, result in zip(self.clients, self.together("race", work)) if result]
            if self.judge.check(f"race {number} has one winner", len(won) == 1, won):
                self.files[f"{BASE}/won/{number}-{won[0]}"] = data

    def agree(self):
        """All see the same tree, and it is the one that should be there."""
        trees = self.together("ls -R", lambda client, _: client.tree(BASE))
        reference = trees[0] or {}
        for client, tree in zip(self.clients, trees):
            if tree and any(entry[2] is None for entry in tree.values()):  # it shows no replication
                self.judge.equal(f"the tree as {client.name} sees it", tree, {path: (*entry[:2], None, *entry[3:]) for path, entry in reference.items()})
            else:
                self.judge.equal(f"the tree as {client.name} sees it", tree, reference)
        self.judge.equal("the files that should be there", {path: entry[5] for path, entry in reference.items() if not entry[0]},
                         {path: len(data) for path, data in self.files.items()})
        total = sum(len(data) for data in self.files.values())
        want = (1 + sum(entry[0] for entry in reference.values()), len(self.files), total)
        for client, got in zip(self.clients, self.together("count", lambda client, _: client.count(BASE) or want)):
            self.judge.equal(f"count as {client.name} sees it", got, want)
        for client, got in zip(self.clients, self.together("du", lambda client, _: client.usage(BASE))):
            self.judge.equal(f"du as {client.name} sees it", got, total)


def clients(judge, url):
    """All clients that can be had here."""
    makers = [(JavaClient, "java-" + version, lambda version=version: fetch.java_client(judge.work, version)) for version in fetch.HADOOP]
    makers += [(GoClient, "go", lambda: (fetch.go_client(judge.work),)), (NativeClient, "native", tuple), (SnakebiteClient, "snakebite", tuple),
               (HadronClient, "hadron", lambda: (judge.hadron,))]
    for kind, name, needs in makers:
        try:
            yield kind(name, url, judge.scratch, *needs())
        except fetch.Absent as absent:
            print(f"  note: without {name}: {absent}", flush=True)


def main():
    judge = Judge(__doc__)
    os.environ.pop("HADOOP_CONF_DIR", None)
    with judge.cluster() as url:
        everybody = []
        try:
            everybody += clients(judge, url)
            print(f"  together: {', '.join(client.name for client in everybody)}", flush=True)
            first = next(client for client in everybody if "mkdir" in client.can)
            first.mkdir(BASE)
            first.mkdir(f"{BASE}/shared")
            together = Round(judge, everybody)
            together.write()
            together.read_all("read what was written")
            together.append()
            together.move_and_delete()
            together.read_all("read what was changed")
            together.race()
            together.agree()
        finally:
            for client in everybody:
                client.close()
    judge.finish()


if __name__ == "__main__":
    main()
