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
/// What Hadoop's `resolveLastINode` says.
pub(crate) fn cannot_find(path: &str) -> HadoopError {
    error(ErrorKind::FileNotFound, format!("cannot find {path}"))
}
/// What Hadoop's `checkOwner` says.
pub(crate) fn no_such_inode(path: &str) -> HadoopError {
    error(ErrorKind::FileNotFound, format!("Directory/File does not exist {path}"))
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
pub(crate) fn invalid_request(message: String) -> HadoopError {
    error(ErrorKind::InvalidRequest, message)
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
/// Bytes with a binary prefix and up to two decimals, as Java's `TraditionalBinaryPrefix` shows them: `384 MB`, `1.50 KB`.
pub(crate) fn binary_size(bytes: i64) -> String {
    const PREFIXES: [&str; 6] = ["K", "M", "G", "T", "P", "E"];
    let sign = if bytes < 0 { "-" } else { "" };
    let size = bytes.unsigned_abs();
    if size < 1024 {
        return format!("{sign}{size} B");
    }
    let mut power = (size.ilog2() / 10) as usize;
    let unit = 1u64 << (10 * power);
    if size.is_multiple_of(unit) {
        return format!("{sign}{} {}B", size / unit, PREFIXES[power - 1]);
    }
    let mut shown = format!("{:.2}", size as f64 / unit as f64);
    if shown.starts_with("1024") && power < PREFIXES.len() {
        power += 1;
        shown = format!("{:.2}", size as f64 / (1u64 << (10 * power)) as f64);
    }
    format!("{sign}{shown} {}B", PREFIXES[power - 1])
}

#[cfg(test)]
mod tests {
    use super::binary_size;

    #[test]
    fn sizes_are_shown_as_java_does() {
        for (bytes, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KB"),
            (1536, "1.50 KB"),
            (402_653_184, "384 MB"),
            (-2048, "-2 KB"),
            (1_048_575, "1.00 MB"),
            (i64::MAX, "8.00 EB"),
        ] {
            assert_eq!(binary_size(bytes), shown);
        }
    }
}
