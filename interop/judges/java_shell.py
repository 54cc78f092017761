"""Judge: Hadoop's own shell, FsShell of the 3.3 line, many commands in one JVM."""

import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from lib import fetch  # noqa: E402
from lib.java import JavaShell  # noqa: E402
from lib.judge import Judge, pattern, sha256_file  # noqa: E402

BASE = "/judge-java"
WHEN = r"\d{4}-\d\d-\d\d \d\d:\d\d"


class Shell:
    """Runs commands and scores exit code, output and error text."""

    def __init__(self, judge, java):
        self.judge = judge
        self.java = java

    def __call__(self, *arguments, code=0, out=None, err="", like=None):
        got, stdout, stderr = self.java(*arguments)
        name = " ".join(arguments).replace(self.judge.scratch, "…")
        self.judge.check(f"{name}: exit code", got == code, f"{got}, wanted {code}: {stderr.strip()[:500]}")
        if out is not None:
            self.judge.equal(f"{name}: output", stdout, out)
        if like is not None:
            self.judge.check(f"{name}: output", re.fullmatch(like, stdout, re.DOTALL), f"{stdout!r} is not like {like!r}")
        self.judge.check(f"{name}: errors", stderr.strip() == err if not err.endswith("…") else stderr.startswith(err[:-1]),
                         f"said {stderr!r:.500}, wanted {err!r}")
        return stdout


def directories(sh):
    sh("-mkdir", "-p", f"{BASE}/a/b")
    sh("-mkdir", f"{BASE}/a", code=1, err=f"mkdir: `{BASE}/a': File exists")
    sh("-mkdir", "-p", f"{BASE}/a")
    sh("-mkdir", f"{BASE}/no/such", code=1, err=f"mkdir: `{sh.url}{BASE}/no': No such file or directory")
    sh("-ls", BASE, like=rf"Found 1 items\ndrwxr-xr-x   - \S+ supergroup          0 {WHEN} {BASE}/a\n")
    sh("-ls", "-R", "-C", BASE, out=f"{BASE}/a\n{BASE}/a/b\n")
    sh("-ls", "-d", BASE, like=rf"drwxr-xr-x   - \S+ supergroup +0 {WHEN} {BASE}\n")
    sh("-ls", f"{BASE}/none", code=1, err=f"ls: `{BASE}/none': No such file or directory")
    sh("-rmdir", f"{BASE}/a", code=1, err=f"rmdir: `{BASE}/a': Directory is not empty")
    sh("-rmdir", f"{BASE}/a/b")
    sh("-rmdir", f"{BASE}/none", code=1, err=f"rmdir: `{BASE}/none': No such file or directory")


def files(sh, local):
    sh("-put", f"{local}/small", f"{BASE}/small")
    sh("-put", f"{local}/small", f"{BASE}/small", code=1, err=f"put: `{BASE}/small': File exists")
    sh("-put", "-f", f"{local}/small", f"{BASE}/small")
    sh("-put", f"{local}/small", f"{BASE}/no/small", code=1,
       err=f"put: `{BASE}/no/small': No such file or directory: `{sh.url}{BASE}/no/small'")
    sh("-put", f"{local}/none", BASE, code=1, err=f"put: `{local}/none': No such file or directory")
    sh("-put", "-", f"{BASE}/typed")
    sh("-cat", f"{BASE}/typed", f"{BASE}/small", out="typed in\nhello hadron\n")
    sh("-cat", f"{BASE}/none", code=1, err=f"cat: `{BASE}/none': No such file or directory")
    sh("-cat", f"{BASE}/a", code=1, err=f"cat: `{BASE}/a': Is a directory")
    sh("-get", f"{BASE}/small", f"{local}/small-back")
    sh("-get", f"{BASE}/small", f"{local}/small-back", code=1, err=f"get: `{local}/small-back': File exists")
    sh("-get", f"{BASE}/none", f"{local}/x", code=1, err=f"get: `{BASE}/none': No such file or directory")
    sh("-tail", f"{BASE}/small", out="hello hadron\n")
    sh("-head", f"{BASE}/small", out="hello hadron\n")
    sh("-text", f"{BASE}/small", out="hello hadron\n")
    sh("-touchz", f"{BASE}/empty")
    sh("-touchz", f"{BASE}/small", code=1, err=f"touchz: `{BASE}/small': Not a zero-length file")
    for flags, path, code in [("-e", "small", 0), ("-e", "none", 1), ("-d", "a", 0), ("-d", "small", 1), ("-f", "small", 0),
                              ("-f", "a", 1), ("-z", "empty", 0), ("-z", "small", 1), ("-s", "small", 0), ("-s", "empty", 1)]:
        sh("-test", flags, f"{BASE}/{path}", code=code)
    sh("-stat", "%F %b %o %r %u %g %n", f"{BASE}/small", like=r"regular file 13 134217728 \d \S+ supergroup small\n")
    sh("-stat", "%F %b %n", f"{BASE}/a", out="directory 0 a\n")
    sh("-stat", f"{BASE}/none", code=1, err=f"stat: `{BASE}/none': No such file or directory")
    sh("-ls", f"{BASE}/s*", like=rf"-rw-r--r--   \d \S+ supergroup         13 {WHEN} {BASE}/small\n")
    sh("-find", BASE, "-name", "*m*", out=f"{BASE}/empty\n{BASE}/small\n")


def attributes(sh):
    sh("-chmod", "640", f"{BASE}/small")
    sh("-chmod", "u+x,g-r,o=r", f"{BASE}/small")
    sh("-chown", "alice:staff", f"{BASE}/small")
    sh("-chgrp", "wheel", f"{BASE}/small")
    sh("-setrep", "2", f"{BASE}/small", out=f"Replication 2 set: {BASE}/small\n")
    sh("-ls", f"{BASE}/small", like=rf"-rwx---r--   2 alice wheel         13 {WHEN} {BASE}/small\n")
    sh("-chmod", "1777", f"{BASE}/a")
    sh("-ls", "-d", f"{BASE}/a", like=rf"drwxrwxrwt   - \S+ supergroup          0 {WHEN} {BASE}/a\n")
    sh("-chmod", "600", f"{BASE}/none", code=1, err=f"chmod: `{BASE}/none': No such file or directory")
    sh("-touch", "-t", "20200102:030405", f"{BASE}/small")
    sh("-stat", "%Y", f"{BASE}/small", like=r"15779\d+\n")
    sh("-du", BASE, like=rf"0 +0 +{BASE}/a\n0 +0 +{BASE}/empty\n13 +26 +{BASE}/small\n9 +\d+ +{BASE}/typed\n")
    sh("-du", "-s", "-h", f"{BASE}/small", out=f"13  26  {BASE}/small\n")
    sh("-count", BASE, out=f"           2            3                 22 {BASE}\n")
    sh("-df", "/", like=r"Filesystem.*Use%\nhdfs://.*%\n")


def moves(sh, local):
    sh("-mv", f"{BASE}/small", f"{BASE}/a")
    sh("-cat", f"{BASE}/a/small", out="hello hadron\n")
    sh("-mv", f"{BASE}/none", f"{BASE}/x", code=1, err=f"mv: `{BASE}/none': No such file or directory")
    sh("-mv", f"{BASE}/typed", f"{BASE}/empty", code=1, err=f"mv: `{BASE}/empty': File exists")
    sh("-mkdir", f"{BASE}/a/below")
    sh("-mv", f"{BASE}/a", f"{BASE}/a/below", code=1, err=f"mv: `{BASE}/a' to `{BASE}/a/below/a': is a subdirectory of itself")
    sh("-cp", f"{BASE}/a/small", f"{BASE}/copy")
    sh("-cp", f"{BASE}/a/small", f"{BASE}/copy", code=1, err=f"cp: `{BASE}/copy': File exists")
    sh("-cat", f"{BASE}/copy", out="hello hadron\n")
    sh("-moveFromLocal", f"{local}/small-back", f"{BASE}/moved")
    sh.judge.check("the local file is gone", not os.path.exists(f"{local}/small-back"))
    sh("-getmerge", f"{BASE}/a", f"{local}/merged")
    with open(f"{local}/merged", "rb") as merged:
        sh.judge.equal("merged", merged.read(), b"hello hadron\n")


def trees(sh, local):
    sh("-put", f"{local}/folder", f"{BASE}/folder")
    sh("-ls", "-R", "-C", f"{BASE}/folder", out="".join(f"{BASE}/folder/{name}\n" for name in ["below", "below/odd", "empty"]))
    sh("-get", f"{BASE}/folder", f"{local}/folder-back")
    sh.judge.equal("a file in a tree", sha256_file(f"{local}/folder-back/below/odd"), sha256_file(f"{local}/folder/below/odd"))
    sh("-put", f"{local}/big", f"{BASE}/big")
    sh("-get", f"{BASE}/big", f"{local}/big-back")
    sh.judge.equal("a file of more than one block", sha256_file(f"{local}/big-back"), sha256_file(f"{local}/big"))
    sh("-rm", f"{BASE}/folder", code=1, err=f"rm: `{BASE}/folder': Is a directory")
    sh("-rm", f"{BASE}/none", code=1, err=f"rm: `{BASE}/none': No such file or directory")
    sh("-rm", "-f", f"{BASE}/none")
    sh("-rm", "-r", "-skipTrash", f"{BASE}/folder", out=f"Deleted {BASE}/folder\n")
    sh("-rm", f"{BASE}/e*", f"{BASE}/typed", out=f"Deleted {BASE}/empty\nDeleted {BASE}/typed\n")


def main():
    judge = Judge(__doc__)
    java, class_path = judge.fetch(fetch.java_client, "3.3.4")
    local = os.path.join(judge.scratch, "local")
    os.makedirs(os.path.join(local, "folder", "below"))
    for name, data in [("small", b"hello hadron\n"), ("folder/empty", b""), ("folder/below/odd", pattern(1, 123_457)),
                       ("big", pattern(2, (8 if judge.options.small else 150) << 20))]:
        with open(os.path.join(local, name), "wb") as file:
            file.write(data)

    with judge.cluster() as url, JavaShell(java, class_path, url, judge.scratch) as driver:
        sh = Shell(judge, driver)
        sh.url = url
        sh("-rm", "-r", "-f", "-skipTrash", BASE)
        sh("-mkdir", BASE)
        directories(sh)
        files(sh, local)
        attributes(sh)
        moves(sh, local)
        trees(sh, local)
        with JavaShell(java, class_path, url, judge.scratch, user="mallory") as other:
            stranger = Shell(judge, other)
            # 2.7 names the path that was asked for here, 3.3 the directory that refused.
            owner = driver("-stat", "%u", BASE)[1].strip()
            said = other("-mkdir", f"{BASE}/mine")
            judge.check("a stranger may not make a directory", said[0] == 1 and said[2].strip() in [
                f'mkdir: Permission denied: user=mallory, access=WRITE, inode="{named}":{owner}:supergroup:drwxr-xr-x'
                for named in [BASE, f"{BASE}/mine"]], said)
            stranger("-rm", f"{BASE}/big", code=1, err="rm: Permission denied: user=mallory, access=WRITE…")
            stranger("-chmod", "777", f"{BASE}/big", code=1,
                     err="chmod: changing permissions of '" + f"{BASE}/big': Permission denied. user=mallory is not the owner of inode=…")
            stranger("-ls", "-C", f"{BASE}/a", out=f"{BASE}/a/below\n{BASE}/a/small\n")
        sh("-rm", "-r", "-skipTrash", BASE, out=f"Deleted {BASE}\n")
    judge.finish()


if __name__ == "__main__":
    main()
