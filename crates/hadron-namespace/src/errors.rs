//! The refusals, each with Hadoop 3.3.6's class and first line. Clients and scripts match on both.

use hadron_types::{ErrorKind, HadoopError};

fn error(kind: ErrorKind, message: String) -> HadoopError {
    HadoopError::new(kind, message)
}

/// `InvalidPathException(what)`, which prefixes its argument.
pub(crate) fn invalid_path(what: &str) -> HadoopError {
    error(ErrorKind::InvalidPath, format!("Invalid path name {what}"))
}
/// A path that a creating operation cannot take.
pub(crate) fn invalid_name(path: &str) -> HadoopError {
    invalid_path(&format!("Invalid file name: {path}"))
}
/// `operation`: `create`, `mkdirs`, `rename`.
pub(crate) fn path_too_long(operation: &str) -> HadoopError {
    error(
        ErrorKind::Io,
        format!(
            "{operation}: Pathname too long.  Limit {} characters, {} levels.",
            hadron_types::MAX_PATH_LEN,
            hadron_types::MAX_PATH_COMPONENTS
        ),
    )
}
pub(crate) fn file_not_found(path: &str) -> HadoopError {
    error(ErrorKind::FileNotFound, format!("File does not exist: {path}"))
}
pub(crate) fn not_a_file(path: &str) -> HadoopError {
    error(ErrorKind::FileNotFound, format!("Path is not a file: {path}"))
}
/// What creating operations say of a file among the ancestors.
pub(crate) fn ancestor_is_file(path: &str) -> HadoopError {
    error(ErrorKind::ParentNotDirectory, format!("{path} (is not a directory)"))
}
pub(crate) fn file_exists(message: String) -> HadoopError {
    error(ErrorKind::FileAlreadyExists, message)
}
pub(crate) fn missing(message: String) -> HadoopError {
    error(ErrorKind::FileNotFound, message)
}
pub(crate) fn denied(message: String) -> HadoopError {
    error(ErrorKind::AccessControl, message)
}
pub(crate) fn illegal_argument(message: String) -> HadoopError {
    error(ErrorKind::HadoopIllegalArgument, message)
}
pub(crate) fn lease_expired(message: String) -> HadoopError {
    error(ErrorKind::LeaseExpired, message)
}
pub(crate) fn already_being_created(message: String) -> HadoopError {
    error(ErrorKind::AlreadyBeingCreated, message)
}
pub(crate) fn recovery_in_progress(message: String) -> HadoopError {
    error(ErrorKind::RecoveryInProgress, message)
}
pub(crate) fn not_replicated_yet(path: &str) -> HadoopError {
    error(ErrorKind::NotReplicatedYet, format!("Not replicated yet: {path}"))
}
/// A request for superuser rights by another.
pub(crate) fn superuser_required(user: &str) -> HadoopError {
    denied(format!(
        "Access denied for user {user}. Superuser privilege is required"
    ))
}
