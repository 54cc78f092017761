"""Judge: `hadron fs` beside Hadoop's own shell on the same cluster: same output, same errors, same exit codes.

Both run the same commands below folders whose names are equally long; dates and the folder's name are blanked, the
rest must be equal. Usage errors are compared by their first line.
"""

import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from lib import fetch  # noqa: E402
from lib.java import JavaShell  # noqa: E402
from lib.judge import Judge, pattern  # noqa: E402

# One command a line; {b} is the base folder in HDFS, {l} the local folder.
COMMANDS = """
-rm -r -f -skipTrash {b}
-mkdir {b}
-mkdir -p {b}/a/b {b}/c
-mkdir {b}/a
-mkdir -p {b}/a
-mkdir {b}/x/y
-mkdir
-mkdir {b}/one {b}/one {b}/two
-rmdir {b}/one {b}/two
-ls {b}
-ls {b}/none
-ls {b}/a {b}/none {b}/c
-ls -d {b} {b}/a
-ls -x {b}
-ls -R {b}
-ls -C {b}
-put {l}/small {b}/small
-put {l}/small {b}/small
-put {l}/small {b}
-put -f {l}/small {b}/small
-put {l}/small {l}/empty {b}/c
-put {l}/small {l}/empty {b}/none
-put {l}/small {l}/empty {b}/small
-put {l}/none {b}/n
-put {l}/small {b}/x/y
-put - {b}/typed
-put {l}/folder {b}/folder
-put {l}/folder {b}/folder
-put {l}/odd {b}/odd
-put {l}/small
-put
-ls {b}
-ls -R {b}
-ls -h {b}
-ls -t {b}/c
-ls -S -r {b}
-ls {b}/*
-ls {b}/s* {b}/q*
-ls {b}/{a,c}
-ls {b}/[a-c]
-ls {b}/?
-cat {b}/small
-cat {b}/small {b}/none {b}/typed
-cat {b}/c
-cat {b}/s*
-cat
-text {b}/small
-tail {b}/odd.txt
-tail {b}/small
-tail {b}/none
-head {b}/small
-get {b}/small {l}/out
-get {b}/small {l}/out
-get -f {b}/small {l}/out
-get {b}/none {l}/out2
-get {b}/folder {l}
-get {b}/c/* {l}/nodir
-get {b}/c {l}/c
-get {b}/small {l}/nodir/x
-stat {b}/small
-stat %F,%b,%o,%r,%u,%g,%n,%a,%A {b}/small
-stat %F,%b,%o,%r,%u,%g,%n,%a,%A {b}/a
-stat %y,%Y,%%,%q {b}/small
-stat {b}/none
-stat
-test -e {b}/small
-test -e {b}/none
-test -d {b}/a
-test -d {b}/small
-test -f {b}/a
-test -f {b}/small
-test -s {b}/small
-test -z {b}/small
-test -z {b}/c/empty
-test -r {b}/small
-test -w {b}/small
-test -e
-test {b}/small
-touchz {b}/zero
-touchz {b}/zero
-touchz {b}/small
-touchz {b}/a
-touchz {b}/x/y
-du {b}
-du -s {b}
-du -h {b}
-du -s -h {b} {b}/small
-du {b}/none
-du -v {b}
-count {b}
-count -h {b}
-count -v {b} {b}/a
-count -q {b}
-count -q -h -v {b}
-count {b}/none
-chmod 600 {b}/small
-chmod 0755 {b}/c
-chmod 1777 {b}/a
-ls {b}
-chmod u=rwx,g+w,o-r {b}/small
-chmod a+X {b}/typed
-chmod +t {b}/c
-chmod -R 700 {b}/folder
-chmod 999 {b}/small
-chmod rubbish {b}/small
-chmod 600 {b}/none
-ls -R {b}
-chown alice {b}/small
-chown alice:staff {b}/typed
-chown :wheel {b}/zero
-chown -R bob:crew {b}/folder
-chown a:b:c {b}/small
-chown alice {b}/none
-chgrp people {b}/c
-ls -R {b}
-setrep 2 {b}/small
-setrep -R 1 {b}/c
-setrep 2 {b}/none
-setrep x {b}/small
-setrep 0 {b}/small
-ls -R {b}
-mv {b}/small {b}/moved
-mv {b}/none {b}/x
-mv {b}/moved {b}/a
-mv {b}/a {b}/a/b
-mv {b}/a/moved {b}/typed
-mv {b}/a/moved {b}/typed {b}/c
-mv {b}/c/typed {b}/nodir/x
-mv {b}/c/moved {b}/c/moved
-mv {b}/a
-ls -R {b}
-cp {b}/c/moved {b}/copy
-cp {b}/c/moved {b}/copy
-cp -f {b}/c/moved {b}/copy
-cp {b}/folder {b}/folder2
-cp {b}/none {b}/x
-cp {b}/folder {b}/folder/below
-cat {b}/copy
-rm {b}/none
-rm -f {b}/none
-rm {b}/a
-rm {b}/copy
-rm -r {b}/folder2 {b}/none
-rm -r -skipTrash {b}/a
-rm {b}/q*
-rm -f {b}/q*
-rm
-rm -q {b}/zero
-rmdir {b}/c
-rmdir {b}/none
-rmdir {b}/zero
-rmdir --ignore-fail-on-non-empty {b}/c
-mkdir {b}/gone
-rmdir {b}/gone
-ls -R {b}
-df
-frobnicate {b}
ls {b}
-rm -r {b}
"""
DATES = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?")
MILLIS = re.compile(r"\b1[5-9]\d{11}\b")


def blank(text, base, local, url):
    text = text.replace(base, "{base}").replace(local, "{local}").replace(url, "{url}")
    return MILLIS.sub("{millis}", DATES.sub("{date}", text))


def is_usage(error):
    return "Usage: " in error


def comparable(error):
    return error.splitlines()[0] if is_usage(error) else error


def main():
    judge = Judge(__doc__)
    java, class_path = judge.fetch(fetch.java_client, "3.3.4")
    bases = {"java": "/judge-cli-java", "ours": "/judge-cli-ours"}
    locals_ = {}
    for side in bases:
        local = os.path.join(judge.scratch, side)
        os.makedirs(os.path.join(local, "folder", "below"))
        for name, data in [("small", b"hello hadron\n"), ("empty", b""), ("odd", pattern(1, 123_457)),
                           ("folder/one", b"1"), ("folder/below/two", b"22")]:
            with open(os.path.join(local, name), "wb") as file:
                file.write(data)
        locals_[side] = local

    with judge.cluster() as url, JavaShell(java, class_path, url, judge.scratch) as shell:
        environment = {key: value for key, value in os.environ.items() if key != "HADOOP_CONF_DIR"}
        for line in COMMANDS.strip().splitlines():
            results = {}
            for side, base in bases.items():
                arguments = [word.replace("{b}", base).replace("{l}", locals_[side]) for word in line.split()]
                if side == "java":
                    code, out, err = shell(*arguments)
                    code &= 0xFF
                else:
                    done = subprocess.run([judge.hadron, "fs", "-fs", url, *arguments], input=b"typed in\n", capture_output=True,
                                          timeout=60, env=environment, cwd=judge.scratch)
                    code, out, err = done.returncode, done.stdout.decode(), done.stderr.decode()
                results[side] = (code, blank(out, base, locals_[side], url), comparable(blank(err, base, locals_[side], url)))
            if line == "-df":  # figures move between the two calls
                results = {side: (code, out.splitlines()[0].split(), err) for side, (code, out, err) in results.items()}
            judge.check(line, results["java"] == results["ours"], f"\n    hadoop {results['java']}\n    hadron {results['ours']}")
    judge.finish()


if __name__ == "__main__":
    main()
