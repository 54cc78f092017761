"""Measures Hadron with `hadron bench`, beside Apache HDFS where that can be set up, and keeps the table.

    python3 interop/bench.py --hadron target/release/hadron --work target/interop [--peer HOME] [--quick]

Both clusters run on this machine, one NameNode and three DataNodes each, and take turns; ratios are of medians. The
table replaces the section between two marks of docs/performance.md.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

from lib import apache, fetch  # noqa: E402
from lib.cluster import Mini  # noqa: E402

PAGE = os.path.join(os.path.dirname(HERE), "docs", "performance.md")
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
# (arguments of hadron bench, the figure that counts)
RUNS = [(f"nn --op {op} --threads {threads} --count {count}", "ops_per_s")
        for threads, scale in [(1, 1), (16, 4), (64, 4)]
        for op, count in [("stat", 10_000 * scale), ("create", 1_500 * scale), ("list", 4_000 * scale), ("mkdirs", 2_000 * scale),
                          ("rename", 2_000 * scale), ("delete", 2_000 * scale)]]
RUNS += [("io --write --size 1024 --replication 1", "bytes_per_s"), ("io --write --size 1024 --replication 3", "bytes_per_s"),
         ("io --read --size 1024 --replication 1", "bytes_per_s"),
         ("small --write --threads 1 --count 40 --replication 1", "p50_ms"),
         ("small --write --threads 16 --count 400 --replication 3", "ops_per_s"),
         ("small --read --threads 16 --count 1500 --replication 1", "ops_per_s")]


def measure(hadron, url, arguments):
    done = subprocess.run([hadron, "bench", *arguments.split(), "--url", url], capture_output=True, text=True, timeout=600)
    try:
        line = json.loads(done.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        print(f"  {arguments} against {url}: {done.stderr.strip()[-300:]}", file=sys.stderr)
        return None
    if line.get("errors"):
        print(f"  {arguments} against {url}: {line.get('first_error')}", file=sys.stderr)
        return None
    return line


def shown(figure, value):
    if value is None:
        return "–"
    if figure == "bytes_per_s":
        return f"{value / 1e6:.0f} MB/s"
    return f"{value:.2f} ms" if figure == "p50_ms" else f"{value:.0f}/s"


def compare(hadron, ours, theirs, repetitions, quick):
    rows = []
    for arguments, figure in RUNS:
        if quick:
            arguments = arguments.replace("--size 1024", "--size 64")
        values = {"ours": [], "theirs": []}
        for _ in range(repetitions):
            for side, url in [("theirs", theirs), ("ours", ours)]:
                line = measure(hadron, url, arguments) if url else None
                if line:
                    values[side].append(line[figure])
        median = {side: statistics.median(found) if found else None for side, found in values.items()}
        ratio = "–"
        if median["ours"] and median["theirs"]:
            times = median["ours"] / median["theirs"]
            ratio = f"{1 / times if figure == 'p50_ms' else times:.1f}×"
        rows.append((arguments, shown(figure, median["ours"]), shown(figure, median["theirs"]), ratio))
        print("  " + " | ".join(rows[-1]), flush=True)
    return rows


def keep(rows, notes):
    text = open(PAGE).read() if os.path.exists(PAGE) else f"# Performance\n\n{BEGIN}\n{END}\n"
    before, rest = text.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    table = ["| `hadron bench …` | Hadron | Apache 2.7.3 | Hadron is better by |", "|---|---|---|---|"]
    table += [f"| `{arguments}` | {ours} | {theirs} | {ratio} |" for arguments, ours, theirs, ratio in rows]
    with open(PAGE, "w") as page:
        page.write(before + BEGIN + "\n" + "\n".join(notes) + "\n\n" + "\n".join(table) + "\n" + END + after)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hadron", required=True)
    parser.add_argument("--work", default="target/interop")
    parser.add_argument("--peer", help="folder with an unpacked Apache HDFS 2.7.3 (lib/ and web/)")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="little data, one repetition")
    options = parser.parse_args()
    hadron, work = os.path.abspath(options.hadron), os.path.abspath(options.work)
    os.makedirs(work, exist_ok=True)
    repetitions = 1 if options.quick else options.repetitions
    notes = [f"Measured {time.strftime('%Y-%m-%d')} by `cargo xtask bench` on {os.cpu_count()} cores, {platform.machine()}, Linux "
             f"{platform.release().split('-')[0]}; one NameNode and three DataNodes on the machine of the client; medians of {repetitions}."]
    memory = subprocess.run([hadron, "bench", "nn", "--memory"], capture_output=True, text=True)
    if memory.returncode == 0:
        line = json.loads(memory.stdout.strip().splitlines()[-1])
        notes.append(f"A file with one block and three replicas takes {line['bytes_per_file']} bytes of the NameNode's memory "
                     f"({line['files']} files, `hadron bench nn --memory`).")
    peer = None
    try:
        peer = options.peer or apache.unpack(work)
    except fetch.Absent as reason:
        print(f"SKIPPED Apache HDFS: {reason}")
    with tempfile.TemporaryDirectory(prefix="hadron-bench-") as folder, Mini(hadron) as mini:
        if peer is None:
            rows = compare(hadron, mini.url, None, repetitions, options.quick)
        else:
            with apache.Apache(os.path.abspath(peer), folder) as theirs:
                rows = compare(hadron, mini.url, theirs.url, repetitions, options.quick)
    keep(rows, notes)
    print(f"kept in {os.path.relpath(PAGE)}")


if __name__ == "__main__":
    main()
