"""Judge: file checksums, as Hadoop's own shells of 3.x and 2.7 compute them from the DataNodes' answers.

What a checksum must be is worked out here from the file's bytes alone: chunk CRCs, their MD5 per block, and the MD5 of
those in Hadoop's padded buffer; or one CRC over the whole file where the client asks for the composite kind.
"""

import binascii
import hashlib
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from lib import fetch  # noqa: E402
from lib.java import JavaShell  # noqa: E402
from lib.judge import Judge, pattern  # noqa: E402

BASE = "/judge-checksums"
MIB = 1 << 20
# Each command gets a file system of its own, with its own -D settings.
FRESH = {"fs.hdfs.impl.disable.cache": "true"}
CASTAGNOLI = []
for byte in range(256):
    value = byte
    for _ in range(8):
        value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    CASTAGNOLI.append(value)


def crc32c(data):
    value = 0xFFFFFFFF
    for byte in data:
        value = CASTAGNOLI[(value ^ byte) & 0xFF] ^ value >> 8
    return value ^ 0xFFFFFFFF


SUMS = {"CRC32C": crc32c, "CRC32": binascii.crc32}


def composite(data, kind):
    return f"COMPOSITE-{kind}", f"{SUMS[kind](data):08x}"


def md5_of_md5(data, kind, block, chunk):
    """MD5-of-MD5-of-CRC. Java digests its whole buffer, which holds 32 bytes and doubles when it is full."""
    digests = b""
    for start in range(0, len(data), block):
        piece = data[start:start + block]
        sums = b"".join(SUMS[kind](piece[at:at + chunk]).to_bytes(4, "big") for at in range(0, len(piece), chunk))
        digests += hashlib.md5(sums).digest()
    room = 32
    while room < len(digests):
        room *= 2
    per_block = block // chunk if len(data) > block else 0
    digest = hashlib.md5(digests.ljust(room, b"\0")).hexdigest()
    return f"MD5-of-{per_block}MD5-of-{chunk}{kind}", f"{chunk:08x}{per_block:016x}{digest}"


def main():
    judge = Judge(__doc__)
    java, new = judge.fetch(fetch.java_client, "3.3.4")
    local = os.path.join(judge.scratch, "local")
    os.makedirs(local)
    # Length, block size, checksum kind, bytes per checksum.
    files = [("short", 700, MIB, "CRC32C", 512), ("chunk", 512, MIB, "CRC32C", 512), ("block", MIB, MIB, "CRC32C", 512),
             ("two", MIB + 100_001, MIB, "CRC32C", 512), ("five", 4 * MIB + 1, MIB, "CRC32C", 512),
             ("old", 700_001, 256 * 1024, "CRC32", 512), ("wide", 600_003, 256 * 1024, "CRC32C", 4096)]
    with judge.cluster(datanodes=2, settings={"dfs.replication": "2", "dfs.namenode.fs-limits.min-block-size": "1024"}) as url:
        with JavaShell(java, new, url, judge.scratch, settings=FRESH) as sh:
            sh("-mkdir", "-p", BASE)
            for seed, (name, length, block, kind, chunk) in enumerate(files):
                data = pattern(seed, length)
                path = os.path.join(local, name)
                with open(path, "wb") as file:
                    file.write(data)
                code, _, err = sh("-D", f"dfs.blocksize={block}", "-D", f"dfs.checksum.type={kind}", "-D",
                                  f"dfs.bytes-per-checksum={chunk}", "-put", path, f"{BASE}/{name}")
                judge.check(f"put {name}", code == 0, err[:300])
                for mode, wanted in [("MD5MD5CRC", md5_of_md5(data, kind, block, chunk)), ("COMPOSITE_CRC", composite(data, kind))]:
                    _, out, err = sh("-D", f"dfs.checksum.combine.mode={mode}", "-checksum", f"{BASE}/{name}")
                    judge.equal(f"{mode} of {name} {err[:200]}", tuple(out.split()[-2:]), wanted)
        try:
            java, old = fetch.java_client(judge.work, "2.7.3")
        except fetch.Absent as reason:
            print(f"  note: without the shell of 2.7 ({reason})")
            judge.finish()
        with JavaShell(java, old, url, judge.scratch, settings=FRESH) as sh:
            for seed, (name, length, block, kind, chunk) in enumerate(files):
                _, out, err = sh("-checksum", f"{BASE}/{name}")
                wanted = md5_of_md5(pattern(seed, length), kind, block, chunk)
                judge.equal(f"2.7: checksum of {name} {err[:200]}", tuple(out.split()[-2:]), wanted)
    judge.finish()


if __name__ == "__main__":
    main()
