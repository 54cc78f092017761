//! Formatting name dirs, and looking at formatted ones.
//!
//! What it is for: `namenode --format`. What it does not do: ask before it destroys; the caller did. Invariant: a dir
//! counts as formatted once its VERSION file is there, which is written last.

use std::io;
use std::path::{Path, PathBuf};

use hadron_env::Disk;
use hadron_env::durable;
use hadron_types::{Epoch, LogIndex};

use crate::identity::{Identity, MAX_VERSION_FILE_BYTES};
use crate::image::{ImageHeader, ImageWriter};
use crate::inventory::{CURRENT, LOCK_FILE, VERSION_FILE};
use crate::machine::StateMachine;
use crate::options::Env;

/// Why name dirs could not be formatted.
#[derive(thiserror::Error, Debug)]
pub enum FormatError {
    /// A dir holds something, and `force` was not given.
    #[error("name dir {0} is not empty: format would destroy its content")]
    NotEmpty(PathBuf),
    /// A running process holds a dir.
    #[error("name dir {0} is in use by a running process")]
    InUse(PathBuf),
    /// The disk refused.
    #[error("format name dir {dir}: {source}")]
    Io {
        /// The name dir.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Makes `dirs` the name dirs of a new file system whose first state is that of `machine`. Missing dirs are made. With
/// `force`, what `current` holds is destroyed.
pub fn format<M: StateMachine>(
    env: &Env,
    dirs: &[PathBuf],
    identity: &Identity,
    machine: &M,
    force: bool,
) -> Result<(), FormatError> {
    let disk = &*env.disk;
    let mut locks = Vec::new();
    for dir in dirs {
        let failed = |source| FormatError::Io {
            dir: dir.clone(),
            source,
        };
        durable::create_dir_durably(disk, dir).map_err(failed)?;
        match disk.lock(&dir.join(LOCK_FILE), b"format") {
            Ok(lock) => locks.push(lock),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(FormatError::InUse(dir.clone())),
            Err(error) => return Err(failed(error)),
        }
        let current = dir.join(CURRENT);
        if disk.exists(&current).map_err(failed)? && !disk.list(&current).map_err(failed)?.is_empty() && !force {
            return Err(FormatError::NotEmpty(dir.clone()));
        }
    }
    for dir in dirs {
        format_one(env, dir, identity, machine).map_err(|source| FormatError::Io {
            dir: dir.clone(),
            source,
        })?;
    }
    Ok(())
}

/// Makes the `current` folder of the name dir `root` a new, empty one and gives its path.
pub(crate) fn empty_current(disk: &dyn Disk, root: &Path) -> io::Result<PathBuf> {
    let current = root.join(CURRENT);
    if disk.exists(&current)? {
        // VERSION goes first and durably: half a name dir must not look like a file system.
        let version = current.join(VERSION_FILE);
        if disk.exists(&version)? {
            disk.remove_file(&version)?;
            disk.sync_dir(&current)?;
        }
        disk.remove_dir_all(&current)?;
        disk.sync_dir(root)?;
    }
    durable::create_dir_durably(disk, &current)?;
    Ok(current)
}

fn format_one<M: StateMachine>(env: &Env, dir: &Path, identity: &Identity, machine: &M) -> io::Result<()> {
    let disk = &*env.disk;
    let current = empty_current(disk, dir)?;
    let header = ImageHeader {
        epoch: Epoch(0),
        index: LogIndex(0),
        digest: 0,
        created: env.clock.now(),
    };
    let mut writer = ImageWriter::create(disk, std::slice::from_ref(&current), &header);
    for slice in M::image(machine.snapshot()) {
        writer.push(&slice).map_err(|error| io::Error::other(error.0))?;
    }
    if let Some((_, error)) = writer.finish().1.into_iter().next() {
        return Err(error);
    }
    durable::write_file_atomically(disk, &current.join(VERSION_FILE), identity.to_text().as_bytes())
}

/// True when any of `dirs` is formatted.
pub fn is_formatted(disk: &dyn Disk, dirs: &[PathBuf]) -> io::Result<bool> {
    for dir in dirs {
        if disk.exists(&dir.join(CURRENT).join(VERSION_FILE))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Reads the identity of the first formatted dir among `dirs`; `None` when none is.
pub fn read_identity(disk: &dyn Disk, dirs: &[PathBuf]) -> io::Result<Option<Identity>> {
    for dir in dirs {
        let path = dir.join(CURRENT).join(VERSION_FILE);
        if disk.exists(&path)? {
            return read_version(disk, &path).map(Some);
        }
    }
    Ok(None)
}

/// Reads one VERSION file. Content that is not one is an `InvalidData` error.
pub(crate) fn read_version(disk: &dyn Disk, path: &Path) -> io::Result<Identity> {
    let bytes = disk.read(path, MAX_VERSION_FILE_BYTES)?;
    let invalid = |reason: String| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {reason}", path.display()));
    let text = String::from_utf8(bytes).map_err(|_| invalid("is not text".into()))?;
    Identity::from_text(&text).map_err(invalid)
}
