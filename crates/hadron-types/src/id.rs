//! Identifiers as types. Each wraps the integer or string that travels on the wire and adds nothing but meaning.
//!
//! Invariant: no arithmetic between different kinds; `next` is the only successor function.

use std::fmt;
use std::sync::Arc;

macro_rules! integer_id {
    ($(#[$doc:meta])* $name:ident($int:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $int);
        impl $name {
            /// Returns the successor. Panics on overflow, which no cluster can reach.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0.checked_add(1).expect("identifier space exhausted"))
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

integer_id!(
    /// A block's number. Java's `long`: negative numbers are striped block groups or pre-2.0 random ids.
    /// Sequential ids start at 1073741825 (2^30 + 1), as Hadoop's `SequentialBlockIdGenerator` does.
    BlockId(i64)
);
integer_id!(
    /// The version of a block; a replica with an older stamp than the NameNode's is stale. Starts at 1001
    /// (Hadoop's `GenerationStamp.LAST_RESERVED_STAMP` is 1000).
    GenerationStamp(u64)
);
integer_id!(
    /// A file's or directory's number, never reused. The root is 16385; smaller ones are reserved.
    InodeId(u64)
);
integer_id!(
    /// Position of an entry in the command log, counted from 1. Reported as Hadoop's transaction id.
    LogIndex(u64)
);
integer_id!(
    /// The reign under which a log entry was written; rises when another NameNode is promoted.
    Epoch(u64)
);

impl BlockId {
    /// Reads the unsigned form of the protobuf field (two's complement of Java's long).
    pub fn from_wire(wire: u64) -> Self {
        Self(wire as i64)
    }
    /// The unsigned form of the protobuf field.
    pub fn to_wire(self) -> u64 {
        self.0 as u64
    }
}

impl InodeId {
    /// The root directory's id (Hadoop `INodeId.ROOT_INODE_ID`).
    pub const ROOT: Self = Self(16385);
}

/// Milliseconds since 1970-01-01 UTC, as every time on Hadoop's wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct TimeMs(pub u64);

impl TimeMs {
    /// Milliseconds from `earlier` to `self`, 0 when `earlier` is later.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
    /// `self` moved on by `millis`, saturating.
    #[must_use]
    pub fn plus(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }
}

/// The 16 bytes by which an RPC client is known to the retry cache. Empty means: no retry protection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct ClientId(pub [u8; 16]);

/// The number of a call on a client; with [`ClientId`] the key of the retry cache. Negative ones are control frames.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct CallId(pub i32);

macro_rules! string_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Arc<str>);
        impl $name {
            /// The text as it travels on the wire.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(Arc::from(text))
            }
        }
        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(Arc::from(text))
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

string_id!(
    /// The permanent name of a DataNode (`datanodeUuid` in VERSION).
    DatanodeUuid
);
string_id!(
    /// The permanent name of one volume of a DataNode (`DS-<uuid>`).
    StorageId
);
string_id!(
    /// The name of a NameNode's block pool (`BP-<random>-<ip>-<time>`). Looked up, never joined into a path unchecked.
    BlockPoolId
);
