//! Which inode has which kept entries; equal lists are stored once, for default ACLs make millions of them.
//!
//! Invariants: an inode is in the table exactly while its has-ACL bit is set; no list is empty; `shared` counts the
//! inodes of every list.

use super::entry::KeptEntry;
use crate::cow::CowMap;
use hadron_types::InodeId;
use std::sync::Arc;

/// The ACLs of a namespace.
#[derive(Clone)]
pub(crate) struct AclTable {
    of_inode: CowMap<InodeId, Arc<[KeptEntry]>>,
    shared: CowMap<Arc<[KeptEntry]>, u32>,
}

impl AclTable {
    pub(crate) fn new() -> Self {
        Self {
            of_inode: CowMap::new(),
            shared: CowMap::new(),
        }
    }

    /// The kept entries of `inode`; none if it has no ACL.
    pub(crate) fn get(&self, inode: InodeId) -> &[KeptEntry] {
        self.of_inode.get(&inode).map_or(&[], |entries| entries)
    }

    /// Gives `inode` these entries, sorted and at least one, in place of those it had.
    pub(crate) fn set(&mut self, inode: InodeId, entries: &[KeptEntry]) {
        let (list, count) = match self.shared.get_key_value(entries) {
            Some((list, count)) => (Arc::clone(list), *count),
            None => (Arc::from(entries), 0),
        };
        self.shared.insert(Arc::clone(&list), count + 1);
        if let Some(before) = self.of_inode.insert(inode, list) {
            self.forget(&before);
        }
    }

    pub(crate) fn remove(&mut self, inode: InodeId) {
        if let Some(before) = self.of_inode.remove(&inode) {
            self.forget(&before);
        }
    }

    fn forget(&mut self, list: &Arc<[KeptEntry]>) {
        let left = self.shared.get(list).map_or(0, |count| count - 1);
        if left == 0 {
            self.shared.remove(list);
        } else {
            self.shared.insert(Arc::clone(list), left);
        }
    }

    /// Bytes of the tables and of the lists.
    pub(crate) fn memory_bytes(&self) -> usize {
        let lists: usize = self
            .shared
            .iter()
            .map(|(list, _)| 2 * size_of::<usize>() + list.len() * size_of::<KeptEntry>())
            .sum();
        self.of_inode.memory_bytes() + self.shared.memory_bytes() + lists
    }

    /// Inodes that have an ACL, for the tests of the whole.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.of_inode.len()
    }

    /// How many inodes have each list, for the tests of the whole.
    #[cfg(test)]
    pub(crate) fn counts(&self) -> impl Iterator<Item = (&[KeptEntry], u32)> {
        self.shared.iter().map(|(list, count)| (&**list, *count))
    }
}
