"""Judge: bytes that make no sense, to every port; no process may crash, hang or grow, and clients go on working.

Pure noise, noise after valid beginnings, lengths that promise gigabytes, messages that stop in the middle, connections
that say nothing, and HTTP with endless headers.
"""

import os
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from lib.cluster import Daemons  # noqa: E402
from lib.judge import Judge, wait_until  # noqa: E402

import hdfs_native  # noqa: E402

ROUNDS = 1500
IDLE_CONNECTIONS = 100
RSS_GROWTH_MIB = 64
THREAD_GROWTH = 64
# A real client's opening: preamble, then a connection context (length, RPC header, context of user "fuzz").
PREAMBLE = b"hrpc\x09\x00\x00"


def listening_ports(pid):
    """The TCP ports a process listens on, from /proc."""
    inodes = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{fd}")
        except OSError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    ports = set()
    for table in ["tcp", "tcp6"]:
        with open(f"/proc/{pid}/net/{table}") as lines:
            for line in list(lines)[1:]:
                fields = line.split()
                if fields[3] == "0A" and fields[9] in inodes:
                    ports.add(int(fields[1].split(":")[1], 16))
    return sorted(ports)


def status(pid, field):
    """A number of /proc/PID/status, such as VmRSS (KiB) or Threads."""
    with open(f"/proc/{pid}/status") as lines:
        for line in lines:
            if line.startswith(field + ":"):
                return int(line.split()[1])
    return 0


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def openings(pick):
    """Things to send."""
    noise = pick.randbytes(pick.choice([0, 1, 3, 7, 64, 1000, 70_000]))
    header = b"\x08\x02\x10\x00\x18\x05\x22\x10" + pick.randbytes(16) + b"\x28\x01"
    context = varint(len(header)) + header + varint(len(noise[:100])) + noise[:100]
    frame = struct.pack(">I", len(context)) + context
    block = b"\x0a\x12\x0a\x10\x0a\x02bp\x10" + varint(pick.randrange(1 << 62)) + noise[:20]
    return pick.choice([
        noise,
        b"hrpc" + noise,
        PREAMBLE + noise,
        PREAMBLE + struct.pack(">I", pick.choice([0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 64 << 20, (64 << 20) - 1])) + noise,
        PREAMBLE + frame + noise,
        PREAMBLE + frame + frame + struct.pack(">I", 5) + noise,
        b"hrpc\x09\x00\xdf" + struct.pack(">I", len(noise)) + noise,
        b"hrpc" + bytes([pick.randrange(256)]) + b"\x00\x00" + noise,
        struct.pack(">HB", 28, pick.randrange(256)) + noise,
        struct.pack(">HB", 28, pick.choice([80, 81, 82, 83, 84, 85, 86, 87, 88])) + varint(pick.choice([0, 5, 1 << 31, (1 << 35) - 1])) + noise,
        struct.pack(">HB", 28, pick.choice([80, 81])) + varint(len(block)) + block + noise,
        struct.pack(">HB", pick.choice([0, 14, 27, 29, 65535]), 81) + noise,
        b"GET /" + noise.hex().encode()[:8000] + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * pick.choice([1, 100, 5000]),
        b"POST /jmx HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n" + noise,
        b"\x16\x03\x01" + noise,
    ])


def shoot(port, data, pick):
    """Sends bytes and looks at most a moment at what comes back."""
    with socket.socket() as connection:
        connection.settimeout(5)
        connection.connect(("127.0.0.1", port))
        try:
            connection.sendall(data)
            if pick.random() < 0.5:
                connection.shutdown(socket.SHUT_WR)
                connection.settimeout(0.2)
                connection.recv(4096)
        except OSError:
            pass


def works(url, name):
    client = hdfs_native.Client(url)
    with client.create(name, hdfs_native.WriteOptions(overwrite=True)) as writer:
        writer.write(b"still here" * 1000)
    return client.read(name).read() == b"still here" * 1000


def main():
    judge = Judge(__doc__)
    rounds = ROUNDS * max(1, int(judge.options.minutes * 5))
    with Daemons(judge.hadron, datanodes=1, settings={"dfs.replication": "1"}) as cluster:
        wait_until(lambda: descriptors(cluster.processes["dn0"].pid) and works(cluster.url, "/before"), 30, "a client works")
        for name, process in cluster.processes.items():
            pid = process.pid
            ports = listening_ports(pid)
            judge.check(f"{name} listens on something", ports)
            rss, threads, open_files = status(pid, "VmRSS"), status(pid, "Threads"), descriptors(pid)
            for port in ports:
                idle = []
                for _ in range(IDLE_CONNECTIONS):
                    each = socket.create_connection(("127.0.0.1", port), timeout=5)
                    idle.append(each)
                for _ in range(rounds):
                    try:
                        shoot(port, openings(judge.random), judge.random)
                    except OSError as error:
                        judge.check(f"{name} port {port} takes connections", False, error)
                        break
                for each in idle:
                    each.close()
                judge.check(f"{name} lives after noise on one of its ports", process.poll() is None)
            if process.poll() is not None:
                continue
            try:
                wait_until(lambda: descriptors(pid) <= open_files + 8, 60, "connections are given back")
                wait_until(lambda: status(pid, "Threads") <= threads + THREAD_GROWTH, 30, "threads are given back")
            except TimeoutError as late:
                judge.check(f"{name} gives everything back", False, f"{late}; {descriptors(pid)} descriptors, before {open_files}")
            grown = (status(pid, "VmRSS") - rss) / 1024
            judge.check(f"{name} did not grow", grown < RSS_GROWTH_MIB, f"{grown:.0f} MiB more")
            print(f"  {name}: {len(ports)} ports, {rounds} rounds each, {grown:+.1f} MiB", flush=True)
        started = time.monotonic()
        try:
            judge.check("a client works afterwards", works(cluster.url, "/after"))
        except Exception as error:  # noqa: BLE001
            judge.check("a client works afterwards", False, error)
        judge.check("and at once", time.monotonic() - started < 10, time.monotonic() - started)
        judge.check("all daemons still run", cluster.alive())
    judge.finish()


if __name__ == "__main__":
    main()
