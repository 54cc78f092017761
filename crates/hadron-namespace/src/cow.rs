//! Small copy-on-write collections for tables that are not arenas: a sharded map and a chunked queue.
//!
//! Both clone in time proportional to their shards or chunks, and copy one shard or chunk at the first write after
//! a clone. Iteration order of the map is unspecified: nothing that reaches an outcome may depend on it.

use hashbrown::HashMap;
use std::collections::VecDeque;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

const SHARDS: usize = 256;
const QUEUE_CHUNK: usize = 1024;

type Shard<K, V> = HashMap<K, V>;

/// A hash map in [`SHARDS`] copy-on-write parts.
pub(crate) struct CowMap<K, V> {
    shards: Vec<Arc<Shard<K, V>>>,
    hasher: hashbrown::DefaultHashBuilder,
    len: usize,
}

impl<K, V> Clone for CowMap<K, V> {
    fn clone(&self) -> Self {
        Self {
            shards: self.shards.clone(),
            hasher: self.hasher.clone(),
            len: self.len,
        }
    }
}

impl<K: Hash + Eq + Clone, V: Clone> CowMap<K, V> {
    pub(crate) fn new() -> Self {
        let empty = Arc::new(Shard::default());
        Self {
            shards: vec![empty; SHARDS],
            hasher: hashbrown::DefaultHashBuilder::default(),
            len: 0,
        }
    }

    pub(crate) fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        Q: Hash + hashbrown::Equivalent<K> + ?Sized,
    {
        self.shards[self.shard_of(key)].get(key)
    }

    /// The stored key equal to `key`, with its value.
    pub(crate) fn get_key_value<Q>(&self, key: &Q) -> Option<(&K, &V)>
    where
        Q: Hash + hashbrown::Equivalent<K> + ?Sized,
    {
        self.shards[self.shard_of(key)].get_key_value(key)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let shard = self.shard_of(&key);
        let old = Arc::make_mut(&mut self.shards[shard]).insert(key, value);
        if old.is_none() {
            self.len += 1;
        }
        old
    }

    pub(crate) fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        Q: Hash + hashbrown::Equivalent<K> + ?Sized,
    {
        let shard = self.shard_of(key);
        if !self.shards[shard].contains_key(key) {
            return None;
        }
        let old = Arc::make_mut(&mut self.shards[shard]).remove(key);
        if old.is_some() {
            self.len -= 1;
        }
        old
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.shards.iter().flat_map(|shard| shard.iter())
    }

    /// Bytes of the tables; not what keys and values own on the heap.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.allocation_size()).sum()
    }

    fn shard_of<Q: Hash + ?Sized>(&self, key: &Q) -> usize {
        // The upper bits: the table inside the shard uses the lower ones of the same hash function.
        (self.hasher.hash_one(key) >> 48) as usize % SHARDS
    }
}

/// A first-in first-out queue in copy-on-write chunks.
pub(crate) struct CowQueue<T> {
    chunks: VecDeque<Arc<Vec<T>>>,
    /// Entries already taken from the first chunk.
    taken: usize,
    len: usize,
}

impl<T> Clone for CowQueue<T> {
    fn clone(&self) -> Self {
        Self {
            chunks: self.chunks.clone(),
            taken: self.taken,
            len: self.len,
        }
    }
}

impl<T: Clone> CowQueue<T> {
    pub(crate) fn new() -> Self {
        Self {
            chunks: VecDeque::new(),
            taken: 0,
            len: 0,
        }
    }

    pub(crate) fn push_back(&mut self, value: T) {
        self.len += 1;
        match self.chunks.back_mut() {
            Some(chunk) if chunk.len() < QUEUE_CHUNK => Arc::make_mut(chunk).push(value),
            _ => self.chunks.push_back(Arc::new(vec![value])),
        }
    }

    pub(crate) fn front(&self) -> Option<&T> {
        self.chunks.front()?.get(self.taken)
    }

    pub(crate) fn pop_front(&mut self) {
        let Some(chunk) = self.chunks.front() else { return };
        self.taken += 1;
        self.len -= 1;
        if self.taken >= chunk.len() {
            self.chunks.pop_front();
            self.taken = 0;
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flat_map(|chunk| chunk.iter()).skip(self.taken)
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Bytes of the chunks.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.capacity() * size_of::<T>()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_and_queues_keep_their_clones_apart() {
        let mut map = CowMap::new();
        let mut queue = CowQueue::new();
        for number in 0..5_000u64 {
            map.insert(number, number * 2);
            queue.push_back(number);
        }
        let (old_map, old_queue) = (map.clone(), queue.clone());
        for number in 0..2_500u64 {
            assert_eq!(map.remove(&number), Some(number * 2));
            assert_eq!(queue.front(), Some(&number));
            queue.pop_front();
        }
        queue.push_back(9);
        assert_eq!((map.len(), old_map.len()), (2_500, 5_000));
        assert_eq!(old_map.get(&3), Some(&6));
        assert_eq!((queue.len(), old_queue.len()), (2_501, 5_000));
        assert!(old_queue.iter().copied().eq(0..5_000));
        assert!(queue.iter().copied().eq((2_500..5_000).chain([9])));
    }
}
