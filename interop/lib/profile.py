"""Samples processes with Linux's perf while a command runs, and sums up where their CPU went."""

import os
import shutil
import signal
import subprocess
import tempfile

ROWS = 14
# Lowest share that is worth a row, percent.
LEAST = 0.8


class Absent(Exception):
    """perf cannot be had here."""


def top(pids, command, seconds):
    """Runs `command` and returns a table of the heaviest symbols of the processes `pids` in that time."""
    perf = shutil.which("perf")
    if not perf:
        raise Absent("perf is not installed (Debian: linux-perf)")
    with tempfile.TemporaryDirectory(prefix="hadron-perf-") as folder:
        data = os.path.join(folder, "perf.data")
        recorder = subprocess.Popen([perf, "record", "--quiet", "--freq", "997", "--output", data, "--pid", ",".join(pids)],
                                    stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            subprocess.run(command, capture_output=True, timeout=seconds, check=True)
        finally:
            recorder.send_signal(signal.SIGINT)
            _, errors = recorder.communicate(timeout=60)
        if not os.path.exists(data):
            raise Absent(f"perf cannot sample here: {errors.strip()[-200:]}")
        sides = report(perf, data, "dso")
        symbols = report(perf, data, "symbol")
    split = ", ".join(f"{share:.0f} % {name}" for share, name in sides if share >= LEAST)
    rows = [f"| {share:.1f} % | `{name}` |" for share, name in symbols[:ROWS] if share >= LEAST]
    return f"{split}\n\n| share | symbol ([k] kernel) |\n|---|---|\n" + "\n".join(rows)


def report(perf, data, key):
    """(percent, name) by `key`, heaviest first."""
    done = subprocess.run([perf, "report", "--stdio", "--input", data, "--sort", key, "--no-children", "--percent-limit", "0.3"],
                          capture_output=True, text=True, timeout=300)
    found = []
    for line in done.stdout.splitlines():
        share, _, name = line.strip().partition("%")
        if line.startswith("#") or not name:
            continue
        # Columns are padded to their widest row, and another one may follow.
        name = name.strip().split("  ", 1)[0].replace("`", "")
        name = name if len(name) <= 100 else name[:97] + "..."
        found.append((float(share), name))
    return sorted(found, reverse=True)
