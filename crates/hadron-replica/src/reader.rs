//! A replica opened for reading: files, lengths and checksums as they were at one moment.
//!
//! Invariant: `visible <= readable`; every checksum handed out fits the data up to `readable`, also while a writer
//! goes on extending the last chunk (its checksum on disk may already cover more than a reader may see).

use crate::active::ActiveReplica;
use crate::chunks::{ChunkFormat, META_HEADER_LEN};
use crate::disk::VolumeFile;
use crate::error::{ReplicaError, ReplicaResult};
use crate::layout;
use crate::pool::{Entry, Pool};
use crate::pool_volume::PoolVolume;
use hadron_env::disk::{Open, PageHint};
use hadron_types::{Block, BlockId, GenerationStamp, ReplicaState};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Tries to open files that a finalizing or reopening thread is moving, each after a pause twice as long as the last.
const OPEN_ATTEMPTS: u32 = 8;
/// The first of these pauses; all together they take a quarter of a second.
const OPEN_PAUSE: Duration = Duration::from_millis(2);

/// A replica opened for reading.
pub struct ReplicaReader {
    id: BlockId,
    data: VolumeFile,
    meta: Option<VolumeFile>,
    path: PathBuf,
    stamp: GenerationStamp,
    state: ReplicaState,
    format: ChunkFormat,
    /// The format is what the meta file says.
    vouched: bool,
    visible: u64,
    readable: u64,
    last_sum: Option<u32>,
}

impl ReplicaReader {
    /// Opens `block` in `pool`. A replica with a newer stamp than asked for is fine, an older one is an error.
    /// An RBW that is shorter than `need` bytes is waited for, at most `patience`.
    pub(crate) fn open(pool: &Pool, block: &Block, need: u64, patience: Duration) -> ReplicaResult<Self> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            // A meta file may be on its way to a new name; only the last attempt believes that it is missing.
            match Self::open_once(pool, block, need, patience, attempt == OPEN_ATTEMPTS) {
                Err(ReplicaError::Io { source, .. })
                    if source.kind() == std::io::ErrorKind::NotFound && attempt < OPEN_ATTEMPTS =>
                {
                    std::thread::sleep(OPEN_PAUSE * (1 << (attempt - 1)));
                }
                other => return other,
            }
        }
    }

    fn open_once(
        pool: &Pool,
        block: &Block,
        need: u64,
        patience: Duration,
        accept_no_meta: bool,
    ) -> ReplicaResult<Self> {
        let entry = pool
            .entry(block.id)
            .ok_or(ReplicaError::NotFound(block.id, block.generation_stamp))?
            .effective();
        let (_, stamp) = Pool::describe(&entry);
        if stamp < block.generation_stamp {
            return Err(ReplicaError::WrongStamp {
                block: block.id,
                found: stamp,
                wanted: format!("at least {}", block.generation_stamp),
            });
        }
        match entry {
            Entry::Finalized(finalized) => {
                let dir = pool.finalized_dir(block.id, &finalized);
                let lengths = Lengths {
                    state: ReplicaState::Finalized,
                    visible: finalized.len,
                    readable: finalized.len,
                    last_sum: None,
                };
                let mut reader = Self::open_in(
                    pool.home(finalized.volume),
                    &dir,
                    block.id,
                    stamp,
                    lengths,
                    accept_no_meta,
                )?;
                reader.keep_last_sum();
                // An append may have taken it over, and replaced that checksum, while it was read.
                match pool.entry(block.id).map(Entry::effective) {
                    Some(Entry::Finalized(now)) if now.is_same(&finalized) => Ok(reader),
                    _ => Self::open_once(pool, block, need, patience, accept_no_meta),
                }
            }
            Entry::Active(replica) => {
                let (stamp, lengths) = Self::open_lengths(&replica, block, need, patience)?;
                Self::open_in(
                    &replica.home,
                    &replica.dir(lengths.state),
                    block.id,
                    stamp,
                    lengths,
                    accept_no_meta,
                )
            }
            Entry::Recovering(_) | Entry::Deleting | Entry::Held(_) => {
                Err(ReplicaError::NotFound(block.id, block.generation_stamp))
            }
        }
    }

    /// Waits for an open replica to have `need` bytes, then notes how far it is.
    fn open_lengths(
        replica: &Arc<ActiveReplica>,
        block: &Block,
        need: u64,
        patience: Duration,
    ) -> ReplicaResult<(GenerationStamp, Lengths)> {
        if replica.status().visible().is_some() {
            replica.wait_on_disk(need, patience);
        }
        let status = replica.status();
        let Some(visible) = status.visible() else {
            return Err(ReplicaError::WrongState {
                block: block.id,
                state: status.state,
                step: "read",
            });
        };
        let lengths = Lengths {
            state: status.state,
            visible,
            readable: status.on_disk,
            last_sum: status.last_sum,
        };
        Ok((status.stamp, lengths))
    }

    fn open_in(
        home: &PoolVolume,
        dir: &Path,
        id: BlockId,
        stamp: GenerationStamp,
        lengths: Lengths,
        accept_no_meta: bool,
    ) -> ReplicaResult<Self> {
        let path = dir.join(layout::data_name(id));
        let disk = home.disk();
        let data = disk.open(&path, Open::READ).map_err(|error| {
            if accept_no_meta && error.kind() == std::io::ErrorKind::NotFound {
                // No other attempt follows: the file should be there.
                disk.trouble().note(&error);
            }
            ReplicaError::io("open", &path)(error)
        })?;
        let meta_path = dir.join(layout::meta_name(id, stamp));
        let meta = match disk.open(&meta_path, Open::READ) {
            Ok(meta) => Some(meta),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && accept_no_meta => None,
            Err(error) => return Err(ReplicaError::io("open", &meta_path)(error)),
        };
        let mut header = [0; META_HEADER_LEN as usize];
        let format = meta
            .as_ref()
            .filter(|meta| meta.read_exact_at(&mut header, 0).is_ok())
            .and_then(|_| ChunkFormat::from_header(header));
        if format.is_none() {
            tracing::warn!(file = %meta_path.display(), "meta file is missing or malformed, sending without checksums");
        }
        Ok(Self {
            id,
            data,
            meta,
            path,
            stamp,
            state: lengths.state,
            vouched: format.is_some(),
            format: format.unwrap_or(ChunkFormat::NONE),
            visible: lengths.visible,
            readable: lengths.readable,
            last_sum: lengths.last_sum,
        })
    }

    /// Reads the checksum of a partial last chunk now: an append replaces it on disk while this reader goes on.
    fn keep_last_sum(&mut self) {
        if self.readable.is_multiple_of(u64::from(self.format.chunk)) || self.format.size() == 0 {
            return;
        }
        let mut stored = [0; 4];
        // One that cannot be read is found when it is due.
        if self
            .read_sums(&mut stored, self.readable / u64::from(self.format.chunk))
            .is_ok()
        {
            self.last_sum = Some(u32::from_be_bytes(stored));
        }
    }

    /// The replica as it is: id, its own stamp, bytes on disk.
    pub fn block(&self) -> Block {
        Block {
            id: self.id,
            generation_stamp: self.stamp,
            len: self.readable,
        }
    }
    /// FINALIZED or RBW.
    pub fn state(&self) -> ReplicaState {
        self.state
    }
    /// Checksums of the meta file; [`ChunkFormat::NONE`] without a usable one.
    pub fn format(&self) -> ChunkFormat {
        self.format
    }
    /// Whether there is a meta file that says which checksums the replica has, be it none.
    pub fn is_vouched(&self) -> bool {
        self.vouched
    }
    /// Refuses a replica whose checksums are lost, malformed or denied by the meta file: nobody who gets its bytes could
    /// tell whether they are right. One that was written without checksums is fine.
    pub fn check_sums_known(&self) -> ReplicaResult<()> {
        if self.vouched && !self.denies_sums()? {
            return Ok(());
        }
        Err(ReplicaError::Damaged {
            block: self.id,
            problem: "has no usable meta file",
        })
    }
    /// Whether the meta file has checksums although its header says that there are none.
    fn denies_sums(&self) -> ReplicaResult<bool> {
        let Some(meta) = self.meta.as_ref().filter(|_| self.format.size() == 0) else {
            return Ok(false);
        };
        let len = meta.len().map_err(ReplicaError::io("stat meta file of", &self.path))?;
        Ok(len > META_HEADER_LEN)
    }
    /// Bytes a reader may ask for.
    pub fn visible_len(&self) -> u64 {
        self.visible
    }
    /// Bytes that can be sent to round a range up to whole chunks.
    pub fn readable_len(&self) -> u64 {
        self.readable
    }
    /// Tells the system about cached pages of the data; `len` 0: to the end.
    pub fn hint(&self, hint: PageHint, offset: u64, len: u64) {
        self.data.hint(hint, offset, len);
    }
    /// The data file, for `sendfile`; `None` when only [`Self::read_data`] can read it.
    pub fn data(&self) -> Option<&File> {
        self.data.as_file()
    }
    /// The meta file, for passing it on; `None` if there is none or it is no plain file.
    pub fn meta(&self) -> Option<&File> {
        self.meta.as_ref().and_then(VolumeFile::as_file)
    }
    /// Notes that reading [`Self::data`] failed, so that the volume is checked.
    pub fn blame(&self, error: &std::io::Error) {
        self.data.blame(error);
    }
    /// The data file's name, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads exactly `into.len()` bytes at `offset`. A file shorter than the replica's length is [`ReplicaError::Corrupt`].
    pub fn read_data(&self, into: &mut [u8], offset: u64) -> ReplicaResult<()> {
        self.data
            .read_exact_at(into, offset)
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::UnexpectedEof => ReplicaError::Corrupt { block: self.id, offset },
                _ => ReplicaError::io("read", &self.path)(error),
            })
    }

    /// Reads the checksums of the chunks from `first` on that `into` has room for (4 bytes each, big endian).
    /// `into` must not reach beyond the chunk of `readable_len`.
    pub fn read_sums(&self, into: &mut [u8], first: u64) -> ReplicaResult<()> {
        let Some(meta) = self
            .meta
            .as_ref()
            .filter(|_| self.format.size() > 0 && !into.is_empty())
        else {
            return Ok(());
        };
        meta.read_exact_at(into, self.format.meta_offset(first))
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::UnexpectedEof => ReplicaError::Corrupt {
                    block: self.id,
                    offset: first * u64::from(self.format.chunk),
                },
                _ => ReplicaError::io("read checksums of", &self.path)(error),
            })?;
        let count = (into.len() / 4) as u64;
        if let Some(sum) = self.last_sum
            && first + count == self.format.chunks(self.readable)
            && let Some(last) = into.last_chunk_mut::<4>()
        {
            *last = sum.to_be_bytes();
        }
        Ok(())
    }
}

struct Lengths {
    state: ReplicaState,
    visible: u64,
    readable: u64,
    last_sum: Option<u32>,
}
