//! Directories of an older layout, which go back to software of that layout: new replicas are where it looks for them.

#![allow(clippy::unwrap_used)] // helpers of tests, too

use hadron_replica::*;
use hadron_types::*;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const POOL: &str = "BP-1-127.0.0.1-1700000000000";

fn open(dir: &Path) -> ReplicaStore {
    let spec = VolumeSpec {
        dir: dir.to_path_buf(),
        storage_type: StorageType::Disk,
        reserve: Reserve::NONE,
    };
    let store = ReplicaStore::open(&[spec], StoreOptions::default()).unwrap();
    let identity = PoolIdentity {
        pool: POOL.into(),
        cluster_id: "CID-1".into(),
        namespace_id: 7,
        ctime: 0,
    };
    store.attach_pool(&identity).unwrap();
    store
}

fn write(store: &ReplicaStore, block: &ExtendedBlock) {
    let format = ChunkFormat::new(ChecksumType::Crc32c, 512).unwrap();
    let new = NewReplica {
        format,
        storage_type: None,
        storage_id: None,
        interrupt: Arc::new(|| {}),
    };
    let mut writer = store.create_rbw(block, new).unwrap();
    let mut sums = Vec::new();
    format.append_sums(b"hello", &mut sums);
    let packet = Packet {
        offset: 0,
        sums: &sums,
        data: b"hello",
    };
    writer.write(&[packet], format).unwrap();
    writer.finalize(Some(5)).unwrap();
}

#[test]
fn each_layout_has_its_block_directories_after_a_takeover() {
    let id = BlockId(1_073_741_824 + 65_536 * 33 + 256 * 250);
    let block = ExtendedBlock {
        pool: POOL.into(),
        block: Block {
            id,
            generation_stamp: GenerationStamp(1001),
            len: 0,
        },
    };
    for (version, place) in [("-57", "subdir1/subdir26"), ("-56", "subdir33/subdir250")] {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path()));
        let pool = dir.path().join("current").join(POOL);
        for file in [dir.path().join("current/VERSION"), pool.join("current/VERSION")] {
            let text = fs::read_to_string(&file).unwrap();
            fs::write(
                &file,
                text.replace("layoutVersion=-57", &format!("layoutVersion={version}")),
            )
            .unwrap();
        }
        let store = open(dir.path());
        write(&store, &block);
        let place = pool.join("current/finalized").join(place);
        let names = |dir: &Path| fs::read_dir(dir).map_or(0, Iterator::count);
        assert_eq!(names(&place), 2, "{version}");
        // Away for an append, and back.
        let writer = store.append(&block, GenerationStamp(1002), 5, Arc::new(|| {})).unwrap();
        assert_eq!(names(&place), 0, "{version}");
        writer.finalize(Some(5)).unwrap();
        assert_eq!(names(&place), 2, "{version}");
        let counts = store.reconcile(&POOL.into(), 0, &mut || true, &mut |_| {}).unwrap();
        assert_eq!((counts.blocks, counts.differences()), (1, 0), "{version}");
        drop(store);
        let store = open(dir.path());
        let newest = ExtendedBlock {
            block: Block {
                generation_stamp: GenerationStamp(1002),
                ..block.block
            },
            ..block.clone()
        };
        let reader = store.open_for_read(&newest, 5, Duration::ZERO).unwrap();
        assert_eq!(reader.path().parent(), Some(place.as_path()));
        let kept = fs::read_to_string(dir.path().join("current/VERSION")).unwrap();
        assert!(kept.contains(&format!("layoutVersion={version}")));
    }
}
