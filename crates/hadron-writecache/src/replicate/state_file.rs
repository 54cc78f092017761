//! The small file beside a copy that says how far it goes. Byte map: docs/formats/replication.md, section "State file".
//!
//! What it is for: two slots written in turn, so that a torn write leaves the other. What it does not do: sync the copy
//! itself; callers do that first. Invariant: when [`StateFile::save`] returned, the state survives loss of power; a load
//! gives the last saved state or, if power failed during a save, that one or the one before.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hadron_env::{Disk, DiskFile, Open, durable};
use hadron_types::Epoch;

use crate::sealed::checksum;

use super::codec::{put_history, take_history};
use super::types::{Position, ReplicaState};

/// Bytes of a slot.
const SLOT_BYTES: usize = 4096;
const MAGIC: &[u8; 8] = b"HDRNREP1";
/// Magic, serial, then ten numbers.
const HISTORY_OFFSET: usize = 8 + 8 + 10 * 8;
const CRC_OFFSET: usize = SLOT_BYTES - 4;

/// Why there is no state.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file cannot be read or written.
    #[error("{path}: {source}; look at the disk, then start again", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the disk said.
        source: io::Error,
    },
    /// Both slots are damaged.
    #[error("{path}: both slots are damaged; remove this copy and let the leader send it anew", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

/// An open state file.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    serial: u64,
}

impl StateFile {
    /// Opens `path`, making it when absent, and reads the newest state.
    ///
    /// Errors: the disk's, and two damaged slots.
    pub fn open(disk: &dyn Disk, path: &Path) -> Result<(Self, ReplicaState), StateError> {
        let io = |source| StateError::Io {
            path: path.to_owned(),
            source,
        };
        if !disk.exists(path).map_err(io)? {
            // Born whole, so that each save is one write and one sync and a torn one leaves the other slot.
            let slots = [encode(0, &ReplicaState::default()), encode(0, &ReplicaState::default())].concat();
            durable::write_file_atomically(disk, path, &slots).map_err(io)?;
        }
        let file = disk.open(path, Open::WRITE).map_err(io)?;
        let mut bytes = vec![0; 2 * SLOT_BYTES];
        file.read_exact_at(&mut bytes, 0).map_err(io)?;
        let newest = bytes
            .chunks(SLOT_BYTES)
            .filter_map(decode)
            .max_by_key(|(serial, _)| *serial);
        let (serial, state) = newest.ok_or_else(|| StateError::Damaged { path: path.to_owned() })?;
        let path = path.to_owned();
        Ok((Self { path, file, serial }, state))
    }

    /// Makes `state` durable.
    ///
    /// Errors: the disk's; the state on it is then this one or the one before, and the copy must not be used further.
    pub fn save(&mut self, state: &ReplicaState) -> Result<(), StateError> {
        let serial = self.serial + 1;
        let offset = (serial % 2) * SLOT_BYTES as u64;
        let written = self
            .file
            .write_all_at(&encode(serial, state), offset)
            .and_then(|()| self.file.sync_data());
        written.map_err(|source| StateError::Io {
            path: self.path.clone(),
            source,
        })?;
        self.serial = serial;
        Ok(())
    }
}

fn encode(serial: u64, state: &ReplicaState) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(SLOT_BYTES);
    bytes.extend_from_slice(MAGIC);
    let numbers = [
        serial,
        state.group,
        state.promised.0,
        state.last,
        state.extent,
        state.consistent_at,
        state.committed,
        state.rewound,
        u64::from(state.writing),
        state.floor.epoch.0,
        state.floor.sequence,
    ];
    for number in numbers {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    put_history(&mut bytes, &state.history);
    bytes.resize(CRC_OFFSET, 0);
    let crc = checksum(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

fn decode(slot: &[u8]) -> Option<(u64, ReplicaState)> {
    let (body, crc) = slot.split_at_checked(CRC_OFFSET)?;
    if checksum(body) != u32::from_le_bytes(crc.try_into().ok()?) || !body.starts_with(MAGIC) {
        return None;
    }
    let number = |at: usize| {
        let start = MAGIC.len() + at * 8;
        Some(u64::from_le_bytes(body.get(start..start + 8)?.try_into().ok()?))
    };
    let state = ReplicaState {
        group: number(1)?,
        promised: Epoch(number(2)?),
        last: number(3)?,
        extent: number(4)?,
        consistent_at: number(5)?,
        committed: number(6)?,
        rewound: number(7)?,
        writing: number(8)? != 0,
        floor: Position {
            epoch: Epoch(number(9)?),
            sequence: number(10)?,
        },
        history: take_history(body.get(HISTORY_OFFSET..)?).ok()?,
    };
    Some((number(0)?, state))
}

#[cfg(test)]
mod tests {
    use hadron_env::disk::{Fault, SimDisk};

    use super::super::types::{History, Reign};
    use super::*;

    fn state(last: u64) -> ReplicaState {
        let mut history = History::default();
        assert!(history.begin(Reign {
            epoch: Epoch(3),
            first: 1,
            extent: 0
        }));
        ReplicaState {
            group: 9,
            promised: Epoch(4),
            history,
            last,
            extent: last * 100,
            consistent_at: 2,
            committed: 1,
            rewound: 0,
            writing: true,
            floor: Position {
                epoch: Epoch(2),
                sequence: 7,
            },
        }
    }

    #[test]
    fn every_crash_leaves_the_last_state_or_the_one_before() {
        let path = Path::new("/d/state");
        for crash_at in 0..24 {
            for seed in 0..4 {
                let disk = SimDisk::new();
                hadron_env::durable::create_dir_durably(&disk, Path::new("/d")).unwrap();
                disk.inject(crash_at, Fault::Crash);
                let mut saved = 0;
                if let Ok((mut file, _)) = StateFile::open(&disk, path) {
                    while saved < 5 && file.save(&state(saved + 1)).is_ok() {
                        saved += 1;
                    }
                }
                disk.crash(seed);
                let (_, found) = StateFile::open(&disk, path).unwrap();
                let is = |last| {
                    found
                        == if last == 0 {
                            ReplicaState::default()
                        } else {
                            state(last)
                        }
                };
                assert!(
                    is(saved) || is(saved + 1),
                    "{crash_at} {seed}: {saved} saved, {found:?}"
                );
            }
        }
    }

    #[test]
    fn two_damaged_slots_are_told() {
        let disk = SimDisk::new();
        let path = Path::new("/state");
        let (mut file, _) = StateFile::open(&disk, path).unwrap();
        file.save(&state(1)).unwrap();
        file.save(&state(2)).unwrap();
        disk.flip_bit(path, 100, 0);
        assert_eq!(StateFile::open(&disk, path).unwrap().1, state(1));
        disk.flip_bit(path, SLOT_BYTES as u64 + 100, 0);
        assert!(matches!(StateFile::open(&disk, path), Err(StateError::Damaged { .. })));
    }
}
