"""Apache HDFS 2.7.3, to judge the judges and to measure beside.

The source archive of pyspark 2.4.8 on PyPI carries all of Hadoop 2.7.3; a few libraries it leaves out come from Debian
packages, unpacked and not installed. Needs a JDK of version 17 or so. Everything binds to 127.0.0.1.
"""

import os
import shutil
import subprocess

from lib import fetch
from lib.children import Children, free_ports, wait_operational, write_site
from lib.java import OPENS

VERSION = "2.7.3"
# Debian package -> the jar in it.
DEBIAN = {
    "libjersey1-core-java": "jersey1-core.jar", "libjersey1-server-java": "jersey1-server.jar",
    "libjersey1-servlet-java": "jersey1-servlet.jar", "libjsr311-api-java": "jsr311-api.jar", "libasm-java": "asm.jar",
    "libcommons-daemon-java": "commons-daemon.jar",
}
READY_SECONDS = 90
STOP_SECONDS = 20
LOGGING = """log4j.rootLogger=INFO,A
log4j.appender.A=org.apache.log4j.ConsoleAppender
log4j.appender.A.layout=org.apache.log4j.PatternLayout
log4j.appender.A.layout.ConversionPattern=%d{ISO8601} %p %c: %m%n
log4j.logger.org.apache.hadoop.hdfs.server.namenode.FSNamesystem.audit=ERROR
"""


def unpack(work):
    """Returns the folder with the jars; raises fetch.Absent where it cannot be made."""
    fetch.java()
    jars = os.path.join(fetch.hadoop(work, VERSION), "jars")
    home = os.path.join(work, "apache-" + VERSION)
    if os.path.exists(os.path.join(home, "ready")):
        return home
    shutil.rmtree(home, ignore_errors=True)
    lib = os.path.join(home, "lib")
    shutil.copytree(jars, lib, copy_function=os.link)
    for package, jar in DEBIAN.items():
        shutil.copy(fetch.debian_file(work, package, f"usr/share/java/{jar}"), os.path.join(lib, jar))
    for application in ["hdfs", "datanode", "static"]:
        folder = os.path.join(home, "web", "webapps", application, "WEB-INF")
        os.makedirs(folder)
        with open(os.path.join(folder, "web.xml"), "w") as file:
            file.write('<?xml version="1.0"?>\n<web-app version="2.4" xmlns="http://java.sun.com/xml/ns/j2ee"></web-app>\n')
    open(os.path.join(home, "ready"), "w").close()
    return home


class Apache:
    """A NameNode and DataNodes of Apache HDFS as child processes.

    `quick` starts them sooner and lets them run slower: for judging, not for measuring. `native` is a folder with the native
    library that they load.
    """

    def __init__(self, home, folder, datanodes=3, settings=None, quick=False, native=None):
        self.options = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"] if quick else []
        self.core = {}
        if native:
            self.options.append(f"-Djava.library.path={native}")
            # Java would ask the native library for groups.
            self.core = {"hadoop.security.group.mapping": "org.apache.hadoop.security.ShellBasedUnixGroupsMapping"}
        self.home = home
        self.folder = folder
        self.datanodes = datanodes
        self.rpc_port, self.http_port = free_ports(2)
        self.url = f"hdfs://127.0.0.1:{self.rpc_port}"
        self.http = f"http://127.0.0.1:{self.http_port}"
        self.children = Children(folder)
        common = {
            "dfs.namenode.rpc-address": f"127.0.0.1:{self.rpc_port}", "dfs.namenode.http-address": f"127.0.0.1:{self.http_port}",
            "dfs.namenode.name.dir": f"file://{folder}/name", "dfs.namenode.safemode.extension": "0",
            "dfs.namenode.datanode.registration.ip-hostname-check": "false",
            "dfs.namenode.fs-limits.min-block-size": "4096", "dfs.datanode.max.transfer.threads": "4096", **(settings or {}),
        }
        self.configure("nn", common)
        ports = iter(free_ports(3 * datanodes))
        for index in range(datanodes):
            self.configure(f"dn{index}", {
                **common, "dfs.datanode.address": f"127.0.0.1:{next(ports)}", "dfs.datanode.http.address": f"127.0.0.1:{next(ports)}",
                "dfs.datanode.ipc.address": f"127.0.0.1:{next(ports)}", "dfs.datanode.data.dir": f"file://{folder}/data{index}",
                "dfs.datanode.hostname": "127.0.0.1"})

    @property
    def processes(self):
        return self.children.processes

    def configure(self, name, settings):
        folder = os.path.join(self.folder, "conf", name)
        write_site(folder, {"fs.defaultFS": self.url, "hadoop.tmp.dir": f"{self.folder}/tmp", **self.core}, settings)
        with open(os.path.join(folder, "log4j.properties"), "w") as out:
            out.write(LOGGING)

    def java(self, name, main, *arguments, heap):
        class_path = ":".join([os.path.join(self.folder, "conf", name), os.path.join(self.home, "lib", "*"),
                               os.path.join(self.home, "web")])
        return ["java", heap, *self.options, *OPENS, f"-Dhadoop.home.dir={self.home}", "-cp", class_path,
                f"org.apache.hadoop.hdfs.server.{main}", *arguments]

    def start(self):
        with open(os.path.join(self.folder, "format.log"), "wb") as log:
            subprocess.run(self.java("nn", "namenode.NameNode", "-format", "-force", "-nonInteractive", heap="-Xmx1g"),
                           stdout=log, stderr=log, check=True)
        self.children.launch("nn", self.java("nn", "namenode.NameNode", heap="-Xmx4g"))
        for index in range(self.datanodes):
            os.makedirs(os.path.join(self.folder, f"data{index}"), mode=0o700, exist_ok=True)
            self.children.launch(f"dn{index}", self.java(f"dn{index}", "datanode.DataNode", heap="-Xmx1g"))
        wait_operational(self.http, lambda state: state["NumLiveDataNodes"] == self.datanodes, READY_SECONDS, self.children)
        return self

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_):
        self.children.end(patience=STOP_SECONDS)
