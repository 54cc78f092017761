"""Judge: Parquet datasets through pyarrow on hdfs-native's fsspec file system, that file system's own calls, and many
asynchronous calls at once.
"""

import asyncio
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from lib.judge import Judge, pattern  # noqa: E402

import fsspec  # noqa: E402
import hdfs_native  # noqa: E402
import pyarrow  # noqa: E402
import pyarrow.compute  # noqa: E402
import pyarrow.csv  # noqa: E402
import pyarrow.dataset  # noqa: E402
import pyarrow.fs  # noqa: E402
import pyarrow.orc  # noqa: E402
import pyarrow.parquet  # noqa: E402
from hdfs_native.fsspec import HdfsFileSystem  # noqa: E402

BASE = "/judge-arrow"
MIB = 1 << 20
ROWS = 60_000
CALLERS = 64
LENGTH = 900_000  # and more for each caller, so that some files have one block and some two


def table(start, count):
    """Rows whose every value follows from `id`."""
    ids = range(start, start + count)
    return pyarrow.table({
        "id": pyarrow.array(ids, pyarrow.int64()), "name": [f"name-{index * 7919 % 10_007}" for index in ids],
        "value": [index / 16 for index in ids], "year": [2000 + index % 4 for index in ids],
        "month": pyarrow.array([1 + index % 3 for index in ids], pyarrow.int32()),
        "tags": [["a"] * (index % 3) for index in ids]})


def plain_files(judge, system):
    """fsspec's own calls."""
    where = f"{BASE}/files"
    system.makedirs(f"{where}/a/b")
    system.makedirs(f"{where}/a/b", exist_ok=True)
    data = pattern(1, 3 * MIB + 17)
    with system.open(f"{where}/big", "wb", block_size=MIB, replication=2) as file:
        for start in range(0, len(data), 700_001):
            file.write(data[start:start + 700_001])
    system.pipe_file(f"{where}/a/small", b"hello")
    judge.equal("info", {key: system.info(f"{where}/big")[key] for key in ["name", "size", "type"]},
                {"name": f"{where}/big", "size": len(data), "type": "file"})
    judge.check("cat", system.cat_file(f"{where}/big") == data)
    judge.check("ranges", [system.cat_file(f"{where}/big", start=start, end=start + 1000) for start in [0, MIB - 500, 3 * MIB]]
                == [data[start:start + 1000] for start in [0, MIB - 500, 3 * MIB]])
    with system.open(f"{where}/big", "rb") as file:
        file.seek(-10, os.SEEK_END)
        judge.check("seek from the end", file.read() == data[-10:] and file.tell() == len(data))
    with system.open(f"{where}/a/small", "ab") as file:
        file.write(b" again")
    judge.equal("append", system.cat_file(f"{where}/a/small"), b"hello again")
    judge.equal("find", system.find(where), [f"{where}/a/small", f"{where}/big"])
    judge.equal("glob", system.glob(f"{where}/*/s*"), [f"{where}/a/small"])
    judge.equal("walk", [(path, sorted(folders), sorted(files)) for path, folders, files in system.walk(where)],
                [(where, ["a"], ["big"]), (f"{where}/a", ["b"], ["small"]), (f"{where}/a/b", [], [])])
    judge.equal("du", system.du(where), len(data) + 11)
    judge.equal("exists, isdir, isfile", [system.exists(f"{where}/none"), system.isdir(f"{where}/a"), system.isfile(f"{where}/a/small")], [False, True, True])
    system.mv(f"{where}/a", f"{where}/c")
    judge.equal("moved", system.find(f"{where}/c"), [f"{where}/c/small"])
    system.touch(f"{where}/c/new")
    judge.equal("touch", system.info(f"{where}/c/new")["size"], 0)
    local = os.path.join(judge.scratch, "back")
    system.get(f"{where}/big", local)
    with open(local, "rb") as file:
        judge.check("get", file.read() == data)
    system.put(local, f"{where}/again")
    judge.check("put", system.cat_file(f"{where}/again") == data)
    system.rm(where, recursive=True)
    judge.check("rm", not system.exists(where))


def one_file(judge, system):
    """Parquet, ORC and CSV files read in parts: footers, row groups, columns."""
    want = table(0, ROWS)
    with system.open(f"{BASE}/one.parquet", "wb", block_size=MIB) as file:
        pyarrow.parquet.write_table(want, file, row_group_size=9_000)
    with system.open(f"{BASE}/one.parquet", "rb") as file:
        parquet = pyarrow.parquet.ParquetFile(file)
        judge.equal("row groups", parquet.num_row_groups, 7)
        judge.check("the last row group", parquet.read_row_group(6).equals(want.slice(54_000)))
        judge.check("two columns", parquet.read(columns=["value", "name"]).equals(want.select(["name", "value"])) or
                    parquet.read(columns=["value", "name"]).equals(want.select(["value", "name"])))
    with system.open(f"{BASE}/one.orc", "wb") as file:
        pyarrow.orc.write_table(want, file, stripe_size=200_000)
    with system.open(f"{BASE}/one.orc", "rb") as file:
        judge.check("ORC comes back", pyarrow.orc.ORCFile(file).read().equals(want))
    flat = want.drop_columns(["tags"])
    with system.open(f"{BASE}/one.csv", "wb") as file:
        pyarrow.csv.write_csv(flat, file)
    with system.open(f"{BASE}/one.csv", "rb") as file:
        got = pyarrow.csv.read_csv(file, convert_options=pyarrow.csv.ConvertOptions(column_types=flat.schema))
    judge.check("CSV comes back", got.equals(flat))


def datasets(judge, system):
    """Partitioned datasets, with threads of pyarrow's own."""
    arrow = pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(system))
    want = table(0, ROWS)
    where = f"{BASE}/parted"
    parting = pyarrow.dataset.partitioning(pyarrow.schema([("year", pyarrow.int64()), ("month", pyarrow.int32())]), flavor="hive")

    def load(**options):
        return pyarrow.dataset.dataset(where, filesystem=arrow, format="parquet", partitioning=parting, **options)

    def same(got, expected):
        return got.select(want.column_names).sort_by("id").equals(expected)

    write = {"filesystem": arrow, "format": "parquet", "partitioning": parting}
    pyarrow.dataset.write_dataset(want, where, max_rows_per_file=3_000, max_rows_per_group=1_000, **write)
    folders = [f"{where}/year={2000 + year}/month={1 + month}" for year in range(4) for month in range(3)]
    judge.equal("folders of partitions", sorted({path.rsplit("/", 1)[0] for path in system.find(where)}), folders)
    judge.equal("files a partition", {len(system.ls(folder)) for folder in folders}, {2})
    judge.check("all of it comes back", same(load().to_table(), want))
    field = pyarrow.dataset.field
    got = load().to_table(filter=(field("year") == 2002) & (field("id") < 1_000))
    mask = pyarrow.compute.and_(pyarrow.compute.equal(want["year"], 2002), pyarrow.compute.less(want["id"], 1_000))
    judge.check("with a predicate", same(got, want.filter(mask)))
    judge.equal("a count by partition", load().count_rows(filter=field("month") == 2), ROWS // 3)
    fragments = list(load().get_fragments(filter=(field("year") == 2001) & (field("month") == 1)))
    judge.equal("partitions are pruned", {fragment.path.rsplit("/", 1)[0] for fragment in fragments}, {f"{where}/year=2001/month=1"})

    more = table(ROWS, 1_200)
    pyarrow.dataset.write_dataset(more, where, basename_template="more-{i}.parquet", existing_data_behavior="overwrite_or_ignore", **write)
    judge.check("after an append", same(load().to_table(), pyarrow.concat_tables([want, more])))
    kept = want.filter(pyarrow.compute.not_equal(want["year"], 2003))
    other = table(ROWS * 2, 600)
    other = other.filter(pyarrow.compute.equal(other["year"], 2003))
    pyarrow.dataset.write_dataset(other, where, existing_data_behavior="delete_matching", **write)
    got = load().to_table()
    judge.check("after partitions were replaced", same(got.filter(pyarrow.compute.equal(got["year"], 2003)), other))
    judge.equal("and the others were not", got.filter(pyarrow.compute.not_equal(got["year"], 2003)).num_rows, kept.num_rows + 900)
    try:
        pyarrow.dataset.write_dataset(other, where, **write)
        judge.check("a write over data is refused", False)
    except pyarrow.ArrowInvalid as error:
        judge.check("a write over data is refused", "is empty" in str(error) or "not empty" in str(error), error)
    info = arrow.get_file_info(pyarrow.fs.FileSelector(where, recursive=True))
    judge.equal("arrow's own listing", sorted(each.path for each in info if each.type == pyarrow.fs.FileType.File), sorted(system.find(where)))
    arrow.delete_dir(where)
    judge.equal("arrow's own delete", arrow.get_file_info(where).type, pyarrow.fs.FileType.NotFound)


async def many(judge, url):
    """Whole lives of files, many at a time, on one client."""
    client = hdfs_native.AsyncClient(url)
    folder = f"{BASE}/many"
    await client.mkdirs(folder, create_parent=True)

    async def life(index):
        path, data = f"{folder}/{index}", pattern(index, LENGTH + index * 5_003)
        writer = await client.create(path, hdfs_native.WriteOptions(block_size=MIB, replication=1 + index % 3))
        for start in range(0, len(data), 133_333):
            await writer.write(data[start:start + 133_333])
        await writer.close()
        await client.rename(path, path + "-moved")
        writer = await client.append(path + "-moved")
        await writer.write(b"end")
        await writer.close()
        data += b"end"
        reader = await client.read(path + "-moved")
        offsets = [0, min(MIB - 35, len(data) - 70), len(data) - 70]
        parts = await asyncio.gather(*(reader.read_range(offset, 70) for offset in offsets))
        info = await client.get_file_info(path + "-moved")
        held = info.length == len(data) and await reader.read() == data and parts == [data[offset:offset + 70] for offset in offsets]
        streamed = b"".join([part async for part in reader.read_range_stream(5, 150_000)])
        return held and streamed == data[5:150_005]

    held = await asyncio.gather(*(life(index) for index in range(CALLERS)), return_exceptions=True)
    judge.check(f"{CALLERS} lives at once", held == [True] * CALLERS, [each for each in held if each is not True][:3])
    summary = await client.get_content_summary(folder)
    judge.equal("the summary agrees", (summary.file_count, summary.length),
                (CALLERS, sum(LENGTH + 3 + index * 5_003 for index in range(CALLERS))))
    gone = await asyncio.gather(*(client.delete(f"{folder}/{index}-moved") for index in range(CALLERS)))
    judge.check("all of them go", all(gone))
    judge.equal("and none is left", [status.path async for status in client.list_status(folder)], [])


def main():
    judge = Judge(__doc__)
    os.environ.pop("HADOOP_CONF_DIR", None)
    with judge.cluster() as url:
        host, port = url.removeprefix("hdfs://").split(":")
        fsspec.register_implementation("hdfs", HdfsFileSystem, clobber=True)
        system = fsspec.filesystem("hdfs", host=host, port=int(port))
        if system.exists(BASE):
            system.rm(BASE, recursive=True)
        system.mkdir(BASE)
        plain_files(judge, system)
        one_file(judge, system)
        datasets(judge, system)
        asyncio.run(many(judge, url))
        system.rm(BASE, recursive=True)
    judge.finish()


if __name__ == "__main__":
    main()
