//! From 64-bit ids to arena handles, 4 bytes an entry where ids are dense.
//!
//! Ids are handed out in sequence, so the table is cut into segments of [`SEGMENT_IDS`] ids. A well filled segment is
//! an array of handles; one with few survivors is a sorted list, so that old, mostly deleted id ranges cost little.
//! Segments sit behind `Arc` and are copied on write.

use crate::arena::Handle;
use hashbrown::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;

const SEGMENT_SHIFT: u32 = 12;
const SEGMENT_IDS: usize = 1 << SEGMENT_SHIFT;
/// A list longer than this becomes an array.
const SPARSE_MAX: usize = 1024;
/// An array with fewer entries than this becomes a list again.
const DENSE_MIN: u16 = 512;
const NO_HANDLE: u32 = u32::MAX;

#[derive(Clone)]
enum Segment {
    /// (low bits of the id, handle), ascending.
    Sparse(Arc<Vec<(u16, u32)>>),
    Dense(Arc<Vec<u32>>, u16),
}

/// The index of one kind of id.
pub(crate) struct IdIndex<H> {
    segments: HashMap<u64, Segment>,
    handle: PhantomData<H>,
}

impl<H> Clone for IdIndex<H> {
    fn clone(&self) -> Self {
        Self {
            segments: self.segments.clone(),
            handle: PhantomData,
        }
    }
}

impl<H: Handle> IdIndex<H> {
    pub(crate) fn new() -> Self {
        Self {
            segments: HashMap::new(),
            handle: PhantomData,
        }
    }

    pub(crate) fn get(&self, id: u64) -> Option<H> {
        let low = low_bits(id);
        let index = match self.segments.get(&(id >> SEGMENT_SHIFT))? {
            Segment::Sparse(list) => list[list.binary_search_by_key(&low, |entry| entry.0).ok()?].1,
            Segment::Dense(slots, _) => slots[usize::from(low)],
        };
        (index != NO_HANDLE).then(|| H::from_index(index))
    }

    /// Enters `id`, replacing an older entry.
    pub(crate) fn insert(&mut self, id: u64, handle: H) {
        let low = low_bits(id);
        let segment = self
            .segments
            .entry(id >> SEGMENT_SHIFT)
            .or_insert_with(|| Segment::Sparse(Arc::new(Vec::new())));
        match segment {
            Segment::Sparse(list) => {
                let list = Arc::make_mut(list);
                match list.binary_search_by_key(&low, |entry| entry.0) {
                    Ok(at) => list[at].1 = handle.index(),
                    Err(at) => list.insert(at, (low, handle.index())),
                }
                if list.len() > SPARSE_MAX {
                    *segment = to_dense(list);
                }
            }
            Segment::Dense(slots, live) => {
                let slot = &mut Arc::make_mut(slots)[usize::from(low)];
                if *slot == NO_HANDLE {
                    *live += 1;
                }
                *slot = handle.index();
            }
        }
    }

    /// Forgets `id`; nothing happens if it is not there.
    pub(crate) fn remove(&mut self, id: u64) {
        let (high, low) = (id >> SEGMENT_SHIFT, low_bits(id));
        let Some(segment) = self.segments.get_mut(&high) else {
            return;
        };
        match segment {
            Segment::Sparse(list) => {
                let list = Arc::make_mut(list);
                if let Ok(at) = list.binary_search_by_key(&low, |entry| entry.0) {
                    list.remove(at);
                }
                if list.is_empty() {
                    self.segments.remove(&high);
                }
            }
            Segment::Dense(slots, live) => {
                let slots = Arc::make_mut(slots);
                if std::mem::replace(&mut slots[usize::from(low)], NO_HANDLE) != NO_HANDLE {
                    *live -= 1;
                }
                if *live < DENSE_MIN {
                    *segment = to_sparse(slots);
                }
            }
        }
    }

    /// Bytes of the segments.
    pub(crate) fn memory_bytes(&self) -> usize {
        let segments: usize = self
            .segments
            .values()
            .map(|segment| match segment {
                Segment::Sparse(list) => list.capacity() * size_of::<(u16, u32)>(),
                Segment::Dense(slots, _) => slots.capacity() * size_of::<u32>(),
            })
            .sum();
        segments + self.segments.allocation_size()
    }
}

fn low_bits(id: u64) -> u16 {
    (id as usize % SEGMENT_IDS) as u16
}

fn to_dense(list: &[(u16, u32)]) -> Segment {
    let mut slots = vec![NO_HANDLE; SEGMENT_IDS];
    for &(low, handle) in list {
        slots[usize::from(low)] = handle;
    }
    Segment::Dense(Arc::new(slots), list.len() as u16)
}

fn to_sparse(slots: &[u32]) -> Segment {
    let live = slots.iter().enumerate().filter(|(_, handle)| **handle != NO_HANDLE);
    Segment::Sparse(Arc::new(live.map(|(low, handle)| (low as u16, *handle)).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::handle;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    handle!(TestHandle);

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn behaves_as_a_map(
            ops in proptest::collection::vec((any::<bool>(), 0u64..9_000, 0u32..1_000_000), 0..60),
            fill in 0u64..9_000,
        ) {
            let mut index: IdIndex<TestHandle> = IdIndex::new();
            let mut model = BTreeMap::new();
            for id in 0..fill {
                index.insert(id, TestHandle::from_index(id as u32));
                model.insert(id, id as u32);
            }
            for (insert, id, handle) in ops {
                if insert {
                    index.insert(id, TestHandle::from_index(handle));
                    model.insert(id, handle);
                } else {
                    // A run of removals, so that arrays become lists.
                    for id in id..id + 300 {
                        index.remove(id);
                        model.remove(&id);
                    }
                }
            }
            for id in 0..9_300 {
                prop_assert_eq!(index.get(id).map(Handle::index), model.get(&id).copied());
            }
        }
    }
}
