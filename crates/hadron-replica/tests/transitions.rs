//! The table of replica states against the store: every pair of state and step is tried on real files.
//!
//! A legal step leads where the table says; an illegal one is refused and leaves state, stamp, length and bytes alone.
#![allow(clippy::unwrap_used)] // helpers of tests, too

use hadron_replica::state::{STEPS, Step, TRANSITIONS, after};
use hadron_replica::*;
use hadron_types::ReplicaState::{self, Finalized, Rbw, Rur, Rwr, Temporary};
use hadron_types::*;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const POOL: &str = "BP-1-127.0.0.1-1700000000000";
const LEN: usize = 1300;
const FAR_FUTURE: u64 = u64::MAX;

fn block(stamp: u64) -> ExtendedBlock {
    ExtendedBlock {
        pool: POOL.into(),
        block: Block {
            id: BlockId(7),
            generation_stamp: GenerationStamp(stamp),
            len: 0,
        },
    }
}

fn format() -> ChunkFormat {
    ChunkFormat::new(ChecksumType::Crc32c, 512).unwrap()
}

fn open(dir: &Path) -> ReplicaStore {
    let spec = |dir: std::path::PathBuf, storage_type| VolumeSpec {
        dir,
        storage_type,
        reserve: Reserve::NONE,
    };
    let specs = [
        spec(dir.to_path_buf(), StorageType::Disk),
        spec(dir.join("ssd"), StorageType::Ssd),
    ];
    let options = StoreOptions {
        replicas: PoolOptions {
            stop_writer_patience: Duration::from_millis(50),
            ..PoolOptions::default()
        },
        ..StoreOptions::default()
    };
    let store = ReplicaStore::open(&specs, options).unwrap();
    let identity = PoolIdentity {
        pool: POOL.into(),
        cluster_id: "CID-1".into(),
        namespace_id: 7,
        ctime: 0,
    };
    store.attach_pool(&identity).unwrap();
    store
}

fn new_replica() -> NewReplica<'static> {
    NewReplica {
        format: format(),
        storage_type: Some(StorageType::Disk),
        storage_id: None,
        interrupt: Arc::new(|| {}),
    }
}

fn bytes() -> Vec<u8> {
    (0..LEN).map(|i| (i * 31 % 251) as u8).collect()
}

fn fill(writer: &mut ReplicaWriter) {
    let (data, mut sums) = (bytes(), Vec::new());
    format().append_sums(&data, &mut sums);
    let packet = Packet {
        offset: 0,
        sums: &sums,
        data: &data,
    };
    let len = writer.write(&[packet], format()).unwrap();
    writer.ack_handle().acked(len);
}

/// A store with a replica of stamp 10, and the writer it still has.
struct Scene {
    dir: tempfile::TempDir,
    store: Option<ReplicaStore>,
    writer: Option<ReplicaWriter>,
}

impl Scene {
    fn in_state(state: Option<ReplicaState>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let mut writer = None;
        let make = |temporary: bool| {
            let mut made = match temporary {
                true => store.create_temporary(&block(10), new_replica()).unwrap(),
                false => store.create_rbw(&block(10), new_replica()).unwrap(),
            };
            fill(&mut made);
            made
        };
        match state {
            None => {}
            Some(Finalized) => drop(make(false).finalize(Some(LEN as u64)).unwrap()),
            Some(Rbw) => writer = Some(make(false)),
            Some(Temporary) => writer = Some(make(true)),
            Some(Rwr) => drop(make(false)),
            Some(Rur) => {
                drop(make(false));
                store.init_recovery(&block(10), GenerationStamp(15)).unwrap();
            }
        }
        let mut scene = Self {
            dir,
            store: Some(store),
            writer,
        };
        if state == Some(Rwr) {
            scene.restart();
        }
        scene
    }

    fn store(&self) -> &ReplicaStore {
        self.store.as_ref().unwrap()
    }

    fn restart(&mut self) {
        drop(self.writer.take());
        drop(self.store.take());
        self.store = Some(open(self.dir.path()));
    }

    /// State and stamp, and the length that a block report tells.
    fn picture(&self) -> (Option<(ReplicaState, GenerationStamp)>, Option<u64>) {
        let report = self.store().block_report(&POOL.into()).unwrap();
        let told = report.iter().flat_map(|storage| &storage.replicas).next();
        (self.store().state(&block(10)), told.map(|replica| replica.block.len))
    }

    /// Takes `step` as a peer orders it, under stamp 20.
    fn take(&mut self, step: Step) -> ReplicaResult<()> {
        let (to, none) = (GenerationStamp(20), || -> Interrupt { Arc::new(|| {}) });
        let (len, old) = (LEN as u64, block(10));
        let alone = |scene: &mut Self| drop(scene.writer.take());
        match step {
            Step::Create => {
                self.writer = Some(self.store().create_rbw(&block(20), new_replica())?);
            }
            Step::ReceiveCopy => {
                // The writer of what was there leaves when it is told to.
                alone(self);
                self.writer = Some(self.store().create_temporary(&block(20), new_replica())?);
            }
            Step::Finalize => match self.writer.take() {
                Some(writer) => drop(writer.finalize(Some(len))?),
                None => drop(self.store().recover_close(&old, to, len)?),
            },
            Step::Append => {
                alone(self);
                self.writer = Some(self.store().append(&old, to, len, none())?);
            }
            Step::Recover => {
                alone(self);
                self.writer = Some(self.store().recover_rbw(&old, to, 0, len, none())?);
            }
            Step::Adopt => {
                let writer = self.writer.take().ok_or(ReplicaError::Stopped(old.block.id))?;
                writer.adopt(LEN as u64)?;
            }
            Step::Restart => self.restart(),
            Step::AnnouncedRestart => {
                if let Some(writer) = self.writer.take() {
                    writer.leave_for_restart(FAR_FUTURE)?;
                }
                self.restart();
            }
            Step::BeginRecovery => {
                alone(self);
                let found = self.store().init_recovery(&old, to)?;
                found.ok_or(ReplicaError::NotFound(old.block.id, to))?;
            }
            Step::EndRecovery => {
                let asked = ExtendedBlock {
                    block: Block { len, ..old.block },
                    ..old
                };
                self.store().finish_recovery(&asked, GenerationStamp(15), None, len)?;
            }
            Step::Move => {
                let asked = ExtendedBlock {
                    block: Block { len, ..old.block },
                    ..old
                };
                let moved = self.store().move_replica(&asked, StorageType::Ssd, None)?;
                assert_eq!(moved.storage_type, StorageType::Ssd);
            }
        }
        Ok(())
    }
}

const STATES: [Option<ReplicaState>; 6] = [None, Some(Finalized), Some(Rbw), Some(Rwr), Some(Rur), Some(Temporary)];

/// Steps that say nothing of the replica when it is in no state to take them: a restart happens to the DataNode, not to
/// one replica, and a TEMPORARY is not kept, whoever asks.
fn forgets(from: Option<ReplicaState>, step: Step) -> Option<Option<ReplicaState>> {
    Some(match (from, step) {
        (None, Step::Restart | Step::AnnouncedRestart) => None,
        // Only an RBW is announced; the rest is as after any restart.
        (Some(other), Step::AnnouncedRestart) if other != Rbw && other != Temporary && other != Rur => {
            after(Some(other), Step::Restart)
        }
        // In memory only: what was set aside is an open replica on the disk.
        (Some(Rur), Step::Restart | Step::AnnouncedRestart) => Some(Rwr),
        (Some(Temporary), Step::Restart | Step::AnnouncedRestart) => None,
        // Its writer gives up for the caller, and takes it along.
        (Some(Temporary), Step::Append | Step::Recover | Step::BeginRecovery) => None,
        _ => return None,
    })
}

#[test]
fn every_pair_of_state_and_step_does_what_the_table_says() {
    let (mut legal, mut refused) = (0, 0);
    for from in STATES {
        for &step in STEPS {
            let mut scene = Scene::in_state(from);
            let before = scene.picture();
            assert_eq!(before.0.map(|(state, _)| state), from, "the scene itself");
            let result = scene.take(step);
            let now = scene.picture();
            let found = now.0.map(|(state, _)| state);
            let name = format!(
                "{from:?} {step:?}: {:?}",
                result.as_ref().err().map(ToString::to_string)
            );
            if let Some(to) = after(from, step) {
                legal += 1;
                result.unwrap_or_else(|error| panic!("{from:?} {step:?}: {error}"));
                assert_eq!(found, Some(to), "{name}");
            } else if let Some(left) = forgets(from, step) {
                assert_eq!(found, left, "{name}");
            } else {
                refused += 1;
                assert!(result.is_err(), "{name} is refused");
                assert_eq!(now, before, "{name} changes nothing");
            }
        }
    }
    assert_eq!(legal, TRANSITIONS.len(), "the table has no row that was not walked");
    assert!(refused > 25, "{refused}");
}

/// Of every state it is said once what readers may see, and a report names it unless it is a copy on its way.
#[test]
fn every_state_shows_what_it_may() {
    for (state, visible, reported) in [
        (Finalized, LEN as i64, true),
        (Rbw, LEN as i64, true),
        (Rwr, -1, true),
        (Rur, LEN as i64, true),
        (Temporary, -1, false),
    ] {
        let scene = Scene::in_state(Some(state));
        assert_eq!(scene.store().visible_len(&block(10)).unwrap(), visible, "{state:?}");
        assert_eq!(scene.picture().1.is_some(), reported, "{state:?}");
        let fenced = scene.store().visible_len(&block(11));
        assert!(
            matches!(fenced, Err(ReplicaError::WrongStamp { .. })),
            "{state:?} is older than asked for"
        );
        let read = scene.store().open_for_read(&block(10), 0, Duration::ZERO);
        assert_eq!(read.is_ok(), visible >= 0, "{state:?}");
    }
}

/// Marks are Java's, with one number more; directories may change hands between two starts.
#[test]
fn marks_of_java_are_understood_and_used_once() {
    for (text, state, visible) in [
        ("99999999999999", Rbw, 1300),
        ("99999999999999 700", Rbw, 700),
        ("99999999999999 5000", Rbw, 1300),
        ("1", Rwr, -1),
        ("soon", Rwr, -1),
    ] {
        let mut scene = Scene::in_state(Some(Rbw));
        let current = scene.dir.path().join("current").join(POOL).join("current");
        let (mark, list) = (current.join("rbw:.blk_7.restart"), current.join("replicas"));
        std::fs::write(&mark, text).unwrap();
        std::fs::write(&list, "what a Java DataNode had").unwrap();
        scene.restart();
        assert_eq!(scene.picture().0.unwrap().0, state, "{text}");
        assert_eq!(scene.store().visible_len(&block(10)).unwrap(), visible, "{text}");
        assert!(!mark.exists() && !list.exists(), "{text}: of no use to another start");
        if state == Rbw {
            let reader = scene.store().open_for_read(&block(10), 0, Duration::ZERO).unwrap();
            let (mut data, mut sums) = (vec![0; LEN], vec![0; format().sums_len(LEN)]);
            reader.read_data(&mut data, 0).unwrap();
            reader.read_sums(&mut sums, 0).unwrap();
            assert_eq!(format().verify(&data, &sums), Ok(()), "the last, partial chunk as well");
        }
        scene.restart();
        assert_eq!(scene.picture().0.unwrap().0, Rwr, "{text}: the second start");
    }
}
