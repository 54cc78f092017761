"""DataNodes of one make below the NameNode of the other, and in each other's folders."""

import glob
import os
import re

from lib.children import fixed_ports


class Node:
    """A DataNode of either make: where its data is, how to kill it and start it again."""

    def __init__(self, make, folder, children, name, start):
        self.make, self.folder, self.children, self.name, self.start = make, folder, children, name, start

    def holds_open(self):
        """(block id, stamp) of the replicas being written, and of what a pipeline left behind."""
        return {tuple(map(int, re.search(r"blk_(\d+)_(\d+)", path).groups()))
                for path in glob.glob(f"{self.folder}/current/BP-*/current/rbw/blk_*.meta")}

    def kill(self):
        self.children.kill(self.name)

    def stop(self):
        """SIGTERM, as an administrator's script sends; waits for the end."""
        return self.children.stop(self.name)


def _settings(settings, host, folder, ports):
    return {**settings, "dfs.namenode.rpc-address": f"127.0.0.1:{host.rpc_port}", "fs.defaultFS": host.url,
            **{f"dfs.datanode.{which}address": f"127.0.0.1:{port}" for which, port in zip(["", "http.", "ipc."], ports)},
            "dfs.datanode.hostname": "127.0.0.1", "dfs.datanode.data.dir": f"file://{folder}"}


def our_guest(ours, theirs, name, settings, folder=None, ports=None):
    """One of our DataNodes below Apache's NameNode; in `folder` and on `ports` if somebody else had them before."""
    folder = folder or f"{ours.folder}/{name}"
    ours.configure(name, _settings(settings, theirs, folder, ports or fixed_ports(3)))
    start = lambda: ours.launch(name, "datanode")  # noqa: E731
    start()
    return Node("hadron", folder, ours.children, name, start)


def their_guest(theirs, ours, name, settings, folder=None, ports=None):
    """One of Apache's DataNodes below our NameNode; in `folder` and on `ports` if somebody else had them before."""
    folder = folder or f"{theirs.folder}/{name}"
    os.makedirs(folder, mode=0o700, exist_ok=True)
    theirs.configure(name, _settings(settings, ours, folder, ports or fixed_ports(3)))
    start = lambda: theirs.children.launch(name, theirs.java(name, "datanode.DataNode", heap="-Xmx512m"))  # noqa: E731
    start()
    return Node("apache", folder, theirs.children, name, start)
