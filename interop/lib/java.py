"""Hadoop's own Java code: small drivers of ours, each one source file, run on the class path of one Hadoop version."""

import base64
import os
import subprocess

from lib.children import write_site

DRIVERS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "java")
# What Hadoop 2.7 reaches into, which Java 17 closes.
OPENS = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in
         ["java.lang", "java.nio", "sun.nio.ch", "java.net", "java.io", "java.util"]]
OPENS += ["--add-opens=java.security.jgss/sun.security.krb5=ALL-UNNAMED",
          "--add-exports=java.security.jgss/sun.security.krb5=ALL-UNNAMED", "-Djava.net.preferIPv4Stack=true"]
# Errors alone, on standard error as it is at that moment: log4j 2 for Hadoop 3, log4j 1 for Hadoop 2.
LOGGING = {"log4j2.properties": """status = error
appender.err.type = Console
appender.err.name = err
appender.err.target = SYSTEM_ERR
appender.err.follow = true
appender.err.layout.type = PatternLayout
appender.err.layout.pattern = %p %c: %m%n
rootLogger.level = error
rootLogger.appenderRef.err.ref = err
""", "log4j.properties": """log4j.rootLogger=ERROR,err
log4j.appender.err=org.apache.log4j.ConsoleAppender
log4j.appender.err.target=System.err
log4j.appender.err.follow=true
log4j.appender.err.layout=org.apache.log4j.PatternLayout
log4j.appender.err.layout.ConversionPattern=%p %c: %m%n
"""}


def command(java, class_path, driver, scratch, native=None):
    """The command that runs interop/java/`driver`.java; its configuration goes into a folder below `scratch`, and the
    native library comes from the folder `native`."""
    conf = os.path.join(scratch, "java-conf")
    # With a native library Java would ask it for groups; 2.7 insists on finding the files.
    groups = {"hadoop.security.group.mapping": "org.apache.hadoop.security.ShellBasedUnixGroupsMapping"}
    write_site(conf, groups if native else {}, {})
    for name, text in LOGGING.items():
        with open(os.path.join(conf, name), "w") as file:
            file.write(text)
    return [java, "-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", *OPENS, "-Dfile.encoding=UTF-8",
            f"-Dlog4j2.configurationFile={conf}/log4j2.properties", f"-Dlog4j.configuration=file:{conf}/log4j.properties",
            f"-Dhadoop.home.dir={scratch}", *([f"-Djava.library.path={native}"] if native else []), "-cp", f"{conf}:{class_path}", os.path.join(DRIVERS, driver + ".java")]


class JavaShell:
    """Runs `hdfs dfs` commands against `url`; use as a context manager."""

    def __init__(self, java, class_path, url, scratch, user=None, settings=None, driver="FsShellDriver"):
        environment = {key: value for key, value in os.environ.items() if key != "HADOOP_CONF_DIR"}
        if user:
            environment["HADOOP_USER_NAME"] = user
        options = [f"{key}={value}" for key, value in {"fs.defaultFS": url, **(settings or {})}.items()]
        self.process = subprocess.Popen(
            [*command(java, class_path, driver, scratch), *options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, cwd=scratch)
        line = self.process.stdout.readline().strip()
        if line != b"READY":
            raise RuntimeError(f"the JVM said {line!r}: {self.process.stderr.read().decode()[-2000:]}")

    def __call__(self, *arguments):
        """Runs one command; returns (exit code, stdout, stderr)."""
        self.process.stdin.write("\x1f".join(arguments).encode() + b"\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the JVM died at {arguments}")
        code, out, err = answer.decode().rstrip("\n").split(" ")
        return int(code), base64.b64decode(out).decode(), base64.b64decode(err).decode()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(timeout=30)
        self.process.stdout.close()
        self.process.stderr.close()


class JavaDriver:
    """A driver that answers each line of tab-separated words with one line; use as a context manager."""

    def __init__(self, java, class_path, driver, scratch, settings=(), native=None):
        self.process = subprocess.Popen([*command(java, class_path, driver, scratch, native), *settings], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=scratch, text=True)
        line = self.process.stdout.readline().strip()
        if line != "READY":
            raise RuntimeError(f"the JVM of {driver} said {line!r}")

    def __call__(self, *words):
        self.process.stdin.write("\t".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().rstrip("\n")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
