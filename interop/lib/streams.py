"""Clients that keep streams open, each a child process that can be killed: Java's of two versions, hdfs-native, our own.

They all understand the same lines (`hadron bench drive`, `java/StreamDriver.java`, `native_streams.py`). An answer is
OK, a refusal (`Refused`), or none at all (`Silent`): then nobody knows whether the deed was done.
"""

import glob
import os
import select
import signal
import subprocess
import sys
import threading
import time

from lib import fetch, java

HERE = os.path.dirname(os.path.abspath(__file__))
DRIVER = "StreamDriver"
START_SECONDS = 60
ANSWER_SECONDS = 120
# hdfs-native 0.14 hangs where all packets are sent when the ack of one tells of a failed DataNode: it waits for its own sender.
NATIVE_SECONDS = 20
SALT_STEP, FACTOR = 1_000_003, 2_654_435_761
BLOCK = 1 << 20

_made = {}


def pattern(salt, start, count):
    """Bytes `start` to `start + count` of the file with this salt."""
    known = _made.setdefault(salt, bytearray())
    if len(known) < start + count:
        first, last = salt * SALT_STEP + len(known), salt * SALT_STEP + max(start + count, 2 * len(known))
        known += bytes((place * FACTOR >> 24) & 255 for place in range(first, last))
    return bytes(known[start:start + count])


class Refused(Exception):
    """The client answered that it failed; what it did until then is not known."""


class Silent(Exception):
    """The client ended, or said nothing in time."""


class Streams:
    """One client process."""

    def __init__(self, kind, command, folder):
        self.kind = kind
        self.patience = NATIVE_SECONDS if kind == "native" else ANSWER_SECONDS
        self.paused = False
        self.late = False
        self.buffer = b""
        self.errors = open(os.path.join(folder, "err.log"), "ab")
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, cwd=folder)
        line = self.line(START_SECONDS)
        if line != "READY":
            raise RuntimeError(f"{kind} said {line!r} instead of READY; see {folder}/err.log")

    def line(self, seconds):
        deadline = time.monotonic() + seconds
        while b"\n" not in self.buffer:
            left = deadline - time.monotonic()
            if left <= 0:
                self.late = True
                raise Silent(f"{self.kind} says nothing for {seconds} s")
            if not select.select([self.process.stdout], [], [], left)[0]:
                continue
            more = os.read(self.process.stdout.fileno(), 65536)
            if not more:
                raise Silent(f"{self.kind} ended")
            self.buffer += more
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.decode(errors="replace")

    def send(self, *words):
        try:
            self.process.stdin.write("\t".join(map(str, words)).encode() + b"\n")
            self.process.stdin.flush()
        except OSError as error:
            raise Silent(f"{self.kind}: {error}") from None

    def answer(self, seconds=None):
        """What follows OK."""
        line = self.line(seconds or self.patience)
        word, _, rest = line.partition(" ")
        if word != "OK":
            raise Refused(rest if word == "FAILED" else line)
        return rest

    def __call__(self, *words, seconds=None):
        self.send(*words)
        return self.answer(seconds)

    def alive(self):
        return self.process.poll() is None

    def pause(self):
        """SIGSTOP: it lives and does nothing."""
        self.paused = True
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.paused = False
        self.process.send_signal(signal.SIGCONT)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def end(self):
        if self.alive():
            self.kill()
        for pipe in (self.process.stdin, self.process.stdout, self.errors):
            try:
                pipe.close()
            except OSError:
                pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


class Clients:
    """Starts clients of one cluster; `end` ends what still runs."""

    def __init__(self, judge, url, settings=None, kinds=("hadron", "native", "java-3.3.4")):
        self.judge, self.url = judge, url
        self.settings = {"dfs.blocksize": BLOCK, "dfs.replication": 3, **(settings or {})}
        self.started = []
        self.lock = threading.Lock()
        self.kinds = []
        self.java = {}
        for kind in kinds:
            try:
                self.prepare(kind)
                self.kinds.append(kind)
            except fetch.Absent as reason:
                print(f"  note: without {kind}: {reason}", flush=True)

    def prepare(self, kind):
        if kind == "native":
            import hdfs_native  # noqa: F401: it is there or the judge was not started
        if kind.startswith("java-"):
            command, class_path = fetch.java_client(self.judge.work, kind.removeprefix("java-"))
            classes = os.path.join(self.judge.scratch, "classes-" + kind)
            if not os.path.exists(classes):
                # The compiler, called so, takes no wildcards.
                jars = ":".join(glob.glob(class_path + ".jar")) if class_path.endswith("*") else class_path
                compiler = [command, "-m", "jdk.compiler/com.sun.tools.javac.Main", "-nowarn", "-cp", jars, "-d", classes]
                subprocess.run([*compiler, os.path.join(java.DRIVERS, DRIVER + ".java")], check=True, capture_output=True)
            self.java[kind] = (command, f"{classes}:{class_path}")

    def command(self, kind, folder, settings):
        pairs = [f"{key}={value}" for key, value in settings.items()]
        if kind == "hadron":
            return [self.judge.hadron, "bench", "drive", "--url", self.url, *(word for pair in pairs for word in ("-D", pair))]
        if kind == "native":
            return [sys.executable, os.path.join(HERE, "native_streams.py"), self.url, *pairs]
        return [*java.command(*self.java[kind], DRIVER, folder)[:-1], DRIVER, f"fs.defaultFS={self.url}", *pairs]

    def start(self, kind, **settings):
        """Starts one; settings with dots go as {"a.b": …} through `**`."""
        with self.lock:
            number = len(self.started)
            self.started.append(None)
        folder = os.path.join(self.judge.scratch, f"streams-{id(self)}-{number}-{kind}")
        os.makedirs(folder)
        client = Streams(kind, self.command(kind, folder, {**self.settings, **settings}), folder)
        with self.lock:
            self.started[number] = client
        return client

    def end(self):
        for client in self.started:
            if client:
                client.end()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()
