//! What members say of their logs: parcels, positions, reigns and the history that tells where two logs part.
//!
//! What it is for: the values every other file here speaks of. What it does not do: decide anything but where two
//! histories part. Invariants: `reign.first <= last + 1` for every reign of a history; epochs and firsts rise; a history
//! holds at most [`MAX_REIGNS`] reigns, the oldest are forgotten first.

use bytes::Bytes;
use hadron_types::Epoch;

use crate::sealed::{Body, Record, Sealed, SealedError, checksum};

/// Reigns a member remembers. A member that shares none of them with its leader is filled from the file.
pub const MAX_REIGNS: usize = 64;

/// Names a member of the group. Chosen by the operator; unique in the group.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct MemberId(pub u32);

impl std::fmt::Display for MemberId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "member {}", self.0)
    }
}

/// A member and where it listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// Its name.
    pub id: MemberId,
    /// `host:port`, at most [`super::codec::MAX_ADDRESS_BYTES`] bytes.
    pub address: String,
}

/// One sealed buffer as it travels: the bytes are shared, never copied or encoded again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parcel {
    /// Place in the log, from 1 on, without gaps, through all reigns.
    pub sequence: u64,
    /// Length of the file once this parcel is in it, in bytes.
    pub extent: u64,
    /// How the bytes map to the file.
    pub body: Body,
    /// CRC-32C of `bytes`.
    pub crc: u32,
    /// What is written.
    pub bytes: Bytes,
}

impl Parcel {
    /// A parcel with its checksum computed.
    pub fn new(sequence: u64, extent: u64, body: Body, bytes: Bytes) -> Self {
        let crc = checksum(&bytes);
        Self {
            sequence,
            extent,
            body,
            crc,
            bytes,
        }
    }

    /// True when the bytes are those the checksum was made of.
    pub fn is_intact(&self) -> bool {
        checksum(&self.bytes) == self.crc
    }

    /// What is to be written, sharing the bytes.
    ///
    /// Errors: bytes that do not decode; nothing of them should then be written.
    pub fn records(&self) -> Result<Vec<Record>, SealedError> {
        let sealed = Sealed {
            epoch: 0,
            sequence: self.sequence,
            extent: self.extent,
            body: self.body,
            crc: self.crc,
            bytes: self.bytes.clone(),
        };
        sealed.records()
    }
}

/// The time one leader wrote the log: from sequence `first` to the next reign's `first - 1`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reign {
    /// Its leader's epoch.
    pub epoch: Epoch,
    /// The first sequence written under it; one more than the last when nothing was written yet.
    pub first: u64,
    /// Length of the file before `first`, in bytes.
    pub extent: u64,
}

/// How far a log goes. The greater one is the one to keep: a later reign beats a higher sequence.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Position {
    /// The latest reign whose beginning the log has reached. 0 before the first.
    pub epoch: Epoch,
    /// The last sequence. 0 before the first.
    pub sequence: u64,
}

/// The place up to which two logs are the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Common {
    /// The reign both know that holds it.
    pub epoch: Epoch,
    /// The last sequence both have.
    pub sequence: u64,
    /// Length of the file there, in bytes.
    pub extent: u64,
}

/// All reigns a member remembers, oldest first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct History(Vec<Reign>);

impl History {
    /// A history of these reigns. `None` when they are too many or do not rise.
    pub fn from_reigns(reigns: Vec<Reign>) -> Option<Self> {
        let rise = |pair: &[Reign]| pair[0].epoch < pair[1].epoch && pair[0].first <= pair[1].first;
        let starts_well = reigns.first().is_none_or(|reign| reign.epoch.0 > 0 && reign.first > 0);
        (reigns.len() <= MAX_REIGNS && starts_well && reigns.windows(2).all(rise)).then_some(Self(reigns))
    }

    /// The reigns, oldest first.
    pub fn reigns(&self) -> &[Reign] {
        &self.0
    }

    /// The newest epoch; 0 when there is none.
    pub fn epoch(&self) -> Epoch {
        self.0.last().map_or(Epoch(0), |reign| reign.epoch)
    }

    /// Adds a reign; false, and nothing happens, when it does not follow the newest one.
    pub fn begin(&mut self, reign: Reign) -> bool {
        let follows = match self.0.last() {
            Some(newest) => newest.epoch < reign.epoch && newest.first <= reign.first,
            None => reign.epoch.0 > 0 && reign.first > 0,
        };
        if follows {
            if self.0.len() == MAX_REIGNS {
                self.0.remove(0);
            }
            self.0.push(reign);
        }
        follows
    }

    /// The reign after `epoch`.
    pub fn after(&self, epoch: Epoch) -> Option<Reign> {
        self.0.iter().find(|reign| reign.epoch > epoch).copied()
    }

    /// Forgets all that began after `epoch`.
    pub fn cut(&mut self, epoch: Epoch) {
        self.0.retain(|reign| reign.epoch <= epoch);
    }

    /// Where this log, which ends with `(last, extent)`, and `other`, which ends with `(other_last, other_extent)`,
    /// part. `None` when they share no reign that both remember.
    pub fn common(&self, last: u64, extent: u64, other: &Self, other_last: u64, other_extent: u64) -> Option<Common> {
        let end_of = |history: &Self, epoch, last, extent| match history.after(epoch) {
            Some(next) => (next.first - 1, next.extent),
            None => (last, extent),
        };
        let shared = |reign: &&Reign| other.0.contains(reign);
        let reign = self.0.iter().rev().find(shared)?;
        let mine = end_of(self, reign.epoch, last, extent);
        let theirs = end_of(other, reign.epoch, other_last, other_extent);
        let (sequence, extent) = if mine.0 <= theirs.0 { mine } else { theirs };
        Some(Common {
            epoch: reign.epoch,
            sequence,
            extent,
        })
    }
}

/// What a member keeps on its disk beside the file. Byte map: docs/formats/replication.md.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ReplicaState {
    /// The group the member belongs to; 0 until the first leader has told.
    pub group: u64,
    /// Leaders of older epochs are refused.
    pub promised: Epoch,
    /// All reigns the log has reached.
    pub history: History,
    /// The last sequence in the file. 0 before the first.
    pub last: u64,
    /// Length of the file at `last`, in bytes.
    pub extent: u64,
    /// The file is a true copy only from this sequence on: more than `last` while a copy is being made.
    pub consistent_at: u64,
    /// The highest sequence known to be durable on as many members as the quorum asks for.
    pub committed: u64,
    /// The last sequence that wrote before the end of an append-only file, as happens after an abort; 0: none did.
    pub rewound: u64,
    /// The file may hold more than `last` says. Of no account in an append-only file, which is cut; a file whose bytes change
    /// is then copied anew unless the same leader sends the same again.
    pub writing: bool,
    /// How far the log went that a copy replaced, or is about to replace.
    pub floor: Position,
}

impl ReplicaState {
    /// How far the log goes.
    pub fn position(&self) -> Position {
        Position {
            epoch: self.history.epoch(),
            sequence: self.last,
        }
    }

    /// What this member's vote demands of a new leader's log: all that it ever called durable.
    pub fn demand(&self) -> Position {
        self.position().max(self.floor)
    }

    /// False while the file is between two states: such a member neither counts nor leads.
    pub fn is_consistent(&self) -> bool {
        self.last >= self.consistent_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(reigns: &[(u64, u64, u64)]) -> History {
        let reigns = reigns.iter().map(|&(epoch, first, extent)| Reign {
            epoch: Epoch(epoch),
            first,
            extent,
        });
        History::from_reigns(reigns.collect()).unwrap()
    }

    #[test]
    fn logs_part_where_the_last_shared_reign_ends() {
        let common = |epoch, sequence, extent| {
            Some(Common {
                epoch: Epoch(epoch),
                sequence,
                extent,
            })
        };
        let one = history(&[(1, 1, 0)]);
        let two = history(&[(1, 1, 0), (2, 6, 500)]);
        let three = history(&[(1, 1, 0), (3, 4, 300)]);
        // The other is behind in the same reign.
        assert_eq!(one.common(9, 900, &one, 4, 400), common(1, 4, 400));
        // The other wrote on under a reign that ended earlier here.
        assert_eq!(two.common(8, 800, &one, 7, 700), common(1, 5, 500));
        // Each went on under a reign the other does not know.
        assert_eq!(two.common(8, 800, &three, 9, 900), common(1, 3, 300));
        assert_eq!(three.common(9, 900, &two, 8, 800), common(1, 3, 300));
        // Nothing in common.
        assert_eq!(two.common(8, 800, &History::default(), 0, 0), None);
    }

    #[test]
    fn a_reign_must_follow_and_the_oldest_is_forgotten() {
        let mut all = history(&[(1, 1, 0)]);
        let reign = |epoch, first| Reign {
            epoch: Epoch(epoch),
            first,
            extent: 0,
        };
        assert!(!all.begin(reign(1, 2)));
        assert!(all.begin(reign(2, 5)));
        assert!(!all.begin(reign(3, 4)));
        for epoch in 3..=MAX_REIGNS as u64 + 1 {
            assert!(all.begin(reign(epoch, epoch + 3)));
        }
        assert_eq!(all.reigns().len(), MAX_REIGNS);
        assert_eq!(all.reigns()[0], reign(2, 5));
        all.cut(Epoch(2));
        assert_eq!(all.reigns(), [reign(2, 5)]);
    }
}
