"""Judge: every refusal of the NameNode by class and first line, through the stock Java 3.3.4 client.

interop/java/RefusedCalls.java makes the calls. What must come back stands in interop/lib/refused_calls.tsv: the case,
the class on the wire, the first line of the message, and what Apache's 2.7.3 NameNode says: `=` for the same, else its
own class and line, which differ where Hadoop 3.3 changed them or 2.7 does not know the call. Where Apache's servers can
be set up they are asked too, so that the table itself is judged.
"""

import concurrent.futures
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from lib import apache, fetch, java  # noqa: E402
from lib.judge import Judge  # noqa: E402

VERSION = "3.3.4"
CROWD = 64
SETTINGS = {"dfs.namenode.fs-limits.max-directory-items": str(CROWD), "dfs.namenode.acls.enabled": "true",
            "dfs.namenode.fs-limits.min-block-size": "1048576"}
LIMIT_SECONDS = 240
TABLE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib", "refused_calls.tsv")
# What differs from run to run.
BLANKS = [(re.compile(r"inode \d+"), "inode {id}"), (re.compile(r"BP-[\d.-]+:blk_-?\d+_\d+"), "{block}"), (re.compile(r"blk_-?\d+_\d+"), "{block}"),
          (re.compile(r"(127\.0\.0\.1|localhost):\d+"), "{address}"), (re.compile(r"@[0-9a-f]{6,8}"), "@{hash}"), (re.compile(r"DS-[0-9a-f-]{36}"), "{storage}"),
          (re.compile(r"_time=\d+"), "_time={time}"), (re.compile(r"n{256}"), "{long}"), (re.compile(r":[^:\s\"]+:supergroup:"), ":{owner}:supergroup:")]
SHOWN = 300


def blank(text):
    for pattern, instead in BLANKS:
        text = pattern.sub(instead, text)
    return text[:SHOWN].strip()


def answers(judge, name, url):
    """What the server at `url` said: {case: (class, first line)}."""
    scratch = os.path.join(judge.scratch, "driver-" + name)
    os.makedirs(scratch)
    command = java.command(*fetch.java_client(judge.work, VERSION), "RefusedCalls", scratch)
    environment = {key: value for key, value in os.environ.items() if key != "HADOOP_CONF_DIR"}
    done = subprocess.run([*command, url, f"judge.crowd={CROWD}"], capture_output=True, text=True, timeout=LIMIT_SECONDS, env=environment, cwd=scratch)
    found = {}
    for line in done.stdout.splitlines():
        case, kind, _, said = line.split("\t")
        found[case] = (kind, "" if kind == "none" else blank(said))
    judge.check(f"{name}: the driver ran to its end", done.returncode == 0 and found, done.stderr[-1500:])
    return found


def table():
    """The expectations: {case: ((class, line), Apache's (class, line))}."""
    rows = {}
    with open(TABLE) as file:
        for line in file:
            if line.strip() and not line.startswith("#"):
                case, kind, said, *theirs = line.rstrip("\n").split("\t")
                rows[case] = (kind, said), (kind, said) if theirs == ["="] else (theirs[0], theirs[1] if len(theirs) > 1 else "")
    return rows


def started(judge):
    """Apache HDFS with the same limits, or None."""
    try:
        home = apache.unpack(judge.work)
        folder = os.path.join(judge.scratch, "apache")
        os.makedirs(folder)
        return apache.Apache(home, folder, datanodes=1, settings=SETTINGS, quick=True).__enter__()
    except (fetch.Absent, TimeoutError, RuntimeError) as reason:
        print(f"  note: not compared with Apache's servers: {reason}", flush=True)
        return None


def main():
    judge = Judge(__doc__)
    judge.fetch(fetch.java_client, VERSION)
    want = table()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        starting = None if judge.options.url else pool.submit(started, judge)
        try:
            with judge.cluster(datanodes=1, settings=SETTINGS) as url:
                got = answers(judge, "hadron", url)
            theirs = starting.result() if starting else None
            said = answers(judge, "apache", theirs.url) if theirs else {}
        finally:
            if starting and starting.result():
                starting.result().__exit__()
    for case, (ours, reference) in want.items():
        judge.equal(case, got.get(case), ours)
        if said:
            judge.equal(f"Apache's {case}", said.get(case), reference)
    judge.equal("cases that the table does not have", sorted(set(got) - set(want)), [])
    judge.finish()


if __name__ == "__main__":
    main()
