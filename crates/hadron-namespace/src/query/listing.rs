//! getListing: one page of a directory at a time.

use crate::command::Caller;
use crate::inode::InodeHandle;
use crate::namespace::Namespace;
use crate::permission::Access;
use crate::resolve::Purpose;
use crate::status::{Listing, ListingEntry, ListingLimits};
use hadron_types::{ErrorKind, FsAction, HadoopError, HadoopResult};

impl Namespace {
    /// The entries of `path` whose names come after `start_after` (empty: from the first); `None` if `path` is missing.
    ///
    /// A file gives one entry with an empty local name. `with_blocks`: entries of files carry their blocks, and the
    /// page also ends when the location budget is used up.
    pub fn listing(
        &self,
        caller: &Caller,
        path: &str,
        start_after: &str,
        with_blocks: bool,
        limits: ListingLimits,
    ) -> HadoopResult<Option<Listing>> {
        let at = self.resolve(caller, path, Purpose::Read)?;
        let start_after = self.listing_start(caller, start_after)?;
        let Some(handle) = at.last() else { return Ok(None) };
        let Some(directory) = self.directory(handle) else {
            let entries = vec![self.listing_entry(handle, "", with_blocks)];
            return Ok(Some(Listing { entries, remaining: 0 }));
        };
        let access = Access {
            path: Some(FsAction::READ_EXECUTE),
            ..Access::default()
        };
        self.check_access(caller, &at, access)?;
        let (count, children) = directory.iter_after(start_after.as_bytes(), |child| self.name_bytes(child));
        let skip_none = start_after.is_empty();
        debug_assert!(!skip_none || count == directory.len());
        let mut entries = Vec::with_capacity(count.min(limits.entries));
        let mut locations = 0;
        for child in children.take(limits.entries) {
            let entry = self.listing_entry(child, &self.inode(child).name, with_blocks);
            if let Some(blocks) = &entry.blocks {
                locations += blocks.blocks.len() * usize::from(blocks.replication);
            }
            entries.push(entry);
            if with_blocks && locations >= limits.locations {
                break;
            }
        }
        let remaining = (count - entries.len()) as u32;
        Ok(Some(Listing { entries, remaining }))
    }

    fn listing_entry(&self, handle: InodeHandle, name: &str, with_blocks: bool) -> ListingEntry {
        let status = self.status_of(handle, name);
        let blocks = (with_blocks && !status.is_directory).then(|| self.file_blocks(handle, 0, u64::MAX));
        ListingEntry { status, blocks }
    }

    /// A start given as `/.reserved/.inodes/…` means the name that inode has now.
    fn listing_start(&self, caller: &Caller, start_after: &str) -> HadoopResult<String> {
        if !start_after.starts_with("/.reserved") {
            return Ok(start_after.to_owned());
        }
        match self.resolve(caller, start_after, Purpose::Read) {
            Ok(at) => Ok(at.name().to_owned()),
            Err(_) => Err(HadoopError::new(
                ErrorKind::DirectoryListingStartAfterNotFound,
                format!("Can't find startAfter {start_after}"),
            )),
        }
    }
}
