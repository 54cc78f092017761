//! Commands: the records of the journal that change the namespace. Byte map: docs/formats/journal-commands.md.
//!
//! A command carries every input of its outcome: who asks, when, which limits hold, and the facts about replicas that
//! were checked before it was proposed. Applying one reads no clock, no configuration and no soft state.
//!
//! Records only grow: a tag is never reused, an absent field means what it meant before the field existed.
//! Reserved tags of [`Op`] for later work are listed in the format page.

use hadron_types::{Block, BlockId, CallId, ClientId, GenerationStamp, TimeMs};
use prost::{Message, Oneof};

/// Version of the rules by which commands are applied; the journal keeps it with each entry.
///
/// 2: directories made on the way to another are not sticky.
pub const RULES_VERSION: u32 = 2;

/// One mutation.
#[derive(Clone, PartialEq, Message)]
pub struct Command {
    /// Who asks.
    #[prost(message, required, tag = "1")]
    pub caller: Caller,
    /// When, in ms since 1970; the log's owner makes it non-decreasing.
    #[prost(uint64, tag = "2")]
    pub time_ms: u64,
    /// Which call of which client, for at-most-once operations; absent: no retry protection.
    #[prost(message, optional, tag = "3")]
    pub call: Option<CallKey>,
    /// Limits that differ from Hadoop's defaults.
    #[prost(message, optional, tag = "4")]
    pub limits: Option<Limits>,
    /// What to do. `None` after decoding a command of a newer version; it applies as an error.
    #[prost(
        oneof = "Op",
        tags = "16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 40, 41, 42, \
                43, 44, 46, 47, 48, 49, 50, 51, 52, 58, 59, 60, 61, 62, 63"
    )]
    pub op: Option<Op>,
}

impl Command {
    /// A command without retry protection and with default limits.
    pub fn new(caller: Caller, time: TimeMs, op: impl Into<Op>) -> Self {
        Self {
            caller,
            time_ms: time.0,
            call: None,
            limits: None,
            op: Some(op.into()),
        }
    }
    /// Adds the key under which a repeated call finds this command's outcome.
    #[must_use]
    pub fn with_call(mut self, client: ClientId, call: CallId) -> Self {
        self.call = Some(CallKey {
            client_id: bytes::Bytes::copy_from_slice(&client.0),
            call_id: call.0,
        });
        self
    }
    /// Adds limits; those equal to the defaults are left out of the record.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = (limits != Limits::default()).then_some(limits);
        self
    }
    /// When the command was made.
    pub fn time(&self) -> TimeMs {
        TimeMs(self.time_ms)
    }
}

/// The user on whose behalf a command or query runs.
///
/// With `dfs.permissions.enabled` off the shell sets `superuser` for everybody.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Caller {
    /// Short user name.
    #[prost(string, tag = "1")]
    pub user: String,
    /// Groups of the user, as the NameNode resolved them.
    #[prost(string, repeated, tag = "2")]
    pub groups: Vec<String>,
    /// Whether the user runs the NameNode or is in the supergroup.
    #[prost(bool, tag = "3")]
    pub superuser: bool,
}

impl Caller {
    /// A superuser called `user`, as the NameNode itself is.
    pub fn superuser(user: &str) -> Self {
        Self {
            user: user.to_owned(),
            groups: Vec::new(),
            superuser: true,
        }
    }
    /// An ordinary user.
    pub fn user(user: &str, groups: &[&str]) -> Self {
        Self {
            user: user.to_owned(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            superuser: false,
        }
    }
}

/// Key of the retry cache.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct CallKey {
    /// 16 bytes; other lengths mean no protection.
    #[prost(bytes = "bytes", tag = "1")]
    pub client_id: bytes::Bytes,
    /// The client's number of the call; negative ones mean no protection.
    #[prost(sint32, tag = "2")]
    pub call_id: i32,
}

impl CallKey {
    /// The typed key; `None` if the call has no retry protection.
    pub fn key(&self) -> Option<(ClientId, CallId)> {
        let client: [u8; 16] = self.client_id.as_ref().try_into().ok()?;
        (self.call_id >= 0).then_some((ClientId(client), CallId(self.call_id)))
    }
}

/// Configured limits; an absent field is Hadoop's default.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Limits {
    /// `dfs.namenode.fs-limits.max-component-length` (255 bytes, 0 = none).
    #[prost(uint32, optional, tag = "1")]
    pub max_component_len: Option<u32>,
    /// `dfs.namenode.fs-limits.max-directory-items` (1048576).
    #[prost(uint32, optional, tag = "2")]
    pub max_directory_items: Option<u32>,
    /// `dfs.namenode.fs-limits.min-block-size` (1 MiB).
    #[prost(uint64, optional, tag = "3")]
    pub min_block_size: Option<u64>,
    /// `dfs.namenode.fs-limits.max-blocks-per-file` (10000).
    #[prost(uint32, optional, tag = "4")]
    pub max_blocks_per_file: Option<u32>,
    /// `dfs.namenode.replication.min` (1).
    #[prost(uint32, optional, tag = "5")]
    pub min_replication: Option<u32>,
    /// `dfs.replication.max` (512).
    #[prost(uint32, optional, tag = "6")]
    pub max_replication: Option<u32>,
    /// `dfs.namenode.accesstime.precision` (3600000 ms; 0 = access times are off).
    #[prost(uint64, optional, tag = "7")]
    pub access_time_precision_ms: Option<u64>,
    /// `dfs.namenode.posix.acl.inheritance.enabled` (true).
    #[prost(bool, optional, tag = "20")]
    pub posix_acl_inheritance: Option<bool>,
    /// `dfs.namenode.fs-limits.max-xattrs-per-inode` (32).
    #[prost(uint32, optional, tag = "21")]
    pub max_xattrs_per_inode: Option<u32>,
    /// `dfs.namenode.fs-limits.max-xattr-size` (16384 bytes of name and value).
    #[prost(uint32, optional, tag = "22")]
    pub max_xattr_len: Option<u32>,
    /// `dfs.namenode.max.objects` (0 = none): inodes and blocks.
    #[prost(uint64, optional, tag = "8")]
    pub max_objects: Option<u64>,
}

/// A block as a command carries it.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct BlockRef {
    /// Block id (negative ones belong to Apache's older clusters).
    #[prost(sfixed64, tag = "1")]
    pub id: i64,
    /// Generation stamp.
    #[prost(uint64, tag = "2")]
    pub generation_stamp: u64,
    /// Length in bytes.
    #[prost(uint64, tag = "3")]
    pub len: u64,
}

impl From<Block> for BlockRef {
    fn from(block: Block) -> Self {
        Self {
            id: block.id.0,
            generation_stamp: block.generation_stamp.0,
            len: block.len,
        }
    }
}

impl From<BlockRef> for Block {
    fn from(block: BlockRef) -> Self {
        Self {
            id: BlockId(block.id),
            generation_stamp: GenerationStamp(block.generation_stamp),
            len: block.len,
        }
    }
}

/// The flags of [`Create::flags`] (Hadoop's `CreateFlag`).
pub mod create_flag {
    /// Make the file if it is missing.
    pub const CREATE: u32 = 0x01;
    /// Replace the file if it exists.
    pub const OVERWRITE: u32 = 0x02;
    /// Append to the file.
    pub const APPEND: u32 = 0x04;
    /// Keep replicas in memory first.
    pub const LAZY_PERSIST: u32 = 0x10;
    /// Append into a new block.
    pub const NEW_BLOCK: u32 = 0x20;
    /// Replicate even under an erasure-coded directory.
    pub const SHOULD_REPLICATE: u32 = 0x80;
}

macro_rules! ops {
    ($($(#[$doc:meta])* $tag:literal $name:ident { $($(#[$field:meta])* $id:ident: $type:ty,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, PartialEq, Message)]
            pub struct $name {
                $($(#[$field])* pub $id: $type,)*
            }
            impl From<$name> for Op {
                fn from(op: $name) -> Self {
                    Self::$name(op)
                }
            }
        )*
        /// The operations.
        #[derive(Clone, PartialEq, Oneof)]
        pub enum Op {
            $(
                $(#[$doc])*
                #[prost(message, tag = $tag)]
                $name($name),
            )*
        }
        impl Op {
            /// The operation's name, for logs and metrics.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => stringify!($name),)*
                }
            }
        }
    };
}

ops! {
    /// Makes a file and opens it for writing; may delete the one it replaces.
    "16" Create {
        /// Absolute path.
        #[prost(string, tag = "1")]
        path: String,
        /// Mode, umask already applied by the client.
        #[prost(uint32, tag = "2")]
        masked_permission: u32,
        /// Lease holder.
        #[prost(string, tag = "3")]
        holder: String,
        /// Address of the client, for texts and placement.
        #[prost(string, tag = "4")]
        client_machine: String,
        /// [`create_flag`] bits.
        #[prost(uint32, tag = "5")]
        flags: u32,
        /// Whether missing ancestors are made.
        #[prost(bool, tag = "6")]
        create_parent: bool,
        /// Wanted replicas.
        #[prost(sint32, tag = "7")]
        replication: i32,
        /// Bytes per block.
        #[prost(uint64, tag = "8")]
        block_size: u64,
        /// Mode before the umask, for default ACLs; absent from 2.x clients.
        #[prost(uint32, optional, tag = "9")]
        unmasked_permission: Option<u32>,
        /// Name of the storage policy the file gets; absent or empty: it inherits one.
        #[prost(string, optional, tag = "10")]
        storage_policy: Option<String>,
    }
    /// Opens a closed file for appending.
    "17" Append {
        /// Absolute path.
        #[prost(string, tag = "1")]
        path: String,
        /// Lease holder.
        #[prost(string, tag = "2")]
        holder: String,
        /// Address of the client.
        #[prost(string, tag = "3")]
        client_machine: String,
        /// Whether writing goes on in a new block.
        #[prost(bool, tag = "4")]
        new_block: bool,
        /// Fact: the last block has at least the minimum of live replicas (true as well if there is no block).
        #[prost(bool, tag = "5")]
        last_block_replicated: bool,
    }
    /// Commits the previous block and allocates the next one.
    "18" AddBlock {
        /// Path, for texts and for clients without `file_id`.
        #[prost(string, tag = "1")]
        path: String,
        /// The file's inode; 0 = resolve the path.
        #[prost(uint64, tag = "2")]
        file_id: u64,
        /// Lease holder.
        #[prost(string, tag = "3")]
        holder: String,
        /// The last block with its final length; absent for the first.
        #[prost(message, optional, tag = "4")]
        previous: Option<BlockRef>,
        /// Fact: blocks of the file that have at least the minimum of live replicas (the last two matter).
        #[prost(sfixed64, repeated, tag = "5")]
        replicated: Vec<i64>,
    }
    /// Removes the last block if it is the one named.
    "19" AbandonBlock {
        /// Path.
        #[prost(string, tag = "1")]
        path: String,
        /// The file's inode; 0 = resolve the path.
        #[prost(uint64, tag = "2")]
        file_id: u64,
        /// Lease holder.
        #[prost(string, tag = "3")]
        holder: String,
        /// The block to give up.
        #[prost(message, required, tag = "4")]
        block: BlockRef,
    }
    /// Commits the last block and closes the file if all blocks are replicated.
    "20" Complete {
        /// Path.
        #[prost(string, tag = "1")]
        path: String,
        /// The file's inode; 0 = resolve the path.
        #[prost(uint64, tag = "2")]
        file_id: u64,
        /// Lease holder.
        #[prost(string, tag = "3")]
        holder: String,
        /// The last block with its final length; absent for a file without blocks.
        #[prost(message, optional, tag = "4")]
        last: Option<BlockRef>,
        /// Fact: blocks of the file that have at least the minimum of live replicas (the last two matter).
        #[prost(sfixed64, repeated, tag = "5")]
        replicated: Vec<i64>,
    }
    /// Records the length of the block being written.
    "21" Fsync {
        /// Path.
        #[prost(string, tag = "1")]
        path: String,
        /// The file's inode; 0 = resolve the path.
        #[prost(uint64, tag = "2")]
        file_id: u64,
        /// Lease holder.
        #[prost(string, tag = "3")]
        holder: String,
        /// Bytes of the last block that are safe; <= 0 leaves the length as it is.
        #[prost(sint64, tag = "4")]
        last_block_len: i64,
    }
    /// Makes a directory.
    "22" Mkdirs {
        /// Absolute path.
        #[prost(string, tag = "1")]
        path: String,
        /// Mode, umask already applied by the client.
        #[prost(uint32, tag = "2")]
        masked_permission: u32,
        /// Whether missing ancestors are made.
        #[prost(bool, tag = "3")]
        create_parent: bool,
        /// Mode before the umask, for default ACLs; absent from 2.x clients.
        #[prost(uint32, optional, tag = "4")]
        unmasked_permission: Option<u32>,
    }
    /// The old rename: moves into an existing directory, answers false where it cannot.
    "23" Rename {
        /// What to move.
        #[prost(string, tag = "1")]
        source: String,
        /// Where to.
        #[prost(string, tag = "2")]
        target: String,
        /// Directories that may not go while they are not empty.
        #[prost(message, optional, tag = "3")]
        protected: Option<ProtectedDirectories>,
    }
    /// The exact rename.
    "24" Rename2 {
        /// What to move.
        #[prost(string, tag = "1")]
        source: String,
        /// Its new path.
        #[prost(string, tag = "2")]
        target: String,
        /// Whether an existing target is replaced.
        #[prost(bool, tag = "3")]
        overwrite: bool,
        /// Whether this is a move to the trash.
        #[prost(bool, tag = "4")]
        to_trash: bool,
        /// Directories that may not go while they are not empty.
        #[prost(message, optional, tag = "5")]
        protected: Option<ProtectedDirectories>,
    }
    /// Detaches a subtree; what is not freed at once is freed by [`Reclaim`].
    "25" Delete {
        /// Absolute path.
        #[prost(string, tag = "1")]
        path: String,
        /// Whether a non-empty directory may go.
        #[prost(bool, tag = "2")]
        recursive: bool,
        /// Directories that may not go while they are not empty.
        #[prost(message, optional, tag = "3")]
        protected: Option<ProtectedDirectories>,
    }
    /// Frees a slice of detached trees. Proposed by the NameNode itself.
    "26" Reclaim {
        /// Most inodes and blocks to free; 0 means the default slice.
        #[prost(uint32, tag = "1")]
        budget: u32,
    }
    /// Changes mode bits.
    "27" SetPermission {
        /// Absolute path.
        #[prost(string, tag = "1")]
        path: String,
        /// New mode.
        #[prost(uint32, tag = "2")]
        permission: u32,
    }
    /// Changes owner or group.
    "28" SetOwner {
        /// Absolute path.
        #[prost(string, tag = "1")]
        path: String,
        /// New owner; absent: unchanged.
        #[prost(string, optional, tag = "2")]
        user: Option<String>,
        /// New group; absent: unchanged.
        #[prost(string, optional, tag = "3")]
        group: Option<String>,
    }
    /// Changes modification and access times.
    "29" SetTimes {
        /// Absolute path.
        #[prost(string, tag = "1")]
        path: String,
        /// New modification time in ms; absent (-1 on the wire): unchanged.
        #[prost(uint64, optional, tag = "2")]
        mtime_ms: Option<u64>,
        /// New access time in ms; absent (-1 on the wire): unchanged.
        #[prost(uint64, optional, tag = "3")]
        atime_ms: Option<u64>,
    }
    /// Changes the wanted replicas of a file.
    "30" SetReplication {
        /// Absolute path.
        #[prost(string, tag = "1")]
        path: String,
        /// New replication.
        #[prost(sint32, tag = "2")]
        replication: i32,
    }
    /// Records that files were read, coalesced by the NameNode; never waited for.
    "31" UpdateAccessTimes {
        /// The files; those gone meanwhile are skipped.
        #[prost(message, repeated, tag = "1")]
        files: Vec<AccessTime>,
    }
    /// Gives out the next generation stamp for a block whose pipeline is being rebuilt.
    "32" UpdateBlockForPipeline {
        /// The block.
        #[prost(message, required, tag = "1")]
        block: BlockRef,
        /// Lease holder.
        #[prost(string, tag = "2")]
        holder: String,
    }
    /// Records the new stamp and length after a pipeline was rebuilt.
    "33" UpdatePipeline {
        /// Lease holder.
        #[prost(string, tag = "1")]
        holder: String,
        /// The block before.
        #[prost(message, required, tag = "2")]
        old: BlockRef,
        /// The block now.
        #[prost(message, required, tag = "3")]
        new: BlockRef,
    }
    /// Ends a writer's ownership of a file: closes it, or starts recovery of its last block.
    ///
    /// Serves soft-limit takers, the hard-limit monitor and `recoverLease` (Hadoop's `internalReleaseLease`).
    "34" ReleaseLease {
        /// The file.
        #[prost(uint64, tag = "1")]
        file_id: u64,
        /// Who owns the lease while recovery runs; absent: the present holder goes on owning it.
        #[prost(string, optional, tag = "2")]
        new_holder: Option<String>,
        /// Fact: blocks of the file that have at least the minimum of live replicas.
        #[prost(sfixed64, repeated, tag = "3")]
        replicated: Vec<i64>,
        /// Fact: some DataNode is known or expected to hold the last block.
        #[prost(bool, tag = "4")]
        last_block_has_replicas: bool,
        /// Whether a committed last block that is short of replicas is recovered too, so that a file does not stay open
        /// for good whose DataNodes never finished it. Absent in old journals: it is waited for.
        #[prost(bool, tag = "5")]
        recover_committed: bool,
    }
    /// Gives an open file to another holder, leaving its blocks as they are; for files that cannot be recovered yet.
    "35" ReassignLease {
        /// The file.
        #[prost(uint64, tag = "1")]
        file_id: u64,
        /// The new holder.
        #[prost(string, tag = "2")]
        new_holder: String,
    }
    /// The result of block recovery, as the primary DataNode reports it.
    "36" CommitBlockSynchronization {
        /// The block before recovery.
        #[prost(message, required, tag = "1")]
        block: BlockRef,
        /// Stamp of the recovery.
        #[prost(uint64, tag = "2")]
        new_generation_stamp: u64,
        /// Length that all replicas now have.
        #[prost(uint64, tag = "3")]
        new_len: u64,
        /// Whether the file is to be closed.
        #[prost(bool, tag = "4")]
        close_file: bool,
        /// Whether the block turned out to have no data and goes.
        #[prost(bool, tag = "5")]
        delete_block: bool,
        /// Fact: other blocks of the file that have at least the minimum of live replicas.
        #[prost(sfixed64, repeated, tag = "6")]
        replicated: Vec<i64>,
    }
    /// Does nothing; for tests of logs and as a barrier.
    "37" Noop {}
    /// Moves the blocks of files of the same directory to the end of another and removes them.
    "40" Concat {
        /// Absolute path of the file that grows.
        #[prost(string, tag = "1")]
        target: String,
        /// Absolute paths of the files that vanish, in the order of their blocks.
        #[prost(string, repeated, tag = "2")]
        sources: Vec<String>,
    }
    /// Cuts a file's end off.
    "41" Truncate {
        /// Absolute path.
        #[prost(string, tag = "1")]
        path: String,
        /// Bytes to leave; negative ones are refused.
        #[prost(sint64, tag = "2")]
        new_len: i64,
        /// Lease holder while the last block is being cut.
        #[prost(string, tag = "3")]
        holder: String,
        /// Address of the client.
        #[prost(string, tag = "4")]
        client_machine: String,
    }
    /// Changes what a directory may take.
    "42" SetQuota {
        /// Absolute path.
        #[prost(string, tag = "1")]
        path: String,
        /// Names: `i64::MAX` keeps the quota as it is, -1 takes it away.
        #[prost(sint64, tag = "2")]
        names: i64,
        /// Bytes times replication, or bytes of `storage_type`; as above.
        #[prost(sint64, tag = "3")]
        space: i64,
        /// Wire number of the storage type that `space` is about; absent: all.
        #[prost(uint32, optional, tag = "4")]
        storage_type: Option<u32>,
        /// Switch: the owner of the parent may as well (`dfs.permissions.allow.owner.set.quota`).
        #[prost(bool, tag = "5")]
        allow_owner: bool,
        /// Switch: quotas by storage type are refused (`dfs.quota.by.storage.type.enabled` is false).
        #[prost(bool, tag = "6")]
        types_disabled: bool,
    }
    /// Sets the storage policy of a file or directory.
    "43" SetStoragePolicy {
        /// Absolute path.
        #[prost(string, tag = "1")]
        path: String,
        /// The policy's name, any case.
        #[prost(string, tag = "2")]
        policy: String,
        /// Switch: only superusers may (`dfs.storage.policy.permissions.superuser-only`).
        #[prost(bool, tag = "3")]
        superuser_only: bool,
    }
    /// Takes the storage policy of a file or directory away, so that it inherits one.
    "44" UnsetStoragePolicy {
        /// Absolute path.
        #[prost(string, tag = "1")]
        path: String,
        /// Switch: only superusers may.
        #[prost(bool, tag = "2")]
        superuser_only: bool,
    }
    /// Replaces an ACL, or that scope of it about which something is said.
    "46" SetAcl {
        /// Absolute path.
        #[prost(string, tag = "1")]
        path: String,
        /// The new entries; none removes the ACL.
        #[prost(message, repeated, tag = "2")]
        entries: Vec<AclEntryRecord>,
    }
    /// Adds entries to an ACL, replacing those about the same.
    "47" ModifyAclEntries {
        /// Absolute path.
        #[prost(string, tag = "1")]
        path: String,
        /// The entries.
        #[prost(message, repeated, tag = "2")]
        entries: Vec<AclEntryRecord>,
    }
    /// Takes entries out of an ACL.
    "48" RemoveAclEntries {
        /// Absolute path.
        #[prost(string, tag = "1")]
        path: String,
        /// What is named here goes; permissions do not matter.
        #[prost(message, repeated, tag = "2")]
        entries: Vec<AclEntryRecord>,
    }
    /// Takes an ACL away.
    "49" RemoveAcl {
        /// Absolute path.
        #[prost(string, tag = "1")]
        path: String,
    }
    /// Takes the default entries out of an ACL.
    "50" RemoveDefaultAcl {
        /// Absolute path.
        #[prost(string, tag = "1")]
        path: String,
    }
    /// Sets an extended attribute.
    "51" SetXAttr {
        /// Absolute path.
        #[prost(string, tag = "1")]
        path: String,
        /// The attribute.
        #[prost(message, required, tag = "2")]
        xattr: XAttrRecord,
        /// [`xattr_flag`] bits.
        #[prost(uint32, tag = "3")]
        flags: u32,
    }
    /// Removes an extended attribute.
    "52" RemoveXAttr {
        /// Absolute path.
        #[prost(string, tag = "1")]
        path: String,
        /// Which; its value does not matter.
        #[prost(message, required, tag = "2")]
        xattr: XAttrRecord,
    }
    /// Makes a cache pool.
    "58" AddCachePool {
        /// The pool; absent fields get Hadoop's defaults.
        #[prost(message, required, tag = "1")]
        pool: CachePoolRecord,
    }
    /// Changes a cache pool.
    "59" ModifyCachePool {
        /// Its name, and what changes.
        #[prost(message, required, tag = "1")]
        pool: CachePoolRecord,
    }
    /// Removes a cache pool with its directives.
    "60" RemoveCachePool {
        /// Which.
        #[prost(string, tag = "1")]
        name: String,
    }
    /// Makes a cache directive.
    "61" AddCacheDirective {
        /// The directive, without an id.
        #[prost(message, required, tag = "1")]
        directive: CacheDirectiveRecord,
        /// Whether the pool's limit is passed over.
        #[prost(bool, tag = "2")]
        force: bool,
        /// Fact: what the directives of the pool ask for.
        #[prost(message, optional, tag = "3")]
        demand: Option<CacheDemand>,
    }
    /// Changes a cache directive.
    "62" ModifyCacheDirective {
        /// Its id, and what changes.
        #[prost(message, required, tag = "1")]
        directive: CacheDirectiveRecord,
        /// Whether the limit of another pool is passed over.
        #[prost(bool, tag = "2")]
        force: bool,
        /// Fact: what the directives of the pool it comes to ask for.
        #[prost(message, optional, tag = "3")]
        demand: Option<CacheDemand>,
    }
    /// Removes a cache directive.
    "63" RemoveCacheDirective {
        /// Which.
        #[prost(sint64, tag = "1")]
        id: i64,
    }
}

/// A cache pool as a command carries it: an absent field is left as it is, or gets its default.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct CachePoolRecord {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Owner; default: the caller.
    #[prost(string, optional, tag = "2")]
    pub owner: Option<String>,
    /// Group; default: the caller's first one.
    #[prost(string, optional, tag = "3")]
    pub group: Option<String>,
    /// Mode; default: 0755.
    #[prost(uint32, optional, tag = "4")]
    pub mode: Option<u32>,
    /// Most bytes its directives may ask for; default: [`NO_CACHE_LIMIT`].
    #[prost(sint64, optional, tag = "5")]
    pub limit: Option<i64>,
    /// Replicas of directives that do not say how many; default: 1.
    #[prost(sint32, optional, tag = "6")]
    pub default_replication: Option<i32>,
    /// Longest life of a directive in ms; default: [`NO_CACHE_EXPIRY_MS`].
    #[prost(sint64, optional, tag = "7")]
    pub max_relative_expiry_ms: Option<i64>,
}

/// A cache directive as a command carries it: an absent field is left as it is, or gets its default.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct CacheDirectiveRecord {
    /// Id.
    #[prost(sint64, optional, tag = "1")]
    pub id: Option<i64>,
    /// Path of a file or directory, which need not exist.
    #[prost(string, optional, tag = "2")]
    pub path: Option<String>,
    /// Cached replicas; default: the pool's.
    #[prost(sint32, optional, tag = "3")]
    pub replication: Option<i32>,
    /// The pool.
    #[prost(string, optional, tag = "4")]
    pub pool: Option<String>,
    /// When it ends; default: after the pool's longest life.
    #[prost(message, optional, tag = "5")]
    pub expiration: Option<CacheExpiration>,
}

/// When a cache directive ends.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct CacheExpiration {
    /// Milliseconds, from the command's time or from 1970 on.
    #[prost(sint64, tag = "1")]
    pub millis: i64,
    /// Whether they count from the command's time.
    #[prost(bool, tag = "2")]
    pub is_relative: bool,
}

/// Fact: how much the directives of a pool ask for, as the last look at them found it.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct CacheDemand {
    /// Bytes times replication.
    #[prost(uint64, tag = "1")]
    pub bytes: u64,
    /// Directives with this id and greater ones are not in it yet.
    #[prost(sint64, tag = "2")]
    pub next_directive: i64,
}

/// The limit of a cache pool that has none.
pub const NO_CACHE_LIMIT: i64 = i64::MAX;
/// Life of a cache directive that does not end, ms; no directive may ask for more.
pub const NO_CACHE_EXPIRY_MS: i64 = i64::MAX / 4;

/// Switches: `fs.protected.directories` and `dfs.protected.subdirectories.enable`, as far as they matter to a command.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ProtectedDirectories {
    /// Absolute paths, normalised.
    #[prost(string, repeated, tag = "1")]
    pub paths: Vec<String>,
    /// Whether what lies below a protected directory is protected too.
    #[prost(bool, tag = "2")]
    pub below: bool,
}

/// The flags of [`SetXAttr::flags`] (Hadoop's `XAttrSetFlag`).
pub mod xattr_flag {
    /// The attribute may be new.
    pub const CREATE: u32 = 1;
    /// The attribute may exist.
    pub const REPLACE: u32 = 2;
}

/// An ACL entry as a command carries it; numbers as in `AclEntryProto`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct AclEntryRecord {
    /// 0 user, 1 group, 2 mask, 3 other.
    #[prost(int32, tag = "1")]
    pub kind: i32,
    /// 0 access, 1 default.
    #[prost(int32, tag = "2")]
    pub scope: i32,
    /// 0..=7.
    #[prost(uint32, tag = "3")]
    pub permission: u32,
    /// A user or group; empty for entries without a name.
    #[prost(string, tag = "4")]
    pub name: String,
}

/// An extended attribute as a command carries it.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct XAttrRecord {
    /// Number of the namespace as in `XAttrProto`: 0 user, 1 trusted, 2 security, 3 system, 4 raw.
    #[prost(int32, tag = "1")]
    pub namespace: i32,
    /// Name without the namespace.
    #[prost(string, tag = "2")]
    pub name: String,
    /// Value; absent and empty are told apart for checks only.
    #[prost(bytes = "bytes", optional, tag = "3")]
    pub value: Option<bytes::Bytes>,
}

/// One entry of [`UpdateAccessTimes`].
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct AccessTime {
    /// The file.
    #[prost(uint64, tag = "1")]
    pub file_id: u64,
    /// When it was read, in ms.
    #[prost(uint64, tag = "2")]
    pub atime_ms: u64,
}
