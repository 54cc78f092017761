"""Reads whole files with hdfs-native, one thread for each, and prints a line like those of `hadron bench io --read`.

    python native_reads.py URL PATH …
"""

import json
import statistics
import sys
import threading
import time

import hdfs_native

# What is asked for at once: the client streams it and hands packets over as they come.
AT_ONCE = 128 << 20


def read(client, path, times):
    started, total = time.monotonic(), 0
    with client.read(path) as file:
        size = file.size
        while total < size:
            for chunk in file.read_range_stream(total, min(AT_ONCE, size - total)):
                total += len(chunk)
    if total != size:
        raise ValueError(f"{total} bytes of {size}")
    times.append((time.monotonic() - started, total))


def main():
    url, *paths = sys.argv[1:]
    client = hdfs_native.Client(url)
    times = []
    threads = [threading.Thread(target=read, args=(client, path, times)) for path in paths]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - started
    each = sorted(1000 * took for took, _ in times) or [0]
    print(json.dumps({"bench": "io", "op": "read", "client": "hdfs-native", "threads": len(paths), "seconds": seconds,
                      "bytes_per_s": sum(size for _, size in times) / seconds, "p50_ms": statistics.median(each), "p99_ms": each[-1],
                      "errors": len(paths) - len(times)}))


if __name__ == "__main__":
    main()
