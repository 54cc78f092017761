//! The replicated state of the NameNode: files, directories, blocks, leases' owners and the retry cache.
//!
//! What it is for: a [`Command`] is checked against a [`Namespace`], written to a log by somebody else, and applied;
//! the same commands in the same order give the same state, and outcomes, and so the same [`OutcomeDigest`], everywhere.
//! What it does not do: no clock, randomness, configuration or I/O; no replica locations (`hadron-blockmap`); no
//! renewal times of leases in the state ([`LeaseManager`] keeps them beside it).
//!
//! Invariants: `apply` is total and refuses by an error outcome that changes nothing; `check` agrees with `apply` on the
//! same state; a snapshot is never changed by later writes; arena handles do not leave the crate.
//! Formats: docs/formats/journal-commands.md and docs/formats/image.md.

mod acl;
mod arena;
mod block_recovery;
mod cache;
mod child_memo;
pub mod command;
mod cow;
mod digest;
mod errors;
mod id_index;
pub mod image;
mod inode;
mod lease;
mod limits;
mod memory;
mod namespace;
mod ops;
mod outcome;
mod permission;
mod query;
mod quota;
mod resolve;
mod retry;
mod status;
mod strings;
mod xattr;

pub use acl::{AclEntry, AclScope, AclStatus, AclType, MAX_ACL_ENTRIES};
pub use block_recovery::BlockRecovery;
pub use cache::{CacheDirective, CachePool};
pub use command::{Caller, Command, Limits, Op, RULES_VERSION};
pub use digest::{OutcomeDigest, write_outcome_bytes};
pub use inode::BlockState;
pub use lease::{
    EXPIRED_LEASES_PER_SLICE, LEASE_HARD_LIMIT_MS, LEASE_SOFT_LIMIT_MS, Lease, LeaseManager, NAMENODE_LEASE_HOLDER,
};
pub use limits::*;
pub use memory::MemoryUsage;
pub use namespace::{FIRST_BLOCK_ID, FIRST_GENERATION_STAMP, Identity, Namespace};
pub use ops::{DELETE_INLINE_BUDGET, RECLAIM_BUDGET};
pub use outcome::{AllocatedBlock, Appended, Applied, Effect, LeaseProgress, Outcome, OutcomeValue};
pub use query::{
    CACHED_FILE_SLICE, CONTENT_SUMMARY_SLICE, CachedFiles, ContentSummary, ListingPage, StatusView, SummaryCursor,
};
pub use quota::{NO_QUOTA, QUOTA_TYPES, QuotaLimits, QuotaUsage, quota_type_index};
pub use retry::{RETRY_CACHE_EXPIRY_MS, RETRY_CACHE_MAX_ENTRIES};
pub use status::{
    Counts, FileBlock, FileBlocks, FileStatus, Listing, ListingEntry, ListingLimits, OpenFile, StoredBlock,
};
pub use xattr::{UNREADABLE_BY_SUPERUSER, XAttr, XAttrNamespace};

#[cfg(test)]
mod tests;
