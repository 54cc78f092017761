"""Hadoop's own FsShell: one JVM that runs many commands."""

import base64
import os
import subprocess

DRIVER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "java", "FsShellDriver.java")
LOGGING = """status = error
appender.err.type = Console
appender.err.name = err
appender.err.target = SYSTEM_ERR
appender.err.follow = true
appender.err.layout.type = PatternLayout
appender.err.layout.pattern = %p %c: %m%n
rootLogger.level = error
rootLogger.appenderRef.err.ref = err
"""


class JavaShell:
    """Runs `hdfs dfs` commands against `url`; use as a context manager."""

    def __init__(self, java, class_path, url, scratch, user=None, settings=None):
        logging = os.path.join(scratch, "log4j2.properties")
        with open(logging, "w") as file:
            file.write(LOGGING)
        environment = {key: value for key, value in os.environ.items() if key != "HADOOP_CONF_DIR"}
        if user:
            environment["HADOOP_USER_NAME"] = user
        options = [f"{key}={value}" for key, value in {"fs.defaultFS": url, **(settings or {})}.items()]
        self.process = subprocess.Popen(
            [java, "-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Djava.net.preferIPv4Stack=true",
             f"-Dlog4j2.configurationFile={logging}", "-Dfile.encoding=UTF-8", "-cp", class_path, DRIVER, *options],
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
