//! The files that a cache directive is about.

use crate::command::Caller;
use crate::inode::InodeHandle;
use crate::namespace::Namespace;
use crate::resolve::Purpose;
use crate::status::StoredBlock;
use hadron_types::HadoopResult;

/// Most entries of a directory that [`Namespace::cached_files`] looks at, at a time.
pub const CACHED_FILE_SLICE: usize = 256;
/// Blocks after which it stops, too.
const CACHED_BLOCK_SLICE: usize = 4096;

/// A slice of a directive's files.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct CachedFiles {
    /// The blocks of each file, those that are not complete included.
    pub files: Vec<Vec<StoredBlock>>,
    /// The name after which the next slice begins; `None`: this was the last one.
    pub next: Option<String>,
}

impl Namespace {
    /// The file at `path`, or the files right in the directory at `path` whose names come after `after` (empty: all), at
    /// most [`CACHED_FILE_SLICE`] entries of it at a time. A path that is missing or cannot be has none.
    pub fn cached_files(&self, path: &str, after: &str) -> CachedFiles {
        let Some(top) = self.cached_inode(path) else {
            return CachedFiles::default();
        };
        let blocks = |file: InodeHandle| self.blocks_of(file).map(|block| self.describe_block(block)).collect();
        let Some(directory) = self.directory(top) else {
            return CachedFiles {
                files: vec![blocks(top)],
                next: None,
            };
        };
        let (mut left, children) = directory.iter_after(after.as_bytes(), |child| self.name_bytes(child));
        let mut slice = CachedFiles::default();
        let mut count = 0;
        for (looked, child) in children.enumerate() {
            let blocks: Vec<StoredBlock> = blocks(child);
            count += blocks.len();
            left -= 1;
            if !self.inode(child).is_directory() {
                slice.files.push(blocks);
            }
            if left > 0 && (looked + 1 >= CACHED_FILE_SLICE || count >= CACHED_BLOCK_SLICE) {
                slice.next = Some(self.inode(child).name.to_string());
                break;
            }
        }
        slice
    }

    /// Bytes of the file at `path`, or of all files right in the directory there, as far as `budget` reaches: it loses one
    /// for the path and one for each file, and files beyond it are not counted. The same for the same state.
    pub(crate) fn cached_len(&self, path: &str, budget: &mut usize) -> u64 {
        if *budget == 0 {
            return 0;
        }
        *budget -= 1;
        let Some(top) = self.cached_inode(path) else { return 0 };
        match self.directory(top) {
            None => self.file_len(top),
            Some(directory) => directory
                .iter()
                .take_while(|_| match budget.checked_sub(1) {
                    Some(left) => {
                        *budget = left;
                        true
                    }
                    None => false,
                })
                .map(|child| self.file_len(child))
                .fold(0, u64::saturating_add),
        }
    }

    fn cached_inode(&self, path: &str) -> Option<InodeHandle> {
        let found: HadoopResult<_> = self.resolve(&Caller::superuser(""), path, Purpose::Read);
        found.ok()?.last()
    }
}
