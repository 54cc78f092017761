"""Apache HDFS 2.7.3, to judge the judges and to measure beside.

The source archive of pyspark 2.4.8 on PyPI carries all of Hadoop 2.7.3; a few libraries it leaves out come from Debian
packages, unpacked and not installed. Needs a JDK of version 17 or so. Everything binds to 127.0.0.1.
"""

import os
import shutil
import subprocess
import tarfile
import time
import urllib.request

from lib import fetch
from lib.cluster import free_ports

# Parts of pyspark's jars folder that NameNode and DataNode use.
JARS = """
hadoop-common hadoop-hdfs hadoop-auth hadoop-annotations guava protobuf-java htrace-core commons-cli commons-codec
commons-collections commons-configuration commons-io commons-lang commons-logging commons-net commons-beanutils
commons-httpclient commons-compress commons-math3 commons-digester log4j slf4j-api slf4j-log4j12 jetty jetty-util
javax.servlet-api jsp-api jackson-core-asl jackson-mapper-asl xmlenc leveldbjni-all netty-all netty jsr305 httpclient
httpcore apacheds-i18n apacheds-kerberos-codec api-asn1-api api-util curator-client curator-framework curator-recipes
zookeeper snappy-java avro gson jaxb-api activation paranamer
""".split()
# Debian package -> the jar in it.
DEBIAN = {
    "libjersey1-core-java": "jersey1-core.jar", "libjersey1-server-java": "jersey1-server.jar",
    "libjersey1-servlet-java": "jersey1-servlet.jar", "libjsr311-api-java": "jsr311-api.jar", "libasm-java": "asm.jar",
    "libcommons-daemon-java": "commons-daemon.jar",
}
OPENS = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in
         ["java.lang", "java.nio", "sun.nio.ch", "java.net", "java.io", "java.util"]]
OPENS += ["--add-opens=java.security.jgss/sun.security.krb5=ALL-UNNAMED",
          "--add-exports=java.security.jgss/sun.security.krb5=ALL-UNNAMED", "-Djava.net.preferIPv4Stack=true"]
READY_SECONDS = 90
LOGGING = """log4j.rootLogger=INFO,A
log4j.appender.A=org.apache.log4j.ConsoleAppender
log4j.appender.A.layout=org.apache.log4j.PatternLayout
log4j.appender.A.layout.ConversionPattern=%d{ISO8601} %p %c: %m%n
log4j.logger.org.apache.hadoop.hdfs.server.namenode.FSNamesystem.audit=ERROR
"""


def unpack(work):
    """Returns the folder with the jars; raises fetch.Absent where it cannot be made."""
    fetch.java()
    home = os.path.join(work, "apache-2.7.3")
    if os.path.exists(os.path.join(home, "ready")):
        return home
    shutil.rmtree(home, ignore_errors=True)
    lib = os.path.join(home, "lib")
    os.makedirs(lib)
    with tarfile.open(fetch.pyspark(work, fetch.PYSPARK_27)) as tar:
        for member in tar:
            name = os.path.basename(member.name)
            stem = name.rsplit("-", 1)[0] if name.endswith(".jar") else ""
            # Some versions hold a dash of their own: 3.1.0-incubating, 2.0.0-M15.
            if "/deps/jars/" in member.name and (stem in JARS or stem.rsplit("-", 1)[0] in JARS):
                with tar.extractfile(member) as source, open(os.path.join(lib, name), "wb") as target:
                    shutil.copyfileobj(source, target)
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
    """A NameNode and DataNodes of Apache HDFS as child processes."""

    def __init__(self, home, folder, datanodes=3, settings=None):
        self.home = home
        self.folder = folder
        self.datanodes = datanodes
        self.rpc_port, self.http_port = free_ports(2)
        self.url = f"hdfs://127.0.0.1:{self.rpc_port}"
        self.http = f"http://127.0.0.1:{self.http_port}"
        self.processes = []
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

    def configure(self, name, settings):
        folder = os.path.join(self.folder, "conf", name)
        os.makedirs(folder, exist_ok=True)
        for file, entries in [("core-site.xml", {"fs.defaultFS": self.url, "hadoop.tmp.dir": f"{self.folder}/tmp"}),
                              ("hdfs-site.xml", settings)]:
            properties = "".join(f"<property><name>{key}</name><value>{value}</value></property>" for key, value in entries.items())
            with open(os.path.join(folder, file), "w") as out:
                out.write(f"<configuration>{properties}</configuration>")
        with open(os.path.join(folder, "log4j.properties"), "w") as out:
            out.write(LOGGING)

    def java(self, name, main, *arguments, heap):
        class_path = ":".join([os.path.join(self.folder, "conf", name), os.path.join(self.home, "lib", "*"),
                               os.path.join(self.home, "web")])
        return ["java", heap, *OPENS, f"-Dhadoop.home.dir={self.home}", "-cp", class_path,
                f"org.apache.hadoop.hdfs.server.{main}", *arguments]

    def start(self):
        with open(os.path.join(self.folder, "format.log"), "wb") as log:
            subprocess.run(self.java("nn", "namenode.NameNode", "-format", "-force", "-nonInteractive", heap="-Xmx1g"),
                           stdout=log, stderr=log, check=True)
        self.launch("nn", self.java("nn", "namenode.NameNode", heap="-Xmx4g"))
        for index in range(self.datanodes):
            os.makedirs(os.path.join(self.folder, f"data{index}"), mode=0o700, exist_ok=True)
            self.launch(f"dn{index}", self.java(f"dn{index}", "datanode.DataNode", heap="-Xmx1g"))
        query = self.http + "/jmx?qry=Hadoop:service=NameNode,name=FSNamesystemState"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            try:
                text = opener.open(query, timeout=2).read().decode()
                if f'"NumLiveDataNodes" : {self.datanodes},' in text and '"Operational"' in text:
                    return self
            except OSError:
                pass
            time.sleep(0.2)
        raise TimeoutError(f"Apache HDFS is not up after {READY_SECONDS} s; see {self.folder}")

    def launch(self, name, command):
        with open(os.path.join(self.folder, f"{name}.log"), "wb") as log:
            self.processes.append(subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL))

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
