"""Judge: the Go client, as Debian's package hdfs-cli brings it."""

import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from lib import fetch  # noqa: E402
from lib.judge import Judge, pattern, run, sha256_file  # noqa: E402

BASE = "/judge-go"


class Go:
    """Runs the client and scores exit code, output and error text."""

    def __init__(self, judge, command, address):
        self.judge = judge
        self.command = command
        self.environment = {"HADOOP_NAMENODE": address, "HADOOP_CONF_DIR": judge.scratch, "HADOOP_HOME": judge.scratch}

    def __call__(self, *arguments, code=0, out=None, err=None, user=None):
        environment = dict(self.environment, **({"HADOOP_USER_NAME": user} if user else {}))
        got, stdout, stderr = run([self.command, *arguments], env=environment, cwd=self.judge.scratch)
        name = " ".join(arguments)
        self.judge.check(f"{name}: exit code", got == code, f"{got}, wanted {code}: {stderr.strip()[:300]}")
        if out is not None:
            self.judge.equal(f"{name}: output", stdout, out)
        if err is not None:
            self.judge.check(f"{name}: error text", err in stderr, f"said {stderr!r:.300}, wanted {err!r}")
        return stdout


def main():
    judge = Judge(__doc__)
    command = judge.fetch(fetch.go_client)
    local = os.path.join(judge.scratch, "local")
    os.makedirs(os.path.join(local, "folder", "below"))
    files = {"small": b"hello hadron\n", "folder/empty": b"", "folder/below/odd": pattern(1, 123_457)}
    for name, data in files.items():
        with open(os.path.join(local, name), "wb") as file:
            file.write(data)
    big = os.path.join(local, "big")
    with open(big, "wb") as file:
        file.write(pattern(2, (8 if judge.options.small else 150) << 20))

    with judge.cluster() as url:
        go = Go(judge, command, url.removeprefix("hdfs://"))
        go("rm", "-rf", BASE)
        go("mkdir", "-p", f"{BASE}/a/b")
        go("mkdir", f"{BASE}/a", code=1, err="file already exists")
        go("mkdir", f"{BASE}/x/y", code=1, err="file does not exist")
        go("put", f"{local}/small", f"{BASE}/small")
        go("put", f"{local}/small", f"{BASE}/small", code=1, err="file already exists")
        go("cat", f"{BASE}/small", out="hello hadron\n")
        go("cat", f"{BASE}/none", code=1, err="file does not exist")
        go("ls", BASE, out="a\nsmall\n")
        go("ls", f"{BASE}/none", code=1, err="file does not exist")
        listed = go("ls", "-l", BASE).splitlines()
        judge.check("long listing of a folder", re.match(r"drwxr-xr-x \S+\s+supergroup\s+0 .* a$", listed[0]) if listed else None, listed)
        judge.check("long listing of a file", re.match(r"-rw-r--r-- \S+\s+supergroup\s+13 .* small$", listed[-1]) if listed else None, listed)
        go("head", "-c", "5", f"{BASE}/small", out="hello")
        go("tail", "-c", "7", f"{BASE}/small", out="hadron\n")
        go("tail", "-n", "1", f"{BASE}/small", out="hello hadron\n")

        go("mv", f"{BASE}/small", f"{BASE}/a")
        go("cat", f"{BASE}/a/small", out="hello hadron\n")
        go("mv", f"{BASE}/none", f"{BASE}/z", code=1, err="file does not exist")
        go("touch", f"{BASE}/new")
        go("touch", "-c", f"{BASE}/nope", code=1)
        go("chmod", "600", f"{BASE}/new")
        go("chown", "bob:staff", f"{BASE}/new")
        listed = go("ls", "-l", f"{BASE}/new")
        judge.check("mode and owner show", re.match(r"-rw-------\s+bob\s+staff\s+0 ", listed), listed)
        go("chmod", "-R", "755", f"{BASE}/a")
        go("put", f"{local}/small", f"{BASE}/private")
        go("chmod", "600", f"{BASE}/private")
        go("cat", f"{BASE}/private", code=1, err="org.apache.hadoop.security.AccessControlException", user="mallory")
        go("mkdir", f"{BASE}/theirs", code=1, err="permission denied", user="mallory")
        go("mv", "-T", f"{BASE}/new", f"{BASE}/a/small")
        go("cat", f"{BASE}/a/small", out="")

        go("put", f"{local}/folder", f"{BASE}/folder")
        go("ls", f"{BASE}/folder", f"{BASE}/folder/below", out=f"{BASE}/folder/:\nbelow\nempty\n\n{BASE}/folder/below/:\nodd\n")
        go("du", "-s", f"{BASE}/folder", out=f"123457  {BASE}/folder\n")
        go("get", f"{BASE}/folder", f"{local}/back")
        for name in ["folder/empty", "folder/below/odd"]:
            with open(os.path.join(local, name.replace("folder", "back", 1)), "rb") as file:
                judge.check(f"{name} came back", file.read() == files[name])
        go("put", big, f"{BASE}/big")
        go("get", f"{BASE}/big", f"{local}/big-back")
        judge.equal("a file of more than one block", sha256_file(f"{local}/big-back"), sha256_file(big))
        go("rm", f"{BASE}/folder", code=1, err="file is a directory")
        go("rm", f"{BASE}/none", code=1, err="file does not exist")
        go("rm", "-f", f"{BASE}/none")
        go("rm", f"{BASE}/big")
        judge.check("df has a line of figures", len(go("df").strip().splitlines()) == 2)
        go("rm", "-r", BASE)
        go("ls", BASE, code=1, err="file does not exist")
    judge.finish()


if __name__ == "__main__":
    main()
