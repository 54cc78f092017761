//! Reading from a DataNode's files, passed over a Unix socket.

use crate::fakes::File;
use crate::socket::{FDS, Instead, RELEASE, SHM, ScriptedSocket};
use crate::{Cluster, STAMP, data, read_all};
use hadron_client::{FileReader, ReadStatistics};
use std::os::unix::fs::FileExt;

const POOL: &str = "BP-1-127.0.0.1-1";

/// A cluster whose first DataNode passes descriptors; all listen at the same path, as if it were on their machines.
async fn local(count: usize, more: &[(&str, &str)]) -> (Cluster, ScriptedSocket) {
    let socket = ScriptedSocket::start();
    let path = socket.path.to_str().unwrap().to_owned();
    let mut settings = vec![
        ("dfs.client.read.shortcircuit", "true"),
        ("dfs.domain.socket.path", path.as_str()),
    ];
    settings.extend(more);
    (Cluster::start_with(count, &settings).await, socket)
}

/// A file of blocks that DataNodes and the socket have.
fn put(cluster: &Cluster, socket: &ScriptedSocket, blocks: &[&[u8]]) {
    cluster.put(blocks);
    for (number, block) in blocks.iter().enumerate() {
        socket.put(1 + number as u64, POOL, block);
    }
}

fn all_local(len: usize) -> ReadStatistics {
    ReadStatistics {
        total: len as u64,
        local: len as u64,
        short_circuit: len as u64,
        zero_copy: 0,
    }
}

/// Changes the checksums that the socket's next descriptors have.
fn spoil(socket: &ScriptedSocket, block: u64) {
    let mut script = socket.script.lock();
    let (_, meta) = script.blocks.get_mut(&(block, POOL.to_owned())).unwrap();
    let last = meta.len() - 1;
    meta[last] ^= 1;
}

// covers: SC-01, SC-03, SC-18
#[tokio::test]
async fn local_blocks_are_read_from_their_files() {
    let (cluster, socket) = local(1, &[]).await;
    let blocks = [data(700_001), data(512 * 9), data(3)];
    put(&cluster, &socket, &[&blocks[0], &blocks[1], &blocks[2]]);
    let whole = blocks.concat();
    let mut reader = cluster.open().await.unwrap();
    assert!(read_all(&mut reader).await.unwrap() == whole);
    assert_eq!(reader.statistics(), all_local(whole.len()));
    assert_eq!(cluster.reads(), [0], "no DataNode sent anything");
    assert_eq!(socket.ops(), [SHM, FDS, FDS, FDS]);
    // Anywhere, in any order, by as many as like; the second reader asks nobody.
    let reader = cluster.open().await.unwrap();
    for (offset, len) in [
        (0, 1),
        (511, 2),
        (699_990, 5000),
        (700_000, 4700),
        (300_000, 1),
        (704_609, 99),
        (999_999, 5),
        (512, 1024),
        (700_001, 512),
        (704_609, 3),
    ] {
        let end = whole.len().min(offset + len);
        let expected = &whole[offset.min(end)..end];
        assert!(
            reader.read_at(offset as u64, len).await.unwrap() == expected,
            "{offset} {len}"
        );
        let mut buffer = vec![0; len];
        let read = reader.read_at_into(offset as u64, &mut buffer).await.unwrap();
        assert!(buffer[..read] == *expected, "{offset} {len} into a buffer");
    }
    let ranges = [
        700_000..700_010,
        5..9,
        0..0,
        100..5000,
        650_000..704_612,
        704_000..999_999,
    ];
    let parts = reader.read_ranges(&ranges).await.unwrap();
    for (range, part) in ranges.iter().zip(parts) {
        let end = whole.len().min(range.end as usize);
        assert!(part == whole[range.start as usize..end], "{range:?}");
    }
    assert_eq!((cluster.reads(), socket.ops().len()), (vec![0], 4));
    let held = cluster.fs.short_circuit_counts();
    assert_eq!((held.replicas, held.shm.slots, held.shm.not_full), (3, 3, 1));
}

// covers: SC-01, SC-24
#[tokio::test]
async fn an_open_reader_needs_no_data_node() {
    let (cluster, socket) = local(1, &[]).await;
    let block = data(900_000);
    put(&cluster, &socket, &[&block]);
    let mut reader = cluster.open().await.unwrap();
    let first = reader.next_chunk().await.unwrap();
    drop(socket);
    cluster.datanodes[0].kill().await;
    assert!(read_all(&mut reader).await.unwrap() == block[first.len()..]);
}

// covers: SC-39
#[tokio::test]
async fn whatever_goes_wrong_is_read_over_tcp() {
    let block = data(5000);
    for (at, what) in [
        (FDS, Instead::Close),
        (FDS, Instead::TooFewFiles),
        (
            FDS,
            Instead::Refuse(hadron_proto::hdfs::Status::ErrorUnsupported, None, None),
        ),
        (FDS, Instead::Refuse(hadron_proto::hdfs::Status::Error, None, None)),
        (SHM, Instead::Close),
        (SHM, Instead::TooFewFiles),
    ] {
        let (cluster, socket) = local(1, &[]).await;
        put(&cluster, &socket, &[&block]);
        // One more for the connection that is kept.
        socket.instead(at, what.clone());
        socket.instead(at, what.clone());
        let mut reader = cluster.open().await.unwrap();
        assert!(read_all(&mut reader).await.unwrap() == block, "{what:?}");
        let seen = reader.statistics();
        assert_eq!(
            (seen.local_over_network(), seen.short_circuit, seen.remote()),
            (5000, 0, 0),
            "{what:?}"
        );
        assert_eq!(cluster.reads(), [1]);
        assert!(cluster.reports().is_empty());
    }
    // Not configured, or nobody there.
    for settings in [
        &[("dfs.client.read.shortcircuit", "false")],
        &[("dfs.domain.socket.path", "/nowhere/dn")],
    ] {
        let (cluster, socket) = local(1, settings).await;
        put(&cluster, &socket, &[&block]);
        assert!(cluster.get().await.unwrap() == block);
        assert!(socket.ops().is_empty());
    }
}

#[tokio::test]
async fn a_refused_token_is_fetched_anew_and_a_block_being_written_is_not_asked_for() {
    let (cluster, socket) = local(1, &[]).await;
    let block = data(5000);
    put(&cluster, &socket, &[&block]);
    let token = hadron_proto::hdfs::Status::ErrorAccessToken;
    socket.instead(FDS, Instead::Refuse(token, Some("expired"), None));
    let mut reader = cluster.open().await.unwrap();
    assert!(read_all(&mut reader).await.unwrap() == block);
    assert_eq!((cluster.lookups(), cluster.reads()), (2, vec![0]));
    assert_eq!(reader.statistics(), all_local(5000));

    let open = cluster.block(9, &block, 0, &[0]);
    socket.put(9, POOL, &block);
    cluster.versions([File {
        blocks: vec![open],
        open: true,
    }]);
    cluster.visible(&[&[crate::fakes::Visible::Len(4000)]]);
    let before = socket.ops().len();
    assert!(cluster.get().await.unwrap() == block[..4000]);
    assert_eq!((socket.ops().len(), cluster.reads()), (before, vec![1]));
}

// covers: SC-13
#[tokio::test]
async fn a_corrupt_local_replica_is_reported_and_another_one_read() {
    let (cluster, socket) = local(2, &[]).await;
    let block = data(5000);
    put(&cluster, &socket, &[&block]);
    spoil(&socket, 1);
    // The other one is not asked for files: as if it were on another machine.
    let refuse = Instead::Refuse(hadron_proto::hdfs::Status::ErrorUnsupported, None, Some(1));
    let mut reader = cluster.open().await.unwrap();
    let first = reader.read_at(0, 600).await.unwrap();
    assert!(first == block[..600], "the chunks read are right");
    socket.instead(FDS, refuse);
    let read = read_all(&mut reader).await;
    assert!(read.unwrap() == block);
    assert_eq!(cluster.reports(), [(1, vec!["dn0".to_owned()])]);
    assert_eq!(cluster.reads()[0], 0);
}

// covers: SC-13
#[tokio::test]
async fn what_is_read_ahead_is_given_out_in_order_or_not_at_all() {
    let small_steps = [("dfs.client.read.shortcircuit.buffer.size", "65536")];
    let (cluster, socket) = local(2, &small_steps).await;
    let blocks = [data(1_000_001), data(700_000)];
    put(&cluster, &socket, &[&blocks[0], &blocks[1]]);
    let whole = blocks.concat();
    let mut reader = cluster.open().await.unwrap();
    assert!(read_all(&mut reader).await.unwrap() == whole);
    assert_eq!(reader.statistics(), all_local(whole.len()));
    drop(reader);
    // Steps that were read ahead for nothing count for nothing, and leave nothing.
    let mut reader = cluster.open().await.unwrap();
    let mut read = 0;
    for position in [0, 500_000, 990_000, 123] {
        reader.seek_to(position);
        let mut at = position as usize;
        for _ in 0..4 {
            let chunk = reader.next_chunk().await.unwrap();
            assert!(chunk == whole[at..at + chunk.len()], "{position} {at}");
            at += chunk.len();
            read += chunk.len();
        }
    }
    assert_eq!(reader.statistics(), all_local(read));
    drop(reader);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let held = cluster.fs.short_circuit_counts();
    assert_eq!((held.replicas, held.evictable), (2, 2), "nobody reads them");
    // Damage is met where it is, not before, and what follows comes from elsewhere.
    let (cluster, socket) = local(2, &small_steps).await;
    put(&cluster, &socket, &[&blocks[0]]);
    spoil(&socket, 1);
    let refuse = Instead::Refuse(hadron_proto::hdfs::Status::ErrorUnsupported, None, Some(1));
    let mut reader = cluster.open().await.unwrap();
    let first = reader.next_chunk().await.unwrap();
    socket.instead(FDS, refuse);
    assert!(read_all(&mut reader).await.unwrap() == blocks[0][first.len()..]);
    let last_step = blocks[0].len() % 65_536;
    let read = reader.statistics();
    assert_eq!(
        (read.total, read.short_circuit),
        (blocks[0].len() as u64, (blocks[0].len() - last_step) as u64)
    );
}

// covers: SC-12, SC-13
#[tokio::test]
async fn checksums_of_anchorable_replicas_and_of_those_who_do_not_ask_are_not_verified() {
    let block = data(5000);
    for (anchorable, skip, reads) in [(false, "false", false), (true, "false", true), (false, "true", true)] {
        let (cluster, socket) = local(1, &[("dfs.client.read.shortcircuit.skip.checksum", skip)]).await;
        put(&cluster, &socket, &[&block]);
        spoil(&socket, 1);
        socket.script.lock().anchorable = anchorable;
        cluster.datanodes[0].store.lock().refuses = true;
        let reader = cluster.open().await.unwrap();
        assert_eq!(reader.read_at(4990, 10).await.is_ok(), reads, "{anchorable} {skip}");
        assert!(anchors(&socket).is_empty(), "an anchor lasts as long as the read");
        if !reads {
            assert!(reader.read_at(0, 10).await.is_ok(), "the first chunk matches");
        }
    }
}

/// The anchor counts that are not 0.
fn anchors(socket: &ScriptedSocket) -> Vec<u32> {
    let script = socket.script.lock();
    let slots = script
        .segments
        .values()
        .flat_map(|segment| (0..segment.slots()).map(move |index| segment.word(index)));
    slots
        .flatten()
        .map(|word| word.anchors())
        .filter(|count| *count > 0)
        .collect()
}

// covers: SC-14, SC-34, SC-35
#[tokio::test]
async fn bytes_are_given_out_without_a_copy_where_somebody_vouches_for_them() {
    let (cluster, socket) = local(1, &[]).await;
    let blocks = [data(10_000), data(3000)];
    put(&cluster, &socket, &[&blocks[0], &blocks[1]]);
    let whole = blocks.concat();
    let mut reader = cluster.open().await.unwrap();
    assert!(
        reader.read_zero_copy(100, false).await.unwrap().is_none(),
        "not anchorable"
    );
    assert_eq!(reader.position(), 0);
    // Nobody verified these, which the caller wanted.
    let plain = reader.read_zero_copy(100, true).await.unwrap().unwrap();
    assert!(plain[..] == whole[..100] && !plain.is_anchored());
    assert!(anchors(&socket).is_empty());
    let segment = socket.script.lock().segments.values().next().cloned().unwrap();
    segment.word(0).unwrap().make_anchorable();
    let maps = maps_of_deleted_files();
    let mut held = Vec::new();
    for number in 0..100_usize {
        let piece = reader.read_zero_copy(50, false).await.unwrap().unwrap();
        let at = 100 + number * 50;
        assert!(piece[..] == whole[at..at + 50] && piece.is_anchored());
        held.push(piece);
        assert_eq!(anchors(&socket), [held.len() as u32]);
    }
    assert_eq!(maps_of_deleted_files(), maps, "all in the mapping of the first");
    assert_eq!(cluster.fs.short_circuit_counts().mappings, 1);
    // Up to the block's end; copies and slices mix.
    assert!(reader.next_chunk().await.unwrap()[..100] == whole[5100..5200]);
    reader.seek_to(9990);
    let tail = reader.read_zero_copy(100, false).await.unwrap().unwrap();
    assert!(tail[..] == whole[9990..10_000]);
    assert!(
        reader.read_zero_copy(100, false).await.unwrap().is_none(),
        "the next block is not anchorable"
    );
    assert!(read_all(&mut reader).await.unwrap() == blocks[1]);
    assert!(reader.read_zero_copy(100, true).await.unwrap().is_none(), "the end");
    let seen = reader.statistics();
    assert_eq!(
        (seen.zero_copy, seen.remote(), seen.local_over_network()),
        (100 + 5000 + 10, 0, 0)
    );
    // What was given out outlives the reader, the client and the DataNode.
    drop((reader, plain, tail));
    held.truncate(3);
    assert_eq!(anchors(&socket), [3]);
    drop(segment);
    drop((cluster, socket));
    assert!(held[2][..] == whole[200..250]);
}

fn maps_of_deleted_files() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines()
        .filter(|line| line.contains("r--s") && line.contains("(deleted)"))
        .count()
}

#[tokio::test]
async fn mappings_can_be_switched_off() {
    let (cluster, socket) = local(1, &[("dfs.client.mmap.enabled", "false")]).await;
    let block = data(3000);
    put(&cluster, &socket, &[&block]);
    let mut reader = cluster.open().await.unwrap();
    assert!(reader.read_zero_copy(10, true).await.unwrap().is_none());
    assert!(read_all(&mut reader).await.unwrap() == block);
}

// covers: SC-11, SC-33
#[tokio::test]
async fn a_replica_that_went_away_is_asked_for_anew() {
    let (cluster, socket) = local(1, &[]).await;
    let block = data(5000);
    put(&cluster, &socket, &[&block]);
    let reader = cluster.open().await.unwrap();
    reader.read_at(0, 10).await.unwrap();
    let segment = socket.script.lock().segments.values().next().cloned().unwrap();
    segment.word(0).unwrap().make_invalid();
    reader.read_at(0, 10).await.unwrap();
    assert_eq!(socket.ops().iter().filter(|op| **op == FDS).count(), 2);
    let released = async {
        while !socket.ops().contains(&RELEASE) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), released)
        .await
        .unwrap();
}

/// A block that grows behind a reader: its last chunk has another checksum than the one that was read before.
#[tokio::test]
async fn a_block_that_grows_stays_readable() {
    let (cluster, socket) = local(1, &[]).await;
    let (short, long) = (data(1000), data(1500));
    put(&cluster, &socket, &[&short]);
    socket.script.lock().keep_files = true;
    let reader: FileReader = cluster.open().await.unwrap();
    assert!(reader.read_at(900, 100).await.unwrap() == short[900..]);
    // As an append does it, in place.
    socket.put(1, POOL, &long);
    {
        let script = socket.script.lock();
        let (data, meta) = script.blocks.get(&(1, POOL.to_owned())).unwrap();
        let (data_file, meta_file) = &script.kept_files[0];
        data_file.write_all_at(data, 0).unwrap();
        meta_file.write_all_at(meta, 0).unwrap();
    }
    assert!(reader.read_at(900, 100).await.unwrap() == short[900..]);
    assert_eq!((cluster.reads(), STAMP), (vec![0], 1001));
}

/// An append between its two writes: the data is there, its checksum is not yet.
#[tokio::test]
async fn a_block_caught_while_it_grows_is_not_reported_corrupt() {
    let block = data(1000);
    // Where the file does not grow, or the chunk is not the one that is written on, the replica is corrupt.
    for (grows, spoiled, reports) in [(true, 900, 0), (false, 900, 1), (true, 100, 1)] {
        let (cluster, socket) = local(1, &[]).await;
        put(&cluster, &socket, &[&block]);
        socket.script.lock().keep_files = true;
        assert!(cluster.get().await.unwrap() == block);
        let mut after = block.clone();
        after[spoiled] ^= u8::from(!grows || spoiled < 512);
        if grows {
            after.extend_from_slice(&data(300));
        }
        // What is asked for anew is no better.
        socket.script.lock().blocks.get_mut(&(1, POOL.to_owned())).unwrap().0 = after.clone();
        socket.script.lock().kept_files[0].0.write_all_at(&after, 0).unwrap();
        let name = format!("{grows} {spoiled}");
        let mut reader: FileReader = cluster.open().await.unwrap();
        assert!(
            read_all(&mut reader).await.is_ok_and(|read| read == block) || reports > 0,
            "{name}"
        );
        assert_eq!(cluster.reports().len(), reports, "{name}");
        if reports == 0 {
            assert_eq!(cluster.reads(), [1], "{name}");
            assert!(reader.read_at(990, 10).await.unwrap() == block[990..]);
        }
    }
}
