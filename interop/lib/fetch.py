"""Fetches the foreign clients: Python wheels, Debian packages, Java jars.

Everything lands below one working folder, is fetched once and is shared by the judges; a lock per thing lets several
ask at a time. Nothing is installed on the machine and nothing needs root. What cannot be had raises Absent with the
reason, and the judges that need it are skipped, saying so.

    python3 interop/lib/fetch.py --work target/interop    # fetches all of it ahead
"""

import argparse
import contextlib
import fcntl
import glob
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from collections import namedtuple

# What the judges' Python needs, by name. pip checks each wheel against the index's hash.
WHEELS = {
    "hdfs-native": ["hdfs-native==0.14.7"],
    "pyarrow": ["pyarrow==26.0.1", "fsspec==2026.9.0"],
    "snakebite": ["snakebite-py3==3.0.6", "protobuf==3.20.3"],
}

# Hadoop's client, shaded, with what it logs through.
CLIENT_JARS = """
hadoop-client-api hadoop-client-runtime slf4j-api log4j-slf4j2-impl log4j-api log4j-core log4j-1.2-api commons-logging
jcl-over-slf4j snappy-java
""".split()
# All that client, NameNode and DataNode of 2.7 use.
SERVER_JARS = """
hadoop-common hadoop-hdfs hadoop-auth hadoop-annotations guava protobuf-java htrace-core commons-cli commons-codec
commons-collections commons-configuration commons-io commons-lang commons-logging commons-net commons-beanutils
commons-httpclient commons-compress commons-math3 commons-digester log4j slf4j-api slf4j-log4j12 jetty jetty-util
javax.servlet-api jsp-api jackson-core-asl jackson-mapper-asl xmlenc leveldbjni-all netty-all netty jsr305 httpclient
httpcore apacheds-i18n apacheds-kerberos-codec api-asn1-api api-util curator-client curator-framework curator-recipes
zookeeper snappy-java avro gson jaxb-api activation paranamer
""".split()
# PyPI's source archives of pyspark carry Hadoop's jars. `jars`: the ones taken, None for all; `spark`: also what runs Spark.
Archive = namedtuple("Archive", "pyspark sha256 jars spark")
HADOOP = {
    "2.7.3": Archive("2.4.8", "3a19b71b8dc8dd91ebc943604a05e1ab01bce052456d42937035632d852d78dc", SERVER_JARS, False),
    "3.3.4": Archive("3.5.3", "68b7cc0c0c570a7d8644f49f40d2da8709b01d30c9126cc8cf93b4f84f3d9747", None, True),
    "3.4.1": Archive("4.0.1", "9d1f22d994f60369228397e3479003ffe2dd736ba79165003246ff7bd48e2c73", CLIENT_JARS, False),
}


class Absent(Exception):
    """A tool or a download that is not to be had here."""


def _run(command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode != 0:
        tail = "\n".join(done.stdout.strip().splitlines()[-5:])
        raise Absent(f"{' '.join(map(str, command[:4]))} …: exit {done.returncode}\n{tail}")
    return done.stdout


@contextlib.contextmanager
def _alone(work, name):
    """Lets one process at a time fetch `name`.

    Where INTEROP_RUN names a run of all judges, what was absent once in that run is not asked for again.
    """
    folder = os.path.join(work, "locks")
    os.makedirs(folder, exist_ok=True)
    this_run = os.environ.get("INTEROP_RUN", "")
    with open(os.path.join(folder, name), "a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.seek(0)
        run, _, reason = lock.read().partition("\n")
        if reason and run == this_run:
            raise Absent(reason)
        lock.truncate(0)
        try:
            yield
        except Absent as absent:
            if this_run:
                lock.write(f"{this_run}\n{absent}")
            raise


def python(work, *names):
    """Returns a Python interpreter that has the named rows of WHEELS."""
    folder = os.path.join(work, "venv")
    interpreter = os.path.join(folder, "bin", "python")
    with _alone(work, "venv"):
        if not os.path.exists(os.path.join(folder, "ready")):
            shutil.rmtree(folder, ignore_errors=True)
            try:
                _run([sys.executable, "-m", "venv", folder])
            except Absent as reason:
                raise Absent(f"cannot make a Python environment (Debian: python3-venv): {reason}") from None
            open(os.path.join(folder, "ready"), "w").close()
    for name in names:
        stamp = os.path.join(folder, "ready-" + "-".join(WHEELS[name]))
        with _alone(work, "wheels-" + name):
            if not os.path.exists(stamp):
                with _alone(work, "pip"):
                    _run([interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *WHEELS[name]])
                open(stamp, "w").close()
    return interpreter


def debian_file(work, package, inside):
    """Returns the path of file `inside` of a Debian package, unpacked and not installed."""
    unpacked = os.path.join(work, "deb", package)
    path = os.path.join(unpacked, inside)
    if os.path.exists(path):
        return path
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        raise Absent("apt-get and dpkg are absent (not a Debian machine)")
    with _alone(work, "deb"):
        if os.path.exists(path):
            return path
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
            if not glob.glob(f"{state}/lists/*Packages*"):
                _run(["apt-get", *options, "update", "-q"])
            _run(["apt-get", *options, "download", "-q", package], cwd=unpacked)
        debs = glob.glob(os.path.join(unpacked, "*.deb"))
        if not debs:
            raise Absent(f"apt-get brought no file for {package}")
        # Unpacked beside and moved, so that nobody sees half a file.
        aside = unpacked + ".new"
        shutil.rmtree(aside, ignore_errors=True)
        _run(["dpkg", "-x", debs[0], aside])
        shutil.rmtree(unpacked)
        os.rename(aside, unpacked)
        if not os.path.exists(path):
            raise Absent(f"{package} has no {inside}")
        return path


def go_client(work):
    """Returns the Go `hdfs` command of Debian's hdfs-cli."""
    return debian_file(work, "hdfs-cli", "usr/bin/hdfs")


def _pyspark(work, archive):
    """Returns the path of pyspark's source archive."""
    downloads = os.path.join(work, "downloads")
    path = os.path.join(downloads, f"pyspark-{archive.pyspark}.tar.gz")
    if not os.path.exists(path):
        part = os.path.join(downloads, "part-" + archive.pyspark)
        shutil.rmtree(part, ignore_errors=True)
        os.makedirs(part)
        environment = dict(os.environ)
        constraint = os.path.join(part, "constraints.txt")
        with open(constraint, "w") as file:
            file.write("pypandoc==1.7.5\n")  # an old sdist asks for it only to make metadata
        environment["PIP_CONSTRAINT"] = constraint
        environment["PIP_BUILD_CONSTRAINT"] = constraint
        _run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "pyspark",
              f"pyspark=={archive.pyspark}", "-d", part], env=environment)
        os.rename(os.path.join(part, os.path.basename(path)), path)
        shutil.rmtree(part)
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    if digest.hexdigest() != archive.sha256:
        os.remove(path)
        raise Absent(f"pyspark {archive.pyspark} has SHA-256 {digest.hexdigest()}, not {archive.sha256}; removed")
    return path


def _place(archive, member):
    """Where a member of pyspark's archive goes below Hadoop's folder; None for one that is not taken."""
    name = os.path.basename(member.name)
    if not member.isfile():
        return None
    if "/deps/jars/" in member.name and name.endswith(".jar"):
        stem = name.rsplit("-", 1)[0]
        # Some versions hold a dash of their own: 3.1.0-incubating, 2.0.0-M15.
        return f"jars/{name}" if archive.jars is None or stem in archive.jars or stem.rsplit("-", 1)[0] in archive.jars else None
    if archive.spark and "/deps/bin/" in member.name:
        return f"bin/{name}"
    if archive.spark and "/lib/" in member.name and name.endswith(".zip"):
        return f"python/lib/{name}"
    return None


def hadoop(work, version):
    """Returns the folder of one row of HADOOP: `jars/`, and `bin/` and `python/lib/` where Spark runs from it."""
    archive = HADOOP[version]
    folder = os.path.join(work, "hadoop-" + version)
    with _alone(work, "hadoop-" + version):
        if not os.path.exists(os.path.join(folder, "ready")):
            source = _pyspark(work, archive)
            shutil.rmtree(folder, ignore_errors=True)
            for part in ["jars", "bin", "python/lib"]:
                os.makedirs(os.path.join(folder, part))
            with tarfile.open(source) as tar:
                for member in tar:
                    place = _place(archive, member)
                    if place:
                        with tar.extractfile(member) as inside, open(os.path.join(folder, place), "wb") as target:
                            shutil.copyfileobj(inside, target, 1 << 20)
                        os.chmod(os.path.join(folder, place), member.mode & 0o777 | 0o600)
            open(os.path.join(folder, "ready"), "w").close()
    return folder


def java(_work=None):
    """Returns the java command; it must be a JDK, for the drivers are single source files."""
    found = shutil.which("java")
    if not found:
        raise Absent("java is absent")
    modules = subprocess.run([found, "--list-modules"], capture_output=True, text=True).stdout
    if "jdk.compiler" not in modules:
        raise Absent("java is a JRE older than 11 or without a compiler; a JDK is needed")
    return found


def java_client(work, version):
    """Returns (java, class path) of Hadoop's client of that version."""
    command = java()
    jars = os.path.join(hadoop(work, version), "jars")
    if HADOOP[version].jars is not None:
        return command, os.path.join(jars, "*")
    taken = [path for path in sorted(glob.glob(jars + "/*.jar")) if os.path.basename(path).rsplit("-", 1)[0] in CLIENT_JARS]
    return command, ":".join(taken)


def native_hadoop(work):
    """Builds interop/native-hadoop; returns the folder with libhadoop.so for java.library.path."""
    if not shutil.which("cargo"):
        raise Absent("cargo is absent, and with it the native library for Hadoop's Java code")
    source = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "native-hadoop")
    target = os.path.join(work, "native-hadoop")
    with _alone(work, "native-hadoop"):
        _run(["cargo", "build", "--release", "--locked", "--manifest-path", os.path.join(source, "Cargo.toml"), "--target-dir", target])
    return os.path.join(target, "release")


def everything(work):
    """Fetches all of it, the smallest first, and says what is absent."""
    wanted = [(python, "hdfs-native"), (go_client,), (hadoop, "3.3.4"), (python, "snakebite"), (python, "pyarrow"),
              (hadoop, "2.7.3"), (hadoop, "3.4.1"), (native_hadoop,)]
    for function, *arguments in wanted:
        try:
            function(work, *arguments)
        except Absent as absent:
            print(f"absent: {' '.join([function.__name__, *arguments])}: {absent}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", default="target/interop")
    everything(os.path.abspath(parser.parse_args().work))
