"""Measures Hadron with `hadron bench`, beside Apache HDFS where that can be set up, and keeps the tables.

    python3 interop/bench.py --hadron target/release/hadron --work target/interop [--peer HOME] [--quick]

Both clusters run on this machine, one NameNode and three DataNodes each in processes of their own, and take turns
(A B A B …) after one unmeasured round that warms both. Ratios are of medians. `hadron bench floor` takes turns too where it
can answer: it says what the kernel alone costs. The tables replace the section between two marks of docs/performance.md.
"""

import argparse
import glob
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

from lib import apache, fetch, profile  # noqa: E402
from lib.children import Children  # noqa: E402
from lib.cluster import Daemons  # noqa: E402

PAGE = os.path.join(os.path.dirname(HERE), "docs", "performance.md")
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
RUN_SECONDS = 600
METADATA = {"stat": (15_000, 200_000), "create": (3_000, 6_000), "list": (4_000, 15_000), "mkdirs": (3_000, 10_000),
            "rename": (2_000, 6_000), "delete": (2_000, 6_000)}
# (title, [(arguments of hadron bench, the figure that counts)])
TABLES = [
    ("Metadata: N connections with one call in flight each (`create` is create + complete; `list` is of 100 entries)",
     [(f"nn --op {op} --threads {threads} --count {counts[threads > 1]}", "ops_per_s")
      for threads in [1, 16, 64] for op, counts in METADATA.items()]),
    ("Large files", [("io --write --size 1024 --replication 1", "bytes_per_s"), ("io --write --size 1024 --replication 3", "bytes_per_s"),
                     ("io --read --size 1024 --replication 1", "bytes_per_s"),
                     ("io --read --size 512 --threads 4 --replication 1", "bytes_per_s"),
                     ("hdfs-native --size 1024 --threads 1", "bytes_per_s"), ("hdfs-native --size 512 --threads 4", "bytes_per_s")]),
    ("Files of 4 KiB", [(f"small --write --threads {threads} --count {count} --replication {replication}", "ops_per_s")
                        for threads, count in [(1, 40), (16, 600), (64, 2400)] for replication in [1, 3]] +
     [(f"small --read --threads {threads} --count {count} --replication 1", "ops_per_s")
      for threads, count in [(1, 400), (16, 1200), (64, 2000)]]),
    ("Until bytes are safe, with 3 replicas: records of 100 bytes flushed to all DataNodes, the same synced to disk, and files "
     "reopened for one byte and closed, once all its replicas are known (one run; Apache only 1000 of them)", [(f"flush --op hflush --threads {threads} --count {count}", "ops_per_s")
                                          for threads, count in [(1, 2_000), (16, 16_000)]] +
     [("flush --op hsync --threads 1 --count 1000", "ops_per_s"), ("flush --op append --size 1 --threads 16 --count 10000", "ops_per_s")]),
]
# Rows so long that they warm themselves: measured once. Apache takes the better part of a second for each.
LONG = "flush --op append"
BESIDE = "Reads beside the machine's own limit"
PROFILED = "Where Hadron's CPU goes"
# Rows that another client reads, of files that `hadron bench` left there.
NATIVE = "hdfs-native"
# What, Hadron's side, the other side, the figure, whether Hadron reads by short circuit, the least ratio there may be.
LIMITS = [("TCP, 1 stream", "io --read", "raw --op loopback", "bytes_per_s", False, 0),
          ("TCP, 4 streams", "io --read --threads 4", "raw --op loopback --threads 4", "bytes_per_s", False, 0),
          ("TCP, 4 streams, verified on both sides", "io --read --threads 4", "raw --op loopback-verified --threads 4", "bytes_per_s", False, 0),
          ("TCP, 1 stream: the sender's CPU", "io --read", "raw --op loopback-verified", "server_cpu", False, 0),
          ("TCP, 4 streams: the sender's CPU", "io --read --threads 4", "raw --op loopback-verified --threads 4", "server_cpu", False, 0),
          ("short circuit, in order", "io --read", "raw --op pread", "bytes_per_s", True, 0),
          ("short circuit, mapped", "io --zero-copy", "raw --op mmap", "bytes_per_s", True, 0),
          ("short circuit, 4 KiB anywhere", "io --random 200000", "raw --op random", "ops_per_s", True, 0),
          ("the same, verified on both sides", "io --random 200000", "raw --op random-verified", "ops_per_s", True, 0),
          ("the same, verified by nobody", "io --random 200000 -D dfs.client.read.shortcircuit.skip.checksum=true", "raw --op random", "ops_per_s", True, 0),
          ("the same beside TCP", "io --random 200000", "io --random 10000", "ops_per_s", True, 0),
          # covers: XC-32
          ("64 KiB anywhere, beside TCP", "io --random-size 65536 --random 20000", "io --random-size 65536 --random 4000", "ops_per_s", True, 2)]
# What is profiled: (title, arguments, whose processes)
PROFILES = [("getFileInfo, 16 connections", "nn --op stat --threads 16 --count 400000", "nn"),
            ("create + complete, 16 connections", "nn --op create --threads 16 --count 20000", "nn"),
            ("create + complete, 1 connection", "nn --op create --threads 1 --count 4000", "nn"),
            ("4 KiB files with 3 replicas, 64 writers, all servers", "small --write --threads 64 --count 4000 --replication 3", ""),
            ("read of 1 GiB by each of 4 streams, all DataNodes", "io --read --keep --dir /limits --size 1024 --threads 4 --replication 1", "dn"),
            ("write of 2 GiB with 3 replicas, all DataNodes", "io --write --size 2048 --replication 3", "dn")]


class Floor:
    """`hadron bench floor` as a child process."""

    def __init__(self, hadron, folder):
        self.hadron, self.folder = hadron, folder
        self.children = Children(folder)

    def __enter__(self):
        command = [self.hadron, "bench", "floor", "--journal", os.path.join(self.folder, "floor.dat"),
                   "--datanodes", "3", "--store", os.path.join(self.folder, "store")]
        self.children.launch("floor", command, read=True)
        self.url = self.children.read_line("floor", 30).split(" ")[1]
        return self

    def __exit__(self, *_):
        self.children.end()


class Side:
    """A server that takes its turn."""

    def __init__(self, name, url, children, only="", python=None):
        self.name, self.url, self.only, self.python = name, url, only, python
        self.pids = [str(process.pid) for process in children.processes.values()]

    def measure(self, hadron, arguments):
        if not arguments.startswith(self.only):
            return None
        if arguments.startswith(NATIVE):
            return self.measure_native(hadron, arguments)
        if self.name == "Apache" and arguments.startswith(LONG):
            arguments = arguments.replace("--count 10000", "--count 1000")
        command = [hadron, "bench", *arguments.split(), "--url", self.url, "--pids", ",".join(self.pids)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_SECONDS)
        try:
            line = json.loads(done.stdout.strip().splitlines()[-1])
        except (IndexError, ValueError):
            line = {"errors": 1, "first_error": done.stderr.strip()[-300:]}
        if line.get("errors"):
            print(f"  {arguments} against {self.name}: {line.get('first_error')}", file=sys.stderr)
            return None
        return line


    def measure_native(self, hadron, arguments):
        """Reads with hdfs-native; None where it cannot be had."""
        if not self.python:
            return None
        options = [*arguments.split()[1:], "--replication", "1", "--dir", "/native", "--url", self.url]
        threads = int(options[options.index("--threads") + 1])
        # Writes unless an earlier round did; the reading warms the page cache.
        subprocess.run([hadron, "bench", "io", "--read", "--keep", *options], capture_output=True, check=True, timeout=RUN_SECONDS)
        used = self.cpu_seconds()
        done = subprocess.run([self.python, os.path.join(HERE, "lib", "native_reads.py"), self.url, *(f"/native/file-{n}" for n in range(threads))],
                              capture_output=True, text=True, timeout=RUN_SECONDS)
        line = json.loads(done.stdout) if done.stdout else {"errors": 1}
        if line["errors"]:
            print(f"  {arguments} against {self.name}: {done.stderr[-300:]}", file=sys.stderr)
            return None
        return {**line, "server_cpu_s": self.cpu_seconds() - used}

    def cpu_seconds(self):
        """What the server's processes used of the processors so far."""
        ticks = 0
        for pid in self.pids:
            with open(f"/proc/{pid}/stat") as file:
                fields = file.read().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


def local_sockets(folder):
    """Settings of DataNodes and clients for short-circuit reads."""
    return {"dfs.client.read.shortcircuit": "true", "dfs.domain.socket.path": os.path.join(folder, "dn._PORT")}


def shown(figure, value):
    if value is None:
        return "–"
    if figure == "server_cpu":
        return f"{value:.2f} s/GiB"
    return f"{value / 1e6:.0f} MB/s" if figure == "bytes_per_s" else f"{value:.0f}/s" if value >= 100 else f"{value:.1f}/s"


def cpu(line):
    """CPU of the server: microseconds an operation, or seconds a GiB."""
    if "bytes_per_s" in line and line["bench"] in ("io", "raw"):
        return line["server_cpu_s"] / (line["bytes_per_s"] * line["seconds"] / 2**30)
    return line["server_cpu_us_per_op"]


def row(arguments, figure, lines):
    medians = {name: {"figure": statistics.median(line[figure] for line in found), "cpu": statistics.median(map(cpu, found)),
                      "p50": statistics.median(line["p50_ms"] for line in found), "p99": statistics.median(line["p99_ms"] for line in found)}
               for name, found in lines.items() if found}
    ours, theirs, floor = (medians.get(name) for name in ["Hadron", "Apache", "floor"])

    def cell(side, text):
        return text(side) if side else "–"

    unit = "s/GiB" if figure == "bytes_per_s" else "µs"
    def used(side):
        return cell(side, lambda found: f"{found['cpu']:.2f} {unit}" if found["cpu"] < 10 else f"{found['cpu']:.0f} {unit}")

    def latency(side):
        return cell(side, lambda found: f"{found['p50']:.2f} / {found['p99']:.2f}")

    times = f"{ours['figure'] / theirs['figure']:.1f}×" if ours and theirs else "–"
    share = f"{ours['cpu'] / theirs['cpu']:.2f}" if ours and theirs and theirs["cpu"] else "–"
    return [f"`{arguments}`", cell(ours, lambda found: shown(figure, found["figure"])), cell(theirs, lambda found: shown(figure, found["figure"])),
            times, latency(ours), latency(theirs), used(ours), used(theirs), share, used(floor), cell(floor, lambda found: shown(figure, found["figure"]))]


def compare(hadron, sides, rows, repetitions, quick):
    table = []
    for arguments, figure in rows:
        if quick:
            arguments = arguments.replace("--size 1024", "--size 64").replace("--size 512", "--size 64")
            arguments = arguments.replace("--count 10000", "--count 300") if arguments.startswith(LONG) else arguments
        lines = {side.name: [] for side in sides}
        # The first round warms caches and JVMs.
        warming = 0 if arguments.startswith(LONG) else 1
        for round_number in range(1 if arguments.startswith(LONG) else repetitions + 1):
            for side in sides:
                line = side.measure(hadron, arguments)
                if line and round_number >= warming:
                    lines[side.name].append(line)
        table.append(row(arguments, figure, lines))
        print("  " + " | ".join(table[-1]), flush=True)
    return table


def block_files(hadron, url, http, path, folder):
    """The files on this machine that hold the blocks of the file `path`, in order."""
    command = [hadron, "fsck", "-D", f"fs.defaultFS={url}", "-D", f"dfs.namenode.http-address={http}", path, "-files", "-blocks"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_SECONDS)
    files = []
    for number in re.findall(r"blk_(\d+)_", done.stdout):
        found = glob.glob(f"{folder}/**/finalized/**/blk_{number}", recursive=True)
        if not found:
            raise FileNotFoundError(f"no file of block {number} of {path}; {done.stdout} {done.stderr}")
        files.append(found[0])
    return files


def beside_the_machine(hadron, ours, client, repetitions, quick):
    """Reads of each kind and what the machine does with the same files, in turns; and which ratios are lower than they may be."""
    url, pids = ours.url, [str(process.pid) for process in ours.processes.values()]
    table, low = [], []
    local = [part for key, value in client.items() for part in ["-D", f"{key}={value}"]]
    size = "64" if quick else "1024"
    cluster = ["--size", size, "--replication", "1", "--dir", "/limits", "--keep", "--url", url, "--pids", ",".join(pids)]
    subprocess.run([hadron, "bench", "io", "--write", "--threads", "4", *cluster], capture_output=True, check=True, timeout=RUN_SECONDS)
    plain = [block_files(hadron, url, ours.http.removeprefix("http://"), f"/limits/file-{number}", ours.folder) for number in range(4)]
    for name, own, limit, figure, local_too, least in LIMITS:
        found = {"own": [], "limit": []}
        for round_number in range(repetitions + 1):
            for side in found:
                if side == "limit" and limit.startswith("raw"):
                    files = sum(plain, []) if "--threads 4" in limit else plain[0]
                    command = [*limit.split(), "--file", *files]
                else:
                    options = own if side == "own" else limit
                    command = [*options.split(), *cluster]
                    command += local if side == "own" and local_too else []
                done = subprocess.run([hadron, "bench", *command], capture_output=True, text=True, timeout=RUN_SECONDS)
                line = json.loads(done.stdout.strip().splitlines()[-1]) if done.stdout.strip() else {"errors": done.stderr[-300:]}
                if line["errors"]:
                    print(f"  {' '.join(command)}: {line}", file=sys.stderr)
                elif round_number:
                    found[side].append(cpu(line) if figure == "server_cpu" else line[figure])
        own_figure, limit_figure = (statistics.median(values) if values else None for values in found.values())
        times = own_figure / limit_figure if own_figure and limit_figure else 0
        if times < least:
            low.append(f"{name}: {times:.2f}, at least {least} is asked for")
        ratio = f"{times:.2f}" if times else "–"
        table.append([name, f"`{own}{' -D dfs.client.read.shortcircuit=true …' if local_too else ''}`", shown(figure, own_figure),
                      f"`{limit}`", shown(figure, limit_figure), ratio])
        print("  " + " | ".join(table[-1]), flush=True)
    head = ["read", "`hadron bench …`", "Hadron", "beside `hadron bench …`", "which makes", "ratio"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return f"### {BESIDE}\n\n" + "\n".join(lines + ["| " + " | ".join(cells) + " |" for cells in table]), low


def keep(sections, some):
    """Puts the sections into the page; with `some` each takes the place of the one with its heading, and the others stay."""
    text = open(PAGE).read() if os.path.exists(PAGE) else f"# Performance\n\n{BEGIN}\n{END}\n"
    before, rest = text.split(BEGIN, 1)
    figures, after = rest.split(END, 1)
    if some:
        def heading(section):
            return section.strip().splitlines()[0]
        old = re.split(r"\n+(?=### )", figures.strip())
        new = {heading(section): section for section in sections if section.startswith("### ")}
        sections = [new.pop(heading(section), section) for section in old] + list(new.values())
    with open(PAGE, "w") as page:
        page.write(before + BEGIN + "\n" + "\n\n".join(sections) + "\n" + END + after)


def as_table(title, rows):
    head = ["`hadron bench …`", "Hadron", "Apache", "Hadron is faster by", "Hadron p50 / p99 ms", "Apache p50 / p99 ms", "Hadron CPU",
            "Apache CPU", "CPU ratio", "floor CPU", "floor"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return f"### {title}\n\n" + "\n".join(lines + ["| " + " | ".join(cells) + " |" for cells in rows])


def profiles(hadron, ours, quick):
    """Where the server's CPU goes, by symbol."""
    sections = []
    for title, arguments, whose in PROFILES:
        if quick:
            arguments = arguments.replace("--size 2048", "--size 128").replace("0000", "000")
        pids = [str(process.pid) for name, process in ours.processes.items() if name.startswith(whose)]
        command = [hadron, "bench", *arguments.split(), "--url", ours.url]
        if "--keep" in command:
            # The first run makes what the second one reads.
            subprocess.run(command, capture_output=True, timeout=RUN_SECONDS)
        try:
            top = profile.top(pids, command, RUN_SECONDS)
        except profile.Absent as reason:
            return [f"### {PROFILED}\n\nNot measured: {reason}."]
        sections.append(f"#### {title}: `hadron bench {arguments}`\n\n{top}")
    return [f"### {PROFILED}\n\nShares of the samples of the servers' processes, preparation and removal included "
            "(`perf record`).\n\n" + "\n\n".join(sections)]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hadron", required=True)
    parser.add_argument("--work", default="target/interop")
    parser.add_argument("--peer", help="folder with an unpacked Apache HDFS 2.7.3 (lib/ and web/)")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="little data, one repetition")
    parser.add_argument("--sections", default="", help="beginnings of headings of the page, separated by commas: only these are measured anew")
    parser.add_argument("--only", help="only rows whose arguments begin so, e.g. 'nn --op stat'; prints and keeps nothing")
    options = parser.parse_args()
    hadron, work = os.path.abspath(options.hadron), os.path.abspath(options.work)
    os.makedirs(work, exist_ok=True)
    repetitions = 1 if options.quick else options.repetitions
    chosen = [words for words in options.sections.split(",") if words]
    today = f"Measured {time.strftime('%Y-%m-%d')}, medians of {repetitions}.\n\n" if chosen else ""

    def wanted(title):
        return not chosen or any(title.startswith(words) for words in chosen)

    def dated(section):
        heading, rest = section.split("\n\n", 1)
        return f"{heading}\n\n{today}{rest}"

    low = []
    sections = [f"Measured {time.strftime('%Y-%m-%d')} by `cargo xtask bench` on {os.cpu_count()} cores, {platform.machine()}, Linux "
                f"{platform.release().split('-')[0]}; one NameNode and three DataNodes each, in processes of their own, on the machine of the "
                f"client; medians of {repetitions} after a warm-up, in turns. CPU is that of all the server's processes, for an operation or a "
                "GiB; the floor is `hadron bench floor`: sockets, RPC frames and one synchronous write for each batch of mutations, and for "
                "files of 4 KiB the connections, messages and files of their replicas; nothing else."]
    if not options.only and not chosen:
        memory = subprocess.run([hadron, "bench", "nn", "--memory"], capture_output=True, text=True)
        if memory.returncode == 0:
            line = json.loads(memory.stdout.strip().splitlines()[-1])
            sections.append(f"A file with one block and three replicas takes {line['bytes_per_file']} bytes of the NameNode's memory "
                            f"({line['files']} files, `hadron bench nn --memory`).")
    peer = None
    try:
        peer = options.peer or apache.unpack(work)
    except fetch.Absent as reason:
        print(f"SKIPPED Apache HDFS: {reason}")
        sections.append(f"Apache HDFS was not measured: {reason}.")
    try:
        python = fetch.python(work, NATIVE)
    except fetch.Absent as reason:
        print(f"SKIPPED hdfs-native: {reason}")
        python = None
    with tempfile.TemporaryDirectory(prefix="hadron-bench-", dir=work) as folder, \
            Daemons(hadron, settings={**(sockets := local_sockets(folder)), "hadron.domain.socket.check-directories": "false"}) as ours:
        os.makedirs(os.path.join(folder, "floor"))
        theirs = apache.Apache(os.path.abspath(peer), folder) if peer else None
        try:
            with Floor(hadron, os.path.join(folder, "floor")) as floor:
                sides = [Side("Hadron", ours.url, ours.children, python=python),
                         Side("floor", floor.url, floor.children, only=("nn", "small --write"))]
                if theirs:
                    theirs.start()
                    sides.insert(0, Side("Apache", theirs.url, theirs.children, python=python))
                for title, rows in TABLES:
                    if not wanted(title):
                        continue
                    rows = [found for found in rows if found[0].startswith(options.only or "")]
                    if rows:
                        sections.append(dated(as_table(title, compare(hadron, sides, rows, repetitions, options.quick))))
        finally:
            if theirs:
                theirs.__exit__()
        if wanted(BESIDE) and (not options.only or "limits".startswith(options.only)):
            section, low = beside_the_machine(hadron, ours, sockets, repetitions, options.quick)
            sections.append(dated(section))
        if options.only:
            sys.exit("; ".join(low) or 0)
        if wanted(PROFILED):
            sections += profiles(hadron, ours, options.quick)
    keep(sections, chosen)
    print(f"kept in {os.path.relpath(PAGE)}")
    if low:
        sys.exit("; ".join(low))


if __name__ == "__main__":
    main()
