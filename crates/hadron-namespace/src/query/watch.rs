//! What a watcher of changes needs to know around the application of a command.
//!
//! What it does not do: check permissions; whoever applies commands asks.

use crate::namespace::Namespace;
use hadron_types::InodeId;

impl Namespace {
    /// The id that the next new inode gets. Ids are given out in order, so the difference of two answers is the number
    /// of inodes made in between.
    pub fn next_inode_id(&self) -> InodeId {
        self.next_inode
    }

    /// Whether `path`, absolute, is an existing directory.
    pub fn is_directory(&self, path: &str) -> bool {
        let last = self.walk(path.to_owned()).last();
        last.is_some_and(|handle| self.inode(handle).is_directory())
    }
}
