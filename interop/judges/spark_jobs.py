"""Judge: Spark 3.5 on Hadoop's 3.3 client: jobs whose commit protocols lean on rename, listing and delete.

One JVM, local mode, small data. Every job's result is read back and compared with rows computed here in Python; after
every job no temporary folder may be left.
"""

import contextlib
import glob
import io
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from lib import fetch  # noqa: E402
from lib.java import LOGGING  # noqa: E402
from lib.judge import Judge, wait_until  # noqa: E402

BASE = "/judge-spark"
ROWS = 5_000
PARTS = 5
SCHEMA = "id long, name string, amount double, part int"
STREAM_FILES = 6
STREAM_LIMIT_SECONDS = 120


def row(index, shift=0):
    """The row with that id, as a tuple in the order of SCHEMA."""
    return index, f"name-{index * 7919 % 1000 + shift}", index / 8 + shift, index % PARTS


def rows(start, stop, shift=0):
    return [row(index, shift) for index in range(start, stop)]


class Spark:
    """One session, its file system through the JVM, and the checks all jobs share."""

    def __init__(self, judge, session, url):
        self.judge = judge
        self.session = session
        self.base = url + BASE
        jvm = session.sparkContext._jvm
        self.path = jvm.org.apache.hadoop.fs.Path
        self.fs = self.path(self.base).getFileSystem(session.sparkContext._jsc.hadoopConfiguration())

    def frame(self, start, stop, shift=0):
        """The same rows as `rows`, made by Spark in three tasks."""
        return self.session.range(start, stop, 1, 3).selectExpr(
            "id", f"concat('name-', cast(id * 7919 % 1000 + {shift} as string)) as name", f"id / 8 + {shift} as amount",
            f"cast(id % {PARTS} as int) as part")

    def names(self, folder):
        return sorted(status.getPath().getName() for status in self.fs.listStatus(self.path(f"{self.base}/{folder}")))

    def exists(self, path):
        return self.fs.exists(self.path(f"{self.base}/{path}"))

    def holds(self, name, folder, format_, want, **options):
        """Scores that `folder` holds the rows `want` and nothing unfinished."""
        read = self.session.read.format(format_).options(**options).schema(SCHEMA).load(f"{self.base}/{folder}")
        got = sorted(tuple(each) for each in read.select("id", "name", "amount", "part").collect())
        self.judge.check(f"{name}: rows", got == sorted(want), f"{len(got)} rows, wanted {len(want)}; first {got[:2]}")
        listed = self.names(folder)
        self.judge.check(f"{name}: committed", "_SUCCESS" in listed and "_temporary" not in listed
                         and not any(each.startswith(".spark-staging") for each in listed), listed)


def formats(spark):
    for format_, options in [("parquet", {}), ("orc", {}), ("csv", {"header": True})]:
        for algorithm in ["1", "2"]:
            name = f"{format_}-v{algorithm}"
            committer = {"mapreduce.fileoutputcommitter.algorithm.version": algorithm}
            spark.frame(0, ROWS).write.format(format_).options(**options, **committer).save(f"{spark.base}/{name}")
            spark.holds(f"{format_}, committer {algorithm}", name, format_, rows(0, ROWS), **options)
            spark.judge.equal(f"{name}: one file a task", len([each for each in spark.names(name) if each.startswith("part-")]), 3)


def modes(spark):
    where = f"{spark.base}/parquet-v1"
    said = ""
    try:
        spark.frame(0, 10).write.parquet(where)
    except Exception as error:  # noqa: BLE001: Py4J wraps all kinds
        said = str(error)
    spark.judge.check("a second write is refused", "PATH_ALREADY_EXISTS" in said, said[:300])
    spark.frame(ROWS, ROWS + 500).write.mode("append").parquet(where)
    spark.holds("append", "parquet-v1", "parquet", rows(0, ROWS + 500))
    spark.frame(0, 700, 3).write.mode("overwrite").parquet(where)
    spark.holds("overwrite", "parquet-v1", "parquet", rows(0, 700, 3))
    spark.frame(0, 9).write.mode("ignore").parquet(where)
    spark.holds("ignore", "parquet-v1", "parquet", rows(0, 700, 3))


def partitions(spark):
    where = f"{spark.base}/parted"
    for algorithm in ["1", "2"]:
        spark.session.conf.set("spark.sql.sources.partitionOverwriteMode", "static")
        writer = spark.frame(0, ROWS).write.partitionBy("part").mode("overwrite")
        writer.option("mapreduce.fileoutputcommitter.algorithm.version", algorithm).parquet(where)
        spark.holds(f"partitioned, committer {algorithm}", "parted", "parquet", rows(0, ROWS))
        spark.judge.equal("one folder a partition", [each for each in spark.names("parted") if "=" in each], [f"part={part}" for part in range(PARTS)])
        spark.session.conf.set("spark.sql.sources.partitionOverwriteMode", "dynamic")
        replaced = spark.frame(0, 1000, 9).where("part in (1, 3)")
        replaced.write.partitionBy("part").mode("overwrite").option("mapreduce.fileoutputcommitter.algorithm.version", algorithm).parquet(where)
        want = [each for each in rows(0, ROWS) if each[3] not in (1, 3)] + [each for each in rows(0, 1000, 9) if each[3] in (1, 3)]
        spark.holds(f"dynamic partition overwrite, committer {algorithm}", "parted", "parquet", want)
        pruned = spark.session.read.schema(SCHEMA).parquet(where).where("part = 3 and id < 100")
        spark.judge.equal("a pruned and filtered read", sorted(each["id"] for each in pruned.collect()), [index for index in range(100) if index % PARTS == 3])
    spark.frame(ROWS, ROWS + 50).write.partitionBy("part").mode("append").parquet(where)
    spark.holds("append to partitions", "parted", "parquet", want + rows(ROWS, ROWS + 50))


def failure(spark):
    broken = spark.frame(0, 300).selectExpr("if(id = 299, raise_error('judged'), id) as id", "name")
    for algorithm in ["1", "2"]:
        said = ""
        try:
            broken.write.option("mapreduce.fileoutputcommitter.algorithm.version", algorithm).parquet(f"{spark.base}/broken-{algorithm}")
        except Exception as error:  # noqa: BLE001
            said = str(error)
        spark.judge.check(f"a job fails, committer {algorithm}", "judged" in said or "Job aborted" in said, said[:300])
        left = spark.names(f"broken-{algorithm}") if spark.exists(f"broken-{algorithm}") else []
        spark.judge.check(f"an aborted job leaves nothing unfinished, committer {algorithm}",
                          "_SUCCESS" not in left and "_temporary" not in left and (algorithm == "2" or not left), left)


def classic(spark):
    """The old MapReduce interface, with Python workers."""
    context = spark.session.sparkContext
    context.parallelize(range(1000), 3).map(lambda number: f"line {number}").saveAsTextFile(f"{spark.base}/lines")
    spark.judge.equal("text files", sorted(context.textFile(f"{spark.base}/lines").collect()), sorted(f"line {number}" for number in range(1000)))
    context.parallelize([(f"k{number}", number) for number in range(500)], 2).saveAsSequenceFile(
        f"{spark.base}/sequence", "org.apache.hadoop.io.compress.DeflateCodec")
    spark.judge.equal("sequence files", sorted(context.sequenceFile(f"{spark.base}/sequence").collect()),
                      sorted((f"k{number}", number) for number in range(500)))
    spark.judge.check("both committed", all("_SUCCESS" in spark.names(folder) and "_temporary" not in spark.names(folder)
                                            for folder in ["lines", "sequence"]))


def stream(spark):
    source, sink, checkpoint = (f"{spark.base}/stream/{name}" for name in ["in", "out", "checkpoint"])

    def feed(first, last):
        for index in range(first, last):
            spark.frame(index * 100, index * 100 + 100).coalesce(1).write.mode("append").json(source)

    def query():
        read = spark.session.readStream.schema(SCHEMA).option("maxFilesPerTrigger", 1).json(source)
        return read.writeStream.format("parquet").option("checkpointLocation", checkpoint).option("path", sink)

    def ids():
        return sorted(each["id"] for each in spark.session.read.parquet(sink).select("id").collect())

    feed(0, STREAM_FILES)
    running = query().start()
    last = f"stream/checkpoint/commits/{STREAM_FILES - 1}"
    # Between batches, not within one: stopping interrupts the query's thread, a Java stream that is being closed then ends
    # with "Failed to shutdown streamer", and Spark takes that for a failure of the query rather than for its end.
    wait_until(lambda: spark.exists(last) or not running.isActive, STREAM_LIMIT_SECONDS, "all batches are committed")
    running.stop()
    spark.judge.check("the first run did not fail", running.exception() is None, running.exception())
    feed(STREAM_FILES, STREAM_FILES + 2)
    again = query().trigger(availableNow=True).start()
    spark.judge.check("the second run ends", again.awaitTermination(STREAM_LIMIT_SECONDS), again.lastProgress)
    spark.judge.check("the second run did not fail", again.exception() is None, again.exception())
    spark.judge.equal("each row once", ids(), list(range((STREAM_FILES + 2) * 100)))
    idle = query().trigger(availableNow=True).start()
    idle.awaitTermination(STREAM_LIMIT_SECONDS)
    spark.judge.equal("a third run adds nothing", ids(), list(range((STREAM_FILES + 2) * 100)))
    spark.judge.equal("batches committed", len([name for name in spark.names("stream/checkpoint/commits") if name.isdigit()]), STREAM_FILES + 2)
    left = [name for folder in ["commits", "offsets", ""] for name in spark.names(f"stream/checkpoint/{folder}".rstrip("/")) if ".tmp" in name]
    spark.judge.equal("no temporary file beside the checkpoints", left, [])


@contextlib.contextmanager
def started(judge, home, url):
    """Yields a Spark session whose default file system is `url`."""
    sys.path[:0] = glob.glob(os.path.join(home, "python", "lib", "*.zip"))
    logging = os.path.join(judge.scratch, "log4j2.properties")
    with open(logging, "w") as file:
        file.write(LOGGING["log4j2.properties"].replace("rootLogger.level = error", "rootLogger.level = fatal"))
    os.environ.update({
        "SPARK_HOME": home, "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_LOCAL_DIRS": judge.scratch, "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_SUBMIT_ARGS": f"--driver-memory 1g --driver-java-options '-Dlog4j2.configurationFile={logging} -XX:TieredStopAtLevel=1"
                               " -XX:+UseSerialGC -Djava.net.preferIPv4Stack=true' pyspark-shell"})
    os.environ.pop("HADOOP_CONF_DIR", None)
    from pyspark.sql import SparkSession
    builder = SparkSession.builder.master("local[2]").appName("judge")
    for key, value in {
        "spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false", "spark.sql.shuffle.partitions": "2", "spark.hadoop.fs.defaultFS": url,
        "spark.sql.warehouse.dir": f"{judge.scratch}/warehouse", "spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1",
        "spark.sql.streaming.minBatchesToRetain": "100", "spark.task.maxFailures": "1",
    }.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    try:
        yield session
    finally:
        with contextlib.redirect_stderr(io.StringIO()):
            session.stop()


def main():
    judge = Judge(__doc__)
    judge.fetch(fetch.java)
    home = judge.fetch(fetch.hadoop, "3.3.4")
    with judge.cluster() as url, started(judge, home, url) as session:
        spark = Spark(judge, session, url)
        spark.fs.delete(spark.path(spark.base), True)
        for part in [formats, modes, partitions, failure, classic, stream]:
            part(spark)
        judge.check("all of it goes", spark.fs.delete(spark.path(spark.base), True))
    judge.finish()


if __name__ == "__main__":
    main()
