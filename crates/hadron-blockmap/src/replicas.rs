//! Which storage holds which block, both ways, in as few bytes as we can.
//!
//! Per block a 40-byte record (id, up to three replicas inline, the others aside), 4 bytes in each storage's list and
//! 5 bytes times the reserve of the hash index: 58 to 64 bytes for a block with three replicas.
//! A replica is the storage's index, flags, and its position in the storage's list, so that both ends are found
//! without searching. Records live in pages and are reused; the index is split in shards, so that no growth step
//! copies more than a small share of it.
//! Invariants: `storages[r.storage].blocks[r.position] == slot` for every replica `r` of the record at `slot`;
//! a record exists iff its block has at least one replica.

use crate::node::{Storage, StorageIndex};
use crate::paged::PagedList;
use hadron_types::BlockId;
use hashbrown::{HashMap, HashTable};

/// Shards of the index; a power of two.
const SHARDS: usize = 256;
/// Replicas inside a record.
const INLINE: usize = 3;
/// Bits of a storage index inside a replica.
const STORAGE_BITS: u32 = 24;
/// Most storages at a time; one more is refused at registration.
pub(crate) const MAX_STORAGES: usize = (1 << STORAGE_BITS) - 1;

/// Marks of one replica.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct ReplicaFlags(u8);

impl ReplicaFlags {
    /// Known to be unusable.
    pub(crate) const CORRUPT: Self = Self(1);
    /// Surplus; its deletion was ordered.
    pub(crate) const EXCESS: Self = Self(2);

    pub(crate) fn has(self, flag: Self) -> bool {
        self.0 & flag.0 != 0
    }
}

/// One replica: storage (24 bits) and flags (8 bits), position in the storage's list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Replica {
    tagged: u32,
    position: u32,
}

impl Replica {
    const NONE: Self = Self {
        tagged: u32::MAX,
        position: u32::MAX,
    };

    fn new(storage: StorageIndex, position: usize) -> Self {
        Self {
            tagged: storage.0,
            position: position as u32,
        }
    }
    fn is_none(self) -> bool {
        self == Self::NONE
    }
    pub(crate) fn storage(self) -> StorageIndex {
        StorageIndex(self.tagged & ((1 << STORAGE_BITS) - 1))
    }
    pub(crate) fn flags(self) -> ReplicaFlags {
        ReplicaFlags((self.tagged >> STORAGE_BITS) as u8)
    }
    pub(crate) fn position(self) -> usize {
        self.position as usize
    }
    fn set_flag(&mut self, flag: ReplicaFlags, on: bool) {
        let bits = u32::from(flag.0) << STORAGE_BITS;
        if on {
            self.tagged |= bits;
        } else {
            self.tagged &= !bits;
        }
    }
}

/// A block with its replicas.
#[derive(Clone, Copy, Debug)]
struct Record {
    id: BlockId,
    replicas: [Replica; INLINE],
    /// Number of replicas, those in `overflow` included.
    count: u16,
    /// Counted by safe mode.
    safe: bool,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            id: BlockId(0),
            replicas: [Replica::NONE; INLINE],
            count: 0,
            safe: false,
        }
    }
}

/// Number of a record; stable while the block has replicas.
pub(crate) type Slot = u32;

/// The two-way map.
#[derive(Debug)]
pub(crate) struct ReplicaMap {
    records: PagedList<Record>,
    free: Vec<Slot>,
    shards: Vec<HashTable<Slot>>,
    overflow: HashMap<Slot, Vec<Replica>>,
    blocks: usize,
}

/// A mixing step good enough for sequential ids (Fibonacci hashing).
fn hash(id: BlockId) -> u64 {
    let mixed = (id.0 as u64 ^ 0x51_7C_C1_B7_27_22_0A_95).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed ^ (mixed >> 29)
}

/// The table looks at the lowest and the highest bits; the shard is taken from others.
fn shard(hash: u64) -> usize {
    (hash >> 40) as usize % SHARDS
}

impl ReplicaMap {
    pub(crate) fn new() -> Self {
        Self {
            records: PagedList::default(),
            free: Vec::new(),
            shards: (0..SHARDS).map(|_| HashTable::new()).collect(),
            overflow: HashMap::new(),
            blocks: 0,
        }
    }

    /// Blocks with at least one replica.
    pub(crate) fn len(&self) -> usize {
        self.blocks
    }

    pub(crate) fn find(&self, id: BlockId) -> Option<Slot> {
        let hash = hash(id);
        self.shards[shard(hash)]
            .find(hash, |&slot| self.records.get_ref(slot as usize).id == id)
            .copied()
    }

    pub(crate) fn id(&self, slot: Slot) -> BlockId {
        self.records.get_ref(slot as usize).id
    }

    /// The replicas of the block, in the order they were learnt unless some were removed.
    pub(crate) fn replicas(&self, slot: Slot) -> impl Iterator<Item = Replica> + '_ {
        let record = self.records.get_ref(slot as usize);
        let inline = usize::from(record.count).min(INLINE);
        let rest = match usize::from(record.count) > INLINE {
            true => self.overflow.get(&slot).map_or(&[][..], Vec::as_slice),
            false => &[],
        };
        record.replicas[..inline].iter().chain(rest).copied()
    }

    /// The replicas of a block that may be unknown.
    pub(crate) fn replicas_of(&self, id: BlockId) -> impl Iterator<Item = Replica> + '_ {
        self.find(id).into_iter().flat_map(|slot| self.replicas(slot))
    }

    pub(crate) fn on_storage(&self, id: BlockId, storage: StorageIndex) -> Option<Replica> {
        self.replicas_of(id).find(|replica| replica.storage() == storage)
    }

    /// Adds a replica; `false` when it is known.
    pub(crate) fn add(&mut self, id: BlockId, index: StorageIndex, storage: &mut Storage) -> bool {
        if self.on_storage(id, index).is_some() {
            return false;
        }
        let slot = self.find(id).unwrap_or_else(|| self.insert_record(id));
        let replica = Replica::new(index, storage.blocks.push(slot));
        let record = self.records.get_mut(slot as usize);
        match usize::from(record.count) {
            inline @ 0..INLINE => record.replicas[inline] = replica,
            _ => self.overflow.entry(slot).or_default().push(replica),
        }
        record.count += 1;
        true
    }

    /// Removes a replica and returns its flags; `None` when it is not known.
    pub(crate) fn remove(&mut self, id: BlockId, index: StorageIndex, storage: &mut Storage) -> Option<ReplicaFlags> {
        let slot = self.find(id)?;
        let replica = self.replicas(slot).find(|replica| replica.storage() == index)?;
        self.unlink_from_storage(replica.position(), index, storage);
        self.unlink_from_record(slot, index);
        Some(replica.flags())
    }

    pub(crate) fn set_flag(&mut self, id: BlockId, storage: StorageIndex, flag: ReplicaFlags, on: bool) {
        if let Some(slot) = self.find(id)
            && let Some(replica) = self.replica_mut(slot, storage)
        {
            replica.set_flag(flag, on);
        }
    }

    pub(crate) fn is_safe(&self, slot: Slot) -> bool {
        self.records.get_ref(slot as usize).safe
    }
    pub(crate) fn set_safe(&mut self, slot: Slot, safe: bool) {
        self.records.get_mut(slot as usize).safe = safe;
    }

    /// Exchanges two positions of a storage's list (to mark what a running report has named).
    pub(crate) fn swap_positions(&mut self, index: StorageIndex, storage: &mut Storage, a: usize, b: usize) {
        if a == b {
            return;
        }
        let (slot_a, slot_b) = (storage.blocks.get(a), storage.blocks.get(b));
        storage.blocks.set(a, slot_b);
        storage.blocks.set(b, slot_a);
        self.set_position(slot_b, index, a);
        self.set_position(slot_a, index, b);
    }

    pub(crate) fn index_bytes(&self) -> usize {
        let tables: usize = self.shards.iter().map(HashTable::allocation_size).sum();
        tables + SHARDS * size_of::<HashTable<Slot>>()
    }
    pub(crate) fn record_bytes(&self) -> usize {
        self.records.allocated_bytes() + self.free.capacity() * size_of::<Slot>()
    }
    pub(crate) fn overflow_bytes(&self) -> usize {
        let lists: usize = self.overflow.values().map(Vec::capacity).sum();
        lists * size_of::<Replica>() + self.overflow.allocation_size()
    }

    fn insert_record(&mut self, id: BlockId) -> Slot {
        let record = Record {
            id,
            ..Record::default()
        };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.records.set(slot as usize, record);
                slot
            }
            None => self.records.push(record) as Slot,
        };
        let (hash_of_id, records) = (hash(id), &self.records);
        let rehash = |&slot: &Slot| hash(records.get_ref(slot as usize).id);
        self.shards[shard(hash_of_id)].insert_unique(hash_of_id, slot, rehash);
        self.blocks += 1;
        slot
    }

    /// Swap-removes a position, keeping the seen part of a running report in front.
    fn unlink_from_storage(&mut self, position: usize, index: StorageIndex, storage: &mut Storage) {
        let mut hole = position;
        if hole < storage.seen {
            storage.seen -= 1;
            self.swap_positions(index, storage, hole, storage.seen);
            hole = storage.seen;
        }
        self.swap_positions(index, storage, hole, storage.blocks.len() - 1);
        storage.blocks.pop();
    }

    fn unlink_from_record(&mut self, slot: Slot, storage: StorageIndex) {
        let last = match self.overflow.get_mut(&slot) {
            Some(list) => {
                let last = list.pop();
                if list.is_empty() {
                    self.overflow.remove(&slot);
                }
                last
            }
            None => None,
        };
        let record = self.records.get_mut(slot as usize);
        record.count -= 1;
        let last =
            last.unwrap_or_else(|| std::mem::replace(&mut record.replicas[usize::from(record.count)], Replica::NONE));
        if last.storage() != storage
            && let Some(replica) = self.replica_mut(slot, storage)
        {
            *replica = last;
        }
        if self.records.get_ref(slot as usize).count == 0 {
            self.remove_record(slot);
        }
    }

    fn remove_record(&mut self, slot: Slot) {
        let hash = hash(self.id(slot));
        if let Ok(entry) = self.shards[shard(hash)].find_entry(hash, |&other| other == slot) {
            entry.remove();
        }
        self.free.push(slot);
        self.blocks -= 1;
    }

    fn replica_mut(&mut self, slot: Slot, storage: StorageIndex) -> Option<&mut Replica> {
        let record = self.records.get_mut(slot as usize);
        let inline = record.replicas.iter_mut();
        let rest = self.overflow.get_mut(&slot).into_iter().flatten();
        inline
            .chain(rest)
            .find(|replica| !replica.is_none() && replica.storage() == storage)
    }

    fn set_position(&mut self, slot: Slot, storage: StorageIndex, position: usize) {
        if let Some(replica) = self.replica_mut(slot, storage) {
            replica.position = position as u32;
        }
    }
}
