//! What can go wrong for a user of the library, by what they can do about it.

use hadron_net::RpcError;
use hadron_types::{ErrorKind, HadoopError};
use std::io;
use std::sync::Arc;

/// Result of every call.
pub type Result<T> = std::result::Result<T, FsError>;

/// The failure of a file system call. Cheap to clone: a stream gives its first error to every later call.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FsError {
    /// The NameNode refused. Its exception's kind says why; the first line is what shells print.
    #[error("{0}")]
    Refused(HadoopError),
    /// The NameNode cannot be reached, or broke off. The call may have run.
    #[error("name node: {0}")]
    Unreachable(Arc<RpcError>),
    /// The configuration or URL is unusable.
    #[error("{0}")]
    Config(String),
    /// No replica of a block could be read.
    #[error("Could not obtain block: {block} file={path} {cause}")]
    BlockMissing {
        /// The file.
        path: String,
        /// The block.
        block: String,
        /// Where it should have been, and what the last replica tried said.
        cause: String,
    },
    /// No DataNode can tell how long the last block of a file being written is.
    #[error("{0}")]
    BlockLengthUnknown(String),
    /// The path has come to mean another file since it was opened.
    #[error("Blocklist for {0} has changed!")]
    BlocksChanged(String),
    /// The write stream has failed; nothing more can be written to it.
    #[error("{0}")]
    WriteFailed(Arc<str>),
    /// The stream was closed or aborted before.
    #[error("stream is closed")]
    Closed,
}

impl FsError {
    /// The server's exception, if one is behind this.
    pub fn hadoop(&self) -> Option<&HadoopError> {
        match self {
            Self::Refused(error) => Some(error),
            Self::Unreachable(error) => error.remote(),
            _ => None,
        }
    }
    /// The kind of the server's exception, if one is behind this.
    pub fn kind(&self) -> Option<ErrorKind> {
        self.hadoop().map(|error| error.kind)
    }
    /// Whether the path does not exist.
    pub fn is_not_found(&self) -> bool {
        self.kind() == Some(ErrorKind::FileNotFound)
    }
    /// The text a shell prints: the first line of the server's message, or this error's own.
    pub fn first_line(&self) -> String {
        match self.hadoop() {
            Some(error) => error.first_line().to_owned(),
            None => self.to_string(),
        }
    }

    pub(crate) fn not_found(path: &str) -> Self {
        Self::Refused(HadoopError::new(
            ErrorKind::FileNotFound,
            format!("File does not exist: {path}"),
        ))
    }
    pub(crate) fn write_failed(text: impl Into<String>) -> Self {
        Self::WriteFailed(text.into().into())
    }
}

impl From<RpcError> for FsError {
    fn from(error: RpcError) -> Self {
        match error {
            RpcError::Remote(error) => Self::Refused(error),
            other => Self::Unreachable(Arc::new(other)),
        }
    }
}

impl From<FsError> for io::Error {
    fn from(error: FsError) -> Self {
        let kind = match (&error, error.kind()) {
            (_, Some(ErrorKind::FileNotFound)) => io::ErrorKind::NotFound,
            (_, Some(ErrorKind::FileAlreadyExists)) => io::ErrorKind::AlreadyExists,
            (_, Some(ErrorKind::AccessControl)) => io::ErrorKind::PermissionDenied,
            (FsError::Closed, _) => io::ErrorKind::BrokenPipe,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
