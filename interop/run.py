"""Runs every outside judge against a Hadron binary and sums up what passed, failed and was skipped.

    python3 interop/run.py --hadron target/release/hadron --work target/interop [--only NAME] [--url hdfs://…]

With --url the judges look at a cluster that runs already (Apache's, to judge the judges); those that must kill
processes are then skipped.
"""

import argparse
import os
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

from lib import fetch  # noqa: E402
from lib.judge import SKIP  # noqa: E402

# name, the rows of fetch.WHEELS it imports, whether it can judge any running cluster
JUDGES = [
    ("native_client", ["hdfs-native"], True),
    ("go_cli", [], True),
    ("java_shell", [], True),
    ("shell_versions", [], True),
    ("checksums", [], True),
    ("hadron_cli", [], True),
    ("refused_calls", [], True),
    ("arrow_datasets", ["hdfs-native", "pyarrow"], True),
    ("snakebite_client", ["snakebite"], True),
    ("spark_jobs", [], True),
    ("side_by_side", ["hdfs-native", "snakebite"], True),
    ("admin_tools", [], False),
    ("cache_admin", [], False),
    ("random_ops", ["hdfs-native"], True),
    ("crash_big_file", [], False),
    ("decommission", ["hdfs-native"], False),
    ("datanode_loss", [], False),
    ("volumes", ["hdfs-native"], False),
    ("scrubbing", [], False),
    ("recovery", [], False),
    ("tokens", ["hdfs-native"], False),
    ("exceptions", [], False),
    ("oracle", ["hdfs-native"], False),
    ("lease_recovery", ["hdfs-native"], False),
    ("pipeline_faults", ["hdfs-native"], False),
    ("mixed_pipelines", [], False),
    ("balancer", [], False),
    ("short_circuit", [], False),
    ("takeover", [], False),
    ("fuzz_ports", ["hdfs-native"], False),
]
LIMIT_SECONDS = 900


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hadron")
    parser.add_argument("--work", default="target/interop")
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--url")
    parser.add_argument("--soak-minutes", type=int, default=0)
    parser.add_argument("--seed", type=int, help="what random choices of the judges come from: the seed a failing run printed")
    options = parser.parse_args()
    work = os.path.abspath(options.work)
    os.makedirs(work, exist_ok=True)
    unknown = [name for name in options.only if name not in [judge[0] for judge in JUDGES]]
    if unknown:
        sys.exit(f"no judge is called {unknown[0]}; there are {', '.join(judge[0] for judge in JUDGES)}")

    os.environ["INTEROP_RUN"] = f"{os.getpid()}-{time.time()}"
    # What later judges need is fetched while the first ones run.
    ahead = None if options.only else subprocess.Popen([sys.executable, os.path.join(HERE, "lib", "fetch.py"), "--work", work],
                                                       stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        judge(options, work)
    finally:
        if ahead and ahead.poll() is None:
            os.killpg(ahead.pid, signal.SIGTERM)
            ahead.wait()


def judge(options, work):
    """Runs the judges one after the other and exits with 1 if one failed."""
    passed, failed, skipped = [], [], []
    for name, wheels, any_cluster in JUDGES:
        if options.only and name not in options.only:
            continue
        print(f"judge {name}", flush=True)
        if options.url and not any_cluster:
            print("  SKIPPED: it starts and kills clusters of its own")
            skipped.append(name)
            continue
        try:
            interpreter = fetch.python(work, *wheels) if wheels else sys.executable
        except fetch.Absent as reason:
            print(f"  SKIPPED: {', '.join(wheels)} cannot be had: {reason}")
            skipped.append(name)
            continue
        command = [interpreter, os.path.join(HERE, "judges", name + ".py"), "--work", work]
        if options.hadron:
            command += ["--hadron", os.path.abspath(options.hadron)]
        if options.url:
            command += ["--url", options.url]
        limit = LIMIT_SECONDS
        if options.soak_minutes:
            command += ["--minutes", str(options.soak_minutes)]
            limit += options.soak_minutes * 120
        if options.seed is not None:
            command += ["--seed", str(options.seed)]
        started = time.monotonic()
        try:
            code = subprocess.run(command, timeout=limit).returncode
        except subprocess.TimeoutExpired:
            print(f"  FAIL: still running after {limit} s")
            code = 1
        {0: passed, SKIP: skipped}.get(code, failed).append(name)
        print(f"  {'passed' if code == 0 else 'skipped' if code == SKIP else 'FAILED'} in {time.monotonic() - started:.1f} s", flush=True)
    if skipped:
        print("interop skipped: " + ", ".join(skipped))
    if failed:
        print("interop failed: " + ", ".join(failed))
    print(f"interop: {len(passed)} passed, {len(failed)} failed, {len(skipped)} skipped")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
