"""A long script of shell verbs for judges that compare shells or servers with each other.

Every run works below a base folder of its own in HDFS and in a local folder of its own; dates and these names are
blanked, the rest of output, errors and exit code must be equal. Usage errors are compared by their first line.
"""

import os
import re

from lib.judge import pattern

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


def make_local(folder):
    """Lays out the local files the script uses."""
    os.makedirs(os.path.join(folder, "folder", "below"))
    for name, data in [("small", b"hello hadron\n"), ("empty", b""), ("odd", pattern(1, 123_457)),
                       ("folder/one", b"1"), ("folder/below/two", b"22")]:
        with open(os.path.join(folder, name), "wb") as file:
            file.write(data)


def words(line, base, local):
    """The arguments of one line."""
    return [word.replace("{b}", base).replace("{l}", local) for word in line.split()]


def outcome(line, code, out, err, base, local, url):
    """What is compared: (exit code as a process has it, output, errors)."""
    if line == "-df":  # figures move
        out = out.splitlines()[0].split() if out else out
    else:
        out = blank(out, base, local, url)
    return code & 0xFF, out, comparable(blank(err, base, local, url))
