//! Queries about one path: status, blocks, access, openness.

use crate::block_recovery::BlockRecovery;
use crate::command::Caller;
use crate::errors;
use crate::inode::{BlockState, InodeHandle};
use crate::namespace::Namespace;
use crate::permission::Access;
use crate::resolve::{Purpose, Resolved};
use crate::status::{FileBlock, FileBlocks, FileStatus, OpenFile, StoredBlock};
use hadron_types::{BlockId, FsAction, HadoopResult, InodeId, TimeMs};

impl Namespace {
    /// getFileInfo: the status of `path` with an empty local name; `None` if it does not exist.
    pub fn file_info(&self, caller: &Caller, path: &str) -> HadoopResult<Option<FileStatus>> {
        let view = self.file_view(caller, path)?;
        Ok(view.map(|view| view.to_status(self)))
    }

    /// The status of an inode that the caller may see by other means; `None` if it is gone or detached.
    pub fn file_info_by_id(&self, id: InodeId) -> Option<FileStatus> {
        let handle = self.find_attached(id)?;
        Some(self.status_of(handle, ""))
    }

    /// The absolute path of an inode; `None` if it is gone or detached.
    pub fn path_of(&self, id: InodeId) -> Option<String> {
        Some(self.path_text(self.find_attached(id)?))
    }

    /// getBlockLocations without the locations: the blocks of `path` that overlap `offset..offset + len`.
    ///
    /// `now` and `precision_ms` (0 = off) decide `access_time_stale`.
    pub fn block_locations(
        &self,
        caller: &Caller,
        path: &str,
        offset: u64,
        len: u64,
        now: TimeMs,
        precision_ms: u64,
    ) -> HadoopResult<FileBlocks> {
        let at = self.resolve(caller, path, Purpose::Read)?;
        let access = Access {
            path: Some(FsAction::READ),
            ..Access::default()
        };
        self.check_access(caller, &at, access)?;
        let file = self.require_file(&at, path)?;
        self.check_readable_by_superuser(caller, self.inode(file))?;
        let mut blocks = self.file_blocks(file, offset, len);
        blocks.access_time_stale = precision_ms > 0 && now > self.inode(file).atime().plus(precision_ms);
        Ok(blocks)
    }

    /// The blocks of a file that overlap a range.
    pub(crate) fn file_blocks(&self, file: InodeHandle, offset: u64, len: u64) -> FileBlocks {
        let inode = self.inode(file);
        let end = offset.saturating_add(len);
        let mut at = 0;
        let mut blocks = Vec::new();
        let mut last_block = None;
        for handle in self.blocks_of(file) {
            let record = self.block(handle);
            let block = FileBlock {
                block: record.block(),
                offset: at,
                state: record.state,
            };
            // From the block that holds `offset` on, up to the end of the range; a last block whose length is not
            // known yet comes along if the range goes beyond what is before it.
            let overlaps = if blocks.is_empty() {
                at.saturating_add(record.len()) > offset
            } else {
                at < end
            };
            if overlaps {
                blocks.push(block);
            }
            at = at.saturating_add(record.len());
            last_block = Some(block);
        }
        // Readers add what DataNodes say of a last block that is not complete, a committed one included: it may be in this
        // sum only when they do not, or they would read it twice.
        let incomplete = last_block.filter(|last| last.state != BlockState::Complete);
        FileBlocks {
            file: inode.id(),
            len: incomplete.map_or(at, |last| last.offset),
            under_construction: inode.is_open(),
            blocks,
            last_block,
            last_block_complete: last_block.is_some() && incomplete.is_none(),
            replication: inode.replication(),
            access_time_stale: false,
        }
    }

    /// checkAccess: whether `caller` has all of `action` on `path`.
    pub fn check_path_access(&self, caller: &Caller, path: &str, action: FsAction) -> HadoopResult<()> {
        let at = self.resolve(caller, path, Purpose::Read)?;
        if at.last().is_none() {
            return Err(errors::missing(format!("Path not found: {path}")));
        }
        let access = Access {
            path: Some(action),
            ..Access::default()
        };
        self.check_access(caller, &at, access)
    }

    /// isFileClosed: whether nobody has `path` open for writing.
    pub fn is_file_closed(&self, caller: &Caller, path: &str) -> HadoopResult<bool> {
        let at = self.resolve(caller, path, Purpose::Read)?;
        let file = self.require_file(&at, path)?;
        Ok(!self.inode(file).is_open())
    }

    /// getPreferredBlockSize.
    pub fn preferred_block_size(&self, caller: &Caller, path: &str) -> HadoopResult<u64> {
        let at = self.resolve(caller, path, Purpose::Read)?;
        let file = self.require_file(&at, path)?;
        Ok(self.inode(file).block_size())
    }

    /// Who has `path` open, for recoverLease; `None` if it is closed.
    ///
    /// Errors: as resolving and FileNotFoundException for what is no file. Asks for WRITE on the file.
    pub fn lease_of_path(&self, caller: &Caller, path: &str) -> HadoopResult<Option<OpenFile>> {
        let at = self.resolve(caller, path, Purpose::Write)?;
        let file = self.require_file(&at, path)?;
        if !self.inode(file).is_open() {
            return Ok(None);
        }
        let access = Access {
            path: Some(FsAction::WRITE),
            ..Access::default()
        };
        self.check_access(caller, &at, access)?;
        Ok(self.open_file(self.inode(file).id()))
    }

    /// Who has the file at `path` open, without a question of access beyond traversal; `None` for whatever is not an open
    /// file. Create and append ask before they propose, to end a lease past its soft limit first.
    pub fn open_file_at(&self, caller: &Caller, path: &str) -> HadoopResult<Option<OpenFile>> {
        let at = self.resolve(caller, path, Purpose::Write)?;
        Ok(at.last().and_then(|handle| self.open_file(self.inode(handle).id())))
    }

    /// Who has a file open; `None` if it is closed, gone or detached.
    pub fn open_file(&self, file: InodeId) -> Option<OpenFile> {
        let handle = self.find_attached(file)?;
        let record = self.open_record(handle)?;
        Some(OpenFile {
            file,
            holder: record.holder.clone(),
            client_machine: record.client_machine.clone(),
        })
    }

    /// The last two blocks of a file, oldest first, for the facts that AddBlock, Complete and ReleaseLease carry.
    pub fn last_blocks(&self, file: InodeId) -> Vec<StoredBlock> {
        let Some(handle) = self.find_inode(file) else {
            return Vec::new();
        };
        [self.penultimate_block(handle), self.last_block(handle)]
            .into_iter()
            .flatten()
            .map(|block| self.describe_block(block))
            .collect()
    }

    /// Whether there is such a file and it is open for writing.
    pub fn is_open(&self, file: InodeId) -> bool {
        self.find_inode(file).is_some_and(|handle| self.inode(handle).is_open())
    }

    /// Resolves the file of a write call, by id if it is not 0, else by path.
    pub fn file_id_for_write(&self, caller: &Caller, path: &str, file_id: u64) -> HadoopResult<Option<InodeId>> {
        let at = self.resolve_file(caller, path, file_id)?;
        Ok(at.last().map(|handle| self.inode(handle).id()))
    }

    /// What a block is and whose; `None` if no file has it.
    pub fn stored_block(&self, id: BlockId) -> Option<StoredBlock> {
        Some(self.describe_block(self.find_block(id)?))
    }

    /// The running recovery of a block; `None` unless it is under recovery.
    pub fn block_recovery(&self, id: BlockId) -> Option<BlockRecovery> {
        self.recoveries.get(&id).copied()
    }

    pub(crate) fn describe_block(&self, handle: crate::inode::BlockHandle) -> StoredBlock {
        let record = self.block(handle);
        let inode = self.inode(record.file);
        StoredBlock {
            block: record.block(),
            state: record.state,
            replication: inode.replication(),
            file: inode.id(),
            block_size: inode.block_size(),
            storage_policy: self.effective_policy(record.file),
        }
    }

    pub(crate) fn find_attached(&self, id: InodeId) -> Option<InodeHandle> {
        self.find_inode(id).filter(|&handle| self.is_attached(handle))
    }

    /// The file at a resolved path; `shown` is the path as the caller wrote it.
    pub(crate) fn require_file(&self, at: &Resolved, shown: &str) -> HadoopResult<InodeHandle> {
        match at.last() {
            None => Err(errors::file_not_found(shown)),
            Some(handle) if self.inode(handle).is_directory() => Err(errors::not_a_file(shown)),
            Some(handle) => Ok(handle),
        }
    }
}
