//! From decoded slices to a namespace.
//!
//! Slices may come in any order; nothing is linked before all are there. Children are listed per directory and sorted
//! once, so that loading costs O(n log n) in the largest directory and not a search per inode.

use super::ImageError;
use super::records::{
    AttributesRecord, CacheRecords, EndRecord, FileRecord, HeaderRecord, InodeRecord, QuotaRecord, RetryOutcome,
    RetryRecord, StatusRecord,
};
use super::slice::{DecodedSlice, Records};
use crate::acl::KeptEntry;
use crate::arena::Handle;
use crate::block_recovery::BlockRecovery;
use crate::cache::{CacheDirective, CachePool};
use crate::inode::{BlockState, Content, Directory, DirectoryHandle, Inode, InodeHandle};
use crate::namespace::{Identity, Namespace};
use crate::outcome::Appended;
use crate::quota::{QUOTA_TYPES, Quota, QuotaLimits, QuotaUsage};
use crate::retry::{Answer, RETRY_CACHE_MAX_ENTRIES, RetryEntry};
use crate::status::FileStatus;
use crate::strings::MAX_STRINGS;
use hadron_types::{Block, BlockId, BlockPoolId, CallId, ClientId, FsPermission, GenerationStamp, InodeId, TimeMs};
use hashbrown::HashMap;
use std::sync::Arc;

/// Collects decoded slices.
#[derive(Default)]
pub struct ImageLoader {
    header: Option<HeaderRecord>,
    end: Option<EndRecord>,
    inodes: Vec<(u32, Vec<InodeRecord>)>,
    attributes: Vec<AttributesRecord>,
    cache: Vec<(u32, CacheRecords)>,
    retry: Vec<(u32, Vec<RetryRecord>)>,
    slices: u64,
}

fn inconsistent<T>(what: String) -> Result<T, ImageError> {
    Err(ImageError::Inconsistent(what))
}

impl ImageLoader {
    /// A loader without slices.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one slice, in any order.
    pub fn add(&mut self, slice: DecodedSlice) -> Result<(), ImageError> {
        self.slices += 1;
        match slice.records {
            Records::Header(record) if self.header.is_none() => self.header = Some(record),
            Records::End(record) if self.end.is_none() => self.end = Some(record),
            Records::Inodes(records) => self.inodes.push((slice.sequence, records.inodes)),
            Records::Attributes(records) => self.attributes.extend(records.attributes),
            Records::Cache(records) => self.cache.push((slice.sequence, records)),
            Records::RetryCache(records) => self.retry.push((slice.sequence, records.entries)),
            Records::Header(_) | Records::End(_) => return inconsistent("two header or two end slices".to_owned()),
        }
        Ok(())
    }

    /// Joins the slices. Errors: a missing or doubled slice, or records that contradict each other.
    pub fn finish(mut self) -> Result<Namespace, ImageError> {
        let Some(header) = self.header.take() else {
            return inconsistent("no header slice".to_owned());
        };
        let Some(end) = self.end.take() else {
            return inconsistent("no end slice".to_owned());
        };
        if self.slices != end.slices + 1 {
            return inconsistent(format!("{} slices, {} written", self.slices, end.slices + 1));
        }
        self.inodes.sort_unstable_by_key(|(sequence, _)| *sequence);
        self.retry.sort_unstable_by_key(|(sequence, _)| *sequence);
        self.cache.sort_unstable_by_key(|(sequence, _)| *sequence);
        let mut namespace = start(&header)?;
        let mut links = Links::default();
        for record in self.inodes.into_iter().flat_map(|(_, records)| records) {
            add_inode(&mut namespace, record, &mut links)?;
        }
        links.resolve(&mut namespace, &header)?;
        let attributes = self.attributes.len() as u64;
        for record in self.attributes {
            add_attributes(&mut namespace, record)?;
        }
        for (_, records) in self.cache {
            add_cache(&mut namespace, records)?;
        }
        for record in self.retry.into_iter().flat_map(|(_, records)| records) {
            add_retry_entry(&mut namespace, record)?;
        }
        let totals = [
            (namespace.inodes.len() as u64, end.inodes, "inodes"),
            (namespace.blocks.len() as u64, end.blocks, "blocks"),
            (attributes, end.attributes, "inodes with attributes"),
            (namespace.cache.len() as u64, end.cache, "cache pools and directives"),
            (namespace.retry.len() as u64, end.retry_entries, "retry entries"),
        ];
        for (found, written, what) in totals {
            if found != written {
                return inconsistent(format!("{found} {what}, {written} written"));
            }
        }
        Ok(namespace)
    }
}

fn start(header: &HeaderRecord) -> Result<Namespace, ImageError> {
    let mut namespace = Namespace::without_root(Identity {
        namespace_id: header.namespace_id,
        cluster_id: header.cluster_id.clone(),
        block_pool: BlockPoolId::from(header.block_pool.as_str()),
        created: TimeMs(header.created_ms),
    });
    namespace.next_inode = InodeId(header.next_inode);
    namespace.next_block = BlockId(header.next_block);
    namespace.last_stamp = GenerationStamp(header.last_stamp);
    let names = Arc::make_mut(&mut namespace.names);
    for (number, name) in header.names.iter().enumerate() {
        if number >= MAX_STRINGS || names.intern(name) as usize != number {
            return inconsistent(format!("user or group name {name} stands twice"));
        }
    }
    Ok(namespace)
}

/// What can be linked only when all inodes are there.
#[derive(Default)]
struct Links {
    /// (child, id of its parent).
    parents: Vec<(InodeHandle, u64)>,
    roots: usize,
}

fn add_inode(namespace: &mut Namespace, record: InodeRecord, links: &mut Links) -> Result<(), ImageError> {
    let id = InodeId(record.id);
    if namespace.find_inode(id).is_some() || id >= namespace.next_inode {
        return inconsistent(format!("inode {id} stands twice or was never given out"));
    }
    let content = match record.file {
        Some(_) => Content::Empty,
        None => Content::Directory(namespace.directories.insert(Directory::default())),
    };
    let mode = FsPermission::from_wire(record.mode);
    let mut inode = Inode::new(id, &record.name, mode, record.user, record.group, content);
    inode.set_mtime(TimeMs(record.mtime_ms));
    inode.set_atime(TimeMs(record.atime_ms));
    let handle = namespace.inodes.insert(inode);
    namespace.set_policy(handle, record.storage_policy as u8);
    namespace.inode_index.insert(id.0, handle);
    if record.parent == 0 {
        links.roots += 1;
    } else {
        links.parents.push((handle, record.parent));
    }
    if let Some(quota) = record.quota {
        add_quota(namespace, handle, quota)?;
    }
    match record.file {
        Some(file) => add_file(namespace, handle, file),
        None => Ok(()),
    }
}

fn add_quota(namespace: &mut Namespace, handle: InodeHandle, record: QuotaRecord) -> Result<(), ImageError> {
    let types = |figures: &[i64]| <[i64; QUOTA_TYPES.len()]>::try_from(figures);
    let (true, Ok(limits), Ok(used)) = (
        namespace.inode(handle).is_directory(),
        types(&record.by_type),
        types(&record.used_by_type),
    ) else {
        let inode = namespace.inode(handle).id();
        return inconsistent(format!("inode {inode} has a quota that does not fit it"));
    };
    let quota = Quota {
        limits: QuotaLimits {
            names: record.names,
            space: record.space,
            by_type: limits,
        },
        usage: QuotaUsage {
            names: record.used_names,
            space: record.used_space,
            by_type: used,
        },
    };
    namespace.quotas.insert(handle, quota);
    namespace.inode_mut(handle).set_has_quota(true);
    Ok(())
}

fn add_file(namespace: &mut Namespace, handle: InodeHandle, file: FileRecord) -> Result<(), ImageError> {
    let inode = namespace.inode_mut(handle);
    inode.set_replication(u16::try_from(file.replication).unwrap_or(u16::MAX));
    inode.set_block_size(file.block_size);
    for record in file.blocks {
        let block = Block {
            id: BlockId(record.id),
            generation_stamp: GenerationStamp(record.generation_stamp),
            len: record.len,
        };
        let Some(state) = record.state.checked_sub(1).and_then(BlockState::from_number) else {
            return inconsistent(format!("{block} has state {}", record.state));
        };
        if namespace.find_block(block.id).is_some() {
            return inconsistent(format!("{block} stands twice"));
        }
        namespace.push_block(handle, block, state);
        if record.recovery_id != 0 {
            let recovery = BlockRecovery {
                id: GenerationStamp(record.recovery_id),
                truncate_to: record.truncate_to,
            };
            namespace.recoveries.insert(block.id, recovery);
        }
    }
    if let Some(open) = file.open {
        namespace.open(handle, &open.holder, &open.client_machine);
    }
    Ok(())
}

impl Links {
    fn resolve(self, namespace: &mut Namespace, header: &HeaderRecord) -> Result<(), ImageError> {
        let mut children: HashMap<u32, Vec<InodeHandle>> = HashMap::new();
        for (child, parent_id) in self.parents {
            let parent = namespace.find_inode(InodeId(parent_id));
            let directory = parent.and_then(|parent| match namespace.inode(parent).content {
                Content::Directory(directory) => Some(directory),
                _ => None,
            });
            let (Some(parent), Some(directory)) = (parent, directory) else {
                let child = namespace.inode(child).id();
                return inconsistent(format!("parent {parent_id} of inode {child} is no directory"));
            };
            namespace.inode_mut(child).set_parent(Some(parent));
            children.entry(directory.index()).or_default().push(child);
        }
        for (directory, mut listed) in children {
            listed.sort_by(|&a, &b| namespace.name_bytes(a).cmp(namespace.name_bytes(b)));
            let twins = listed
                .windows(2)
                .find(|pair| namespace.name_bytes(pair[0]) == namespace.name_bytes(pair[1]));
            if let Some(pair) = twins {
                let name = &namespace.inode(pair[0]).name;
                return inconsistent(format!("name {name} stands twice in a directory"));
            }
            *namespace.directories.get_mut(DirectoryHandle::from_index(directory)) = Directory::from_sorted(&listed);
        }
        let root = namespace.find_inode(InodeId::ROOT);
        let Some(root) = root.filter(|&root| namespace.inode(root).is_directory()) else {
            return inconsistent("no root directory".to_owned());
        };
        namespace.root = root;
        for &id in &header.detached {
            match namespace.find_inode(InodeId(id)) {
                Some(handle) if handle != root && namespace.inode(handle).parent().is_none() => {
                    namespace.detached.push(handle);
                }
                _ => return inconsistent(format!("detached inode {id} is not the root of a tree")),
            }
        }
        if self.roots != namespace.detached.len() + 1 || reachable(namespace) != namespace.inodes.len() {
            return inconsistent("inodes that neither the root nor a detached tree reaches".to_owned());
        }
        Ok(())
    }
}

/// Inodes below the root and the detached trees; each has one parent, so none is counted twice.
fn reachable(namespace: &Namespace) -> usize {
    let mut pending: Vec<InodeHandle> = namespace.detached.clone();
    pending.push(namespace.root);
    let mut count = 0;
    while let Some(handle) = pending.pop() {
        count += 1;
        if let Some(directory) = namespace.directory(handle) {
            pending.extend(directory.iter());
        }
    }
    count
}

/// Gives an inode its ACL and its extended attributes.
fn add_attributes(namespace: &mut Namespace, record: AttributesRecord) -> Result<(), ImageError> {
    let id = InodeId(record.id);
    let Some(handle) = namespace.find_inode(id) else {
        return inconsistent(format!("attributes of inode {id}, which is not there"));
    };
    if namespace.inode(handle).has_acl() || namespace.inode(handle).has_xattrs() {
        return inconsistent(format!("attributes of inode {id} stand twice"));
    }
    let acl: Vec<KeptEntry> = record.acl.into_iter().map(KeptEntry).collect();
    let names = namespace.names.len();
    let is_named = |kept: &KeptEntry| kept.name().is_none_or(|number| (number as usize) < names);
    if !acl.iter().all(is_named) || !acl.is_sorted_by_key(|kept| (kept.scope(), kept.kind())) {
        return inconsistent(format!("ACL of inode {id} is out of order or names nobody"));
    }
    namespace.keep_acl(handle, &acl);
    let mut xattrs = Vec::with_capacity(record.xattrs.len());
    for xattr in record.xattrs {
        match xattr.xattr() {
            Ok(xattr) => xattrs.push(xattr),
            Err(error) => return inconsistent(format!("attributes of inode {id}: {}", error.message)),
        }
    }
    namespace.keep_xattrs(handle, xattrs);
    Ok(())
}

/// Pools come before the directives that are in them.
fn add_cache(namespace: &mut Namespace, records: CacheRecords) -> Result<(), ImageError> {
    let table = &mut namespace.cache;
    for record in records.pools {
        let name = record.name.clone();
        let added = CachePool::from_record(record).is_some_and(|pool| table.restore_pool(pool));
        if !added {
            return inconsistent(format!("cache pool {name} is not whole or stands twice"));
        }
    }
    for record in records.directives {
        let id = record.id.unwrap_or_default();
        let directive = CacheDirective::from_record(record).filter(|directive| directive.id < records.next_directive);
        if !directive.is_some_and(|directive| table.restore_directive(directive)) {
            return inconsistent(format!(
                "cache directive {id} is not whole, stands twice or has no pool"
            ));
        }
    }
    table.restore_next_directive(records.next_directive);
    Ok(())
}

fn add_retry_entry(namespace: &mut Namespace, record: RetryRecord) -> Result<(), ImageError> {
    let Ok(client) = <[u8; 16]>::try_from(record.client_id.as_slice()) else {
        return inconsistent("client id of other than 16 bytes".to_owned());
    };
    if namespace.retry.len() >= RETRY_CACHE_MAX_ENTRIES {
        return inconsistent("too many retry entries".to_owned());
    }
    let answer = match record.outcome {
        Some(RetryOutcome::Done(_)) | None => Answer::Done,
        Some(RetryOutcome::Bool(answer)) => Answer::Bool(answer),
        Some(RetryOutcome::Created(status)) => Answer::Created(Box::new(status_of(status))),
        Some(RetryOutcome::Appended(appended)) => Answer::Appended(Box::new(Appended {
            last_block: appended.last_block.map(|block| (block.into(), appended.offset)),
            new_block: appended.new_block,
            status: status_of(appended.status),
        })),
        Some(RetryOutcome::CacheDirective(id)) => Answer::CacheDirective(id),
    };
    let expires = TimeMs(record.expires_ms);
    let key = (ClientId(client), CallId(record.call_id));
    namespace.retry.restore(key, RetryEntry { answer, expires });
    Ok(())
}

fn status_of(record: StatusRecord) -> FileStatus {
    FileStatus {
        name: String::new(),
        id: InodeId(record.id),
        is_directory: false,
        len: record.len,
        permission: FsPermission::from_wire(record.mode),
        owner: Arc::from(record.owner),
        group: Arc::from(record.group),
        mtime: TimeMs(record.mtime_ms),
        atime: TimeMs(record.atime_ms),
        replication: record.replication as u16,
        block_size: record.block_size,
        children: 0,
        storage_policy: record.storage_policy as u8,
        has_acl: record.has_acl,
    }
}
