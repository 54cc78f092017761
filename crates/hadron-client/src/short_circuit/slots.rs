//! Which slots of which segments are taken, for one DataNode.
//!
//! Pure: mapping segments and talking to the DataNode are the caller's. The lowest free index of the first segment that
//! has one is given out, as Hadoop does.
//! Invariants: a slot is given out once until it is freed; none is given out of a segment that is empty after it was in use,
//! or whose socket ended; a segment is forgotten with its last slot.
//!
//! Source: Hadoop `DfsClientShmManager.EndpointShmManager`, `ShortCircuitShm.allocAndRegisterSlot`.

use hadron_shm::ShmId;
use std::collections::BTreeMap;

#[derive(Debug)]
struct Used {
    taken: Vec<bool>,
    count: usize,
}

/// What becomes of a segment when one of its slots is free again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Freed {
    /// The slot can be given out again.
    Reusable,
    /// It was the last one: the segment's socket is to be shut down.
    Emptied,
    /// The socket had ended, and other slots are still in use.
    Leaving,
    /// The socket had ended, and this was the last slot.
    Gone,
    /// No such slot was given out.
    Unknown,
}

/// Slots of one DataNode's segments.
#[derive(Debug, Default)]
pub(super) struct Slots {
    not_full: BTreeMap<ShmId, Used>,
    full: BTreeMap<ShmId, Used>,
    /// Their sockets ended; kept until their last slot is freed.
    ended: BTreeMap<ShmId, Used>,
}

impl Slots {
    /// A new segment with `slots` slots, of which there is at least one.
    pub(super) fn add(&mut self, id: ShmId, slots: usize) {
        let used = Used {
            taken: vec![false; slots],
            count: 0,
        };
        self.not_full.insert(id, used);
    }

    /// Takes a slot; `None` if all segments are full.
    pub(super) fn take(&mut self) -> Option<(ShmId, usize)> {
        let mut first = self.not_full.first_entry()?;
        let id = *first.key();
        let used = first.get_mut();
        let index = used.taken.iter().position(|taken| !taken)?;
        used.taken[index] = true;
        used.count += 1;
        if used.count == used.taken.len() {
            let used = first.remove();
            self.full.insert(id, used);
        }
        Some((id, index))
    }

    /// Gives a slot back.
    pub(super) fn free(&mut self, id: ShmId, index: usize) -> Freed {
        let maps = [&mut self.not_full, &mut self.full, &mut self.ended];
        let Some(used) = maps.into_iter().find_map(|map| map.get_mut(&id)) else {
            return Freed::Unknown;
        };
        match used.taken.get_mut(index) {
            Some(taken) if *taken => *taken = false,
            _ => return Freed::Unknown,
        }
        used.count -= 1;
        let is_empty = used.count == 0;
        if self.ended.contains_key(&id) {
            return if is_empty {
                self.ended.remove(&id);
                Freed::Gone
            } else {
                Freed::Leaving
            };
        }
        let used = self.full.remove(&id).or_else(|| self.not_full.remove(&id));
        match used {
            Some(used) if !is_empty => {
                self.not_full.insert(id, used);
                Freed::Reusable
            }
            _ => Freed::Emptied,
        }
    }

    /// The segment's socket ended: nothing is given out of it any more. True if slots of it are in use.
    pub(super) fn end(&mut self, id: ShmId) -> bool {
        match self.full.remove(&id).or_else(|| self.not_full.remove(&id)) {
            Some(used) if used.count > 0 => {
                self.ended.insert(id, used);
                true
            }
            _ => self.ended.contains_key(&id),
        }
    }

    /// Whether no segment `id` with a live socket is known.
    pub(super) fn is_ended(&self, id: ShmId) -> bool {
        !self.not_full.contains_key(&id) && !self.full.contains_key(&id)
    }

    /// Indexes of `id` that are in use.
    pub(super) fn taken(&self, id: ShmId) -> Vec<usize> {
        let used = [&self.not_full, &self.full, &self.ended]
            .into_iter()
            .find_map(|map| map.get(&id));
        let taken = used.into_iter().flat_map(|used| used.taken.iter().enumerate());
        taken.filter(|(_, taken)| **taken).map(|(index, _)| index).collect()
    }

    /// Segments that are not full, that are full, and whose socket ended.
    pub(super) fn segments(&self) -> [usize; 3] {
        [self.not_full.len(), self.full.len(), self.ended.len()]
    }

    /// Slots in use.
    pub(super) fn in_use(&self) -> usize {
        let all = self
            .not_full
            .values()
            .chain(self.full.values())
            .chain(self.ended.values());
        all.map(|used| used.count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn id(number: u128) -> ShmId {
        ShmId::from_bits(number)
    }

    // covers: SC-08
    #[test]
    fn the_client_takes_the_lowest_free_index() {
        let mut slots = Slots::default();
        assert_eq!(slots.take(), None);
        slots.add(id(1), 3);
        let taken: Vec<_> = (0..4).map(|_| slots.take().map(|(_, index)| index)).collect();
        assert_eq!(taken, [Some(0), Some(1), Some(2), None]);
        assert_eq!(slots.segments(), [0, 1, 0]);
        assert_eq!(slots.free(id(1), 1), Freed::Reusable);
        assert_eq!(slots.free(id(1), 1), Freed::Unknown, "twice");
        assert_eq!(slots.take(), Some((id(1), 1)));
    }

    #[test]
    fn an_empty_segment_is_given_up_and_an_ended_one_drains() {
        let mut slots = Slots::default();
        slots.add(id(1), 2);
        slots.take();
        assert_eq!(slots.free(id(1), 0), Freed::Emptied);
        assert_eq!((slots.take(), slots.segments()), (None, [0, 0, 0]));
        slots.add(id(2), 2);
        slots.take();
        slots.take();
        assert!(slots.end(id(2)));
        assert_eq!((slots.take(), slots.taken(id(2))), (None, vec![0, 1]));
        assert_eq!(slots.free(id(2), 1), Freed::Leaving);
        assert_eq!(slots.free(id(2), 0), Freed::Gone);
        assert_eq!(slots.segments(), [0, 0, 0]);
        assert!(!slots.end(id(2)));
    }

    proptest! {
        // covers: SC-08
        #[test]
        fn no_slot_is_given_out_twice(steps in proptest::collection::vec((0..5_u8, any::<proptest::sample::Index>()), 1..200)) {
            let mut slots = Slots::default();
            let mut out: BTreeSet<(ShmId, usize)> = BTreeSet::new();
            let mut ended = BTreeSet::new();
            let mut next = 0;
            for (step, which) in steps {
                let pick: Vec<_> = out.iter().copied().collect();
                match step {
                    0 => { next += 1; slots.add(id(next), 3); }
                    1 | 2 => if let Some(slot) = slots.take() {
                        prop_assert!(out.insert(slot));
                        prop_assert!(!ended.contains(&slot.0));
                    },
                    3 if !pick.is_empty() => {
                        let slot = *which.get(&pick);
                        out.remove(&slot);
                        let more = out.iter().any(|(id, _)| *id == slot.0);
                        let expected = match (more, ended.contains(&slot.0)) {
                            (true, false) => Freed::Reusable,
                            (false, false) => Freed::Emptied,
                            (true, true) => Freed::Leaving,
                            (false, true) => Freed::Gone,
                        };
                        prop_assert_eq!(slots.free(slot.0, slot.1), expected);
                    }
                    4 if !pick.is_empty() => {
                        let id = which.get(&pick).0;
                        prop_assert!(slots.end(id));
                        ended.insert(id);
                    }
                    _ => {}
                }
                prop_assert_eq!(slots.in_use(), out.len());
            }
        }
    }
}
