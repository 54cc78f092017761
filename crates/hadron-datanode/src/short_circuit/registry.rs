//! Which segments clients hold, and which replica each of their slots stands for.
//!
//! A client asks for a segment, takes a slot in it, and registers the slot with the replica whose descriptors it gets. From
//! then on the DataNode speaks to that client through the slot's word: the replica is gone, is locked in memory, is to
//! be unlocked. Source: Hadoop `ShortCircuitRegistry`.
//!
//! What it does not do: pass descriptors, watch sockets, lock memory.
//! Invariants: a slot stands for at most one replica, and is in the list of that replica as long as it is registered; what
//! is locked is known under the same lock as the slots, so that a slot registered while a replica is being unlocked is
//! never anchorable; nobody reaches another client's slot without its 128-bit id.

use hadron_env::random::{Random, SystemRandom};
use hadron_shm::{Segment, SegmentError, ShmId, SlotId, Word};
use hadron_types::{BlockId, BlockPoolId};
use hashbrown::{HashMap, HashSet};
use parking_lot::Mutex;
use std::sync::Arc;

/// Longest client name that is kept, in bytes; it is for messages only.
const MAX_CLIENT_NAME: usize = 256;

/// A replica of this DataNode. Without its stamp: descriptors and slots outlive an append.
pub(crate) type ReplicaKey = (BlockPoolId, BlockId);

/// Why a segment or slot cannot be had; the texts are Hadoop's where it has some.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegistryError {
    #[error("there is no shared memory segment registered with shmId {0}")]
    NoSegment(ShmId),
    #[error("invalid negative slot index {0}")]
    Negative(i32),
    #[error("invalid slot index {0}")]
    Beyond(i32),
    #[error("slot {0} is already in use.")]
    InUse(i32),
    #[error("slot {0} is not marked as valid.")]
    NotValid(i32),
    #[error("slot {0} does not exist.")]
    NotRegistered(i32),
    #[error("{count} shared memory segments are in use, as many as dfs.datanode.max.transfer.threads allows")]
    Full { count: usize },
    #[error(transparent)]
    Segment(#[from] SegmentError),
}

/// See the module.
pub(crate) struct ShortCircuitRegistry {
    /// Most segments.
    limit: usize,
    random: SystemRandom,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    segments: HashMap<ShmId, Registered>,
    slots: HashMap<ReplicaKey, Vec<SlotId>>,
    locked: HashSet<ReplicaKey>,
}

struct Registered {
    segment: Arc<Segment>,
    client: String,
    /// Per slot the replica it stands for.
    replicas: Vec<Option<ReplicaKey>>,
}

impl Registered {
    /// The place of slot `index`. Errors: there is none.
    fn place(&self, index: i32) -> Result<usize, RegistryError> {
        let place = usize::try_from(index).map_err(|_| RegistryError::Negative(index))?;
        match place < self.replicas.len() {
            true => Ok(place),
            false => Err(RegistryError::Beyond(index)),
        }
    }
}

impl State {
    fn words(&self, replica: &ReplicaKey) -> impl Iterator<Item = (&Registered, Word<'_>)> {
        let slots = self.slots.get(replica).into_iter().flatten();
        slots.filter_map(|slot| {
            let registered = self.segments.get(&slot.shm)?;
            let word = registered.segment.word(usize::try_from(slot.index).ok()?)?;
            Some((registered, word))
        })
    }

    fn forget_slot(&mut self, replica: &ReplicaKey, slot: SlotId) {
        if let Some(slots) = self.slots.get_mut(replica) {
            slots.retain(|each| *each != slot);
            if slots.is_empty() {
                self.slots.remove(replica);
            }
        }
    }
}

impl ShortCircuitRegistry {
    /// An empty registry for at most `limit` segments.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            random: SystemRandom::new(),
            state: Mutex::new(State::default()),
        }
    }

    /// Makes a segment for `client`.
    pub(crate) fn create_segment(&self, client: &str) -> Result<(ShmId, Arc<Segment>), RegistryError> {
        let segment = Arc::new(Segment::create()?);
        let mut end = client.len().min(MAX_CLIENT_NAME);
        while !client.is_char_boundary(end) {
            end -= 1;
        }
        let registered = Registered {
            segment: segment.clone(),
            client: client[..end].to_owned(),
            replicas: vec![None; segment.slots()],
        };
        let mut state = self.state.lock();
        let count = state.segments.len();
        if count >= self.limit {
            return Err(RegistryError::Full { count });
        }
        let id = loop {
            let (hi, lo) = (self.random.next_u64(), self.random.next_u64());
            let id = ShmId::from_bits(u128::from(hi) << 64 | u128::from(lo));
            if !state.segments.contains_key(&id) {
                break id;
            }
        };
        state.segments.insert(id, registered);
        Ok((id, segment))
    }

    /// Forgets a segment and all its slots: its client is gone.
    pub(crate) fn remove_segment(&self, id: ShmId) {
        let mut state = self.state.lock();
        let Some(registered) = state.segments.remove(&id) else {
            return;
        };
        for (index, replica) in registered.replicas.iter().enumerate() {
            let Some(replica) = replica else { continue };
            if let Some(word) = registered.segment.word(index) {
                word.make_invalid();
            }
            let index = index as i32;
            state.forget_slot(replica, SlotId { shm: id, index });
        }
        drop(state);
        tracing::debug!(segment = %id, client = %registered.client, "shared memory segment removed");
    }

    /// Has `slot` stand for `replica`, anchorable if the replica is locked in memory.
    pub(crate) fn register_slot(&self, replica: &ReplicaKey, slot: SlotId) -> Result<(), RegistryError> {
        let mut state = self.state.lock();
        let locked = state.locked.contains(replica);
        let registered = state.segments.get_mut(&slot.shm);
        let registered = registered.ok_or(RegistryError::NoSegment(slot.shm))?;
        let place = registered.place(slot.index)?;
        if registered.replicas[place].is_some() {
            return Err(RegistryError::InUse(slot.index));
        }
        let word = registered.segment.word(place).filter(Word::is_valid);
        let word = word.ok_or(RegistryError::NotValid(slot.index))?;
        match locked {
            true => word.make_anchorable(),
            false => word.make_unanchorable(),
        }
        registered.replicas[place] = Some(replica.clone());
        state.slots.entry(replica.clone()).or_default().push(slot);
        tracing::trace!(%slot, block = %replica.1, locked, "registered a slot");
        Ok(())
    }

    /// Takes a slot back; it is invalid from then on.
    pub(crate) fn unregister_slot(&self, slot: SlotId) -> Result<(), RegistryError> {
        let mut state = self.state.lock();
        let registered = state.segments.get_mut(&slot.shm);
        let registered = registered.ok_or(RegistryError::NoSegment(slot.shm))?;
        let place = registered.place(slot.index)?;
        let replica = registered.replicas[place].take();
        let replica = replica.ok_or(RegistryError::NotRegistered(slot.index))?;
        if let Some(word) = registered.segment.word(place) {
            word.make_invalid();
        }
        state.forget_slot(&replica, slot);
        tracing::trace!(%slot, block = %replica.1, "unregistered a slot");
        Ok(())
    }

    /// Tells the clients of a replica that it is gone: deleted, or moved to another storage.
    pub(crate) fn invalidate(&self, replica: &ReplicaKey) {
        let mut state = self.state.lock();
        state.locked.remove(replica);
        for (_, word) in state.words(replica) {
            word.make_invalid();
        }
    }

    /// The replica is locked in memory and its checksums are verified: clients may anchor it.
    pub(crate) fn locked(&self, replica: &ReplicaKey) {
        let mut state = self.state.lock();
        state.locked.insert(replica.clone());
        for (_, word) in state.words(replica) {
            word.make_anchorable();
        }
    }

    /// The replica shall be unlocked: nobody can anchor it any more. True if nobody does, so that it may be done now.
    pub(crate) fn may_unlock(&self, replica: &ReplicaKey) -> bool {
        let mut state = self.state.lock();
        state.locked.remove(replica);
        let mut may = true;
        for (_, word) in state.words(replica) {
            word.make_unanchorable();
            may &= !word.is_anchored();
        }
        may
    }

    /// The clients who still rely on a replica being locked.
    pub(crate) fn anchored_by(&self, replica: &ReplicaKey) -> Vec<String> {
        let state = self.state.lock();
        let anchoring = state.words(replica).filter(|(_, word)| word.is_anchored());
        let mut names: Vec<String> = anchoring.map(|(registered, _)| registered.client.clone()).collect();
        names.sort();
        names.dedup();
        names
    }

    /// Segments, and slots registered in them.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.segments.len(), state.slots.values().map(Vec::len).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hadron_types::BlockId;

    fn replica(id: i64) -> ReplicaKey {
        ("BP-1".into(), BlockId(id))
    }

    /// A registry with one segment, and slots 0 to 3 valid.
    fn registry() -> (ShortCircuitRegistry, ShmId, Arc<Segment>) {
        let registry = ShortCircuitRegistry::new(2);
        let (id, segment) = registry.create_segment("DFSClient_1").unwrap();
        for index in 0..4 {
            segment.word(index).unwrap().reset_valid();
        }
        (registry, id, segment)
    }

    fn slot(shm: ShmId, index: i32) -> SlotId {
        SlotId { shm, index }
    }

    // covers: SC-04, SC-08
    #[test]
    fn only_valid_free_slots_of_known_segments_are_registered() {
        let (registry, id, _segment) = registry();
        let unknown = ShmId { hi: 1, lo: 2 };
        registry.register_slot(&replica(1), slot(id, 0)).unwrap();
        for (index, text) in [
            (0, "slot 0 is already in use."),
            (-1, "invalid negative slot index -1"),
            (128, "invalid slot index 128"),
            (i32::MAX, "invalid slot index 2147483647"),
            (4, "slot 4 is not marked as valid."),
        ] {
            let refused = registry.register_slot(&replica(2), slot(id, index)).unwrap_err();
            assert_eq!(refused.to_string(), text);
        }
        let refused = registry.register_slot(&replica(2), slot(unknown, 0)).unwrap_err();
        assert!(
            refused.to_string().starts_with("there is no shared memory segment"),
            "{refused}"
        );
        assert_eq!(registry.counts(), (1, 1));
        registry.remove_segment(id);
        assert_eq!(registry.counts(), (0, 0));
    }

    // covers: SC-07, SC-11, SC-23
    #[test]
    fn a_slot_is_its_replicas_until_it_is_released() {
        let (registry, id, segment) = registry();
        let elsewhere = ("BP-2".into(), BlockId(1));
        registry.register_slot(&replica(1), slot(id, 0)).unwrap();
        registry.register_slot(&elsewhere, slot(id, 1)).unwrap();
        registry.invalidate(&replica(1));
        let valid = |index| segment.word(index).unwrap().is_valid();
        assert!(!valid(0) && valid(1), "the same id in another pool is another replica");
        assert!(matches!(
            registry.register_slot(&replica(2), slot(id, 0)),
            Err(RegistryError::InUse(0))
        ));
        registry.unregister_slot(slot(id, 0)).unwrap();
        assert!(matches!(
            registry.unregister_slot(slot(id, 0)),
            Err(RegistryError::NotRegistered(0))
        ));
        segment.word(0).unwrap().reset_valid();
        registry.register_slot(&replica(2), slot(id, 0)).unwrap();
        registry.unregister_slot(slot(id, 1)).unwrap();
        assert!(!valid(1));
        assert_eq!(registry.counts(), (1, 1));
    }

    // covers: SC-12, SC-15
    #[test]
    fn a_locked_replica_is_unlocked_when_nobody_anchors_it() {
        let (registry, id, segment) = registry();
        let word = |index| segment.word(index).unwrap();
        registry.register_slot(&replica(1), slot(id, 0)).unwrap();
        assert!(!word(0).add_anchor());
        registry.locked(&replica(1));
        registry.register_slot(&replica(1), slot(id, 1)).unwrap();
        assert!(
            word(0).add_anchor() && word(1).add_anchor(),
            "also slots that come later"
        );
        assert!(!registry.may_unlock(&replica(1)));
        assert_eq!(registry.anchored_by(&replica(1)), ["DFSClient_1"]);
        registry.register_slot(&replica(1), slot(id, 2)).unwrap();
        assert!(
            (0..3).all(|index| !word(index).add_anchor()),
            "no new anchors from now on"
        );
        word(0).remove_anchor().unwrap();
        assert!(!registry.may_unlock(&replica(1)));
        word(1).remove_anchor().unwrap();
        assert!(registry.may_unlock(&replica(1)) && registry.anchored_by(&replica(1)).is_empty());
    }

    // covers: SC-38
    #[test]
    fn anchors_of_a_client_that_is_gone_hold_nothing_up() {
        let (registry, id, segment) = registry();
        registry.register_slot(&replica(1), slot(id, 3)).unwrap();
        registry.locked(&replica(1));
        assert!(segment.word(3).unwrap().add_anchor());
        assert!(!registry.may_unlock(&replica(1)));
        registry.remove_segment(id);
        assert!(registry.may_unlock(&replica(1)) && registry.counts() == (0, 0));
    }

    // covers: SC-05
    #[test]
    fn ids_do_not_repeat_and_segments_have_a_limit() {
        let registry = ShortCircuitRegistry::new(2);
        registry.create_segment("a").unwrap();
        registry.create_segment(&"ä".repeat(MAX_CLIENT_NAME)).unwrap();
        let error = registry.create_segment("c").unwrap_err();
        assert!(
            error.to_string().starts_with("2 shared memory segments are in use"),
            "{error}"
        );
        let random = SystemRandom::new();
        let mut seen = HashSet::new();
        for _ in 0..1_000_000 {
            let bits = u128::from(random.next_u64()) << 64 | u128::from(random.next_u64());
            assert!(seen.insert(ShmId::from_bits(bits)));
        }
    }
}
