//! The Unix socket at which a DataNode can be asked for descriptors.

use rustix::fs::Mode;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// A listening socket with a name in the file system, which goes with it.
#[derive(Debug)]
pub struct DomainListener {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of the name: another process may have taken the path over since.
    identity: Option<(u64, u64)>,
}

impl DomainListener {
    /// Listens at `path`, for everybody on this machine: who may read what is decided by block tokens and by who can
    /// reach the socket. A socket that an ended DataNode left there is replaced, anything else is not.
    pub fn bind(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::FileTypeExt;
        match std::fs::symlink_metadata(path) {
            Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path)?,
            Ok(_) => {
                return Err(io::Error::new(
                    io::ErrorKind::AlreadyExists,
                    "there is a file that is no socket",
                ));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let listener = UnixListener::bind(path)?;
        rustix::fs::chmod(path, Mode::from_raw_mode(0o666))?;
        let identity = identity(path);
        Ok(Self {
            listener,
            path: path.to_owned(),
            identity,
        })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Accepts; blocks unless the socket is non-blocking.
    pub fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().map(|(stream, _)| stream)
    }

    /// See [`UnixListener::set_nonblocking`].
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.listener.set_nonblocking(nonblocking)
    }
}

impl AsFd for DomainListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Drop for DomainListener {
    fn drop(&mut self) {
        if self.identity.is_some() && identity(&self.path) == self.identity {
            // Whoever connects to what is left is refused; the next DataNode replaces it.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    std::fs::symlink_metadata(path)
        .ok()
        .map(|found| (found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_socket_left_behind_is_replaced_and_a_file_is_not() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("dn.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "the plain listener leaves its name");
        let first = DomainListener::bind(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o666);
        let second = DomainListener::bind(&path).unwrap();
        drop(first);
        assert!(path.exists(), "it is the second one's name now");
        let _client = UnixStream::connect(&path).unwrap();
        second.accept().unwrap();
        drop(second);
        assert!(!path.exists());
        std::fs::write(&path, b"data").unwrap();
        assert!(DomainListener::bind(&path).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"data");
    }
}
