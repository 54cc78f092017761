"""Child processes of a cluster, and what their starting needs: free ports, configuration files, a ready NameNode.

The one home of process control for every kind of cluster (`cluster.py`, `apache.py`). Every process is started here,
is remembered by name and is ended by its own process id, at the latest when `Children.end` runs.
"""

import json
import os
import random
import select
import signal
import socket
import subprocess
import time
import urllib.request
from xml.sax.saxutils import escape

STOP_SECONDS = 30
FIXED_PORTS = range(20_000, 32_000)
STATE_QUERY = "/jmx?qry=Hadoop:service=NameNode,name=FSNamesystemState"
NODES_QUERY = "/jmx?qry=Hadoop:service=NameNode,name=NameNodeInfo"


def free_ports(count):
    """Picks ports nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def fixed_ports(count):
    """Picks ports below those the system gives out by itself, for daemons that come back where they were."""
    found = []
    for port in random.sample(range(FIXED_PORTS.start, FIXED_PORTS.stop), len(FIXED_PORTS)):
        with socket.socket() as each:
            try:
                each.bind(("127.0.0.1", port))
            except OSError:
                continue
            found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError(f"fewer than {count} ports are free in {FIXED_PORTS}")


def write_site(folder, core, hdfs):
    """Writes core-site.xml and hdfs-site.xml into `folder`; `core` and `hdfs` map keys to values."""
    os.makedirs(folder, exist_ok=True)
    for file, entries in [("core-site.xml", core), ("hdfs-site.xml", hdfs)]:
        with open(os.path.join(folder, file), "w") as out:
            out.write("<?xml version=\"1.0\"?>\n<configuration>\n")
            for key, value in entries.items():
                out.write(f"  <property><name>{escape(key)}</name><value>{escape(str(value))}</value></property>\n")
            out.write("</configuration>\n")


def wait_operational(http, enough, seconds, children):
    """Waits until the NameNode at `http` is out of safe mode, `enough(state)` holds for its FSNamesystemState, and every live DataNode
    has told of its storages: before its first heartbeat a DataNode counts as live and is given no block.

    One of `children` that runs and ends meanwhile ends the waiting: RuntimeError.
    """
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    watched = [name for name in children.processes if children.alive(name)]
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        ended = [name for name in watched if not children.alive(name)]
        if ended:
            raise RuntimeError(f"{ended[0]} ended before the NameNode was ready; see {children.log(ended[0])}")
        try:
            with opener.open(http + STATE_QUERY, timeout=2) as answer:
                state = json.load(answer)["beans"][0]
            if state["FSState"] == "Operational" and enough(state):
                with opener.open(http + NODES_QUERY, timeout=2) as answer:
                    nodes = json.loads(json.load(answer)["beans"][0]["LiveNodes"])
                if all(node["capacity"] > 0 for node in nodes.values()):
                    return
        except (OSError, ValueError, LookupError):
            pass
        time.sleep(0.05)
    raise TimeoutError(f"the NameNode is not ready after {seconds} s; see {children.log('nn')}")


class Children:
    """Named child processes, each with a log file `NAME.log` in one folder."""

    def __init__(self, folder):
        self.folder = folder
        self.processes = {}
        self.logs = {}

    def log(self, name):
        return os.path.join(self.folder, name + ".log")

    def launch(self, name, command, read=False):
        """Starts `command`; with `read` its standard output is a pipe for `read_line`, else it goes to the log."""
        if name in self.processes and self.processes[name].stdout:
            self.processes[name].stdout.close()
        log = self.logs.setdefault(name, open(self.log(name), "ab"))
        self.processes[name] = subprocess.Popen(command, stdout=subprocess.PIPE if read else log, stderr=log, stdin=subprocess.DEVNULL)

    def read_line(self, name, seconds):
        """Reads one line of a child's standard output."""
        process = self.processes[name]
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
                raise RuntimeError(f"ended with {process.wait()} before it was ready; see {self.log(name)}")
            line += byte
        return line.decode().strip()

    def alive(self, name=None):
        """Whether the named child runs, or all of them; no child at all is not alive."""
        asked = [self.processes[name]] if name else self.processes.values()
        return bool(asked) and all(process.poll() is None for process in asked)

    def kill(self, name):
        """SIGKILL: nothing is flushed, nothing is said goodbye to."""
        self.processes[name].kill()
        self.processes[name].wait()

    def stop(self, name):
        """SIGTERM; returns the exit code. Raises subprocess.TimeoutExpired for a child that goes on."""
        if self.alive(name):
            self.processes[name].send_signal(signal.SIGTERM)
        return self.processes[name].wait(timeout=STOP_SECONDS)

    def end(self, patience=0):
        """Ends every child: asked politely and given `patience` seconds together where that is not 0, then killed."""
        running = [process for process in self.processes.values() if process.poll() is None]
        if patience:
            for process in running:
                process.terminate()
        deadline = time.monotonic() + patience
        for process in running:
            try:
                process.wait(timeout=max(0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for process in self.processes.values():
            if process.stdout:
                process.stdout.close()
        for log in self.logs.values():
            log.close()
