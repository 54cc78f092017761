//! The table of user and group names: each name once, inodes hold its number.
//!
//! Names are never removed: there are few, and a number in an inode must stay valid. At most [`MAX_STRINGS`].

use hashbrown::HashMap;
use std::sync::Arc;

/// Most names: numbers are 24 bits wide in the inode.
pub(crate) const MAX_STRINGS: usize = 1 << 24;

/// Numbered names.
#[derive(Clone, Default)]
pub(crate) struct StringTable {
    names: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u32>,
}

impl StringTable {
    /// The number of `name`, entered if new. A full table answers 0, the first name ever entered.
    pub(crate) fn intern(&mut self, name: &str) -> u32 {
        if let Some(&number) = self.numbers.get(name) {
            return number;
        }
        if self.names.len() >= MAX_STRINGS {
            return 0;
        }
        let number = self.names.len() as u32;
        let name: Arc<str> = Arc::from(name);
        self.names.push(Arc::clone(&name));
        self.numbers.insert(name, number);
        number
    }

    /// The name of `number`; empty for a number never given.
    pub(crate) fn name(&self, number: u32) -> &str {
        self.names.get(number as usize).map_or("", |name| name)
    }

    pub(crate) fn shared(&self, number: u32) -> Arc<str> {
        self.names
            .get(number as usize)
            .map_or_else(|| Arc::from(""), Arc::clone)
    }

    /// How many names there are.
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    /// All names by number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let text: usize = self.names.iter().map(|name| name.len() + 16).sum();
        text + self.names.capacity() * size_of::<Arc<str>>() + self.numbers.allocation_size()
    }
}
