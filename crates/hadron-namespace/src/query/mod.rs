//! Reading the namespace. Queries take `&self`, cost O(path depth) or are cut into slices, and check the caller's
//! access themselves, as Hadoop's NameNode does.

mod files;
mod listing;
mod summary;
mod tables;

pub use summary::{CONTENT_SUMMARY_SLICE, ContentSummary, SummaryCursor};

use crate::inode::{Content, InodeHandle};
use crate::namespace::Namespace;
use crate::status::FileStatus;

impl Namespace {
    /// The status of an inode, shown under `name`.
    pub(crate) fn status_of(&self, handle: InodeHandle, name: &str) -> FileStatus {
        let inode = self.inode(handle);
        let directory = match inode.content {
            Content::Directory(directory) => Some(self.directories.get(directory)),
            _ => None,
        };
        FileStatus {
            name: name.to_owned(),
            id: inode.id(),
            is_directory: directory.is_some(),
            len: self.file_len(handle),
            permission: inode.mode(),
            owner: self.names.shared(inode.user()),
            group: self.names.shared(inode.group()),
            mtime: inode.mtime(),
            atime: inode.atime(),
            replication: inode.replication(),
            block_size: inode.block_size(),
            children: directory.map_or(0, |children| children.len() as u32),
            storage_policy: inode.storage_policy(),
        }
    }
}
