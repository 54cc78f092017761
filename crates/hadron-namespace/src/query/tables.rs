//! Queries about the whole: totals, all blocks, all open files.

use crate::namespace::Namespace;
use crate::status::{Counts, OpenFile, StoredBlock};

impl Namespace {
    /// Totals.
    pub fn counts(&self) -> Counts {
        let directories = self.directories.len() as u64;
        Counts {
            files: self.inodes.len() as u64 - directories,
            directories,
            blocks: self.blocks.len() as u64,
            complete_blocks: self.complete_blocks,
            open_files: self.open_files.len() as u64,
            detached: self.detached.len() as u64,
        }
    }

    /// Whether Reclaim commands have something to do.
    pub fn has_detached(&self) -> bool {
        !self.detached.is_empty()
    }

    /// Every block, in no order; for safe-mode totals and start-up.
    pub fn all_blocks(&self) -> impl Iterator<Item = StoredBlock> + '_ {
        self.blocks.iter().map(|(handle, _)| self.describe_block(handle))
    }

    /// Every open file by inode id; for the lease clock at start-up and for listOpenFiles.
    pub fn open_files(&self) -> Vec<OpenFile> {
        let mut open: Vec<OpenFile> = self
            .open_files
            .iter()
            .map(|(&file, record)| OpenFile {
                file,
                holder: record.holder.clone(),
                client_machine: record.client_machine.clone(),
            })
            .collect();
        open.sort_unstable_by_key(|open| open.file);
        open
    }
}
