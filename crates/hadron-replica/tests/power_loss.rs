//! Loss of power at any operation of the disk: synced bytes stay, with checksums that vouch for them, under the stamp the
//! NameNode knows; a block closed with a sync is there whole and finalized.
#![allow(clippy::unwrap_used)] // helpers of tests, too

use hadron_env::disk::{Disk, Fault, SimDisk};
use hadron_replica::*;
use hadron_types::*;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

const POOL: &str = "BP-1-127.0.0.1-1700000000000";
const ID: i64 = 1_073_741_825;

fn block(stamp: u64) -> ExtendedBlock {
    ExtendedBlock {
        pool: POOL.into(),
        block: Block {
            id: BlockId(ID),
            generation_stamp: GenerationStamp(stamp),
            len: 0,
        },
    }
}

fn format() -> ChunkFormat {
    ChunkFormat::new(ChecksumType::Crc32c, 512).unwrap()
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 % 251) as u8).collect()
}

/// One disk in memory; its locks are files of the operating system.
struct Machine {
    disk: SimDisk,
    dir: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let (disk, dir) = (SimDisk::new(), tempfile::tempdir().unwrap());
        disk.create_dir_all(dir.path()).unwrap();
        for parent in dir.path().ancestors().skip(1) {
            disk.sync_dir(parent).unwrap();
        }
        Self { disk, dir }
    }

    fn start(&self) -> ReplicaResult<ReplicaStore> {
        let spec = VolumeSpec {
            dir: self.dir.path().to_path_buf(),
            storage_type: StorageType::Disk,
            reserve: Reserve::NONE,
        };
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let deadline = Instant::now() + Duration::from_secs(20);
        let store = loop {
            match ReplicaStore::open_on(&disk, std::slice::from_ref(&spec), StoreOptions::default()) {
                // The thread that checks volumes may still hold the store of before.
                Err(ReplicaError::Locked(_)) if Instant::now() < deadline => std::thread::yield_now(),
                opened => break opened?,
            }
        };
        let identity = PoolIdentity {
            pool: POOL.into(),
            cluster_id: "CID-1".into(),
            namespace_id: 7,
            ctime: 0,
        };
        store.attach_pool(&identity)?;
        Ok(store)
    }

    fn current(&self) -> PathBuf {
        self.dir.path().join("current").join(POOL).join("current")
    }

    fn read(&self, path: &Path) -> Vec<u8> {
        self.disk.read(path, 1 << 20).unwrap()
    }
}

#[derive(Clone, Copy, Debug)]
enum Act {
    /// Bytes more, sent from the start of the unfinished chunk.
    Write(usize),
    /// hsync.
    Sync,
    /// A recovered pipeline goes on under the next stamp.
    Recover,
}

/// What the client was promised so far.
#[derive(Clone, Copy, Debug, Default)]
struct Promised {
    synced: Option<usize>,
    /// The stamp that the NameNode was told, once the replica was synced.
    stamp: u64,
    closed: Option<usize>,
}

fn write(writer: &mut ReplicaWriter, data: &[u8], grow: usize) -> ReplicaResult<()> {
    let len = writer.len() as usize;
    let part = &data[len - len % 512..len + grow];
    let mut sums = Vec::new();
    format().append_sums(part, &mut sums);
    let packet = Packet {
        offset: (len - len % 512) as u64,
        sums: &sums,
        data: part,
    };
    writer.write(&[packet], format()).map(drop)
}

/// Runs a history until its end or until the power goes; keeps count of what was promised.
fn run(store: &ReplicaStore, acts: &[Act], close_synced: bool, promised: &mut Promised) -> ReplicaResult<()> {
    let data = bytes(64 * 1024);
    let mut stamp = 1001;
    let new = NewReplica {
        format: format(),
        storage_type: None,
        storage_id: None,
        interrupt: Arc::new(|| {}),
    };
    let mut writer = store.create_rbw(&block(stamp), new)?;
    for act in acts {
        match *act {
            Act::Write(grow) => write(&mut writer, &data, grow)?,
            Act::Sync => {
                writer.sync()?;
                (promised.synced, promised.stamp) = (Some(writer.len() as usize), stamp);
            }
            Act::Recover => {
                let len = writer.len();
                writer.ack_handle().acked(len);
                drop(writer);
                let to = GenerationStamp(stamp + 1);
                writer = store.recover_rbw(&block(stamp), to, len, len, Arc::new(|| {}))?;
                stamp += 1;
                if promised.synced.is_some() {
                    promised.stamp = stamp;
                }
            }
        }
    }
    let len = writer.len();
    if close_synced {
        writer.sync()?;
        (promised.synced, promised.stamp) = (Some(len as usize), stamp);
    }
    writer.finalize(Some(len))?;
    if promised.synced.is_some() {
        promised.closed = Some(len as usize);
    }
    Ok(())
}

/// Starts after the loss of power and compares with the promises.
fn check(machine: &Machine, promised: Promised, history: &str) {
    let store = machine
        .start()
        .unwrap_or_else(|error| panic!("{history}: cannot start: {error}"));
    let Some(synced) = promised.synced else { return };
    let report = store.block_report(&POOL.into()).unwrap();
    let found: Vec<_> = report.into_iter().flat_map(|storage| storage.replicas).collect();
    assert_eq!(found.len(), 1, "{history}: the replica is there");
    let (state, found) = (found[0].state, found[0].block);
    assert!(
        found.generation_stamp.0 >= promised.stamp,
        "{history}: stamp {found} of {promised:?}"
    );
    assert!(
        found.len >= synced as u64,
        "{history}: {} bytes of {promised:?}",
        found.len
    );
    let dir = match state {
        ReplicaState::Finalized => machine
            .current()
            .join("finalized")
            .join(layout::finalized_dir(found.id)),
        _ => machine.current().join("rbw"),
    };
    let data = machine.read(&dir.join(layout::data_name(found.id)));
    let meta = machine.read(&dir.join(layout::meta_name(found.id, found.generation_stamp)));
    assert_eq!(data[..synced], bytes(synced), "{history}: the bytes");
    // The last chunk with synced bytes may hold more; all of it must fit its checksum.
    let until = data.len().min(synced.next_multiple_of(512));
    let sums = format().sums_len(until);
    assert_eq!(
        format().verify(&data[..until], &meta[7..7 + sums]),
        Ok(()),
        "{history}: the checksums"
    );
    if let Some(len) = promised.closed {
        assert_eq!(
            (state, data.len()),
            (ReplicaState::Finalized, len),
            "{history}: closed for good"
        );
        let reader = store.open_for_read(&block(promised.stamp), 0, Duration::ZERO).unwrap();
        assert_eq!(reader.readable_len(), len as u64);
    }
}

/// Runs a history with a loss of power at operation `at` (`None`: behind the last one).
fn lose_power(acts: &[Act], close_synced: bool, at: Option<u64>, seed: u64) -> u64 {
    let machine = Machine::new();
    let store = machine.start().unwrap();
    let before = machine.disk.operation_count();
    if let Some(at) = at {
        machine.disk.inject(at, Fault::Crash);
    }
    let mut promised = Promised::default();
    let result = run(&store, acts, close_synced, &mut promised);
    assert_eq!(result.is_ok(), !machine.disk.is_powered_off(), "{result:?}");
    drop(store);
    let operations = machine.disk.operation_count() - before;
    machine.disk.crash(seed);
    check(
        &machine,
        promised,
        &format!("{acts:?} closed synced: {close_synced}, power lost at {at:?}, seed {seed}"),
    );
    operations
}

/// covers: WP-42, WP-46
#[test]
fn every_operation_may_be_the_last_before_the_power_goes() {
    use Act::{Recover, Sync, Write};
    let histories: &[&[Act]] = &[
        &[Write(700), Sync, Write(200), Write(5000), Write(3)],
        &[Write(700), Sync, Write(10), Sync, Recover, Write(900), Sync, Write(1)],
        &[Write(512), Sync, Write(512), Recover, Recover],
        &[Write(1), Recover, Write(1), Sync],
        &[Write(3000)],
        &[],
    ];
    for acts in histories {
        for close_synced in [false, true] {
            for seed in 0..6 {
                let operations = lose_power(acts, close_synced, None, seed);
                for at in 0..operations {
                    lose_power(acts, close_synced, Some(at), seed);
                }
            }
        }
    }
}

fn any_act() -> impl proptest::strategy::Strategy<Value = Act> {
    use proptest::prelude::*;
    prop_oneof![
        4 => (1usize..1500).prop_map(Act::Write),
        2 => Just(Act::Sync),
        1 => Just(Act::Recover),
    ]
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(200))]

    #[test]
    fn synced_bytes_outlive_power(
        acts in proptest::collection::vec(any_act(), 0..12),
        close_synced: bool,
        at in 0u64..90,
        seed: u64,
    ) {
        lose_power(&acts, close_synced, Some(at), seed);
    }
}
