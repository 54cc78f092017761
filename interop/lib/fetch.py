"""Fetches the foreign clients: Python wheels, a Debian package, Java jars.

Everything lands below one working folder and is fetched once. Nothing is installed on the machine and nothing needs
root. What cannot be had raises Absent with the reason, and the judges that need it are skipped, saying so.
"""

import glob
import os
import shutil
import subprocess
import sys
import tarfile

HDFS_NATIVE = "hdfs-native==0.14.7"
PYSPARK_33 = "3.5.3"  # its sdist carries the Hadoop 3.3.4 client
PYSPARK_27 = "2.4.8"  # its sdist carries all of Hadoop 2.7.3, servers included
SHELL_JARS = [
    "hadoop-client-api", "hadoop-client-runtime", "slf4j-api", "log4j-slf4j2-impl", "log4j-api", "log4j-core",
    "log4j-1.2-api", "commons-logging", "snappy-java",
]


class Absent(Exception):
    """A tool or a download that is not to be had here."""


def _run(command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode != 0:
        tail = "\n".join(done.stdout.strip().splitlines()[-5:])
        raise Absent(f"{' '.join(map(str, command[:4]))} …: exit {done.returncode}\n{tail}")
    return done.stdout


def python(work):
    """Returns a Python interpreter that has hdfs-native."""
    folder = os.path.join(work, "venv")
    interpreter = os.path.join(folder, "bin", "python")
    if not os.path.exists(os.path.join(folder, "ready-" + HDFS_NATIVE)):
        shutil.rmtree(folder, ignore_errors=True)
        try:
            _run([sys.executable, "-m", "venv", folder])
        except Absent as reason:
            raise Absent(f"cannot make a Python environment (Debian: python3-venv): {reason}") from None
        _run([interpreter, "-m", "pip", "install", "--quiet", HDFS_NATIVE])
        open(os.path.join(folder, "ready-" + HDFS_NATIVE), "w").close()
    return interpreter


def debian_file(work, package, inside):
    """Returns the path of file `inside` of a Debian package, unpacked and not installed."""
    unpacked = os.path.join(work, "deb", package)
    path = os.path.join(unpacked, inside)
    if os.path.exists(path):
        return path
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        raise Absent("apt-get and dpkg are absent (not a Debian machine)")
    os.makedirs(unpacked, exist_ok=True)
    try:
        _run(["apt-get", "download", "-q", package], cwd=unpacked)
    except Absent:
        # No package lists, or old ones: fetch lists of our own, which needs no root.
        state = os.path.join(os.path.abspath(work), "apt")
        for folder in ["lists/partial", "cache/archives/partial"]:
            os.makedirs(os.path.join(state, folder), exist_ok=True)
        options = ["-o", f"Dir::State::lists={state}/lists", "-o", f"Dir::Cache={state}/cache",
                   "-o", "APT::Sandbox::User=", "-o", "Debug::NoLocking=1"]
        _run(["apt-get", *options, "update", "-q"])
        _run(["apt-get", *options, "download", "-q", package], cwd=unpacked)
    debs = glob.glob(os.path.join(unpacked, "*.deb"))
    if not debs:
        raise Absent(f"apt-get brought no file for {package}")
    _run(["dpkg", "-x", debs[0], unpacked])
    if not os.path.exists(path):
        raise Absent(f"{package} has no {inside}")
    return path


def go_client(work):
    """Returns the Go `hdfs` command of Debian's hdfs-cli."""
    return debian_file(work, "hdfs-cli", "usr/bin/hdfs")


def pyspark(work, version):
    """Returns the path of pyspark's source archive, which carries Hadoop's jars."""
    downloads = os.path.join(work, "downloads")
    archive = os.path.join(downloads, f"pyspark-{version}.tar.gz")
    if not os.path.exists(archive):
        os.makedirs(downloads, exist_ok=True)
        part = os.path.join(downloads, "part")
        shutil.rmtree(part, ignore_errors=True)
        os.makedirs(part)
        environment = dict(os.environ)
        constraint = os.path.join(part, "constraints.txt")
        with open(constraint, "w") as file:
            file.write("pypandoc==1.7.5\n")  # an old sdist asks for it only to make metadata
        environment["PIP_CONSTRAINT"] = constraint
        environment["PIP_BUILD_CONSTRAINT"] = constraint
        _run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "pyspark",
              f"pyspark=={version}", "-d", part], env=environment)
        os.rename(os.path.join(part, f"pyspark-{version}.tar.gz"), archive)
        shutil.rmtree(part)
    return archive


def java():
    """Returns the java command; it must be a JDK, for the driver is one source file."""
    found = shutil.which("java")
    if not found:
        raise Absent("java is absent")
    modules = subprocess.run([found, "--list-modules"], capture_output=True, text=True).stdout
    if "jdk.compiler" not in modules:
        raise Absent("java is a JRE older than 11 or without a compiler; a JDK is needed")
    return found


def java_shell(work):
    """Returns (java, class path) of the Hadoop 3.3 client."""
    command = java()
    folder = os.path.join(work, "hadoop-3.3")
    if not os.path.exists(os.path.join(folder, "ready")):
        archive = pyspark(work, PYSPARK_33)
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        with tarfile.open(archive) as tar:
            for member in tar:
                name = os.path.basename(member.name)
                if "/deps/jars/" in member.name and any(name.startswith(jar + "-") for jar in SHELL_JARS):
                    with tar.extractfile(member) as source, open(os.path.join(folder, name), "wb") as target:
                        shutil.copyfileobj(source, target)
        open(os.path.join(folder, "ready"), "w").close()
    return command, os.path.join(folder, "*")
