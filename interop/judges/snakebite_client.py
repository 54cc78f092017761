"""Judge: snakebite-py3, a pure Python client of the 2.x line: every call of its library and every verb of its command.

It writes empty files only, so bytes to read are put there by `hadron fs`.
"""

import bz2
import gzip
import json
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from lib.judge import Judge, pattern, run, sha256_file, wait_until  # noqa: E402

import snakebite.client  # noqa: E402
from snakebite.errors import (  # noqa: E402
    DirectoryException, FileAlreadyExistsException, FileException, FileNotFoundException, RequestError)

BASE = "/judge-snakebite"
MIB = 1 << 20
START = "from snakebite.commandlineparser import CommandLineParser as P; p = P(); p.parse(); p.init(); p.execute()"


def refused(judge, name, kind, wanted, action):
    """Checks that `action` raises `kind` with `wanted` in its text; generators are run to their end."""
    try:
        got = action()
        got = got if isinstance(got, (dict, bool)) else list(got)
    except Exception as error:  # noqa: BLE001: the client raises several kinds
        return judge.check(name, isinstance(error, kind) and wanted in str(error), f"{type(error).__name__}: {str(error)[:300]!r}, wanted {wanted!r}")
    return judge.check(name, False, f"succeeded with {got!r}")


def names(items):
    return sorted(item["path"] for item in items)


def contents(chunks):
    return [b"".join(file) for file in chunks]


def tree(judge, client):
    judge.equal("mkdir", list(client.mkdir([f"{BASE}/a"], mode=0o750)), [{"path": f"{BASE}/a", "result": True}])
    judge.equal("its mode", client.stat([f"{BASE}/a"])["permission"], 0o750)
    judge.equal("mkdir again", list(client.mkdir([f"{BASE}/a"])),
                [{"path": f"{BASE}/a", "result": False, "error": f"mkdir: `{BASE}/a': File exists"}])
    got = list(client.mkdir([f"{BASE}/x/y"]))
    judge.check("mkdir without its parent", not got[0]["result"] and got[0]["error"].startswith("java.io.FileNotFoundException\n"), got)
    judge.equal("mkdir with parents", list(client.mkdir([f"{BASE}/b/c/d", f"{BASE}/e"], create_parent=True)),
                [{"path": f"{BASE}/b/c/d", "result": True}, {"path": f"{BASE}/e", "result": True}])
    judge.equal("touchz", list(client.touchz([f"{BASE}/zero", f"{BASE}/b/z1"], replication=2, blocksize=2 * MIB)),
                [{"path": f"{BASE}/zero", "result": True}, {"path": f"{BASE}/b/z1", "result": True}])
    made = client.stat([f"{BASE}/zero"])
    judge.equal("what touchz made", [made[key] for key in ["file_type", "length", "permission", "block_replication", "blocksize"]],
                ["f", 0, 0o644, 2, 2 * MIB])
    refused(judge, "touchz without its parent", DirectoryException, "No such file or directory", lambda: client.touchz([f"{BASE}/x/z"]))
    judge.equal("ls", names(client.ls([BASE])), [f"{BASE}/{name}" for name in ["a", "b", "e", "zero"]])
    judge.equal("ls -R", names(client.ls([BASE], recurse=True)), sorted(
        f"{BASE}/{name}" for name in ["a", "b", "b/c", "b/c/d", "b/z1", "e", "zero"]))
    judge.equal("ls of the folder itself", names(client.ls([BASE], include_toplevel=True, include_children=False)), [BASE])
    judge.equal("ls of a glob", names(client.ls([f"{BASE}/z*"])), [f"{BASE}/zero"])
    judge.equal("ls of braces", names(client.ls([f"{BASE}/{{b,e}}"])), [f"{BASE}/b/c", f"{BASE}/b/z1"])
    refused(judge, "ls of nothing", FileNotFoundException, f"`{BASE}/none': No such file or directory", lambda: client.ls([f"{BASE}/none"]))
    refused(judge, "rmdir of a full folder", DirectoryException, "Directory is not empty", lambda: client.rmdir([f"{BASE}/b"]))
    refused(judge, "rmdir of a file", DirectoryException, "Is not a directory", lambda: client.rmdir([f"{BASE}/zero"]))
    judge.equal("rmdir", list(client.rmdir([f"{BASE}/e"])), [{"path": f"{BASE}/e", "result": True}])
    refused(judge, "delete of a folder", DirectoryException, "Is a directory", lambda: client.delete([f"{BASE}/b"]))
    judge.equal("delete", list(client.delete([f"{BASE}/b/z1"])), [{"path": f"{BASE}/b/z1", "result": True}])
    judge.equal("test", [client.test(f"{BASE}/{path}", **options) for path, options in [
        ("zero", {"exists": True}), ("none", {"exists": True}), ("a", {"directory": True}), ("zero", {"directory": True}),
        ("zero", {"zero_length": True})]], [True, False, True, False, True])


def moves(judge, client):
    judge.equal("rename", list(client.rename([f"{BASE}/zero"], f"{BASE}/a")), [{"path": f"{BASE}/zero", "result": True}])
    judge.equal("it moved into the folder", names(client.ls([f"{BASE}/a"])), [f"{BASE}/a/zero"])
    list(client.touchz([f"{BASE}/other"]))
    judge.equal("rename onto a file says no", list(client.rename([f"{BASE}/other"], f"{BASE}/a/zero")), [{"path": f"{BASE}/other", "result": False}])
    judge.equal("rename below itself says no", list(client.rename([f"{BASE}/a"], f"{BASE}/a/b")), [{"path": f"{BASE}/a", "result": False}])
    refused(judge, "rename2 onto a file", FileAlreadyExistsException, "rename destination", lambda: client.rename2(f"{BASE}/other", f"{BASE}/a/zero"))
    judge.equal("rename2 with overwrite", client.rename2(f"{BASE}/other", f"{BASE}/a/zero", overwriteDest=True), {"path": f"{BASE}/other"})
    refused(judge, "rename2 onto a full folder", FileAlreadyExistsException, "rename destination directory is not empty",
            lambda: client.rename2(f"{BASE}/b", f"{BASE}/a", overwriteDest=True))
    refused(judge, "rename2 of a file onto a folder", RequestError, "must both be", lambda: client.rename2(f"{BASE}/a/zero", f"{BASE}/b", overwriteDest=True))
    judge.equal("rename of a folder", list(client.rename([f"{BASE}/b"], f"{BASE}/b2")), [{"path": f"{BASE}/b", "result": True}])
    judge.equal("with its content", names(client.ls([f"{BASE}/b2"], recurse=True)), [f"{BASE}/b2/c", f"{BASE}/b2/c/d"])


def attributes(judge, client):
    path = f"{BASE}/a/zero"
    judge.equal("chmod", list(client.chmod([path], 0o604)), [{"path": path, "result": True}])
    judge.equal("chown", list(client.chown([path], "alice:staff")), [{"path": path, "result": True}])
    got = client.stat([path])
    judge.equal("mode, owner, group", (got["permission"], got["owner"], got["group"]), (0o604, "alice", "staff"))
    list(client.chown([path], "bob"))
    list(client.chgrp([path], "wheel"))
    got = client.stat([path])
    judge.equal("owner alone, group alone", (got["owner"], got["group"]), ("bob", "wheel"))
    judge.equal("setrep", list(client.setrep([path], 2)), [{"path": path, "result": True}])
    judge.equal("replication", client.stat([path])["block_replication"], 2)
    refused(judge, "setrep beyond the limit", RequestError, "java.io.IOException", lambda: client.setrep([path], 5000))
    list(client.chmod([f"{BASE}/b2"], 0o700, recurse=True))
    judge.equal("chmod -R", {item["permission"] for item in client.ls([f"{BASE}/b2"], recurse=True)}, {0o700})


def reads(judge, client, put):
    big = pattern(5, 5 * MIB + 12_345)
    files = {"empty": b"", "small": b"hello hadron\n", "odd": pattern(3, 200_001), "big": big,
             "text.gz": gzip.compress(b"packed with gzip\n"), "text.bz2": bz2.compress(b"packed with bzip2\n")}
    for name, data in files.items():
        put(name, data)
    for name, data in files.items():
        for check in [False, True]:
            judge.check(f"cat {name}, {'with' if check else 'without'} checksums",
                        contents(client.cat([f"{BASE}/in/{name}"], check_crc=check)) == [data])
    judge.check("cat of two files", contents(client.cat([f"{BASE}/in/small", f"{BASE}/in/odd"])) == [files["small"], files["odd"]])
    refused(judge, "cat of a folder", DirectoryException, "Is a directory", lambda: contents(client.cat([f"{BASE}/in"])))
    refused(judge, "cat of nothing", FileNotFoundException, "No such file or directory", lambda: client.cat([f"{BASE}/none"]))
    judge.check("tail", list(client.tail(f"{BASE}/in/odd")) == [files["odd"][-1024:]])
    judge.check("a long tail", list(client.tail(f"{BASE}/in/big", 10_000)) == [big[-10_000:]])
    judge.equal("text", list(client.text([f"{BASE}/in/text.gz", f"{BASE}/in/text.bz2", f"{BASE}/in/small"])),
                [b"packed with gzip\n", b"packed with bzip2\n", b"hello hadron\n"])
    target = os.path.join(judge.scratch, "tree")
    os.makedirs(target)
    judge.check("copyToLocal of a tree", all(item["result"] for item in client.copyToLocal([f"{BASE}/in"], target, check_crc=True)))
    for name, data in files.items():
        with open(os.path.join(target, "in", name), "rb") as file:
            judge.check(f"{name} came whole", file.read() == data)
    merged = os.path.join(judge.scratch, "merged")
    # The client itself stumbles over empty files here.
    list(client.rename([f"{BASE}/in/empty"], f"{BASE}/empty"))
    judge.check("getmerge", all(item["result"] for item in client.getmerge(f"{BASE}/in", merged)))
    with open(merged, "rb") as file:
        judge.check("what it merged", file.read() == b"".join(data for _, data in sorted(files.items())))
    del files["empty"]
    refused(judge, "touchz over bytes", FileException, "Not a zero-length file", lambda: client._handle_touchz(
        f"{BASE}/in/small", client._get_file_info(f"{BASE}/in/small").fs, 1, MIB))
    total = sum(map(len, files.values()))
    got = list(client.count([f"{BASE}/in"]))[0]
    judge.equal("count", [got[key] for key in ["length", "fileCount", "directoryCount", "quota", "spaceQuota"]],
                [total, len(files), 1, (1 << 64) - 1, (1 << 64) - 1])
    judge.equal("space consumed", got["spaceConsumed"], sum(item["length"] * item["block_replication"] for item in client.ls([f"{BASE}/in"])))
    judge.equal("du", {item["path"].rsplit("/", 1)[1]: item["length"] for item in client.du([f"{BASE}/in"])},
                {name: len(data) for name, data in files.items()})
    judge.equal("du of the folder", list(client.du([f"{BASE}/in"], include_toplevel=True, include_children=False)),
                [{"path": f"{BASE}/in", "length": total}])
    return files


def figures(judge, client):
    # What DataNodes use comes with their heartbeats.
    wait_until(lambda: client.df()["used"] > 0, 60, "the DataNodes' heartbeats to tell what they use")
    got = client.df()
    judge.check("df", got["capacity"] >= got["remaining"] > 0 and got["capacity"] > got["used"] > 0, got)
    judge.equal("nothing is missing", (got["missing_blocks"], got["corrupt_blocks"]), (0, 0))
    got = client.serverdefaults()
    judge.equal("server defaults", got, {"blockSize": 128 * MIB, "bytesPerChecksum": 512, "writePacketSize": 65536, "replication": 3,
                                         "fileBufferSize": 4096, "encryptDataTransfer": False, "trashInterval": 0, "checksumType": 2})


def long_listing(judge, client):
    folder = f"{BASE}/many"
    list(client.mkdir([f"{folder}/d{index:04}" for index in range(1100)], create_parent=True))
    judge.equal("a listing of several pages", names(client.ls([folder])), [f"{folder}/d{index:04}" for index in range(1100)])
    judge.equal("deleted at once", list(client.delete([folder], recurse=True)), [{"path": folder, "result": True}])


def trash(judge, address):
    client = snakebite.client.Client(*address, use_trash=True)
    list(client.mkdir([f"{BASE}/open/kept"], create_parent=True))
    got = list(client.delete([f"{BASE}/open/kept"], recurse=True))
    bin_ = f"{client.trash}/Current{BASE}"
    where = f"{bin_}/open/kept"
    judge.equal("delete goes to the trash", got, [{"path": f"{BASE}/open/kept", "result": True, "message": f". Moved {BASE}/open/kept to {where}"}])
    judge.check("and is there", client.test(where, exists=True, directory=True))
    judge.equal("the trash is private", client.stat([f"{bin_}/open"])["permission"], 0o700)
    list(client.delete([bin_], recurse=True))


def strangers(judge, address):
    client = snakebite.client.Client(*address, effective_user="mallory")
    denied = "org.apache.hadoop.security.AccessControlException\nPermission denied: user=mallory, access=WRITE, inode="
    refused(judge, "a stranger may not delete", RequestError, denied, lambda: client.delete([f"{BASE}/in/small"]))
    got = list(client.mkdir([f"{BASE}/mine"]))
    judge.check("a stranger may not make folders", not got[0]["result"] and got[0]["error"].startswith(denied), got)
    refused(judge, "a stranger may not chmod", RequestError, "AccessControlException\n", lambda: client.chmod([f"{BASE}/in/small"], 0o777))
    refused(judge, "a stranger may not setrep", RequestError, "AccessControlException\n", lambda: client.setrep([f"{BASE}/in/small"], 1))
    judge.equal("a stranger may read", contents(client.cat([f"{BASE}/in/small"])), [b"hello hadron\n"])
    refused(judge, "but not look into a private folder", RequestError, "access=READ_EXECUTE", lambda: client.ls([f"{BASE}/b2"]))


class Command:
    """Runs the snakebite command and scores exit code and output."""

    def __init__(self, judge, address):
        self.judge = judge
        self.start = [sys.executable, "-W", "ignore", "-c", START, "-n", address[0], "-p", str(address[1])]
        self.environment = {"HADOOP_HOME": judge.scratch, "HADOOP_CONF_DIR": judge.scratch, "HOME": judge.scratch}

    def __call__(self, *arguments, code=0, out=None, like=None):
        got, stdout, stderr = run([*self.start, *arguments], env=self.environment, cwd=self.judge.scratch)
        name = "snakebite " + " ".join(arguments)
        self.judge.check(f"{name}: exit code", got == code, f"{got}, wanted {code}: {stderr.strip()[-500:]}")
        if out is not None:
            self.judge.equal(f"{name}: output", stdout, out)
        if like is not None:
            self.judge.check(f"{name}: output", re.fullmatch(like, stdout, re.DOTALL), f"{stdout!r} is not like {like!r}")
        return stdout


def command_line(judge, command, files):
    place = f"{BASE}/cli"
    command("mkdirp", f"{place}/d/e", out=f"OK: {place}/d/e\n")
    command("mkdir", f"{place}/f", out=f"OK: {place}/f\n")
    command("touchz", f"{place}/new", out=f"OK: {place}/new\n")
    command("chmod", "640", f"{place}/new", out=f"OK: {place}/new\n")
    command("chown", "dave:crew", f"{place}/new", out=f"OK: {place}/new\n")
    command("chgrp", "band", f"{place}/new", out=f"OK: {place}/new\n")
    command("setrep", "2", f"{place}/new", out=f"OK: {place}/new\n")
    command("ls", place, like=r"Found 3 items\ndrwxr-xr-x   - \S+ +supergroup +0 \S+ \S+ \S+/d\ndrwxr-xr-x .*\n"
            r"-rw-r-----   2 dave +band +0 \S+ \S+ \S+/new\n")
    command("mv", f"{place}/new", f"{place}/d", out=f"OK: {place}/new\n")
    command("test", "-e", f"{place}/d/new")
    command("test", "-d", f"{place}/d/new", code=1)
    command("cat", f"{BASE}/in/small", out="hello hadron\n")
    command("tail", f"{BASE}/in/small", like=r".*hello hadron.*")
    command("text", f"{BASE}/in/text.gz", like=r".*packed with gzip.*")
    command("get", f"{BASE}/in/odd", f"{judge.scratch}/odd", out=f"OK: {judge.scratch}/odd\n")
    with open(f"{judge.scratch}/odd", "rb") as file:
        judge.check("what get brought", file.read() == files["odd"])
    command("copyToLocal", f"{BASE}/in/big", f"{judge.scratch}/big", out=f"OK: {judge.scratch}/big\n")
    judge.equal("what copyToLocal brought", os.path.getsize(f"{judge.scratch}/big"), len(files["big"]))
    command("getmerge", f"{BASE}/in", f"{judge.scratch}/merged-2", out=f"OK: {judge.scratch}/merged-2\n")
    judge.equal("what getmerge brought", sha256_file(f"{judge.scratch}/merged-2"), sha256_file(f"{judge.scratch}/merged"))
    total = sum(map(len, files.values()))
    command("count", f"{BASE}/in", out=f"{1:12} {len(files):12} {total:18} {BASE}/in\n")
    command("du", "-s", f"{BASE}/in", out=f"{total}  {BASE}/in\n")
    command("df", like=r"Filesystem +Size +Used +Available +Use%\nhdfs://\S+ +\d+ +\d+ +\d+ +[\d.]+%\n")
    command("stat", f"{BASE}/in/small", like=r"access_time.*\nlength +\t13\n.*")
    command("serverdefaults", like=r"\{'blockSize': 134217728, .*\}\n")
    command("usage", "ls", like=r"usage: snakebite .* ls .*")
    listed = json.loads(command("-j", "ls", "-d", f"{place}/d/new"))
    judge.equal("ls as JSON", (listed["owner"], listed["group"], listed["permission"], listed["block_replication"]), ("dave", "band", 0o640, 2))
    command("ls", f"{place}/none", code=255, out=f"`{place}/none': No such file or directory\n")
    command("rm", f"{place}/d", code=255, out=f"rm: `{place}/d': Is a directory\n")
    command("rmdir", f"{place}/f", out=f"OK: {place}/f\n")
    command("rm", "-R", place, out=f"OK: {place}\n")


def main():
    judge = Judge(__doc__)
    os.environ.pop("HADOOP_CONF_DIR", None)
    with judge.cluster() as url:
        host, port = url.removeprefix("hdfs://").split(":")
        address = (host, int(port))
        client = snakebite.client.Client(*address)

        def put(name, data):
            done = run([judge.hadron, "fs", "-fs", url, "-D", f"dfs.blocksize={2 * MIB}", "-put", "-", f"{BASE}/in/{name}"], stdin=data)
            judge.check(f"{name} is put", done[0] == 0, done[2])

        if client.test(BASE, exists=True):
            list(client.delete([BASE], recurse=True))
        list(client.mkdir([BASE]))
        tree(judge, client)
        list(client.mkdir([f"{BASE}/in", f"{BASE}/open"]))
        moves(judge, client)
        attributes(judge, client)
        files = reads(judge, client, put)
        figures(judge, client)
        long_listing(judge, client)
        trash(judge, address)
        strangers(judge, address)
        command_line(judge, Command(judge, address), files)
        judge.equal("all of it goes", list(client.delete([BASE], recurse=True)), [{"path": BASE, "result": True}])
        judge.check("and is gone", not client.test(BASE, exists=True))
    judge.finish()


if __name__ == "__main__":
    main()
