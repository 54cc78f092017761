//! What files a name dir holds.
//!
//! What it is for: recovery and purging look at the same list. What it does not do: open files. Invariant: lists are
//! sorted by index; names that are not ours are left alone.

use std::io;
use std::path::{Path, PathBuf};

use hadron_env::Disk;
use hadron_env::durable::TEMPORARY_SUFFIX;
use hadron_types::LogIndex;

use crate::{image, segment};

/// The directory inside a name dir that holds everything.
pub(crate) const CURRENT: &str = "current";
/// The identity file.
pub(crate) const VERSION_FILE: &str = "VERSION";
/// The lock file, beside `current`.
pub(crate) const LOCK_FILE: &str = "in_use.lock";

/// Files of one `current` directory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inventory {
    pub(crate) images: Vec<LogIndex>,
    pub(crate) segments: Vec<LogIndex>,
    pub(crate) temporary: Vec<PathBuf>,
}

impl Inventory {
    pub(crate) fn read(disk: &dyn Disk, current: &Path) -> io::Result<Self> {
        let mut inventory = Self::default();
        for entry in disk.list(current)? {
            if let Some(index) = image::index_of_name(&entry.name) {
                inventory.images.push(index);
            } else if let Some(index) = segment::index_of_name(&entry.name) {
                inventory.segments.push(index);
            } else if entry.name.ends_with(TEMPORARY_SUFFIX) && !entry.is_dir {
                inventory.temporary.push(current.join(&entry.name));
            }
        }
        inventory.images.sort_unstable();
        inventory.segments.sort_unstable();
        Ok(inventory)
    }

    /// First indexes of the segments that hold entries after `index`, or follow it.
    pub(crate) fn segments_after(&self, index: LogIndex) -> &[LogIndex] {
        let later = self.segments.partition_point(|first| *first <= index.next());
        &self.segments[later.saturating_sub(1)..]
    }

    /// First indexes of the segments that hold no entry after `index` and are not the last.
    pub(crate) fn segments_before(&self, index: LogIndex) -> &[LogIndex] {
        &self.segments[..self.segments.len() - self.segments_after(index).len()]
    }
}

/// Removes images beyond the newest `retained`, and segments that the oldest of those makes needless.
pub(crate) fn purge(disk: &dyn Disk, current: &Path, retained: usize) -> io::Result<()> {
    let inventory = Inventory::read(disk, current)?;
    let old = inventory.images.len().saturating_sub(retained);
    for index in &inventory.images[..old] {
        disk.remove_file(&current.join(image::file_name(*index)))?;
    }
    // With fewer images than asked for, the log back to its beginning stands in for the missing ones.
    if let Some(oldest) = inventory
        .images
        .get(old)
        .filter(|_| inventory.images.len() - old >= retained)
    {
        for first in inventory.segments_before(*oldest) {
            disk.remove_file(&current.join(segment::file_name(*first)))?;
        }
    }
    disk.sync_dir(current)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_split_at_an_index() {
        let inventory = Inventory {
            segments: [1, 10, 20].map(LogIndex).to_vec(),
            ..Inventory::default()
        };
        let cases = [(0, 1), (8, 1), (9, 10), (10, 10), (19, 20), (100, 20)];
        for (index, first_kept) in cases {
            assert_eq!(
                inventory.segments_after(LogIndex(index))[0],
                LogIndex(first_kept),
                "{index}"
            );
        }
        assert_eq!(inventory.segments_before(LogIndex(19)).len(), 2);
        assert!(Inventory::default().segments_after(LogIndex(5)).is_empty());
    }
}
