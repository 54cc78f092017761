"""Starts Hadron clusters for judges: `hadron mini`, or separate daemons with a configuration folder.

Every process is a child that is ended with the cluster object; every port is free or picked by the system.
"""

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request

READY_SECONDS = 30


def free_ports(count):
    """Picks ports nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def read_line(process, seconds):
    """Reads one line of a child's standard output."""
    deadline = time.monotonic() + seconds
    line = b""
    while not line.endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"no line on standard output after {seconds} s")
        if not select.select([process.stdout], [], [], left)[0]:
            continue
        byte = os.read(process.stdout.fileno(), 1)
        if not byte:
            raise RuntimeError(f"ended with {process.wait()} before it was ready")
        line += byte
    return line.decode().strip()


class Mini:
    """`hadron mini` as a child process; can be killed and started again on the same folder and ports."""

    def __init__(self, hadron, datanodes=3, keep=None, settings=None):
        self.hadron = hadron
        self.datanodes = datanodes
        self.settings = settings or {}
        self.own_folder = keep is None
        self.folder = keep or tempfile.mkdtemp(prefix="hadron-mini-")
        self.port, self.http_port = free_ports(2)
        self.process = None
        self.log = open(os.path.join(self.folder, "mini.log"), "ab")

    def start(self):
        command = [self.hadron, "mini", "--dir", os.path.join(self.folder, "data"), "--datanodes", str(self.datanodes),
                   "--namenode-port", str(self.port), "--http-port", str(self.http_port)]
        for key, value in self.settings.items():
            command += ["-D", f"{key}={value}"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, stdin=subprocess.DEVNULL)
        line = read_line(self.process, READY_SECONDS)
        word, self.url, self.http = line.split(" ")
        if word != "READY":
            raise RuntimeError(f"mini said {line!r}")
        return self

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """SIGKILL: nothing is flushed, nothing is said goodbye to."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        """SIGTERM; returns the exit code."""
        if self.alive():
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.log.close()
        if self.own_folder and not os.environ.get("HADRON_KEEP"):
            shutil.rmtree(self.folder, ignore_errors=True)


class Daemons:
    """A NameNode and DataNodes as separate processes, configured by a folder of XML files."""

    def __init__(self, hadron, datanodes=3, settings=None):
        self.hadron = hadron
        self.folder = tempfile.mkdtemp(prefix="hadron-daemons-")
        self.rpc_port, self.http_port = free_ports(2)
        self.url = f"hdfs://127.0.0.1:{self.rpc_port}"
        self.http = f"http://127.0.0.1:{self.http_port}"
        self.datanodes = datanodes
        self.processes = {}
        self.logs = {}
        common = {
            "dfs.namenode.rpc-address": f"127.0.0.1:{self.rpc_port}",
            "dfs.namenode.http-address": f"127.0.0.1:{self.http_port}",
            "dfs.namenode.name.dir": f"file://{self.folder}/name",
            "dfs.namenode.safemode.extension": "0",
            "dfs.heartbeat.interval": "1",
        }
        common.update(settings or {})
        self.configure("nn", common)
        for index in range(datanodes):
            self.configure(f"dn{index}", {
                **common,
                "dfs.datanode.address": "127.0.0.1:0", "dfs.datanode.http.address": "127.0.0.1:0",
                "dfs.datanode.ipc.address": "127.0.0.1:0", "dfs.datanode.hostname": "127.0.0.1",
                "dfs.datanode.data.dir": f"file://{self.folder}/data{index}",
            })

    def configure(self, name, settings):
        folder = os.path.join(self.folder, "conf", name)
        os.makedirs(folder, exist_ok=True)
        for file, entries in [("core-site.xml", {"fs.defaultFS": self.url}), ("hdfs-site.xml", settings)]:
            with open(os.path.join(folder, file), "w") as out:
                out.write("<?xml version=\"1.0\"?>\n<configuration>\n")
                for key, value in entries.items():
                    out.write(f"  <property><name>{key}</name><value>{value}</value></property>\n")
                out.write("</configuration>\n")
        return folder

    def conf(self, name):
        return os.path.join(self.folder, "conf", name)

    def launch(self, name, *arguments):
        log = self.logs.setdefault(name, open(os.path.join(self.folder, f"{name}.log"), "ab"))
        self.processes[name] = subprocess.Popen([self.hadron, *arguments, "--conf", self.conf(name)], stdout=log, stderr=log,
                                                stdin=subprocess.DEVNULL)

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
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                query = self.http + "/jmx?qry=Hadoop:service=NameNode,name=FSNamesystemState"
                with opener.open(query, timeout=2) as answer:
                    state = json.load(answer)["beans"][0]
                # Root's share of the disk and what a DataNode keeps free are not offered.
                if state["FSState"] == "Operational" and state["NumLiveDataNodes"] >= running and state["CapacityTotal"] >= 0.7 * room:
                    return
            except (OSError, ValueError, LookupError):
                pass
            time.sleep(0.05)
        raise TimeoutError(f"the NameNode is not ready after {seconds} s; see {self.folder}/nn.log")

    def alive(self):
        return all(process.poll() is None for process in self.processes.values())

    def kill(self, name):
        self.processes[name].kill()
        self.processes[name].wait()

    def kill_all(self):
        for name in list(self.processes):
            self.kill(name)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_):
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
                process.wait()
        for log in self.logs.values():
            log.close()
        if not os.environ.get("HADRON_KEEP"):
            shutil.rmtree(self.folder, ignore_errors=True)
