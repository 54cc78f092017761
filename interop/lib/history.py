"""What is known about one file that is written while everything around it fails: an oracle's memory.

Writers report what they ask for and what was answered; readers report what they saw. The rules (`saw`, `settled`):

- a byte whose hflush, hsync or close was answered with success stays: no reader that opens later sees less;
- nothing appears that nobody wrote;
- generation stamps of a block never fall, and within a stamp the length that readers see does not;
- a deed without an answer may or may not have happened: both are right until somebody looks at the settled file.

Every method may be called from any thread.
"""

import threading
import time


class File:
    """One file's history. Lengths are bytes."""

    def __init__(self, path, salt):
        self.path, self.salt = path, salt
        self.lock = threading.Lock()
        # True, False, or None where a create or a delete was not answered.
        self.exists = False
        # A rename was not answered: the file is at one of `path` and this.
        self.other_path = None
        self.acked = 0
        self.closed = False
        # (when, bytes handed to a writer until then); falls when a settled file turns out shorter.
        self.issued_log = [(time.monotonic(), 0)]
        # Last block -> (stamp, length, when the look that saw it was over).
        self.seen = {}
        self.looks = 0

    @property
    def issued(self):
        return self.issued_log[-1][1]

    def issue(self, count):
        """A writer is about to be given `count` more bytes; returns where they begin."""
        with self.lock:
            start = self.issued
            self.issued_log.append((time.monotonic(), start + count))
            return start

    def ack(self, closed=False):
        """A flush, or a close, of all that was issued was answered with success."""
        with self.lock:
            self.acked = self.issued
            self.closed = closed

    def opened(self):
        with self.lock:
            self.exists, self.closed = True, False

    def doubt(self):
        """An operation on the open file was not answered."""
        with self.lock:
            self.closed = False

    def settled(self, length):
        """The file is closed and has this length: returns what is wrong with that, or None."""
        with self.lock:
            wrong = None
            if not self.acked <= length <= self.issued:
                wrong = f"{self.path} settles at {length} bytes: {self.acked} were acked and {self.issued} written"
            self.acked = max(self.acked, length)
            self.issued_log.append((time.monotonic(), length))
            self.exists, self.closed = True, True
            return wrong

    def begin_look(self):
        """Called before a reader opens the file."""
        with self.lock:
            return time.monotonic(), self.acked, self.exists, dict(self.seen)

    def saw(self, look, length, block=None, stamp=None):
        """A reader that began with `look` saw `length` right bytes.

        Returns (what is wrong or None, whether the length fell within a stamp and another look has to show it risen).
        """
        began, acked, _, seen = look
        with self.lock:
            self.looks += 1
            earlier = [issued for when, issued in self.issued_log if when <= began][-1:]
            most = max(earlier + [issued for when, issued in self.issued_log if when > began])
            if length < acked:
                return f"{self.path}: a reader sees {length} bytes, {acked} were acked before it opened the file", False
            if length > most:
                return f"{self.path}: a reader sees {length} bytes, only {most} were written", False
            if block is None:
                return None, False
            old_stamp, old_length = seen.get(block, (0, 0))
            if stamp < old_stamp:
                return f"{self.path}: block {block} falls from stamp {old_stamp} to {stamp}", False
            if stamp == old_stamp and length < old_length:
                return None, True
            now = self.seen.get(block, (0, 0))
            self.seen[block] = max(now, (stamp, length))
            return None, False
