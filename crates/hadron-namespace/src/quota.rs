//! Quotas: what a directory and all below it may take, and what they take now.
//!
//! Directories with a quota have a bit in their inode and a row in a side table: limits and counters. The small steps in
//! `namespace.rs` call [`Namespace::charge`], so that counters follow every operation; `plan`s call
//! [`Namespace::verify_quota`] first. Without any quota both are one comparison.
//! Invariants: counters equal a count from scratch after every command; detached trees are not counted; a block that is
//! not complete counts at its file's preferred size; storage types count only where a policy is set or inherited.
//! Source: Hadoop `DirectoryWithQuotaFeature`, `INodeFile.storagespaceConsumed`, `FSDirectory.verifyQuota`.

use crate::errors;
use crate::inode::{BlockRecord, InodeHandle};
use crate::namespace::Namespace;
use hadron_types::{ErrorKind, HadoopError, HadoopResult, StoragePolicy, StorageType, UNSPECIFIED_POLICY};

/// Storage types that can have a quota, in the order in which they are checked and shown.
pub const QUOTA_TYPES: [StorageType; 4] = [
    StorageType::Ssd,
    StorageType::Disk,
    StorageType::Archive,
    StorageType::Provided,
];
/// No limit.
pub const NO_QUOTA: i64 = -1;

/// Place of a storage type in per-type figures; `None` for one that has no quota.
pub fn quota_type_index(kind: StorageType) -> Option<usize> {
    QUOTA_TYPES.iter().position(|&counted| counted == kind)
}

/// What a tree takes. Sums wrap: lengths come from clients, and what was added must come off again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct QuotaUsage {
    /// Files and directories, the top included.
    pub names: i64,
    /// Bytes times replication.
    pub space: i64,
    /// Bytes by type, as [`QUOTA_TYPES`].
    pub by_type: [i64; QUOTA_TYPES.len()],
}

impl QuotaUsage {
    fn each(self, other: Self, f: impl Fn(i64, i64) -> i64) -> Self {
        Self {
            names: f(self.names, other.names),
            space: f(self.space, other.space),
            by_type: std::array::from_fn(|index| f(self.by_type[index], other.by_type[index])),
        }
    }
    pub(crate) fn plus(self, other: Self) -> Self {
        self.each(other, i64::wrapping_add)
    }
    pub(crate) fn minus(self, other: Self) -> Self {
        self.each(other, i64::wrapping_sub)
    }
    fn negated(self) -> Self {
        Self::default().minus(self)
    }
    pub(crate) fn of_names(names: i64) -> Self {
        Self {
            names,
            ..Self::default()
        }
    }
    fn takes_nothing(self) -> bool {
        self.names <= 0 && self.space <= 0 && self.by_type.iter().all(|&bytes| bytes <= 0)
    }
}

/// What a tree may take; [`NO_QUOTA`] for no limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QuotaLimits {
    /// Files and directories, the top included.
    pub names: i64,
    /// Bytes times replication.
    pub space: i64,
    /// Bytes by type, as [`QUOTA_TYPES`].
    pub by_type: [i64; QUOTA_TYPES.len()],
}

impl QuotaLimits {
    /// No limits.
    pub const NONE: Self = Self {
        names: NO_QUOTA,
        space: NO_QUOTA,
        by_type: [NO_QUOTA; QUOTA_TYPES.len()],
    };
    /// What the root has unless told otherwise: a limit that cannot be reached, and cannot be taken away.
    pub const ROOT: Self = Self {
        names: i64::MAX,
        ..Self::NONE
    };

    /// Whether something is limited.
    pub fn is_set(&self) -> bool {
        self.names >= 0 || self.space >= 0 || self.by_type.iter().any(|&limit| limit >= 0)
    }
}

/// A directory's row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Quota {
    pub(crate) limits: QuotaLimits,
    pub(crate) usage: QuotaUsage,
}

/// What [`Namespace::measure`] found.
pub(crate) struct Measured {
    pub(crate) total: QuotaUsage,
    /// Directories with quotas, each with the usage of its tree.
    pub(crate) directories: Vec<(InodeHandle, QuotaUsage)>,
}

impl Namespace {
    pub(crate) fn has_quotas(&self) -> bool {
        self.quotas.len() != 0
    }

    /// The quota set on a directory; the root shows [`QuotaLimits::ROOT`] when it has none.
    pub(crate) fn quota_limits(&self, directory: InodeHandle) -> QuotaLimits {
        match self.quotas.get(&directory) {
            Some(quota) => quota.limits,
            None if directory == self.root => QuotaLimits::ROOT,
            None => QuotaLimits::NONE,
        }
    }

    /// Enters, changes or (`limits` not set) takes away a directory's quota.
    pub(crate) fn set_quota(&mut self, directory: InodeHandle, limits: QuotaLimits) {
        let is_default = directory == self.root && limits == QuotaLimits::ROOT;
        let is_set = limits.is_set() && !is_default;
        let row = self.quotas.get(&directory).map(|quota| quota.usage);
        if is_set {
            let usage = row.unwrap_or_else(|| self.measure(directory, self.inherited_policy(directory), true).total);
            self.quotas.insert(directory, Quota { limits, usage });
        } else {
            self.quotas.remove(&directory);
        }
        if self.inode(directory).has_quota() != is_set {
            self.inode_mut(directory).set_has_quota(is_set);
        }
    }

    /// Adds `delta` to the counters of `from` and of every directory above it.
    pub(crate) fn charge(&mut self, from: InodeHandle, delta: QuotaUsage) {
        if !self.has_quotas() || delta == QuotaUsage::default() {
            return;
        }
        let mut at = Some(from);
        while let Some(handle) = at {
            let inode = self.inodes.get(handle);
            at = inode.parent();
            if inode.has_quota()
                && let Some(&quota) = self.quotas.get(&handle)
            {
                let usage = quota.usage.plus(delta);
                self.quotas.insert(handle, Quota { usage, ..quota });
            }
        }
    }

    /// Takes `usage` off again, as [`Namespace::charge`] added it.
    pub(crate) fn refund(&mut self, from: InodeHandle, usage: QuotaUsage) {
        self.charge(from, usage.negated());
    }

    /// Refuses `delta` more below `directory` if it, or a directory above it but below `stop`, has no room for it.
    ///
    /// `freed` is what the same command gives back before. The deepest directory is told first.
    pub(crate) fn verify_quota(
        &self,
        directory: InodeHandle,
        delta: QuotaUsage,
        freed: QuotaUsage,
        stop: Option<InodeHandle>,
    ) -> HadoopResult<()> {
        if !self.has_quotas() || delta.takes_nothing() {
            return Ok(());
        }
        let mut at = Some(directory).filter(|_| stop != Some(directory));
        while let Some(handle) = at {
            let inode = self.inode(handle);
            if inode.has_quota()
                && let Some(quota) = self.quotas.get(&handle)
            {
                verify(quota.limits, quota.usage.minus(freed), delta, || self.path_text(handle))?;
            }
            at = inode.parent().filter(|&parent| stop != Some(parent));
        }
        Ok(())
    }

    /// Refuses `count` new names below `directory` where one of them has no room, in the order they would be made.
    pub(crate) fn verify_new_names(&self, directory: InodeHandle, count: usize, freed: QuotaUsage) -> HadoopResult<()> {
        if !self.has_quotas() {
            return Ok(());
        }
        (0..count as i64).try_for_each(|made| {
            let freed = freed.minus(QuotaUsage::of_names(made));
            self.verify_quota(directory, QuotaUsage::of_names(1), freed, None)
        })
    }

    /// Directories with a quota from `handle` up to the root.
    pub(crate) fn quota_line(&self, handle: InodeHandle) -> Vec<InodeHandle> {
        let mut line = Vec::new();
        let mut at = Some(handle).filter(|_| self.has_quotas());
        while let Some(handle) = at {
            let inode = self.inode(handle);
            if inode.has_quota() {
                line.push(handle);
            }
            at = inode.parent();
        }
        line
    }

    /// Whether `top` or a directory below it has a quota. Costs the number of quotas, not the size of the tree.
    pub(crate) fn holds_quotas(&self, top: InodeHandle) -> bool {
        let below = |mut at: InodeHandle| loop {
            if at == top {
                return true;
            }
            match self.inode(at).parent() {
                Some(parent) => at = parent,
                None => return false,
            }
        };
        self.quotas.iter().any(|(&directory, _)| below(directory))
    }

    /// The policy that an inode without one of its own has.
    pub(crate) fn inherited_policy(&self, handle: InodeHandle) -> u8 {
        let parent = self.inode(handle).parent();
        parent.map_or(UNSPECIFIED_POLICY, |parent| self.effective_policy(parent))
    }

    /// What `bytes` in a file of this replication and effective policy take.
    pub(crate) fn cost(bytes: u64, replication: u16, policy: u8) -> QuotaUsage {
        let mut usage = QuotaUsage {
            space: (bytes as i64).wrapping_mul(i64::from(replication)),
            ..QuotaUsage::default()
        };
        if let Some(policy) = StoragePolicy::by_id(policy) {
            for index in policy.choose(replication).filter_map(quota_type_index) {
                usage.by_type[index] = usage.by_type[index].wrapping_add(bytes as i64);
            }
        }
        usage
    }

    /// Bytes that count for a block: its length once it is complete, its file's preferred size before.
    pub(crate) fn charged_bytes(block: &BlockRecord, preferred: u64) -> u64 {
        if block.is_complete() { block.len() } else { preferred }
    }

    /// What the blocks of a file take at a replication and an effective policy.
    pub(crate) fn blocks_usage(&self, file: InodeHandle, replication: u16, policy: u8) -> QuotaUsage {
        let preferred = self.inode(file).block_size();
        let bytes = self
            .blocks_of(file)
            .map(|block| Self::charged_bytes(self.block(block), preferred))
            .fold(0, u64::wrapping_add);
        Self::cost(bytes, replication, policy)
    }

    /// Counts a tree whose parent has the effective policy `inherited`. `cached`: counters of directories with quotas
    /// are taken as they are, which they may be as long as no policy changes.
    pub(crate) fn measure(&self, top: InodeHandle, inherited: u8, cached: bool) -> Measured {
        struct Visited {
            handle: InodeHandle,
            above: usize,
            policy: u8,
            usage: QuotaUsage,
        }
        let policy_of = |handle: InodeHandle, inherited: u8| match self.inode(handle).storage_policy() {
            UNSPECIFIED_POLICY => inherited,
            own => own,
        };
        let file_usage = |handle: InodeHandle, inherited: u8| {
            let replication = self.inode(handle).replication();
            self.blocks_usage(handle, replication, policy_of(handle, inherited))
                .plus(QuotaUsage::of_names(1))
        };
        if !self.inode(top).is_directory() {
            return Measured {
                total: file_usage(top, inherited),
                directories: Vec::new(),
            };
        }
        let visit = |handle, above, inherited| Visited {
            handle,
            above,
            policy: policy_of(handle, inherited),
            usage: QuotaUsage::of_names(1),
        };
        let mut visited = vec![visit(top, 0, inherited)];
        let mut next = 0;
        while next < visited.len() {
            let Visited { handle, policy, .. } = visited[next];
            if cached && let Some(quota) = self.quotas.get(&handle).filter(|_| self.inode(handle).has_quota()) {
                visited[next].usage = quota.usage;
            } else {
                for child in self.directory(handle).into_iter().flat_map(|children| children.iter()) {
                    if self.inode(child).is_directory() {
                        visited.push(visit(child, next, policy));
                    } else {
                        visited[next].usage = visited[next].usage.plus(file_usage(child, policy));
                    }
                }
            }
            next += 1;
        }
        let mut directories = Vec::new();
        for index in (0..visited.len()).rev() {
            let Visited {
                handle, above, usage, ..
            } = visited[index];
            if self.inode(handle).has_quota() {
                directories.push((handle, usage));
            }
            if index > 0 {
                visited[above].usage = visited[above].usage.plus(usage);
            }
        }
        Measured {
            total: visited[0].usage,
            directories,
        }
    }

    /// Counts a tree anew and corrects the counters of the directories in it; returns what the tree takes.
    pub(crate) fn recount(&mut self, top: InodeHandle) -> QuotaUsage {
        let measured = self.measure(top, self.inherited_policy(top), false);
        for (directory, usage) in measured.directories {
            if let Some(&quota) = self.quotas.get(&directory) {
                self.quotas.insert(directory, Quota { usage, ..quota });
            }
        }
        measured.total
    }
}

/// Checks one directory. A limit is exceeded only by what is added to it.
fn verify(limits: QuotaLimits, usage: QuotaUsage, delta: QuotaUsage, path: impl Fn() -> String) -> HadoopResult<()> {
    let exceeded = |limit: i64, usage: i64, delta: i64| {
        limit >= 0 && delta > 0 && i128::from(usage) + i128::from(delta) > i128::from(limit)
    };
    if exceeded(limits.names, usage.names, delta.names) {
        return Err(HadoopError::new(
            ErrorKind::NsQuotaExceeded,
            format!(
                "The NameSpace quota (directories and files) of directory {} is exceeded: quota={} file count={}",
                path(),
                limits.names,
                usage.names.wrapping_add(delta.names)
            ),
        ));
    }
    if exceeded(limits.space, usage.space, delta.space) {
        let consumed = usage.space.wrapping_add(delta.space);
        return Err(HadoopError::new(
            ErrorKind::DsQuotaExceeded,
            format!(
                "The DiskSpace quota of {} is exceeded: quota = {} B = {} but diskspace consumed = {consumed} B = {}",
                path(),
                limits.space,
                errors::binary_size(limits.space),
                errors::binary_size(consumed)
            ),
        ));
    }
    for (index, kind) in QUOTA_TYPES.into_iter().enumerate() {
        let (limit, used, more) = (limits.by_type[index], usage.by_type[index], delta.by_type[index]);
        if exceeded(limit, used, more) {
            return Err(HadoopError::new(
                ErrorKind::QuotaByStorageTypeExceeded,
                format!(
                    "Quota by storage type : {} on path : {} is exceeded. quota = {} but space consumed = {}",
                    kind.name(),
                    path(),
                    errors::binary_size(limit),
                    errors::binary_size(used.wrapping_add(more))
                ),
            ));
        }
    }
    Ok(())
}
