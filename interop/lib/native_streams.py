"""Keeps streams open and does as told through hdfs-native: the same words as `hadron bench drive`.

    python native_streams.py URL [KEY=VALUE …]

Its `hflush` is hdfs-native's hsync, the only flush it offers to Python. `view` tells no block: the library does not.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import hdfs_native  # noqa: E402

from lib.streams import pattern  # noqa: E402


class Driver:
    def __init__(self, url, settings):
        self.client = hdfs_native.Client(url, settings)
        self.writers = {}
        self.options = hdfs_native.WriteOptions(block_size=int(settings["dfs.blocksize"]), replication=int(settings["dfs.replication"]),
                                                overwrite=True)

    def create(self, path):
        self.writers[path] = self.client.create(path, self.options)

    def append(self, path):
        self.writers[path] = self.client.append(path)

    def write(self, path, salt, start, count):
        self.writers[path].write(pattern(int(salt), int(start), int(count)))

    def hflush(self, path):
        self.writers[path].hsync()

    hsync = hflush

    def close(self, path):
        self.writers.pop(path).close()

    def view(self, path, salt):
        got = bytes(self.client.read(path).read())
        if got != pattern(int(salt), 0, len(got)):
            wrong = next(place for place, (one, two) in enumerate(zip(got, pattern(int(salt), 0, len(got)))) if one != two)
            raise ValueError(f"WRONG byte {wrong} of {path}")
        return f"{len(got)} - -"

    def status(self, path):
        try:
            return f"{self.client.get_file_info(path).length} -"
        except FileNotFoundError:
            return "absent"

    def recover(self, path):
        return str(self.client.recover_lease(path)).lower()

    def delete(self, path):
        return str(self.client.delete(path)).lower()

    def rename(self, path, target):
        self.client.rename(path, target)
        return "true"


def main():
    driver = Driver(sys.argv[1], dict(pair.split("=", 1) for pair in sys.argv[2:]))
    print("READY", flush=True)
    for line in sys.stdin:
        verb, *words = line.rstrip("\n").split("\t")
        try:
            answer = f"OK {getattr(driver, verb)(*words) or ''}"
        except Exception as error:  # noqa: BLE001: the library raises several kinds
            answer = f"FAILED {type(error).__name__}: {error}"
        print(answer.replace("\n", " ").strip(), flush=True)


if __name__ == "__main__":
    main()
