"""One face for many clients of a cluster: Hadoop's shells, the Go command, hdfs-native, snakebite and `hadron fs`.

A client belongs to one thread. What a client cannot do (`can` tells) is not asked of it. Failures are ClientError.
"""

import os
import re

from lib.java import JavaShell
from lib.judge import run, sha256_file

BLOCK = 1 << 20
TREE_LINE = re.compile(r"([d-])(\S{9})[+.]?\s+(\d+|-)\s+(\S+)\s+(\S+)\s+(\d+)\s+\S+\s+\S+\s+(/\S*)")
EVERYTHING = frozenset({"put", "append", "mkdir"})


class ClientError(Exception):
    """A call that a client or its server refused."""


def bits(letters):
    """The permission bits of rwxr-xr-x."""
    return sum(1 << (8 - place) for place, letter in enumerate(letters) if letter != "-")


class Client:
    """What the clients share: a name, abilities, a folder for files on the way."""

    can = EVERYTHING

    def __init__(self, name, url, scratch):
        self.name = name
        self.url = url
        self.folder = os.path.join(scratch, "client-" + name)
        os.makedirs(self.folder)
        self.got = os.path.join(self.folder, "got")

    def close(self):
        """Ends what the client runs."""

    def digest(self, path):
        """SHA-256 of a file, read to its end."""
        if os.path.exists(self.got):
            os.remove(self.got)
        self.get(path, self.got)
        return sha256_file(self.got)


class ShellClient(Client):
    """Any client that speaks the verbs of Hadoop's shell; subclasses give `call`."""

    def ask(self, *arguments):
        code, out, err = self.call(*arguments)
        if code != 0:
            raise ClientError(f"{self.name} {' '.join(arguments)}: exit {code}: {err.strip()[:500]}")
        return out

    def put(self, local, path):
        self.ask("-put", local, path)

    def get(self, path, local):
        self.ask("-get", path, local)

    def append(self, local, path):
        self.ask("-appendToFile", local, path)

    def mkdir(self, path):
        self.ask("-mkdir", path)

    def move(self, path, target):
        self.ask("-mv", path, target)

    def delete(self, path):
        self.ask("-rm", "-skipTrash", path)

    def tree(self, path):
        """Everything below `path`: {path: (is a folder, mode, replication, owner, group, length)}."""
        lines = [TREE_LINE.fullmatch(line) for line in self.ask("-ls", "-R", path).splitlines()]
        return {line[7]: (line[1] == "d", bits(line[2]), 0 if line[3] == "-" else int(line[3]), line[4], line[5], int(line[6])) for line in lines}

    def count(self, path):
        """(folders, files, bytes) from `path` down."""
        return tuple(int(figure) for figure in self.ask("-count", path).split()[:3])

    def usage(self, path):
        """Bytes from `path` down, replicas not counted."""
        return int(self.ask("-du", "-s", path).split()[0])


class JavaClient(ShellClient):
    """Hadoop's shell of one version, in a JVM that stays."""

    def __init__(self, name, url, scratch, java, class_path):
        super().__init__(name, url, scratch)
        self.call = JavaShell(java, class_path, url, self.folder, settings={"dfs.blocksize": BLOCK})

    def close(self):
        self.call.__exit__()


class HadronClient(ShellClient):
    """`hadron fs`, a process a call."""

    can = EVERYTHING - {"append"}

    def __init__(self, name, url, scratch, hadron):
        super().__init__(name, url, scratch)
        self.start = [hadron, "fs", "-fs", url, "-D", f"dfs.blocksize={BLOCK}"]

    def call(self, *arguments):
        return run([*self.start, *arguments])


class GoClient(Client):
    """The Go command, a process a call."""

    can = frozenset({"put", "mkdir"})

    def __init__(self, name, url, scratch, command):
        super().__init__(name, url, scratch)
        self.command = command
        self.environment = {"HADOOP_NAMENODE": url.removeprefix("hdfs://"), "HADOOP_CONF_DIR": self.folder, "HADOOP_HOME": self.folder}

    def ask(self, *arguments):
        code, out, err = run([self.command, *arguments], env=self.environment)
        if code != 0:
            raise ClientError(f"{self.name} {' '.join(arguments)}: exit {code}: {err.strip()[:500]}")
        return out

    def put(self, local, path):
        self.ask("put", local, path)

    def get(self, path, local):
        self.ask("get", path, local)

    def mkdir(self, path):
        self.ask("mkdir", path)

    def move(self, path, target):
        self.ask("mv", "-T", path, target)

    def delete(self, path):
        self.ask("rm", path)

    def tree(self, path):
        found = {}
        for line in self.ask("ls", "-la", path).splitlines():
            part = re.fullmatch(r"([d-])(\S{9}) (\S+)\s+(\S+)\s+(\d+) .*?(\S+)", line)
            if part and part[6] not in (".", ".."):
                inside = f"{path}/{part[6]}"
                found[inside] = (part[1] == "d", bits(part[2]), None, part[3], part[4], int(part[5]))
                if part[1] == "d":
                    found.update(self.tree(inside))
        return found

    def count(self, path):
        return None

    def usage(self, path):
        return int(self.ask("du", "-s", path).split()[0])


class NativeClient(Client):
    """hdfs-native in this process."""

    def __init__(self, name, url, scratch):
        super().__init__(name, url, scratch)
        import hdfs_native
        self.library = hdfs_native
        self.client = hdfs_native.Client(url)

    def ask(self, function, *arguments, **options):
        try:
            return function(*arguments, **options)
        except Exception as error:  # noqa: BLE001: the library raises several kinds
            raise ClientError(f"{self.name} {arguments}: {type(error).__name__}: {error}") from None

    def put(self, local, path):
        with open(local, "rb") as file, self.ask(self.client.create, path, self.library.WriteOptions(block_size=BLOCK)) as writer:
            self.ask(writer.write, file.read())

    def append(self, local, path):
        with open(local, "rb") as file, self.ask(self.client.append, path) as writer:
            self.ask(writer.write, file.read())

    def get(self, path, local):
        with open(local, "wb") as file:
            file.write(self.ask(self.client.read, path).read())

    def mkdir(self, path):
        self.ask(self.client.mkdirs, path, create_parent=False)

    def move(self, path, target):
        self.ask(self.client.rename, path, target)

    def delete(self, path):
        if not self.ask(self.client.delete, path):
            raise ClientError(f"{self.name} deleted nothing at {path}")

    def tree(self, path):
        return {each.path: (each.isdir, each.permission & 0o777, each.replication or 0, each.owner, each.group, each.length)
                for each in self.ask(lambda: list(self.client.list_status(path, True)))}

    def count(self, path):
        summary = self.ask(self.client.get_content_summary, path)
        return summary.directory_count, summary.file_count, summary.length

    def usage(self, path):
        return self.count(path)[2]


class SnakebiteClient(Client):
    """snakebite in this process.

    It writes nothing but empty files, and takes every checksum for CRC32C, which those of the Go command are not, so it
    reads without looking at them.
    """

    can = frozenset({"mkdir"})

    def __init__(self, name, url, scratch):
        super().__init__(name, url, scratch)
        import snakebite.client
        host, port = url.removeprefix("hdfs://").split(":")
        self.client = snakebite.client.Client(host, int(port))

    def ask(self, function, *arguments, **options):
        try:
            results = list(function(*arguments, **options))
        except Exception as error:  # noqa: BLE001
            raise ClientError(f"{self.name} {arguments}: {type(error).__name__}: {error}") from None
        for result in results:
            if isinstance(result, dict) and not result.get("result", True):
                raise ClientError(f"{self.name} {arguments}: {result}")
        return results

    def get(self, path, local):
        with open(local, "wb") as file:
            for chunks in self.client.cat([path]):
                for chunk in chunks:
                    file.write(chunk)

    def mkdir(self, path):
        self.ask(self.client.mkdir, [path])

    def move(self, path, target):
        self.ask(self.client.rename, [path], target)

    def delete(self, path):
        self.ask(self.client.delete, [path])

    def tree(self, path):
        return {each["path"]: (each["file_type"] == "d", each["permission"] & 0o777, each["block_replication"], each["owner"], each["group"], each["length"])
                for each in self.ask(self.client.ls, [path], recurse=True)}

    def count(self, path):
        figures = self.ask(self.client.count, [path])[0]
        return figures["directoryCount"], figures["fileCount"], figures["length"]

    def usage(self, path):
        return self.ask(self.client.du, [path], include_toplevel=True, include_children=False)[0]["length"]
