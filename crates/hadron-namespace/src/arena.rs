//! Paged copy-on-write arenas: the storage under every table of the namespace.
//!
//! An arena hands out 32-bit handles to slots in pages of [`PAGE_SLOTS`]. Pages sit behind `Arc`; a write copies a
//! page only while a snapshot still shares it, so a snapshot is a clone of the page table. Freed slots form a list
//! through the slots themselves, so nothing beside the page table grows with the arena.
//!
//! It does not check that a handle belongs to the arena it is used with: handles are typed, and private to the crate.
//! Invariant: a handle is live from `insert` to `remove`; using it later is a bug of ours and panics.

use std::marker::PhantomData;
use std::sync::Arc;

/// Slots per page.
pub(crate) const PAGE_SLOTS: usize = 4096;
const PAGE_SHIFT: u32 = PAGE_SLOTS.trailing_zeros();
const NO_SLOT: u32 = u32::MAX;

/// A typed 32-bit slot number.
pub(crate) trait Handle: Copy + Eq {
    /// The handle of slot `index`.
    fn from_index(index: u32) -> Self;
    /// The slot's number.
    fn index(self) -> u32;
}

macro_rules! handle {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        pub(crate) struct $name(u32);
        impl $crate::arena::Handle for $name {
            fn from_index(index: u32) -> Self {
                Self(index)
            }
            fn index(self) -> u32 {
                self.0
            }
        }
    };
}
pub(crate) use handle;

#[derive(Clone)]
enum Slot<T> {
    Used(T),
    Free { next: u32 },
}

/// A table of `T` addressed by `H`.
pub(crate) struct Arena<H, T> {
    pages: Vec<Arc<Vec<Slot<T>>>>,
    free_head: u32,
    slots: u32,
    used: u32,
    handle: PhantomData<H>,
}

impl<H, T> Clone for Arena<H, T> {
    fn clone(&self) -> Self {
        Self {
            pages: self.pages.clone(),
            ..*self
        }
    }
}

impl<H: Handle, T: Clone> Arena<H, T> {
    pub(crate) fn new() -> Self {
        Self {
            pages: Vec::new(),
            free_head: NO_SLOT,
            slots: 0,
            used: 0,
            handle: PhantomData,
        }
    }

    /// Stores `value` in a free slot, or a new one. Panics beyond 2^32 - 1 slots.
    pub(crate) fn insert(&mut self, value: T) -> H {
        self.used += 1;
        let index = self.free_head;
        if index != NO_SLOT {
            let slot = self.slot_mut(index);
            if let Slot::Free { next } = *slot {
                *slot = Slot::Used(value);
                self.free_head = next;
                return H::from_index(index);
            }
            panic!("arena free list is damaged");
        }
        let index = self.slots;
        assert!(index != NO_SLOT, "arena is full");
        if (index as usize).is_multiple_of(PAGE_SLOTS) {
            // Reserved whole: growing by doubling would leave as much garbage as a page holds.
            self.pages.push(Arc::new(Vec::with_capacity(PAGE_SLOTS)));
        }
        let page = Arc::make_mut(self.pages.last_mut().expect("a page was just made"));
        page.push(Slot::Used(value));
        self.slots += 1;
        H::from_index(index)
    }

    /// Frees a slot and returns what it held.
    pub(crate) fn remove(&mut self, handle: H) -> T {
        let next = self.free_head;
        let slot = self.slot_mut(handle.index());
        match std::mem::replace(slot, Slot::Free { next }) {
            Slot::Used(value) => {
                self.free_head = handle.index();
                self.used -= 1;
                value
            }
            Slot::Free { .. } => panic!("arena slot freed twice"),
        }
    }

    pub(crate) fn get(&self, handle: H) -> &T {
        let index = handle.index() as usize;
        match &self.pages[index >> PAGE_SHIFT][index % PAGE_SLOTS] {
            Slot::Used(value) => value,
            Slot::Free { .. } => panic!("stale arena handle"),
        }
    }

    /// What `handle` holds, if it holds anything: for handles that may be stale or made up.
    pub(crate) fn find(&self, handle: H) -> Option<&T> {
        let index = handle.index() as usize;
        match self.pages.get(index >> PAGE_SHIFT)?.get(index % PAGE_SLOTS)? {
            Slot::Used(value) => Some(value),
            Slot::Free { .. } => None,
        }
    }

    pub(crate) fn get_mut(&mut self, handle: H) -> &mut T {
        match self.slot_mut(handle.index()) {
            Slot::Used(value) => value,
            Slot::Free { .. } => panic!("stale arena handle"),
        }
    }

    /// Live slots in slot order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (H, &T)> {
        self.iter_from(0)
    }

    /// Live slots from slot `first` on.
    pub(crate) fn iter_from(&self, first: u32) -> impl Iterator<Item = (H, &T)> {
        let first = first as usize;
        let pages = self.pages.iter().enumerate().skip(first >> PAGE_SHIFT);
        pages.flat_map(move |(page, slots)| {
            let base = page << PAGE_SHIFT;
            let slots = slots.iter().enumerate().skip(first.saturating_sub(base));
            slots.filter_map(move |(slot, value)| match value {
                Slot::Used(value) => Some((H::from_index((base + slot) as u32), value)),
                Slot::Free { .. } => None,
            })
        })
    }

    /// Number of live slots.
    pub(crate) fn len(&self) -> usize {
        self.used as usize
    }

    /// Bytes of pages and page table, free slots included; not what values own on the heap.
    pub(crate) fn memory_bytes(&self) -> usize {
        let slots: usize = self.pages.iter().map(|page| page.capacity()).sum();
        slots * size_of::<Slot<T>>() + self.pages.capacity() * size_of::<usize>()
    }

    fn slot_mut(&mut self, index: u32) -> &mut Slot<T> {
        let index = index as usize;
        &mut Arc::make_mut(&mut self.pages[index >> PAGE_SHIFT])[index % PAGE_SLOTS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    handle!(TestHandle);

    #[test]
    fn slots_are_reused_and_clones_do_not_see_writes() {
        let mut arena: Arena<TestHandle, u64> = Arena::new();
        let handles: Vec<_> = (0..10_000u64).map(|value| arena.insert(value)).collect();
        let frozen = arena.clone();
        assert_eq!(arena.remove(handles[7]), 7);
        let again = arena.insert(70);
        assert_eq!(again.index(), handles[7].index());
        *arena.get_mut(handles[9_999]) = 1;
        assert_eq!((*frozen.get(handles[7]), *frozen.get(handles[9_999])), (7, 9_999));
        assert_eq!((*arena.get(again), *arena.get(handles[9_999])), (70, 1));
        assert_eq!(arena.len(), 10_000);
        assert_eq!(arena.iter().count(), 10_000);
        let shared = arena
            .pages
            .iter()
            .zip(&frozen.pages)
            .filter(|(ours, theirs)| Arc::ptr_eq(ours, theirs))
            .count();
        assert_eq!(shared, 1, "only the two touched pages were copied");
    }
}
