//! From a namespace to slices.

use super::records::{
    AppendedRecord, AttributesRecord, AttributesRecords, BlockRecord, CacheRecords, EndRecord, FileRecord,
    HeaderRecord, InodeRecord, InodeRecords, OpenRecord, QuotaRecord, RetryOutcome, RetryRecord, RetryRecords,
    StatusRecord,
};
use super::slice::{SliceKind, encode_slice};
use crate::arena::Handle;
use crate::cache::{CacheDirective, CachePool, FIRST_DIRECTIVE};
use crate::command::XAttrRecord;
use crate::inode::InodeHandle;
use crate::namespace::Namespace;
use crate::quota::Quota;
use crate::retry::{Answer, RetryEntry, RetryKey};
use crate::status::FileStatus;

/// Inodes and blocks in a slice: about half a MiB.
const RECORDS_PER_SLICE: usize = 8192;
/// What an extended attribute counts for: it may have as many bytes as this many inodes.
const XATTR_WEIGHT: usize = 64;

/// The slices of an image, in the order they are written: header, inodes, attributes, cache, retry cache, end. Owns its snapshot.
pub struct ImageSlices {
    namespace: Namespace,
    stage: Stage,
    sequence: u32,
    totals: EndRecord,
}

enum Stage {
    Header,
    /// The next slot of the inode arena.
    Inodes(u32),
    /// The next slot of the inode arena.
    Attributes(u32),
    /// Pools and directives written.
    Cache(usize),
    /// Entries written.
    RetryCache(usize),
    End,
    Finished,
}

impl ImageSlices {
    pub(super) fn new(namespace: Namespace) -> Self {
        Self {
            namespace,
            stage: Stage::Header,
            sequence: 0,
            totals: EndRecord::default(),
        }
    }

    fn emit(&mut self, kind: SliceKind, record: &impl prost::Message) -> Vec<u8> {
        let slice = encode_slice(kind, self.sequence, record);
        self.sequence += 1;
        self.totals.slices += 1;
        slice
    }

    /// The inodes from slot `from` on that fit in a slice; `None` if there are no more.
    fn inodes(&mut self, from: u32) -> Option<Vec<u8>> {
        let mut slice = InodeRecords::default();
        let (mut next, mut blocks) = (from, 0);
        for (handle, _) in self.namespace.inodes.iter_from(from) {
            let record = inode_record(&self.namespace, handle);
            blocks += record.file.as_ref().map_or(0, |file| file.blocks.len());
            slice.inodes.push(record);
            next = handle.index() + 1;
            if slice.inodes.len() + blocks >= RECORDS_PER_SLICE {
                break;
            }
        }
        self.stage = Stage::Inodes(next);
        self.totals.inodes += slice.inodes.len() as u64;
        self.totals.blocks += blocks as u64;
        (!slice.inodes.is_empty()).then(|| self.emit(SliceKind::Inodes, &slice))
    }

    /// The ACLs and extended attributes of inodes from slot `from` on that fit in a slice; `None` if there are no more.
    fn attributes(&mut self, from: u32) -> Option<Vec<u8>> {
        let mut slice = AttributesRecords::default();
        let (mut next, mut weight) = (from, 0);
        for (handle, inode) in self.namespace.inodes.iter_from(from) {
            if !inode.has_acl() && !inode.has_xattrs() {
                continue;
            }
            let record = attributes_record(&self.namespace, handle);
            weight += 1 + record.acl.len() + record.xattrs.len() * XATTR_WEIGHT;
            slice.attributes.push(record);
            next = handle.index() + 1;
            if weight >= RECORDS_PER_SLICE {
                break;
            }
        }
        self.stage = Stage::Attributes(next);
        self.totals.attributes += slice.attributes.len() as u64;
        (!slice.attributes.is_empty()).then(|| self.emit(SliceKind::Attributes, &slice))
    }

    /// The cache pools and directives after the first `from` of both that fit in a slice; `None` if there are no more. The
    /// first slice is there as soon as a directive ever was: ids are not given out again.
    fn cache(&mut self, from: usize) -> Option<Vec<u8>> {
        let table = &self.namespace.cache;
        let pools: Vec<_> = table
            .pools()
            .skip(from)
            .take(RECORDS_PER_SLICE)
            .map(CachePool::record)
            .collect();
        let before = from.saturating_sub(table.pool_count());
        let room = RECORDS_PER_SLICE - pools.len();
        let directives: Vec<_> = table
            .directives_after(0)
            .skip(before)
            .take(room)
            .map(CacheDirective::record)
            .collect();
        let count = pools.len() + directives.len();
        let record = CacheRecords {
            next_directive: table.next_directive(),
            pools,
            directives,
        };
        self.stage = Stage::Cache((from + count).max(1));
        self.totals.cache += count as u64;
        let tells = count > 0 || (from == 0 && record.next_directive != FIRST_DIRECTIVE);
        tells.then(|| self.emit(SliceKind::Cache, &record))
    }

    /// The retry entries after the first `from` that fit in a slice; `None` if there are no more.
    fn retry_entries(&mut self, from: usize) -> Option<Vec<u8>> {
        let rest = self.namespace.retry.iter().skip(from);
        let entries: Vec<_> = rest.take(RECORDS_PER_SLICE).map(retry_record).collect();
        self.stage = Stage::RetryCache(from + entries.len());
        self.totals.retry_entries += entries.len() as u64;
        (!entries.is_empty()).then(|| self.emit(SliceKind::RetryCache, &RetryRecords { entries }))
    }
}

impl Iterator for ImageSlices {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            match self.stage {
                Stage::Header => {
                    self.stage = Stage::Inodes(0);
                    let record = header_record(&self.namespace);
                    return Some(self.emit(SliceKind::Header, &record));
                }
                Stage::Inodes(from) => match self.inodes(from) {
                    Some(slice) => return Some(slice),
                    None => self.stage = Stage::Attributes(0),
                },
                Stage::Attributes(from) => match self.attributes(from) {
                    Some(slice) => return Some(slice),
                    None => self.stage = Stage::Cache(0),
                },
                Stage::Cache(from) => match self.cache(from) {
                    Some(slice) => return Some(slice),
                    None => self.stage = Stage::RetryCache(0),
                },
                Stage::RetryCache(from) => match self.retry_entries(from) {
                    Some(slice) => return Some(slice),
                    None => self.stage = Stage::End,
                },
                Stage::End => {
                    self.stage = Stage::Finished;
                    let totals = self.totals.clone();
                    return Some(self.emit(SliceKind::End, &totals));
                }
                Stage::Finished => return None,
            }
        }
    }
}

fn header_record(namespace: &Namespace) -> HeaderRecord {
    let identity = &namespace.identity;
    let id_of = |&handle: &InodeHandle| namespace.inode(handle).id().0;
    HeaderRecord {
        namespace_id: identity.namespace_id,
        cluster_id: identity.cluster_id.clone(),
        block_pool: identity.block_pool.to_string(),
        created_ms: identity.created.0,
        next_inode: namespace.next_inode.0,
        next_block: namespace.next_block.0,
        last_stamp: namespace.last_stamp.0,
        names: namespace.names.iter().map(str::to_owned).collect(),
        detached: namespace.detached.iter().map(id_of).collect(),
    }
}

fn inode_record(namespace: &Namespace, handle: InodeHandle) -> InodeRecord {
    let inode = namespace.inode(handle);
    let file = (!inode.is_directory()).then(|| FileRecord {
        replication: u32::from(inode.replication()),
        block_size: inode.block_size(),
        blocks: namespace
            .blocks_of(handle)
            .map(|block| {
                let record = namespace.block(block);
                let recovery = namespace.recoveries.get(&record.id());
                BlockRecord {
                    id: record.id().0,
                    generation_stamp: record.stamp().0,
                    len: record.len(),
                    state: record.state as u32 + 1,
                    recovery_id: recovery.map_or(0, |recovery| recovery.id.0),
                    truncate_to: recovery.and_then(|recovery| recovery.truncate_to),
                }
            })
            .collect(),
        open: namespace.open_record(handle).map(|open| OpenRecord {
            holder: open.holder.to_string(),
            client_machine: open.client_machine.to_string(),
        }),
    });
    InodeRecord {
        id: inode.id().0,
        parent: inode.parent().map_or(0, |parent| namespace.inode(parent).id().0),
        name: inode.name.to_string(),
        mode: u32::from(inode.mode().bits()),
        user: inode.user(),
        group: inode.group(),
        mtime_ms: inode.mtime().0,
        atime_ms: inode.atime().0,
        storage_policy: u32::from(inode.storage_policy()),
        file,
        quota: namespace.quotas.get(&handle).map(quota_record),
    }
}

fn attributes_record(namespace: &Namespace, handle: InodeHandle) -> AttributesRecord {
    let id = namespace.inode(handle).id();
    AttributesRecord {
        id: id.0,
        acl: namespace.acls.get(id).iter().map(|kept| kept.0).collect(),
        xattrs: namespace.xattrs.get(id).iter().map(XAttrRecord::from).collect(),
    }
}

fn retry_record(((client, call), entry): (&RetryKey, &RetryEntry)) -> RetryRecord {
    let outcome = match &entry.answer {
        Answer::Done => RetryOutcome::Done(true),
        Answer::Bool(answer) => RetryOutcome::Bool(*answer),
        Answer::Created(status) => RetryOutcome::Created(status_record(status)),
        Answer::Appended(appended) => RetryOutcome::Appended(AppendedRecord {
            status: status_record(&appended.status),
            last_block: appended.last_block.map(|(block, _)| block.into()),
            offset: appended.last_block.map_or(0, |(_, offset)| offset),
            new_block: appended.new_block,
        }),
        Answer::CacheDirective(id) => RetryOutcome::CacheDirective(*id),
    };
    RetryRecord {
        client_id: client.0.to_vec(),
        call_id: call.0,
        expires_ms: entry.expires.0,
        outcome: Some(outcome),
    }
}

fn quota_record(quota: &Quota) -> QuotaRecord {
    QuotaRecord {
        names: quota.limits.names,
        space: quota.limits.space,
        by_type: quota.limits.by_type.to_vec(),
        used_names: quota.usage.names,
        used_space: quota.usage.space,
        used_by_type: quota.usage.by_type.to_vec(),
    }
}

/// Statuses in the retry cache are those of files just opened: no name, no children.
fn status_record(status: &FileStatus) -> StatusRecord {
    StatusRecord {
        id: status.id.0,
        len: status.len,
        mode: u32::from(status.permission.bits()),
        owner: status.owner.to_string(),
        group: status.group.to_string(),
        mtime_ms: status.mtime.0,
        atime_ms: status.atime.0,
        replication: u32::from(status.replication),
        block_size: status.block_size,
        storage_policy: u32::from(status.storage_policy),
        has_acl: status.has_acl,
    }
}
