//! Where names were found before: a guess that spares the binary search through a directory.
//!
//! What it is for: look-ups of names that are asked for again, which cost one read of the inode instead of a dozen of
//! its neighbours. What it does not do: know anything. A guess counts only after the inode it names says itself that it
//! is the child asked for, so nothing ever has to be taken out, and an outcome never depends on what is in here.
//! Invariant: a fixed number of slots; they are shared by all snapshots, and any of them may be wrong at any time.

use crate::arena::Handle;
use crate::inode::InodeHandle;
use std::sync::atomic::{AtomicU32, Ordering};

/// Slots: 256 KiB in all.
const SLOTS: usize = 1 << 16;
/// Offset basis and prime of FNV-1a, 64 bits.
const HASH_START: u64 = 0xcbf2_9ce4_8422_2325;
const HASH_FACTOR: u64 = 0x0100_0000_01b3;

/// Guesses by parent and name.
pub(crate) struct ChildMemo {
    slots: Box<[AtomicU32]>,
}

/// The slot of one parent and name.
#[derive(Clone, Copy)]
pub(crate) struct MemoSlot(usize);

impl ChildMemo {
    pub(crate) fn new() -> Self {
        Self {
            slots: (0..SLOTS).map(|_| AtomicU32::new(u32::MAX)).collect(),
        }
    }

    /// Bytes taken.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.slots.len() * size_of::<AtomicU32>()
    }

    pub(crate) fn slot(parent: InodeHandle, name: &[u8]) -> MemoSlot {
        let mix = |hash: u64, part: u64| (hash ^ part).wrapping_mul(HASH_FACTOR);
        let start = mix(HASH_START, u64::from(parent.index()));
        let hash = name.iter().fold(start, |hash, byte| mix(hash, u64::from(*byte)));
        MemoSlot((hash ^ hash >> 32) as usize % SLOTS)
    }

    /// The inode that was found last for this slot, to be asked whether it is the right one.
    pub(crate) fn guess(&self, slot: MemoSlot) -> InodeHandle {
        InodeHandle::from_index(self.slots[slot.0].load(Ordering::Relaxed))
    }

    pub(crate) fn remember(&self, slot: MemoSlot, child: InodeHandle) {
        self.slots[slot.0].store(child.index(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use crate::Namespace;
    use crate::tests::{World, delete, rename, root};

    fn id_of(ns: &Namespace, path: &str) -> Option<u64> {
        let found = ns.find_plain(&root(), path).expect("a plain path");
        found.map(|handle| ns.inode(handle).id().0)
    }

    #[test]
    fn names_mean_what_they_mean_now() {
        let mut world = World::new();
        for folder in ["/a", "/b"] {
            for number in 0..super::super::namespace::MEMO_CHILDREN {
                world.mkdirs(&root(), &format!("{folder}/other{number}"), 0o755);
            }
        }
        world.file(&root(), "/a/f", &[]);
        let file = id_of(&world.ns, "/a/f");
        assert!(file.is_some());
        // Both look-ups: the one that remembers and the one that guesses.
        assert_eq!(id_of(&world.ns, "/a/f"), file);
        assert_eq!(id_of(&world.ns, "/b/f"), None);
        let before = world.ns.clone();
        world.ok(&root(), rename("/a/f", "/b/f"));
        assert_eq!((id_of(&world.ns, "/a/f"), id_of(&world.ns, "/b/f")), (None, file));
        assert_eq!((id_of(&before, "/a/f"), id_of(&before, "/b/f")), (file, None));
        world.file(&root(), "/a/f", &[]);
        let second = id_of(&world.ns, "/a/f");
        assert!(second.is_some() && second != file);
        assert_eq!(
            id_of(&before, "/a/f"),
            file,
            "a snapshot shares the guesses, not the answers"
        );
        world.ok(&root(), rename("/a", "/c"));
        assert_eq!((id_of(&world.ns, "/a/f"), id_of(&world.ns, "/c/f")), (None, second));
        world.ok(&root(), delete("/c/f", false));
        assert_eq!(id_of(&world.ns, "/c/f"), None);
    }
}
