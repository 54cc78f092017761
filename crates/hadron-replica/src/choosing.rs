//! Which volume a new replica goes to: pure decisions over the room of the volumes of one storage type.
//!
//! Does not look at disks; the caller brings the figures and the randomness and takes the volume's room at once.
//! Source: Hadoop `FsVolumeList`, `RoundRobinVolumeChoosingPolicy`, `AvailableSpaceVolumeChoosingPolicy`. Where they
//! ignore the storage a 3.x client names, taking turns honours it: the NameNode counts on that storage.

/// How volumes are chosen (`dfs.datanode.fsdataset.volume.choosing.policy`).
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum ChoosingPolicy {
    /// By turns.
    RoundRobin {
        /// Bytes a volume must have beyond the replica's.
        spare: u64,
    },
    /// By turns while the volumes' room is about equal, else mostly those with much room.
    AvailableSpace {
        /// Difference of room, in bytes, up to which volumes count as equal.
        threshold: u64,
        /// Share of replicas for volumes with much room, 0 to 1.
        preference: f32,
    },
}

impl Default for ChoosingPolicy {
    fn default() -> Self {
        Self::RoundRobin { spare: 0 }
    }
}

/// A volume that may be chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Candidate {
    /// Its number in the store.
    pub(crate) index: usize,
    /// Room in bytes.
    pub(crate) available: u64,
    /// The client named this storage.
    pub(crate) named: bool,
}

/// Whose turn it is, per list that turns are taken in.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Turns {
    all: usize,
    high: usize,
    low: usize,
}

/// Chooses among the volumes of the wanted type for `len` bytes. `draw`: uniform in 0 to 1.
///
/// Errors: no volume has the room; the most room there is (0 without volumes).
pub(crate) fn choose(
    policy: ChoosingPolicy,
    turns: &mut Turns,
    candidates: &[Candidate],
    len: u64,
    draw: f32,
) -> Result<usize, u64> {
    match policy {
        ChoosingPolicy::RoundRobin { spare } => {
            let room = |candidate: &&Candidate| candidate.available > len.saturating_add(spare);
            let named = candidates.iter().filter(|candidate| candidate.named).find(room);
            named.map_or_else(
                || take_turn(&mut turns.all, candidates, len.saturating_add(spare)),
                |named| Ok(named.index),
            )
        }
        ChoosingPolicy::AvailableSpace { threshold, preference } => {
            let least = candidates.iter().map(|c| c.available).min().unwrap_or(0);
            let most = candidates.iter().map(|c| c.available).max().unwrap_or(0);
            if most - least < threshold {
                return take_turn(&mut turns.all, candidates, len);
            }
            let limit = least.saturating_add(threshold);
            let (low, high): (Vec<Candidate>, Vec<Candidate>) = candidates.iter().partition(|c| c.available <= limit);
            let most_of_low = low.iter().map(|c| c.available).max().unwrap_or(0);
            let for_high = high.len() as f32 * preference;
            let for_low = low.len() as f32 * (1.0 - preference);
            if most_of_low < len || draw < for_high / (for_high + for_low) {
                take_turn(&mut turns.high, &high, len)
            } else {
                take_turn(&mut turns.low, &low, len)
            }
            .map_err(|_| most)
        }
    }
}

/// The next volume with more than `len` bytes of room.
fn take_turn(next: &mut usize, candidates: &[Candidate], len: u64) -> Result<usize, u64> {
    let start = if *next < candidates.len() { *next } else { 0 };
    for step in 0..candidates.len() {
        let at = (start + step) % candidates.len();
        if candidates[at].available > len {
            *next = (at + 1) % candidates.len();
            return Ok(candidates[at].index);
        }
    }
    Err(candidates.iter().map(|c| c.available).max().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volumes(rooms: &[u64]) -> Vec<Candidate> {
        let candidate = |(index, &available)| Candidate {
            index,
            available,
            named: false,
        };
        rooms.iter().enumerate().map(candidate).collect()
    }

    fn run(policy: ChoosingPolicy, volumes: &[Candidate], len: u64, draws: &[f32]) -> Vec<Result<usize, u64>> {
        let mut turns = Turns::default();
        let one = |draw: &f32| choose(policy, &mut turns, volumes, len, *draw);
        draws.iter().map(one).collect()
    }

    #[test]
    fn turns_skip_volumes_without_room() {
        let policy = ChoosingPolicy::RoundRobin { spare: 0 };
        let four = [0.0; 4];
        assert_eq!(
            run(policy, &volumes(&[10, 10, 10]), 5, &four),
            [Ok(0), Ok(1), Ok(2), Ok(0)]
        );
        assert_eq!(
            run(policy, &volumes(&[10, 5, 10]), 5, &four),
            [Ok(0), Ok(2), Ok(0), Ok(2)]
        );
        assert_eq!(run(policy, &volumes(&[4, 5]), 5, &[0.0]), [Err(5)]);
        assert_eq!(run(policy, &[], 5, &[0.0]), [Err(0)]);
        let spare = ChoosingPolicy::RoundRobin { spare: 10 };
        assert_eq!(run(spare, &volumes(&[14, 16]), 5, &[0.0; 2]), [Ok(1), Ok(1)]);
    }

    #[test]
    fn a_named_storage_is_taken_while_it_has_room() {
        let policy = ChoosingPolicy::RoundRobin { spare: 0 };
        let mut three = volumes(&[10, 10, 10]);
        three[1].named = true;
        assert_eq!(run(policy, &three, 5, &[0.0; 3]), [Ok(1); 3]);
        three[1].available = 5;
        assert_eq!(run(policy, &three, 5, &[0.0; 3]), [Ok(0), Ok(2), Ok(0)]);
    }

    #[test]
    fn much_room_is_preferred_once_volumes_differ() {
        let policy = ChoosingPolicy::AvailableSpace {
            threshold: 100,
            preference: 0.75,
        };
        assert_eq!(run(policy, &volumes(&[150, 100]), 5, &[0.9; 2]), [Ok(0), Ok(1)]);
        // One volume of each kind: three of four draws go to the one with much room.
        assert_eq!(run(policy, &volumes(&[100, 500]), 5, &[0.74, 0.76]), [Ok(1), Ok(0)]);
        // Two with much room against one: 1.5 of 1.75.
        let mixed = volumes(&[100, 500, 600]);
        assert_eq!(run(policy, &mixed, 5, &[0.85, 0.85, 0.86]), [Ok(1), Ok(2), Ok(0)]);
        // The small one cannot take it at all.
        assert_eq!(run(policy, &volumes(&[100, 500]), 200, &[0.99]), [Ok(1)]);
        assert_eq!(run(policy, &volumes(&[100, 500]), 900, &[0.99]), [Err(500)]);
    }
}
