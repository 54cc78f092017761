"""Judge: Hadoop's shell of 2.7.3, 3.3.4 and 3.4.1 through one script, on Hadron and on Apache HDFS 2.7.3 beside it.

Each version must see the same on both servers, and the versions must agree but for what their shells themselves do
differently. Where Apache's servers cannot be set up, the versions are compared with each other alone; with --url the
versions run on that cluster alone.
"""

import concurrent.futures
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from lib import apache, fetch  # noqa: E402
from lib.java import JavaShell  # noqa: E402
from lib.judge import Judge, pattern, sha256_file  # noqa: E402
from lib.shell_script import COMMANDS, make_local, outcome, words  # noqa: E402

MIB = 1 << 20
# After COMMANDS: files of several blocks and what a cluster alone can do.
MORE = """
-mkdir -p {b}/c
-put {l}/small {b}/small
-put {l}/big {b}/big
-stat %b,%o,%r {b}/big
-checksum {b}/big {b}/small {b}/none
-get {b}/big {l}/big-back
-get -crc {b}/big {l}/big-crc
-appendToFile {l}/odd {b}/big
-appendToFile {l}/small {l}/odd {b}/new
-appendToFile {l}/none {b}/new
-checksum {b}/big {b}/new
-get {b}/big {l}/big-longer
-find {b} -name *o* -print
-find {b} -iname BIG -print0
-getmerge -nl {b}/c {l}/merged
-copyFromLocal -p {l}/small {b}/kept
-copyFromLocal {l}/small {l}/odd {b}/c
-copyToLocal {b}/kept {l}/kept
-moveFromLocal {l}/moving {b}/c
-moveToLocal {b}/kept {l}/x
-cp -p {b}/small {b}/c/twin
-cp {b}/c {b}/c2
-count {b} {b}/c2
-setfacl -m user:alice:rwx {b}/c
-getfacl {b}/c
-setfacl -m default:group:crew:r-x,default:user::rwx {b}/c
-mkdir {b}/c/child
-put {l}/small {b}/c/child/leaf
-getfacl -R {b}/c/child
-ls {b}
-setfacl -x user:alice {b}/c
-setfacl -m user:alice:rubbish {b}/c
-setfacl -m user:alice:rwx {b}/none
-setfacl -m default:user:alice:rwx {b}/small
-getfacl {b}/none
-setfacl --set user::rw-,group::r--,other::---,user:bob:r-- {b}/small
-getfacl {b}/small
-chmod 770 {b}/small
-getfacl {b}/small
-setfacl -b {b}/small
-getfacl {b}/c {b}/small
-setfattr -n user.color -v red {b}/small
-setfattr -n user.size -v 0x0102 {b}/small
-getfattr -n user.color {b}/small
-getfattr -d {b}/small
-getfattr -e hex -d {b}/small
-getfattr -R -d {b}/c
-getfattr -n user.none {b}/small
-setfattr -n rubbish {b}/small
-setfattr -n security.x {b}/small
-setfattr -x user.size {b}/small
-setfattr -x user.size {b}/small
-getfattr -d {b}/small
-setfattr -n user.x {b}/none
-cp -px {b}/small {b}/attributed
-getfattr -d {b}/attributed
-ls /.reserved
-mkdir /.reserved/new
-rm -r /.reserved
-mkdir {b}/a:b
-ls {b}/.snapshot
-put {l}/small {b}/cut
-truncate 5 {b}/cut
-rm -skipTrash {b}/cut
-truncate -w 5 {b}/small
-cat {b}/small
-truncate 100 {b}/small
-truncate 5 {b}/none
-truncate 5 {b}/c
-truncate -w 1048577 {b}/big
-get {b}/big {l}/big-cut
-setfacl -k {b}/c
-createSnapshot {b}/c one
-deleteSnapshot {b}/c one
-renameSnapshot {b}/c one two
-rm -r -skipTrash {b}/c2
-rm -r -skipTrash /
-count -q {b}
-expunge
-ls -R {b}
"""
# Lines whose outcome depends on the shell's own version: 2.7 has fewer options and shorter errors.
OLD_DIFFERS = {
    "-mkdir {b}/x/y", "-ls -C {b}", "-put {l}/small {b}/x/y", "-put {l}/small", "-ls -t {b}/c", "-ls -S -r {b}", "-head {b}/small",
    "-get -f {b}/small {l}/out", "-get {b}/small {l}/nodir/x", "-stat %F,%b,%o,%r,%u,%g,%n,%a,%A {b}/small",
    "-stat %F,%b,%o,%r,%u,%g,%n,%a,%A {b}/a", "-test -r {b}/small", "-test -w {b}/small", "-touchz {b}/x/y", "-du {b}", "-du -s {b}",
    "-du -h {b}", "-du -s -h {b} {b}/small", "-du -v {b}", "-count -v {b} {b}/a", "-count -q -h -v {b}", "-mv {b}/c/typed {b}/nodir/x",
    "-frobnicate {b}", "ls {b}", "-appendToFile {l}/none {b}/new", "-mkdir /.reserved/new",
}
SETTINGS = {"dfs.blocksize": MIB, "dfs.client.block.write.replace-datanode-on-failure.policy": "NEVER"}
OLD, USUAL = "2.7.3", "3.3.4"
NEW_DIFFERS = set()
# Lines that Apache's 2.7 NameNode answers otherwise than 3.3's, as which Hadron behaves.
SERVER_DIFFERS = {"-setfacl -m default:user:alice:rwx {b}/small", "-ls /.reserved", "-mkdir /.reserved/new", "-rm -r /.reserved"}


def script(judge, version, server, url):
    """Runs all lines with one version's shell against `url`; returns outcomes by number and line, and digests of files."""
    java, class_path = fetch.java_client(judge.work, version)
    scratch = os.path.join(judge.scratch, f"{server}-{version}")
    local = os.path.join(scratch, "local")
    make_local(local)
    for name, data in [("big", pattern(4, 5 * MIB + 7)), ("moving", b"moving\n")]:
        with open(os.path.join(local, name), "wb") as file:
            file.write(data)
    base = "/judge-sh-" + version
    outcomes = {}
    with JavaShell(java, class_path, url, scratch, settings=SETTINGS) as shell:
        for number, line in enumerate((COMMANDS + MORE).strip().splitlines()):
            if line:
                outcomes[number, line] = outcome(line, *shell(*words(line, base, local)), base, local, url)
        shell("-rm", "-r", "-f", "-skipTrash", base)
    digests = {name: sha256_file(os.path.join(local, name)) for name in sorted(os.listdir(local)) if os.path.isfile(os.path.join(local, name))}
    return outcomes, digests


def compare(judge, name, one, other, different):
    """Scores that two runs saw the same but for the lines in `different`."""
    for key, got in one[0].items():
        if key[1] not in different:
            judge.check(f"{name}: {key[1]}", got == other[0][key], f"\n    {got}\n    {other[0][key]}")
    judge.equal(f"{name}: the local files", one[1], other[1])


def run_all(judge, server, url, versions):
    """Runs the script with every version at once; returns {version: outcome of script}."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        running = {version: pool.submit(script, judge, version, server, url) for version in versions}
        return {version: future.result() for version, future in running.items()}


def beside(judge):
    """Starts Apache HDFS; returns it, or None where it cannot be had."""
    try:
        home = apache.unpack(judge.work)
    except fetch.Absent as absent:
        print(f"  note: not compared with Apache's servers: {absent}", flush=True)
        return None
    folder = os.path.join(judge.scratch, "apache")
    os.makedirs(folder)
    return apache.Apache(home, folder, datanodes=1, settings={"dfs.namenode.acls.enabled": "true"}, quick=True)


def main():
    judge = Judge(__doc__)
    judge.fetch(fetch.java)
    versions = []
    for version in fetch.HADOOP:
        try:
            fetch.java_client(judge.work, version)
            versions.append(version)
        except fetch.Absent as absent:
            print(f"  note: no shell of {version}: {absent}", flush=True)
    if not versions:
        judge.skip("no version of Hadoop's shell is to be had")

    theirs = None if judge.options.url else beside(judge)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        starting = pool.submit(theirs.__enter__) if theirs else None
        try:
            with judge.cluster() as url:
                ours = run_all(judge, "hadron", url, versions)
            if starting and not starting.exception():
                reference = run_all(judge, "apache", theirs.url, versions)
                for version in versions:
                    compare(judge, f"{version} on Hadron and on Apache", ours[version], reference[version], SERVER_DIFFERS)
            elif starting:
                print(f"  note: not compared with Apache's servers: {starting.exception()}", flush=True)
        finally:
            if theirs:
                concurrent.futures.wait([starting])
                theirs.__exit__()
    for version in versions:
        if version != USUAL and USUAL in versions:
            compare(judge, f"{version} and {USUAL}", ours[version], ours[USUAL], OLD_DIFFERS if version == OLD else NEW_DIFFERS)
    judge.finish()


if __name__ == "__main__":
    main()
