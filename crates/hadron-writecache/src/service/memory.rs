//! The bytes of one buffer: filled by several writers at once, read by anybody, sealed by the writer thread, then recycled.
//!
//! What it is for: writers copy into their own piece with no lock held; readers copy out under a lock that is never held
//! during I/O. What it does not do: it decides nothing; positions and generations come from the machines.
//! Invariants: a read of an older generation finds nothing, never the new bytes; pieces do not overlap; sealed bytes do not
//! change, and clones of them keep their memory from being reused.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use parking_lot::RwLock;

use super::pool::BufferPool;
use crate::core::Slot;
use crate::sealed::{KIND_AT, KIND_VOID, RECORD_HEADER_LEN};

/// Generation of memory that was given back for good.
const CLOSED: u64 = u64::MAX;

#[derive(Debug)]
enum Content {
    /// Not allocated yet, or given back.
    Nothing,
    Filling {
        /// Not handed out, by position of the first byte.
        unused: BTreeMap<usize, BytesMut>,
        /// Filled, by position of the first byte.
        filled: BTreeMap<usize, BytesMut>,
    },
    Sealed(Bytes),
}

#[derive(Debug)]
struct Memory {
    generation: u64,
    content: Content,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct BufferMemory {
    pool: Arc<BufferPool>,
    memory: RwLock<Memory>,
}

impl BufferMemory {
    pub(crate) fn new(pool: Arc<BufferPool>) -> Self {
        let content = Content::Nothing;
        Self {
            pool,
            memory: RwLock::new(Memory { generation: 0, content }),
        }
    }

    /// Copies `parts`, one behind the other, to `start..` of this generation, which is opened if it is new. False: closed,
    /// or an older generation.
    pub(crate) fn fill(&self, generation: u64, start: usize, parts: &[&[u8]]) -> bool {
        let len = parts.iter().map(|part| part.len()).sum();
        let Some(mut piece) = self.memory.write().check_out(&self.pool, generation, start, len) else {
            return false;
        };
        for part in parts {
            piece.extend_from_slice(part);
        }
        self.memory.write().check_in(generation, start, piece)
    }

    /// Copies a record out; `None` when the buffer holds another generation.
    pub(crate) fn read(&self, slot: Slot) -> Option<Vec<u8>> {
        let memory = self.memory.read();
        if memory.generation != slot.generation {
            return None;
        }
        memory
            .slice(slot.position as usize, slot.len as usize)
            .map(<[u8]>::to_vec)
    }

    /// Joins all pieces, marks records void, and gives the first `fill` bytes; they are shared from now on.
    pub(crate) fn seal(&self, fill: usize, void: &[u32]) -> Option<Bytes> {
        let mut memory = self.memory.write();
        let Content::Filling { unused, filled } = &mut memory.content else {
            return None;
        };
        unused.clear();
        let mut pieces = std::mem::take(filled).into_values();
        let mut whole = pieces.next()?;
        for piece in pieces {
            whole.unsplit(piece);
        }
        for position in void {
            let kind = *position as usize - RECORD_HEADER_LEN + KIND_AT;
            whole[kind..kind + 4].copy_from_slice(&KIND_VOID.to_le_bytes());
        }
        debug_assert_eq!(whole.len(), fill, "every reserved byte was filled");
        let bytes = whole.freeze();
        memory.content = Content::Sealed(bytes.clone());
        Some(bytes)
    }

    /// Gives the memory back for good.
    pub(crate) fn close(&self) {
        let mut memory = self.memory.write();
        memory.generation = CLOSED;
        let content = std::mem::replace(&mut memory.content, Content::Nothing);
        drop(memory);
        if !matches!(content, Content::Nothing) {
            self.pool.give(reclaim(&self.pool, content));
        }
    }
}

impl Drop for BufferMemory {
    fn drop(&mut self) {
        self.close();
    }
}

impl Memory {
    fn check_out(&mut self, pool: &BufferPool, generation: u64, start: usize, len: usize) -> Option<BytesMut> {
        if self.generation < generation {
            let buffer = match std::mem::replace(&mut self.content, Content::Nothing) {
                Content::Nothing => pool.take(),
                used => reclaim(pool, used).unwrap_or_else(|| pool.allocate()),
            };
            self.generation = generation;
            self.content = Content::Filling {
                unused: BTreeMap::from([(0, buffer)]),
                filled: BTreeMap::new(),
            };
        }
        if self.generation != generation {
            return None;
        }
        let Content::Filling { unused, .. } = &mut self.content else {
            return None;
        };
        let at = *unused.range(..=start).next_back()?.0;
        let mut before = unused.remove(&at)?;
        let mut piece = before.split_off(start - at);
        let after = piece.split_off(len);
        for (at, rest) in [(at, before), (start + len, after)] {
            if rest.capacity() > 0 {
                unused.insert(at, rest);
            }
        }
        Some(piece)
    }

    fn check_in(&mut self, generation: u64, start: usize, piece: BytesMut) -> bool {
        match &mut self.content {
            Content::Filling { filled, .. } if self.generation == generation => {
                filled.insert(start, piece);
                true
            }
            _ => false,
        }
    }

    fn slice(&self, position: usize, len: usize) -> Option<&[u8]> {
        let (start, bytes) = match &self.content {
            Content::Nothing => return None,
            Content::Filling { filled, .. } => {
                let (start, piece) = filled.range(..=position).next_back()?;
                (*start, &piece[..])
            }
            Content::Sealed(bytes) => (0, &bytes[..]),
        };
        bytes.get(position - start..position - start + len)
    }
}

/// The memory of a content, empty, if nobody else holds a part of it.
fn reclaim(pool: &BufferPool, content: Content) -> Option<BytesMut> {
    let front = match content {
        Content::Nothing => return None,
        Content::Sealed(bytes) => bytes.try_into_mut().ok()?,
        Content::Filling { mut unused, mut filled } => filled.remove(&0).or_else(|| unused.remove(&0))?,
    };
    pool.reclaim(front)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::BufferId;

    fn slot(generation: u64, position: u32, len: u32) -> Slot {
        Slot {
            buffer: BufferId(0),
            generation,
            position,
            len,
        }
    }

    // covers: WC-07
    #[test]
    fn pieces_come_in_any_order_and_an_older_generation_reads_nothing() {
        let pool = Arc::new(BufferPool::new(64));
        let memory = BufferMemory::new(Arc::clone(&pool));
        assert!(memory.fill(1, 10, &[b"second"]));
        assert!(memory.fill(1, 0, &[b"first", b"first"]));
        assert_eq!(memory.read(slot(1, 10, 6)).unwrap(), b"second");
        let bytes = memory.seal(16, &[]).unwrap();
        assert_eq!(&bytes[..], b"firstfirstsecond");
        assert_eq!(memory.read(slot(1, 5, 5)).unwrap(), b"first");
        // Somebody holds the sealed bytes: the next content goes elsewhere.
        assert!(memory.fill(2, 0, &[b"new"]));
        assert_eq!(memory.read(slot(1, 5, 5)), None);
        assert_eq!(memory.read(slot(2, 0, 3)).unwrap(), b"new");
        assert_eq!(&bytes[..], b"firstfirstsecond");
        assert_eq!(pool.outstanding(), 1);
        memory.close();
        assert_eq!((memory.read(slot(2, 0, 3)), pool.outstanding()), (None, 0));
        assert!(!memory.fill(3, 0, &[b"x"]));
    }
}
