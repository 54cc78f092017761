//! getContentSummary in slices, so that a count of millions never holds the lock for long.

use crate::command::Caller;
use crate::errors;
use crate::inode::InodeHandle;
use crate::namespace::Namespace;
use crate::permission::Access;
use crate::quota::{QUOTA_TYPES, QuotaLimits, QuotaUsage};
use crate::resolve::Purpose;
use hadron_types::{FsAction, HadoopResult, InodeId};

/// Inodes counted per slice (`dfs.content-summary.limit`).
pub const CONTENT_SUMMARY_SLICE: usize = 5000;

/// Totals of a subtree.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ContentSummary {
    /// Bytes of files.
    pub len: u64,
    /// Files.
    pub files: u64,
    /// Directories, the top included.
    pub directories: u64,
    /// Bytes times replication; a block being written counts with the preferred size, as it does for quotas.
    pub space_consumed: u64,
    /// Bytes by storage type where a policy says which, as [`QUOTA_TYPES`].
    pub by_type: [u64; QUOTA_TYPES.len()],
}

/// Where a summary has got to. Holds ids and names, not places, so that the tree may change between slices.
#[derive(Clone, Debug)]
pub struct SummaryCursor {
    /// Directories being walked, outermost first, each with the name of the last child that was counted.
    pending: Vec<(InodeId, String)>,
    summary: ContentSummary,
    limits: QuotaLimits,
}

impl SummaryCursor {
    /// The totals so far; final when a step answered true.
    pub fn summary(&self) -> ContentSummary {
        self.summary
    }
    /// The quota of the top.
    pub fn limits(&self) -> QuotaLimits {
        self.limits
    }
}

impl Namespace {
    /// Begins a summary of `path`.
    ///
    /// Errors: FileNotFoundException; AccessControlException here and in steps where a directory may not be read.
    pub fn content_summary(&self, caller: &Caller, path: &str) -> HadoopResult<SummaryCursor> {
        let at = self.resolve(caller, path, Purpose::Read)?;
        let top = at.last().ok_or_else(|| errors::file_not_found(&at.path))?;
        let mut cursor = SummaryCursor {
            pending: Vec::new(),
            summary: ContentSummary::default(),
            limits: self.quota_limits(top),
        };
        self.summarise(caller, top, &mut cursor)?;
        Ok(cursor)
    }

    /// Counts up to `budget` more inodes; answers whether the summary is complete.
    pub fn content_summary_step(
        &self,
        caller: &Caller,
        cursor: &mut SummaryCursor,
        budget: usize,
    ) -> HadoopResult<bool> {
        let mut left = budget.max(1);
        while let Some((directory, after)) = cursor.pending.pop() {
            // A directory deleted between slices has nothing left to count.
            let Some(children) = self.find_inode(directory).and_then(|handle| self.directory(handle)) else {
                continue;
            };
            let (_, rest) = children.iter_after(after.as_bytes(), |child| self.name_bytes(child));
            for child in rest {
                let name = || self.inode(child).name.to_string();
                if left == 0 {
                    break;
                }
                left -= 1;
                if self.inode(child).is_directory() {
                    // Go down now, come back to the names after this one.
                    cursor.pending.push((directory, name()));
                    self.summarise(caller, child, cursor)?;
                    break;
                }
                self.summarise(caller, child, cursor)?;
                if left == 0 {
                    cursor.pending.push((directory, name()));
                }
            }
            if left == 0 {
                return Ok(cursor.pending.is_empty());
            }
        }
        Ok(true)
    }

    /// Counts one inode; a directory is also put in line for its children.
    fn summarise(&self, caller: &Caller, handle: InodeHandle, cursor: &mut SummaryCursor) -> HadoopResult<()> {
        let inode = self.inode(handle);
        let summary = &mut cursor.summary;
        if inode.is_directory() {
            self.check_directory_readable(caller, handle)?;
            summary.directories += 1;
            cursor.pending.push((inode.id(), String::new()));
        } else {
            let len = self.file_len(handle);
            summary.files += 1;
            summary.len = summary.len.saturating_add(len);
            let policy = self.effective_policy(handle);
            let taken = self.blocks_usage(handle, inode.replication(), policy);
            let space = u64::try_from(taken.space).unwrap_or(u64::MAX);
            summary.space_consumed = summary.space_consumed.saturating_add(space);
            let types = Self::cost(len, inode.replication(), policy).by_type;
            for (sum, bytes) in summary.by_type.iter_mut().zip(types) {
                *sum = sum.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
            }
        }
        Ok(())
    }

    /// getQuotaUsage of a directory that has a quota: its limits and counters; `None` for all else, which is counted.
    ///
    /// Errors: as [`Namespace::content_summary`]. Whether the caller may read what is below is not asked.
    pub fn quota_usage(&self, caller: &Caller, path: &str) -> HadoopResult<Option<(QuotaLimits, QuotaUsage)>> {
        let at = self.resolve(caller, path, Purpose::Read)?;
        let top = at.last().ok_or_else(|| errors::file_not_found(&at.path))?;
        Ok(self.quotas.get(&top).map(|quota| (quota.limits, quota.usage)))
    }

    fn check_directory_readable(&self, caller: &Caller, handle: InodeHandle) -> HadoopResult<()> {
        if caller.superuser {
            return Ok(());
        }
        let access = Access {
            path: Some(FsAction::READ_EXECUTE),
            ..Access::default()
        };
        self.check_access(caller, &self.walk(self.path_text(handle)), access)
    }
}
