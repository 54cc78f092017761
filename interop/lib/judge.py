"""Keeps score for one judge: named assertions, one line each, and an exit code.

A judge is a script below judges/. It gets `--url` of a running cluster, or `--hadron` with the binary under test and
starts what it needs. Exit codes: 0 all held, 1 something did not, 77 could not judge (the reason is printed).
"""

import argparse
import contextlib
import hashlib
import os
import random
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from lib import fetch  # noqa: E402
from lib.cluster import Mini  # noqa: E402

SKIP = 77


class Judge:
    """Scores one run."""

    def __init__(self, about):
        parser = argparse.ArgumentParser(description=about)
        parser.add_argument("--url", help="judge this cluster instead of starting one")
        parser.add_argument("--hadron", default=os.environ.get("HADRON"), help="the binary under test")
        parser.add_argument("--work", default=os.environ.get("INTEROP_WORK", "target/interop"), help="folder for downloads")
        parser.add_argument("--seed", type=int, default=None, help="seed of random choices")
        parser.add_argument("--minutes", type=float, default=0, help="how long random work goes on (0: short)")
        parser.add_argument("--small", action="store_true", help="with less data, for quick trials")
        self.options = parser.parse_args()
        self.work = os.path.abspath(self.options.work)
        self.passed = 0
        self.failed = 0
        self.seed = self.options.seed if self.options.seed is not None else random.SystemRandom().randrange(1 << 32)
        self.random = random.Random(self.seed)
        self.started = time.monotonic()
        self.scratch_folder = tempfile.TemporaryDirectory(prefix="hadron-judge-")
        self.scratch = self.scratch_folder.name

    @property
    def hadron(self):
        if not self.options.hadron:
            self.skip("no --hadron binary to judge")
        return os.path.abspath(self.options.hadron)

    @contextlib.contextmanager
    def cluster(self, **options):
        """Yields the URL to judge: the one given, or that of a fresh mini cluster."""
        if self.options.url:
            yield self.options.url.rstrip("/")
            return
        with Mini(self.hadron, **options) as mini:
            yield mini.url
            self.check("the cluster still runs at the end", mini.alive())

    def check(self, name, held, detail=""):
        """Scores one assertion."""
        if held:
            self.passed += 1
        else:
            self.failed += 1
            print(f"  FAIL {name}" + (f": {detail}" if detail != "" else ""), flush=True)
        return held

    def equal(self, name, got, want):
        """Scores an equality and shows both sides when it does not hold."""
        return self.check(name, got == want, f"got {got!r:.2000}, want {want!r:.2000}")

    def skip(self, reason):
        """Ends the run: nothing could be judged."""
        print(f"  SKIPPED: {reason}")
        sys.exit(SKIP)

    def fetch(self, function, *arguments):
        """Gets a foreign client or skips."""
        try:
            return function(self.work, *arguments)
        except fetch.Absent as reason:
            self.skip(str(reason))

    def finish(self):
        """Prints the score and exits."""
        seconds = time.monotonic() - self.started
        print(f"  {self.passed} held, {self.failed} did not, {seconds:.1f} s, seed {self.seed}", flush=True)
        self.scratch_folder.cleanup()
        sys.exit(1 if self.failed or not self.passed else 0)


def run(command, stdin=None, env=None, timeout=120, cwd=None):
    """Runs a command; returns (exit code, stdout, stderr) with text."""
    environment = dict(os.environ)
    environment.update(env or {})
    done = subprocess.run(command, input=stdin, capture_output=True, env=environment, timeout=timeout, cwd=cwd)
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


def pattern(seed, length):
    """Bytes that do not repeat within a packet or a block, the same for the same seed."""
    return random.Random(seed).randbytes(length)


def sha256_file(path):
    """SHA-256 of a local file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def wait_until(condition, seconds, what):
    """Polls an outside process until `condition()` is true; returns its value. Raises TimeoutError after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {seconds} s still not: {what}")
        time.sleep(0.05)
