//! Flags, wishes and figures that travel with a stream.

use super::*;
use hadron_client::{AppendOptions, Progress, SyncFlags};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[tokio::test]
async fn wishes_reach_name_node_and_data_nodes() {
    // covers: WP-43
    let cluster = Cluster::start_with(
        2,
        |conf| {
            conf.set("dfs.client.cache.readahead", "1m");
        },
        |_| {},
    )
    .await;
    cluster.namenode.state.lock().storage_policy = 15;
    let favored = {
        let info = cluster.datanodes[1].info();
        format!("{}:{}", info.id.host_name, info.id.xfer_port)
    };
    let told = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&told);
    let options = CreateOptions {
        lazy_persist: true,
        no_local_write: true,
        ignore_client_locality: true,
        should_replicate: true,
        sync_blocks: true,
        storage_policy: Some("COLD".to_owned()),
        favored_nodes: vec![favored.clone(), "elsewhere:1".to_owned()],
        drop_behind: Some(true),
        progress: Some(Progress::new(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        })),
        ..CreateOptions::default()
    };
    let mut writer = cluster.fs.create(&path("/f"), options.clone()).await.unwrap();
    assert_eq!(writer.initial_len(), 0);
    writer.write_all(&data(70_000)).await.unwrap();
    writer.hflush().await.unwrap();
    {
        let state = cluster.namenode.state.lock();
        assert_eq!(state.create.create_flag, 0x01 | 0x10 | 0x80);
        assert_eq!(state.create.storage_policy.as_deref(), Some("COLD"));
        assert!(state.create.crypto_protocol_version.is_empty(), "we cannot encrypt");
        assert_eq!(state.add_block.flags, [1, 2]);
        assert_eq!(state.add_block.favored_nodes, options.favored_nodes);
        let first = cluster.datanodes[0].store.last_write.lock().clone().unwrap();
        assert_eq!(first.caching.drop_behind, Some(true));
        assert_eq!(first.caching.readahead, Some(1 << 20));
        assert!(first.allow_lazy_persist, "the policy keeps replicas in memory");
        assert_eq!((first.pinning, &first.target_pinnings[..]), (false, &[true][..]));
    }
    assert_eq!(told.load(Ordering::Relaxed), 2, "packets so far");
    // covers: WP-42
    writer.close().await.unwrap();
    for node in &cluster.datanodes {
        let synced: usize = node.store.replicas.lock().values().map(|replica| replica.synced).sum();
        assert_eq!(synced, 1, "the last packet");
    }
    assert_eq!(told.load(Ordering::Relaxed), 3);
    let mut writer = cluster.create("/g").await;
    writer.set_drop_behind(Some(false)).await.unwrap();
    writer.write_all(b"x").await.unwrap();
    writer.close().await.unwrap();
    let caching = cluster.datanodes[0].store.last_write.lock().clone().unwrap().caching;
    assert_eq!(caching.drop_behind, Some(false));
}

#[tokio::test]
async fn a_sync_may_end_the_block() {
    // covers: WP-41, WP-46
    let cluster = Cluster::start(2).await;
    let data = data(5000);
    let mut writer = cluster.create("/f").await;
    let end = SyncFlags {
        update_length: false,
        end_block: true,
    };
    writer.hsync_with(end).await.unwrap();
    assert_eq!(cluster.namenode.count("addBlock"), 0, "there is no block to end");
    for (turn, piece) in data.chunks(1700).enumerate() {
        writer.write_all(piece).await.unwrap();
        writer.hsync_with(end).await.unwrap();
        let state = cluster.namenode.state.lock();
        assert_eq!(
            state.fsync.last_block_length,
            Some(piece.len() as i64),
            "of the ended block"
        );
        let block = state.files["/f"].blocks[turn].0.block_id;
        for node in &cluster.datanodes {
            let replica = node.store.replicas.lock()[&block].clone();
            assert!(replica.finalized && replica.data == piece);
            assert_eq!(replica.synced, 2, "its data and its end");
        }
    }
    assert!(writer.pipeline().is_empty());
    assert_eq!(
        writer.current_block_replication(),
        3,
        "the file's, while there is no pipeline"
    );
    writer.close().await.unwrap();
    cluster.check_replicas("/f", &data, 2);
    assert_eq!(cluster.namenode.state.lock().files["/f"].blocks.len(), 3);
    assert_eq!(
        cluster.get("/f").await.unwrap(),
        data,
        "short blocks in the middle read right"
    );
}

#[tokio::test]
async fn appends_go_on_in_the_last_block_or_in_a_new_one() {
    // covers: WP-14, WP-40, WP-41, WP-43
    let cluster = Cluster::start(2).await;
    let mut expected = data(700);
    cluster.put("/f", &expected).await;
    for (turn, new_block) in [false, true, false, true].into_iter().enumerate() {
        let options = AppendOptions {
            new_block,
            sync_blocks: true,
            ..AppendOptions::default()
        };
        let mut writer = cluster.fs.append_with(&path("/f"), options).await.unwrap();
        assert_eq!(writer.initial_len(), expected.len() as u64);
        if turn == 3 {
            // Nothing is written: the last block is named all the same.
            writer.close().await.unwrap();
            continue;
        }
        let more = data(1000 + turn);
        writer.write_all(&more).await.unwrap();
        writer.close().await.unwrap();
        expected.extend(more);
        cluster.check_replicas("/f", &expected, 2);
    }
    let state = cluster.namenode.state.lock();
    let lens: Vec<u64> = state.files["/f"]
        .blocks
        .iter()
        .map(|(block, _)| block.num_bytes())
        .collect();
    assert_eq!(lens, [1700, 2003]);
    let first = state.files["/f"].blocks[0].0.block_id;
    let packets = cluster.datanodes[1].store.replicas.lock()[&first].packets.clone();
    // The rest of the partial chunk goes alone, so that its checksum can be made whole.
    assert_eq!(packets, [(0, 700), (700, 0), (700, 324), (1024, 676), (1700, 0)]);
}

#[tokio::test]
async fn chunks_with_checksums_are_checked() {
    // covers: WP-35, WP-36
    let cluster = Cluster::start(1).await;
    let mut writer = cluster.create("/f").await;
    let chunk = data(512);
    let checksum = hadron_wire::transfer::Checksum::new(hadron_types::ChecksumType::Crc32c, 512).unwrap();
    let mut sum = vec![0; 4];
    checksum.compute_into(&chunk, &mut sum);
    writer.write_chunk(&chunk, &sum).await.unwrap();
    for (bytes, sum, text) in [
        (
            data(513),
            &sum[..],
            "writeChunk() buffer size is 513 is larger than supported  bytesPerChecksum 512",
        ),
        (
            data(512),
            &sum[..3],
            "writeChunk() checksum size is supposed to be 4 but found to be 3",
        ),
        (
            data(511),
            &sum[..],
            "Checksum error: bytes written at 512 do not match their checksum",
        ),
    ] {
        assert_eq!(writer.write_chunk(&bytes, sum).await.unwrap_err().to_string(), text);
    }
    writer.write_chunk(b"end", &[]).await.unwrap();
    writer.close().await.unwrap();
    let expected = [&chunk[..], b"end"].concat();
    cluster.check_replicas("/f", &expected, 1);
    // covers: WP-44
    assert!(matches!(writer.write_chunk(b"late", &[]).await, Err(FsError::Closed)));
    assert!(matches!(writer.hflush().await, Err(FsError::Closed)));
    assert!(matches!(writer.hsync(true).await, Err(FsError::Closed)));
}
