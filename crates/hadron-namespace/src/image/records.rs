//! Records inside slices, as extensible as the journal's: tags are never reused, absent fields mean the default.

use crate::command::{BlockRef, CacheDirectiveRecord, CachePoolRecord, XAttrRecord};
use prost::{Message, Oneof};

/// The one record of a header slice.
#[derive(Clone, PartialEq, Message)]
pub(super) struct HeaderRecord {
    #[prost(uint32, tag = "1")]
    pub(super) namespace_id: u32,
    #[prost(string, tag = "2")]
    pub(super) cluster_id: String,
    #[prost(string, tag = "3")]
    pub(super) block_pool: String,
    #[prost(uint64, tag = "4")]
    pub(super) created_ms: u64,
    #[prost(uint64, tag = "5")]
    pub(super) next_inode: u64,
    #[prost(sfixed64, tag = "6")]
    pub(super) next_block: i64,
    #[prost(uint64, tag = "7")]
    pub(super) last_stamp: u64,
    /// User and group names; inodes hold positions in this list.
    #[prost(string, repeated, tag = "8")]
    pub(super) names: Vec<String>,
    /// Roots of detached trees, the one freed first last.
    #[prost(uint64, repeated, tag = "9")]
    pub(super) detached: Vec<u64>,
}

/// The payload of an inode slice.
#[derive(Clone, PartialEq, Message)]
pub(super) struct InodeRecords {
    #[prost(message, repeated, tag = "1")]
    pub(super) inodes: Vec<InodeRecord>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct InodeRecord {
    #[prost(uint64, tag = "1")]
    pub(super) id: u64,
    /// 0 for the root and for roots of detached trees.
    #[prost(uint64, tag = "2")]
    pub(super) parent: u64,
    #[prost(string, tag = "3")]
    pub(super) name: String,
    #[prost(uint32, tag = "4")]
    pub(super) mode: u32,
    #[prost(uint32, tag = "5")]
    pub(super) user: u32,
    #[prost(uint32, tag = "6")]
    pub(super) group: u32,
    #[prost(uint64, tag = "7")]
    pub(super) mtime_ms: u64,
    #[prost(uint64, tag = "8")]
    pub(super) atime_ms: u64,
    #[prost(uint32, tag = "9")]
    pub(super) storage_policy: u32,
    /// Present for files.
    #[prost(message, optional, tag = "10")]
    pub(super) file: Option<FileRecord>,
    /// Present for directories with a quota.
    #[prost(message, optional, tag = "11")]
    pub(super) quota: Option<QuotaRecord>,
}

/// Limits, -1 for none, and counters of a directory. Storage types in the order SSD, DISK, ARCHIVE, PROVIDED.
#[derive(Clone, PartialEq, Message)]
pub(super) struct QuotaRecord {
    #[prost(sint64, tag = "1")]
    pub(super) names: i64,
    #[prost(sint64, tag = "2")]
    pub(super) space: i64,
    #[prost(sint64, repeated, tag = "3")]
    pub(super) by_type: Vec<i64>,
    #[prost(sint64, tag = "4")]
    pub(super) used_names: i64,
    #[prost(sint64, tag = "5")]
    pub(super) used_space: i64,
    #[prost(sint64, repeated, tag = "6")]
    pub(super) used_by_type: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct FileRecord {
    #[prost(uint32, tag = "1")]
    pub(super) replication: u32,
    #[prost(uint64, tag = "2")]
    pub(super) block_size: u64,
    #[prost(message, repeated, tag = "3")]
    pub(super) blocks: Vec<BlockRecord>,
    /// Present for files open for writing.
    #[prost(message, optional, tag = "4")]
    pub(super) open: Option<OpenRecord>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct BlockRecord {
    #[prost(sfixed64, tag = "1")]
    pub(super) id: i64,
    #[prost(uint64, tag = "2")]
    pub(super) generation_stamp: u64,
    #[prost(uint64, tag = "3")]
    pub(super) len: u64,
    /// Number of `BlockState`, plus 1 so that an absent field is an error.
    #[prost(uint32, tag = "4")]
    pub(super) state: u32,
    /// Stamp of the running recovery; 0 = none.
    #[prost(uint64, tag = "5")]
    pub(super) recovery_id: u64,
    /// Bytes that a truncation under way leaves of the block; absent: none is.
    #[prost(uint64, optional, tag = "6")]
    pub(super) truncate_to: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct OpenRecord {
    #[prost(string, tag = "1")]
    pub(super) holder: String,
    #[prost(string, tag = "2")]
    pub(super) client_machine: String,
}

/// The payload of an attributes slice: inodes with an ACL or extended attributes.
#[derive(Clone, PartialEq, Message)]
pub(super) struct AttributesRecords {
    #[prost(message, repeated, tag = "1")]
    pub(super) attributes: Vec<AttributesRecord>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct AttributesRecord {
    #[prost(uint64, tag = "1")]
    pub(super) id: u64,
    /// Kept ACL entries: name number 24 | has a name 1 | permission 3 | type 2 | scope 1, the name being a position in
    /// the header's list.
    #[prost(uint32, repeated, tag = "2")]
    pub(super) acl: Vec<u32>,
    /// Extended attributes, the newest first.
    #[prost(message, repeated, tag = "3")]
    pub(super) xattrs: Vec<XAttrRecord>,
}

/// The payload of a retry-cache slice.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RetryRecords {
    #[prost(message, repeated, tag = "1")]
    pub(super) entries: Vec<RetryRecord>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct RetryRecord {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) client_id: Vec<u8>,
    #[prost(sint32, tag = "2")]
    pub(super) call_id: i32,
    #[prost(uint64, tag = "3")]
    pub(super) expires_ms: u64,
    #[prost(oneof = "RetryOutcome", tags = "4, 5, 6, 7, 8")]
    pub(super) outcome: Option<RetryOutcome>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum RetryOutcome {
    /// Done without an answer.
    #[prost(bool, tag = "4")]
    Done(bool),
    /// A yes-or-no answer.
    #[prost(bool, tag = "5")]
    Bool(bool),
    /// Answer to create.
    #[prost(message, tag = "6")]
    Created(StatusRecord),
    /// Answer to append.
    #[prost(message, tag = "7")]
    Appended(AppendedRecord),
    /// Answer to addCacheDirective.
    #[prost(sint64, tag = "8")]
    CacheDirective(i64),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct StatusRecord {
    #[prost(uint64, tag = "1")]
    pub(super) id: u64,
    #[prost(uint64, tag = "2")]
    pub(super) len: u64,
    #[prost(uint32, tag = "3")]
    pub(super) mode: u32,
    #[prost(string, tag = "4")]
    pub(super) owner: String,
    #[prost(string, tag = "5")]
    pub(super) group: String,
    #[prost(uint64, tag = "6")]
    pub(super) mtime_ms: u64,
    #[prost(uint64, tag = "7")]
    pub(super) atime_ms: u64,
    #[prost(uint32, tag = "8")]
    pub(super) replication: u32,
    #[prost(uint64, tag = "9")]
    pub(super) block_size: u64,
    #[prost(uint32, tag = "10")]
    pub(super) storage_policy: u32,
    #[prost(bool, tag = "11")]
    pub(super) has_acl: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct AppendedRecord {
    #[prost(message, required, tag = "1")]
    pub(super) status: StatusRecord,
    #[prost(message, optional, tag = "2")]
    pub(super) last_block: Option<BlockRef>,
    #[prost(uint64, tag = "3")]
    pub(super) offset: u64,
    #[prost(bool, tag = "4")]
    pub(super) new_block: bool,
}

/// The payload of a cache slice: pools by name, then directives by id. Every field of both is there; expirations are
/// absolute.
#[derive(Clone, PartialEq, Message)]
pub(super) struct CacheRecords {
    /// The id of the next directive; the same in all slices.
    #[prost(sint64, tag = "1")]
    pub(super) next_directive: i64,
    #[prost(message, repeated, tag = "2")]
    pub(super) pools: Vec<CachePoolRecord>,
    #[prost(message, repeated, tag = "3")]
    pub(super) directives: Vec<CacheDirectiveRecord>,
}

/// The one record of an end slice: what must have been there.
#[derive(Clone, PartialEq, Message)]
pub(super) struct EndRecord {
    #[prost(uint64, tag = "1")]
    pub(super) slices: u64,
    #[prost(uint64, tag = "2")]
    pub(super) inodes: u64,
    #[prost(uint64, tag = "3")]
    pub(super) blocks: u64,
    #[prost(uint64, tag = "4")]
    pub(super) retry_entries: u64,
    /// Inodes with an ACL or extended attributes.
    #[prost(uint64, tag = "20")]
    pub(super) attributes: u64,
    /// Cache pools and directives together.
    #[prost(uint64, tag = "21")]
    pub(super) cache: u64,
}
