//! Where a DataNode's Unix socket is, and whether that place can be trusted.
//!
//! Whoever can write to a directory above the socket could put a socket of their own there and be asked for blocks in the
//! DataNode's place. So all directories above must belong to root or to the user of the DataNode, and nobody else may
//! write to them. Source: Hadoop `DomainSocket.validateSocketPathSecurity0`.

use rustix::fs::{Mode, stat};
use std::path::{Path, PathBuf};

/// The part of `dfs.domain.socket.path` that stands for the transfer port.
const PORT: &str = "_PORT";
/// Longest path of a socket in bytes: `sun_path` has 108 with the zero at its end.
const MAX_PATH_LEN: usize = 107;

/// Why a socket cannot be at a path.
#[derive(Debug, thiserror::Error)]
pub enum SocketPathError {
    /// Relative or too long.
    #[error("the socket path {path:?} is no good: {why}")]
    Path {
        /// The path.
        path: PathBuf,
        /// What is the matter with it.
        why: &'static str,
    },
    /// A directory above cannot be looked at.
    #[error("failed to stat a path component: {path:?}: {source}. Create it, owned by root or by the DataNode's user")]
    Stat {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A directory above is writable by others.
    #[error(
        "the path component {path:?} in {whole:?} has permissions {mode:04o} uid {uid} and gid {gid}. It is not \
         protected because it is {by}-writable. This might help: 'chmod {remedy} {path:?}'. For more information: \
         https://wiki.apache.org/hadoop/SocketPathSecurity"
    )]
    Writable {
        /// The directory.
        path: PathBuf,
        /// The socket's path.
        whole: PathBuf,
        /// Permission bits.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
        /// `group` or `world`.
        by: &'static str,
        /// The letters for chmod.
        remedy: &'static str,
    },
    /// A directory above belongs to somebody else.
    #[error(
        "the path component {path:?} in {whole:?} has permissions {mode:04o} uid {uid} and gid {gid}. It is not \
         protected because it is owned by a user who is not root and not the effective user: '{effective}'. This might \
         help: 'chown root {path:?}' or 'chown {effective} {path:?}'. For more information: \
         https://wiki.apache.org/hadoop/SocketPathSecurity"
    )]
    Owner {
        /// The directory.
        path: PathBuf,
        /// The socket's path.
        whole: PathBuf,
        /// Permission bits.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
        /// Who we are.
        effective: u32,
    },
}

/// The path that `dfs.domain.socket.path` stands for at a DataNode with this transfer port.
pub fn socket_path(configured: &str, transfer_port: u16) -> PathBuf {
    PathBuf::from(configured.replace(PORT, &transfer_port.to_string()))
}

/// Checks every directory above `path`.
pub fn check_socket_directories(path: &Path) -> Result<(), SocketPathError> {
    let bad = |why| SocketPathError::Path {
        path: path.to_owned(),
        why,
    };
    if !path.is_absolute() {
        return Err(bad("it must be absolute"));
    }
    if path.as_os_str().len() > MAX_PATH_LEN {
        return Err(bad("it is longer than 107 bytes, more than the kernel takes"));
    }
    let effective = rustix::process::geteuid().as_raw();
    let mut above: Vec<&Path> = path.ancestors().skip(1).collect();
    above.reverse();
    for directory in above {
        let found = stat(directory).map_err(|errno| SocketPathError::Stat {
            path: directory.to_owned(),
            source: errno.into(),
        })?;
        let mode = Mode::from_raw_mode(found.st_mode);
        let (bits, uid, gid) = (mode.bits() & 0o7777, found.st_uid, found.st_gid);
        let writable = match (mode.contains(Mode::WOTH), mode.contains(Mode::WGRP)) {
            (true, _) => Some(("world", "o-w")),
            (_, true) => Some(("group", "g-w")),
            _ => None,
        };
        if let Some((by, remedy)) = writable {
            return Err(SocketPathError::Writable {
                path: directory.to_owned(),
                whole: path.to_owned(),
                mode: bits,
                uid,
                gid,
                by,
                remedy,
            });
        }
        if uid != 0 && uid != effective {
            return Err(SocketPathError::Owner {
                path: directory.to_owned(),
                whole: path.to_owned(),
                mode: bits,
                uid,
                gid,
                effective,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_port_takes_the_place_of_its_name() {
        assert_eq!(socket_path("/run/dn._PORT", 9866), Path::new("/run/dn.9866"));
        assert_eq!(socket_path("/run/dn", 1), Path::new("/run/dn"));
    }

    #[test]
    fn directories_that_others_write_to_are_refused() {
        // Everything temporary is below a directory for all.
        let error = check_socket_directories(Path::new("/tmp/sock"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("world-writable") && error.contains("'chmod o-w"),
            "{error}"
        );
        let error = check_socket_directories(Path::new("sock")).unwrap_err().to_string();
        assert!(error.contains("must be absolute"), "{error}");
        let long = format!("/{}", "x".repeat(MAX_PATH_LEN));
        let error = check_socket_directories(Path::new(&long)).unwrap_err().to_string();
        assert!(error.contains("107 bytes"), "{error}");
        let error = check_socket_directories(Path::new("/there/is/no/such"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("failed to stat"), "{error}");
        check_socket_directories(Path::new("/sock")).unwrap();
    }

    #[test]
    fn the_nearest_directory_counts_too() {
        // `/proc` belongs to root and is writable by nobody; a directory of our own elsewhere may not be to be had.
        let Ok(own) = tempfile::Builder::new().tempdir_in("/run") else {
            return;
        };
        let path = own.path().join("dn");
        check_socket_directories(&path).unwrap();
        for (mode, by) in [(0o770, "group-writable"), (0o702, "world-writable")] {
            std::fs::set_permissions(own.path(), PermissionsExt::from_mode(mode)).unwrap();
            let error = check_socket_directories(&path).unwrap_err().to_string();
            assert!(error.contains(by), "{error}");
        }
    }
}
