"""Hadoop's own tools of one version (fsck, dfsadmin, the shell) against a cluster of any make."""

import re

from lib import fetch
from lib.java import JavaShell

# The clients of 3.3.4 come without them.
VERSION = "2.7.3"


class Tools:
    """Runs them in one JVM; use as a context manager."""

    def __init__(self, judge, url, http):
        java, class_path = fetch.java_client(judge.work, VERSION)
        settings = {"dfs.namenode.http-address": http.removeprefix("http://")}
        self.run = JavaShell(java, class_path, url, judge.scratch, settings=settings, driver="ToolDriver")

    def fsck(self, *words):
        return self.run("org.apache.hadoop.hdfs.tools.DFSck", *words)[1]

    def admin(self, *words):
        """(exit code, output, errors)."""
        return self.run("org.apache.hadoop.hdfs.tools.DFSAdmin", *words)

    def shell(self, *words):
        """(exit code, output, errors)."""
        return self.run("org.apache.hadoop.fs.FsShell", *words)

    def corrupt(self, block):
        """How many corrupt replicas fsck sees."""
        found = re.search(r"No. of corrupted Replica: (\d+)", self.fsck("-blockId", f"blk_{block}"))
        return int(found.group(1)) if found else None

    def figure(self, name, path="/"):
        """A figure of fsck's summary."""
        found = re.search(rf"{re.escape(name)}:\s+(\d+)", self.fsck(path))
        return int(found.group(1)) if found else None

    def nodes(self):
        """How many DataNodes live."""
        return self.figure("Number of data-nodes")

    def healthy(self, path="/"):
        out = self.fsck(path)
        return "is HEALTHY" in out and re.search(r"Under-replicated blocks:\s+0\b", out) is not None

    def __enter__(self):
        return self

    def __exit__(self, *arguments):
        self.run.__exit__(*arguments)
