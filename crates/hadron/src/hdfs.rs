//! HDFS as a store of the shell: the client library behind blocking calls.
//!
//! One runtime serves all file systems of a run; every call blocks until its answer is there.

use std::io::{self, Read, Write};
use std::rc::Rc;
use std::sync::Arc;

use anyhow::{Context, Result};
use hadron_client::{
    CreateOptions as ClientCreate, FileReader, FileWriter, FsError as ClientError, HadronFs, ReadStatistics,
};
use hadron_env::config::{Configuration, keys};
use hadron_types::{ErrorKind, FsAction, FsPath, FsPermission, TimeMs};
use tokio::runtime::Runtime;

use crate::fs::{CreateOptions, FileSink, FsError, FsResult, Opener, QuotaUsage, Room, Status, Store, Summary};
use crate::settings::GenericOptions;

/// Mode of new directories before the umask.
const DIRECTORY_MODE: u32 = 0o777;
/// Bytes asked of a block location query: all of a file.
const WHOLE_FILE: u64 = i64::MAX as u64;

/// What opens file systems for the shell, and scheme and authority of paths that name none. `verbose`: how each file was
/// read is told on standard error.
pub(crate) fn opener(generic: &GenericOptions, verbose: bool) -> Result<((String, String), Box<Opener>)> {
    let conf = generic.configuration()?;
    let url = conf.get(keys::FS_DEFAULT_FS);
    let (scheme, rest) = url.split_once("://").unwrap_or(("file", ""));
    let authority = rest.split('/').next().unwrap_or("");
    let default = (scheme.to_owned(), authority.to_owned());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("start the runtime")?;
    let runtime = Arc::new(runtime);
    let opener = move |scheme: &str, authority: &str| -> FsResult<Rc<dyn Store>> {
        if scheme != "hdfs" {
            return Err(FsError::new(format!("No FileSystem for scheme \"{scheme}\"")));
        }
        if authority.is_empty() {
            return Err(FsError::new("Incomplete HDFS URI, no host: hdfs:///"));
        }
        Ok(Rc::new(HdfsStore::open(
            &conf,
            authority,
            Arc::clone(&runtime),
            verbose,
        )?))
    };
    Ok((default, Box::new(opener)))
}

struct HdfsStore {
    fs: HadronFs,
    address: String,
    runtime: Arc<Runtime>,
    trash_minutes: u64,
    verbose: bool,
}

impl HdfsStore {
    fn open(conf: &Configuration, authority: &str, runtime: Arc<Runtime>, verbose: bool) -> FsResult<Self> {
        let address = format!("hdfs://{authority}");
        let fs = runtime
            .block_on(HadronFs::connect(conf, Some(&address)))
            .map_err(plain)?;
        let trash_minutes = u64::try_from(conf.get(keys::FS_TRASH_INTERVAL)).unwrap_or(0);
        Ok(Self {
            fs,
            address,
            runtime,
            trash_minutes,
            verbose,
        })
    }
}

/// The server's message, for the shell to show the first line of.
fn plain(error: ClientError) -> FsError {
    FsError::new(error.first_line())
}

fn path(text: &str) -> FsResult<FsPath> {
    FsPath::parse(text).map_err(|error| FsError::new(error.to_string()))
}

fn millis(time: TimeMs) -> i64 {
    i64::try_from(time.0).unwrap_or(i64::MAX)
}

fn status_of(status: hadron_client::FileStatus) -> Status {
    Status {
        is_dir: status.is_dir(),
        path: status.path.as_str().to_owned(),
        len: status.len,
        replication: status.replication,
        block_size: status.block_size,
        modified_ms: millis(status.modified),
        accessed_ms: millis(status.accessed),
        permission: status.permission,
        has_acl: status.has_acl,
        owner: status.owner,
        group: status.group,
    }
}

struct Source<'a> {
    reader: FileReader,
    runtime: &'a Runtime,
    chunk: bytes::Bytes,
    /// The file's name, if it is to be told how it was read.
    told_as: Option<String>,
}

impl Drop for Source<'_> {
    fn drop(&mut self) {
        if let Some(name) = &self.told_as {
            // Nothing is left to do when standard error is gone.
            let _ = writeln!(io::stderr(), "{name}: {}", served(&self.reader.statistics()));
        }
    }
}

/// How bytes were read, in words.
pub(crate) fn served(read: &ReadStatistics) -> String {
    format!(
        "{} bytes read: {} by short-circuit ({} of them zero-copy), {} by TCP on this machine, {} from other machines",
        read.total,
        read.short_circuit,
        read.zero_copy,
        read.local_over_network(),
        read.remote()
    )
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.chunk.is_empty() {
            self.chunk = self.runtime.block_on(self.reader.next_chunk()).map_err(said)?;
        }
        let count = self.chunk.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.chunk.split_to(count));
        Ok(count)
    }
}

/// An error whose text is what the shell shows.
fn said(error: ClientError) -> io::Error {
    io::Error::other(error.first_line())
}

struct Sink<'a> {
    writer: FileWriter,
    runtime: &'a Runtime,
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.runtime.block_on(self.writer.write_all(bytes)).map_err(said)?;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl FileSink for Sink<'_> {
    fn close(mut self: Box<Self>) -> FsResult<()> {
        self.runtime.block_on(self.writer.close()).map_err(plain)
    }
}

impl Store for HdfsStore {
    fn address(&self) -> &str {
        &self.address
    }

    fn working_directory(&self) -> String {
        self.home()
    }

    fn home(&self) -> String {
        self.fs.home_dir().as_str().to_owned()
    }

    fn status(&self, text: &str) -> FsResult<Option<Status>> {
        let found = self.runtime.block_on(self.fs.status(&path(text)?));
        match found {
            Ok(status) => Ok(status.map(status_of)),
            Err(error) if error.kind() == Some(ErrorKind::ParentNotDirectory) => Ok(None),
            Err(error) => Err(plain(error)),
        }
    }

    fn list(&self, text: &str) -> FsResult<Vec<Status>> {
        let listed = self.runtime.block_on(self.fs.list_all(&path(text)?)).map_err(plain)?;
        Ok(listed.into_iter().map(status_of).collect())
    }

    fn mkdirs(&self, text: &str) -> FsResult<bool> {
        let mode = FsPermission::from_wire(DIRECTORY_MODE);
        self.runtime
            .block_on(self.fs.mkdirs(&path(text)?, mode, true))
            .map_err(plain)
    }

    fn rename(&self, from: &str, to: &str) -> FsResult<bool> {
        self.runtime
            .block_on(self.fs.rename(&path(from)?, &path(to)?))
            .map_err(plain)
    }

    fn delete(&self, text: &str, recursive: bool) -> FsResult<bool> {
        self.runtime
            .block_on(self.fs.delete(&path(text)?, recursive))
            .map_err(plain)
    }

    fn open(&self, text: &str, offset: u64) -> FsResult<Box<dyn Read + '_>> {
        let mut reader = self.runtime.block_on(self.fs.open(&path(text)?)).map_err(plain)?;
        if offset > 0 {
            reader.seek_to(offset);
        }
        Ok(Box::new(Source {
            reader,
            runtime: &self.runtime,
            chunk: bytes::Bytes::new(),
            told_as: self.verbose.then(|| text.to_owned()),
        }))
    }

    fn create(&self, text: &str, options: CreateOptions) -> FsResult<Box<dyn FileSink + '_>> {
        let options = ClientCreate {
            overwrite: options.overwrite,
            ..ClientCreate::default()
        };
        let writer = self
            .runtime
            .block_on(self.fs.create(&path(text)?, options))
            .map_err(plain)?;
        Ok(Box::new(Sink {
            writer,
            runtime: &self.runtime,
        }))
    }

    fn set_permission(&self, text: &str, permission: FsPermission) -> FsResult<()> {
        self.runtime
            .block_on(self.fs.set_permission(&path(text)?, permission))
            .map_err(plain)
    }

    fn set_owner(&self, text: &str, owner: Option<&str>, group: Option<&str>) -> FsResult<()> {
        self.runtime
            .block_on(self.fs.set_owner(&path(text)?, owner, group))
            .map_err(plain)
    }

    fn set_times(&self, text: &str, modified_ms: i64, accessed_ms: i64) -> FsResult<()> {
        let time = |ms: i64| u64::try_from(ms).ok().map(TimeMs);
        self.runtime
            .block_on(self.fs.set_times(&path(text)?, time(modified_ms), time(accessed_ms)))
            .map_err(plain)
    }

    fn set_replication(&self, text: &str, replication: u16) -> FsResult<bool> {
        self.runtime
            .block_on(self.fs.set_replication(&path(text)?, u32::from(replication)))
            .map_err(plain)
    }

    fn truncate(&self, text: &str, len: u64) -> FsResult<bool> {
        let path = path(text)?;
        self.runtime.block_on(self.fs.truncate(&path, len)).map_err(plain)
    }

    fn summary(&self, text: &str) -> FsResult<Summary> {
        let sum = self
            .runtime
            .block_on(self.fs.content_summary(&path(text)?))
            .map_err(plain)?;
        let quota = |limit: Option<u64>| limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX));
        Ok(Summary {
            length: sum.len,
            files: sum.file_count,
            directories: sum.directory_count,
            quota: quota(sum.quota),
            space_consumed: sum.space_consumed,
            space_quota: quota(sum.space_quota),
        })
    }

    fn quota_usage(&self, text: &str) -> FsResult<QuotaUsage> {
        self.runtime.block_on(self.fs.quota_usage(&path(text)?)).map_err(plain)
    }

    fn room(&self) -> FsResult<Room> {
        let stats = self.runtime.block_on(self.fs.stats()).map_err(plain)?;
        Ok(Room {
            capacity: stats.capacity,
            used: stats.used,
            remaining: stats.remaining,
        })
    }

    fn may(&self, text: &str, action: FsAction) -> FsResult<bool> {
        match self.runtime.block_on(self.fs.check_access(&path(text)?, action)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == Some(ErrorKind::AccessControl) || error.is_not_found() => Ok(false),
            Err(error) => Err(plain(error)),
        }
    }

    fn fewest_replicas(&self, text: &str) -> FsResult<Option<u32>> {
        let blocks = self
            .runtime
            .block_on(self.fs.block_locations(&path(text)?, 0, WHOLE_FILE))
            .map_err(plain)?;
        Ok(blocks
            .iter()
            .map(|block| u32::try_from(block.locations.len()).unwrap_or(u32::MAX))
            .min())
    }

    fn trash_minutes(&self) -> FsResult<u64> {
        let defaults = self.runtime.block_on(self.fs.server_defaults()).map_err(plain)?;
        Ok(if defaults.trash_interval_minutes > 0 {
            defaults.trash_interval_minutes
        } else {
            self.trash_minutes
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // covers: SC-01
    #[test]
    fn it_is_told_how_bytes_were_read() {
        let read = ReadStatistics {
            total: 100,
            local: 70,
            short_circuit: 40,
            zero_copy: 10,
        };
        let text = "100 bytes read: 40 by short-circuit (10 of them zero-copy), 30 by TCP on this machine, 30 from other \
                    machines";
        assert_eq!(served(&read), text);
    }
}
