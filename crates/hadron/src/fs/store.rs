//! What the shell needs of a file system, so that HDFS and local files go through the same commands.
//!
//! Calls block: a shell does one thing at a time. Paths are absolute within the store and normalised. Errors carry the
//! text that follows `command: ` on the terminal.

use std::io::{Read, Write};

use hadron_types::{FsAction, FsPermission};

/// Result of shell work.
pub(crate) type FsResult<T> = Result<T, FsError>;

/// What the user reads after `command: `. Only the first line is shown, as Hadoop's shell does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FsError {
    message: String,
    missing: bool,
}

impl FsError {
    /// A message as it is.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            missing: false,
        }
    }
    /// Something is wrong with `path`.
    pub(crate) fn at(path: &str, what: &str) -> Self {
        Self::new(format!("`{path}': {what}"))
    }
    /// Something is wrong between two paths.
    pub(crate) fn between(path: &str, target: &str, what: &str) -> Self {
        Self::new(format!("`{path}' to `{target}': {what}"))
    }
    pub(crate) fn missing(path: &str) -> Self {
        Self {
            missing: true,
            ..Self::at(path, "No such file or directory")
        }
    }
    /// Missing, with the whole address said once more.
    pub(crate) fn missing_at(path: &str, address: &str) -> Self {
        Self {
            missing: true,
            ..Self::new(format!("`{path}': No such file or directory: `{address}'"))
        }
    }
    pub(crate) fn exists(path: &str) -> Self {
        Self::at(path, "File exists")
    }
    pub(crate) fn is_directory(path: &str) -> Self {
        Self::at(path, "Is a directory")
    }
    pub(crate) fn not_directory(path: &str) -> Self {
        Self::at(path, "Is not a directory")
    }
    /// An operation that said no without a reason.
    pub(crate) fn input_output(path: &str) -> Self {
        Self::at(path, "Input/output error")
    }
    /// Whether this only says that a path does not exist.
    pub(crate) fn is_missing(&self) -> bool {
        self.missing
    }
    /// The line to show.
    pub(crate) fn first_line(&self) -> &str {
        self.message.lines().next().unwrap_or("")
    }
    /// The whole message.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }
}

impl From<std::io::Error> for FsError {
    fn from(error: std::io::Error) -> Self {
        Self::new(error.to_string())
    }
}

/// What is known of a file or directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    /// Absolute path within the store.
    pub(crate) path: String,
    pub(crate) is_dir: bool,
    /// Bytes; 0 for directories.
    pub(crate) len: u64,
    pub(crate) replication: u32,
    pub(crate) block_size: u64,
    pub(crate) modified_ms: i64,
    pub(crate) accessed_ms: i64,
    pub(crate) permission: FsPermission,
    /// Whether an access control list goes beyond the mode bits.
    pub(crate) has_acl: bool,
    pub(crate) owner: String,
    pub(crate) group: String,
}

/// Sums below a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) length: u64,
    pub(crate) files: u64,
    pub(crate) directories: u64,
    /// Names allowed; negative: no limit.
    pub(crate) quota: i64,
    pub(crate) space_consumed: u64,
    /// Bytes allowed, replicas counted; negative: no limit.
    pub(crate) space_quota: i64,
}

pub(crate) use hadron_client::QuotaUsage;

/// Room in the store, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) capacity: u64,
    pub(crate) used: u64,
    pub(crate) remaining: u64,
}

/// A file being written. Dropping it without `close` gives it up.
pub(crate) trait FileSink: Write {
    /// Makes the content complete.
    fn close(self: Box<Self>) -> FsResult<()>;
}

/// A file system.
pub(crate) trait Store {
    /// Scheme and authority, such as `hdfs://host:8020`; `file://` for local files.
    fn address(&self) -> &str;
    /// Where relative paths start.
    fn working_directory(&self) -> String;
    /// `None`: there is nothing.
    fn status(&self, path: &str) -> FsResult<Option<Status>>;
    /// Children of a directory, sorted by name.
    fn list(&self, path: &str) -> FsResult<Vec<Status>>;
    /// Makes a directory and those above it.
    fn mkdirs(&self, path: &str) -> FsResult<bool>;
    /// False: refused without a reason.
    fn rename(&self, from: &str, to: &str) -> FsResult<bool>;
    /// False: there was nothing.
    fn delete(&self, path: &str, recursive: bool) -> FsResult<bool>;
    /// Opens for reading from `offset`.
    fn open(&self, path: &str, offset: u64) -> FsResult<Box<dyn Read + '_>>;
    /// Creates or replaces a file.
    fn create(&self, path: &str, options: CreateOptions) -> FsResult<Box<dyn FileSink + '_>>;
    fn set_permission(&self, path: &str, permission: FsPermission) -> FsResult<()>;
    fn set_owner(&self, path: &str, owner: Option<&str>, group: Option<&str>) -> FsResult<()>;
    fn set_times(&self, path: &str, modified_ms: i64, accessed_ms: i64) -> FsResult<()>;
    fn set_replication(&self, path: &str, replication: u16) -> FsResult<bool>;
    /// Cuts a file; false: it goes on in the background, and the length tells when it is done.
    fn truncate(&self, path: &str, len: u64) -> FsResult<bool>;
    fn summary(&self, path: &str) -> FsResult<Summary>;
    /// What counts against the quota of a directory; where there is none, all below it.
    fn quota_usage(&self, path: &str) -> FsResult<QuotaUsage>;
    fn room(&self) -> FsResult<Room>;
    /// Whether the caller may.
    fn may(&self, path: &str, action: FsAction) -> FsResult<bool>;
    /// Smallest number of replicas that any block of the file has; `None` where there are none to count.
    fn fewest_replicas(&self, path: &str) -> FsResult<Option<u32>>;
    /// Minutes that removed files stay in the trash; 0: they do not.
    fn trash_minutes(&self) -> FsResult<u64>;
    /// The caller's home directory.
    fn home(&self) -> String;
}

/// How to create a file.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CreateOptions {
    /// Replaces what is there.
    pub(crate) overwrite: bool,
}
