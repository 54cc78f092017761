//! Local files as a [`Store`]: where `-put` reads and `-get` writes, and what `file:///` paths mean.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::{Duration, UNIX_EPOCH};

use hadron_types::{FsAction, FsPermission};

use super::store::{CreateOptions, FileSink, FsError, FsResult, QuotaUsage, Room, Status, Store, Summary};

/// Block size that local files report.
const LOCAL_BLOCK_SIZE: u64 = 32 << 20;

/// The machine's own files.
pub(crate) struct LocalStore;

impl LocalStore {
    fn status_of(path: &str, meta: &fs::Metadata) -> Status {
        Status {
            path: path.to_owned(),
            is_dir: meta.is_dir(),
            len: if meta.is_dir() { 0 } else { meta.len() },
            replication: u32::from(!meta.is_dir()),
            block_size: if meta.is_dir() { 0 } else { LOCAL_BLOCK_SIZE },
            modified_ms: meta.mtime() * 1000 + meta.mtime_nsec() / 1_000_000,
            accessed_ms: meta.atime() * 1000 + meta.atime_nsec() / 1_000_000,
            permission: FsPermission::from_wire(meta.mode()),
            has_acl: false,
            owner: meta.uid().to_string(),
            group: meta.gid().to_string(),
        }
    }

    fn explain(path: &str, error: io::Error) -> FsError {
        match error.kind() {
            io::ErrorKind::NotFound => FsError::missing(path),
            io::ErrorKind::PermissionDenied => FsError::new(format!("{path} (Permission denied)")),
            _ => FsError::new(format!("{path} ({error})")),
        }
    }
}

struct LocalSink(File);

impl Write for LocalSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl FileSink for LocalSink {
    fn close(self: Box<Self>) -> FsResult<()> {
        Ok(())
    }
}

impl Store for LocalStore {
    fn address(&self) -> &str {
        "file://"
    }

    fn working_directory(&self) -> String {
        std::env::current_dir().map_or_else(|_| "/".to_owned(), |path| path.to_string_lossy().into_owned())
    }

    fn status(&self, path: &str) -> FsResult<Option<Status>> {
        match fs::metadata(path) {
            Ok(meta) => Ok(Some(Self::status_of(path, &meta))),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(Self::explain(path, error)),
        }
    }

    fn list(&self, path: &str) -> FsResult<Vec<Status>> {
        let mut children = Vec::new();
        for entry in fs::read_dir(path).map_err(|error| Self::explain(path, error))? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                return Err(FsError::at(path, "a name in it is not UTF-8"));
            };
            let child = if path == "/" {
                format!("/{name}")
            } else {
                format!("{path}/{name}")
            };
            // A link that leads nowhere is left out, as it can be neither read nor descended into.
            if let Ok(meta) = fs::metadata(&child) {
                children.push(Self::status_of(&child, &meta));
            }
        }
        children.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(children)
    }

    fn mkdirs(&self, path: &str) -> FsResult<bool> {
        fs::create_dir_all(path).map_err(|error| Self::explain(path, error))?;
        Ok(true)
    }

    fn rename(&self, from: &str, to: &str) -> FsResult<bool> {
        fs::rename(from, to).map_err(|error| Self::explain(from, error))?;
        Ok(true)
    }

    fn delete(&self, path: &str, recursive: bool) -> FsResult<bool> {
        let removed = match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => Err(error),
            Ok(meta) if !meta.is_dir() => fs::remove_file(path),
            Ok(_) if recursive => fs::remove_dir_all(path),
            Ok(_) => fs::remove_dir(path),
        };
        removed.map_err(|error| Self::explain(path, error))?;
        Ok(true)
    }

    fn open(&self, path: &str, offset: u64) -> FsResult<Box<dyn Read + '_>> {
        let mut file = File::open(path).map_err(|error| Self::explain(path, error))?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(Box::new(file))
    }

    fn create(&self, path: &str, options: CreateOptions) -> FsResult<Box<dyn FileSink + '_>> {
        let mut open = File::options();
        open.write(true);
        if options.overwrite {
            open.create(true).truncate(true)
        } else {
            open.create_new(true)
        };
        Ok(Box::new(LocalSink(
            open.open(path).map_err(|error| Self::explain(path, error))?,
        )))
    }

    fn set_permission(&self, path: &str, permission: FsPermission) -> FsResult<()> {
        fs::set_permissions(path, fs::Permissions::from_mode(u32::from(permission.bits())))
            .map_err(|error| Self::explain(path, error))
    }

    fn set_owner(&self, path: &str, owner: Option<&str>, group: Option<&str>) -> FsResult<()> {
        let id = |name: Option<&str>| match name.map(str::parse::<u32>) {
            None => Ok(None),
            Some(Ok(id)) => Ok(Some(id)),
            Some(Err(_)) => Err(FsError::at(path, "local owners and groups are numbers here")),
        };
        std::os::unix::fs::chown(path, id(owner)?, id(group)?).map_err(|error| Self::explain(path, error))
    }

    fn set_times(&self, path: &str, modified_ms: i64, accessed_ms: i64) -> FsResult<()> {
        let time = |ms: i64| UNIX_EPOCH + Duration::from_millis(u64::try_from(ms).unwrap_or(0));
        let times = fs::FileTimes::new()
            .set_modified(time(modified_ms))
            .set_accessed(time(accessed_ms));
        File::open(path)
            .and_then(|file| file.set_times(times))
            .map_err(|error| Self::explain(path, error))
    }

    fn set_replication(&self, _path: &str, _replication: u16) -> FsResult<bool> {
        Ok(true)
    }

    fn truncate(&self, _path: &str, _len: u64) -> FsResult<bool> {
        Err(FsError::new("Truncate is not supported by ChecksumFileSystem"))
    }

    fn quota_usage(&self, path: &str) -> FsResult<QuotaUsage> {
        let sum = self.summary(path)?;
        Ok(QuotaUsage {
            names: sum.files + sum.directories,
            name_quota: sum.quota,
            space: sum.space_consumed,
            space_quota: sum.space_quota,
            types: Vec::new(),
        })
    }

    fn summary(&self, path: &str) -> FsResult<Summary> {
        let status = self.status(path)?.ok_or_else(|| FsError::missing(path))?;
        let mut sum = Summary {
            quota: -1,
            space_quota: -1,
            ..Summary::default()
        };
        let mut left = vec![status];
        while let Some(status) = left.pop() {
            if status.is_dir {
                sum.directories += 1;
                left.extend(self.list(&status.path)?);
            } else {
                sum.files += 1;
                sum.length += status.len;
                sum.space_consumed += status.len;
            }
        }
        Ok(sum)
    }

    fn room(&self) -> FsResult<Room> {
        let stat = rustix::fs::statvfs("/").map_err(io::Error::from)?;
        let capacity = stat.f_blocks * stat.f_frsize;
        let remaining = stat.f_bavail * stat.f_frsize;
        Ok(Room {
            capacity,
            used: capacity - stat.f_bfree * stat.f_frsize,
            remaining,
        })
    }

    fn may(&self, path: &str, action: FsAction) -> FsResult<bool> {
        let mut wanted = rustix::fs::Access::empty();
        wanted.set(rustix::fs::Access::READ_OK, action.implies(FsAction::READ));
        wanted.set(rustix::fs::Access::WRITE_OK, action.implies(FsAction::WRITE));
        wanted.set(rustix::fs::Access::EXEC_OK, action.implies(FsAction::EXECUTE));
        Ok(rustix::fs::access(path, wanted).is_ok())
    }

    fn fewest_replicas(&self, _path: &str) -> FsResult<Option<u32>> {
        Ok(None)
    }

    fn trash_minutes(&self) -> FsResult<u64> {
        Ok(0)
    }

    fn home(&self) -> String {
        std::env::var("HOME").unwrap_or_else(|_| "/".to_owned())
    }
}
