"""Starts Hadron clusters for judges: `hadron mini`, or separate daemons with a configuration folder.

Every process is a child that is ended with the cluster object; every port is free or picked by the system.
"""

import os
import shutil
import subprocess
import tempfile

from lib.children import Children, fixed_ports, free_ports, wait_operational, write_site

READY_SECONDS = 30


class Mini:
    """`hadron mini` as a child process; can be killed and started again on the same folder and ports."""

    def __init__(self, hadron, datanodes=3, keep=None, settings=None):
        self.hadron = hadron
        self.datanodes = datanodes
        self.settings = settings or {}
        self.own_folder = keep is None
        self.folder = keep or tempfile.mkdtemp(prefix="hadron-mini-")
        self.port, self.http_port = free_ports(2)
        self.children = Children(self.folder)

    def start(self):
        command = [self.hadron, "mini", "--dir", os.path.join(self.folder, "data"), "--datanodes", str(self.datanodes),
                   "--namenode-port", str(self.port), "--http-port", str(self.http_port)]
        for key, value in self.settings.items():
            command += ["-D", f"{key}={value}"]
        self.children.launch("mini", command, read=True)
        line = self.children.read_line("mini", READY_SECONDS)
        word, self.url, self.http = line.split(" ")
        if word != "READY":
            raise RuntimeError(f"mini said {line!r}")
        return self

    @property
    def process(self):
        return self.children.processes["mini"]

    def alive(self):
        return self.children.alive()

    def kill(self):
        """SIGKILL: nothing is flushed, nothing is said goodbye to."""
        self.children.kill("mini")

    def stop(self):
        """SIGTERM; returns the exit code."""
        return self.children.stop("mini")

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_):
        self.children.end()
        if self.own_folder and not os.environ.get("HADRON_KEEP"):
            shutil.rmtree(self.folder, ignore_errors=True)


class Daemons:
    """A NameNode and DataNodes as separate processes, configured by a folder of XML files.

    With `steady` every DataNode has ports of its own, so that it comes back under its old address, as on a real machine;
    else it gets new ones with each start.
    """

    def __init__(self, hadron, datanodes=3, settings=None, steady=False):
        self.hadron = hadron
        self.folder = tempfile.mkdtemp(prefix="hadron-daemons-")
        self.rpc_port, self.http_port = free_ports(2)
        self.url = f"hdfs://127.0.0.1:{self.rpc_port}"
        self.http = f"http://127.0.0.1:{self.http_port}"
        self.datanodes = datanodes
        self.children = Children(self.folder)
        common = {
            "dfs.namenode.rpc-address": f"127.0.0.1:{self.rpc_port}",
            "dfs.namenode.http-address": f"127.0.0.1:{self.http_port}",
            "dfs.namenode.name.dir": f"file://{self.folder}/name",
            "dfs.namenode.safemode.extension": "0",
            "dfs.heartbeat.interval": "1",
        }
        common.update(settings or {})
        self.settings = {}
        self.configure("nn", common)
        ports = iter(fixed_ports(3 * datanodes) if steady else [0] * 3 * datanodes)
        for index in range(datanodes):
            self.configure(f"dn{index}", {
                **common, "dfs.datanode.hostname": "127.0.0.1",
                **{f"dfs.datanode.{which}address": f"127.0.0.1:{next(ports)}" for which in ["", "http.", "ipc."]},
                "dfs.datanode.data.dir": f"file://{self.data(index)}",
            })

    @property
    def processes(self):
        return self.children.processes

    def configure(self, name, settings):
        self.settings[name] = settings
        write_site(self.conf(name), {"fs.defaultFS": self.url}, settings)

    def reconfigure(self, name, changes):
        """Changes some of a daemon's settings, for its next start."""
        self.configure(name, {**self.settings[name], **changes})

    def conf(self, name):
        return os.path.join(self.folder, "conf", name)

    def launch(self, name, *arguments):
        self.children.launch(name, [self.hadron, *arguments, "--conf", self.conf(name)])

    def data(self, index):
        """Where a DataNode keeps its blocks."""
        return os.path.join(self.folder, f"data{index}")

    def start_namenode(self):
        self.launch("nn", "namenode")

    def start_datanode(self, index):
        self.launch(f"dn{index}", "datanode")

    def start(self):
        done = subprocess.run([self.hadron, "namenode", "--format", "--conf", self.conf("nn")], capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"format: exit {done.returncode}: {done.stderr}")
        self.start_namenode()
        for index in range(self.datanodes):
            self.start_datanode(index)
        self.wait_ready()
        return self

    def wait_ready(self, seconds=READY_SECONDS):
        """Waits until safe mode is off and every DataNode has said how much room it has."""
        running = sum(name.startswith("dn") and process.poll() is None for name, process in self.processes.items())
        disk = os.statvfs(self.folder)
        room = running * disk.f_blocks * disk.f_frsize
        # Root's share of the disk and what a DataNode keeps free are not offered.
        wait_operational(self.http, lambda state: state["NumLiveDataNodes"] >= running and state["CapacityTotal"] >= 0.7 * room,
                         seconds, self.children)

    def alive(self):
        return self.children.alive()

    def kill(self, name):
        self.children.kill(name)

    def kill_all(self):
        for name in self.processes:
            self.kill(name)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_):
        self.children.end()
        if not os.environ.get("HADRON_KEEP"):
            shutil.rmtree(self.folder, ignore_errors=True)
