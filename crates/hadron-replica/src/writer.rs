//! The handle by which one thread writes one replica: packets in, `pwrite`s out.
//!
//! Packets that continue each other are gathered into one `pwritev` of data and one `pwrite` of checksums. Data goes
//! first: a process killed in between leaves acked bytes whose checksum is still the one on disk, which loading
//! finds again (see `load`). Where the checksum is of a chunk with synced bytes, the data is synced before it and it before
//! those behind it, so that the same holds for a loss of power. Does not verify what a client sent; the caller knows whether that is its task.

use crate::active::ActiveReplica;
use crate::chunks::ChunkFormat;
use crate::disk::VolumeFile;
use crate::error::{ReplicaError, ReplicaResult};
use crate::pool::{FinalizedReplica, Pool};
use crate::restart::RestartMark;
use hadron_env::disk::PageHint;
use hadron_types::{Block, BlockId, ReplicaState};
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Most slices in one `pwritev` (Linux `IOV_MAX`).
const MAX_SLICES: usize = 1024;

/// One packet's payload.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// Position of the first byte of `data` in the block.
    pub offset: u64,
    /// Big-endian checksums of the chunks of `data`, counted from its start; empty without checksums.
    pub sums: &'a [u8],
    /// The bytes.
    pub data: &'a [u8],
}

/// Writes one replica. Dropping it without [`ReplicaWriter::finalize`] leaves an RBW as it is and removes a TEMPORARY.
pub struct ReplicaWriter {
    replica: Arc<ActiveReplica>,
    pool: Arc<Pool>,
    number: u64,
    data: VolumeFile,
    meta: VolumeFile,
    data_path: PathBuf,
    format: ChunkFormat,
    len: u64,
    last_sum: Option<u32>,
    sums: Vec<u8>,
    /// Something of the data may be on its way to the disk that no sync has covered.
    data_unsynced: bool,
    /// The same for the checksums.
    meta_unsynced: bool,
    dir_synced: bool,
    /// A write failed: what nobody was promised is given back at the end.
    broken: bool,
    done: bool,
}

/// Raises a replica's acked length from another thread than the writer's.
#[derive(Clone)]
pub struct AckHandle(Arc<ActiveReplica>);

impl AckHandle {
    /// Every node of the pipeline has `len` bytes: readers may see them. Never goes back, nor beyond what is on disk.
    pub fn acked(&self, len: u64) {
        let mut status = self.0.status();
        status.acked = status.acked.max(len.min(status.on_disk));
    }
}

impl ReplicaWriter {
    pub(crate) fn new(
        replica: Arc<ActiveReplica>,
        pool: Arc<Pool>,
        number: u64,
        data_path: PathBuf,
        data: VolumeFile,
        meta: VolumeFile,
        format: ChunkFormat,
    ) -> Self {
        let (len, last_sum) = {
            let status = replica.status();
            (status.on_disk, status.last_sum)
        };
        Self {
            replica,
            pool,
            number,
            data,
            meta,
            data_path,
            format,
            len,
            last_sum,
            sums: Vec::new(),
            data_unsynced: true,
            meta_unsynced: true,
            dir_synced: false,
            broken: false,
            done: false,
        }
    }

    /// The checksums of the meta file; packets of another format have theirs recomputed.
    pub fn format(&self) -> ChunkFormat {
        self.format
    }
    /// Bytes on disk.
    pub fn len(&self) -> u64 {
        self.len
    }
    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
    /// The block.
    pub fn block_id(&self) -> BlockId {
        self.replica.id
    }
    /// The storage it is written to.
    pub fn storage(&self) -> (hadron_types::StorageId, hadron_types::StorageType) {
        let volume = &self.replica.home.volume;
        (volume.storage_id(), volume.storage_type())
    }
    /// A handle for the thread that handles acks.
    pub fn ack_handle(&self) -> AckHandle {
        AckHandle(self.replica.clone())
    }

    /// Writes packets in order; `sent` is the format of their checksums. Returns the length on disk after them.
    ///
    /// Errors: [`ReplicaError::BadPacket`] for gaps, wrong checksum counts and unaligned packets that leave their
    /// chunk; [`ReplicaError::Stopped`] when another writer or a deletion took the replica away. Packets before the
    /// bad one may have been written.
    pub fn write(&mut self, packets: &[Packet<'_>], sent: ChunkFormat) -> ReplicaResult<u64> {
        let end = packets
            .iter()
            .map(|p| p.offset.saturating_add(p.data.len() as u64))
            .max();
        {
            let mut status = self.replica.still_mine(self.number)?;
            status.received = status.received.max(end.unwrap_or(0));
        }
        let before = self.len;
        let result = self.write_all(packets, sent);
        let grown = self.format.meta_len(self.len) + self.len - self.format.meta_len(before) - before;
        self.replica.count_used(grown as i64);
        self.replica.advance(self.len, self.last_sum);
        self.broken |= matches!(&result, Err(ReplicaError::Io { .. }));
        result.map(|()| self.len)
    }

    fn write_all(&mut self, packets: &[Packet<'_>], sent: ChunkFormat) -> ReplicaResult<()> {
        let mut gathered = Gathered::at(self.len);
        let mut sums = std::mem::take(&mut self.sums);
        sums.clear();
        for packet in packets {
            let end = gathered.end;
            self.check(packet, sent, end)?;
            if packet.offset + packet.data.len() as u64 <= end {
                continue; // sent again; all of it is on disk
            }
            let aligned = packet.offset.is_multiple_of(u64::from(self.format.chunk));
            if sent == self.format && aligned && !(packet.sums.is_empty() && self.format.size() > 0) {
                gathered.push(packet, self.format, &mut sums);
                if gathered.slices.len() < MAX_SLICES {
                    continue;
                }
                self.flush(&gathered, &sums)?;
            } else {
                self.flush(&gathered, &sums)?;
                self.write_recomputing(packet)?;
            }
            gathered = Gathered::at(self.len);
            sums.clear();
        }
        self.flush(&gathered, &sums)?;
        self.sums = sums;
        Ok(())
    }

    fn check(&self, packet: &Packet<'_>, sent: ChunkFormat, on_disk: u64) -> ReplicaResult<()> {
        let chunk = u64::from(sent.chunk);
        let bad = |problem| {
            Err(ReplicaError::BadPacket {
                block: self.replica.id,
                offset: packet.offset,
                problem,
            })
        };
        if packet.offset > on_disk {
            return bad("is out of sequence");
        }
        if !packet.offset.is_multiple_of(chunk) && packet.offset % chunk + packet.data.len() as u64 > chunk {
            return bad("starts inside a chunk and leaves it");
        }
        if !packet.sums.is_empty() && packet.sums.len() != sent.sums_len(packet.data.len()) {
            return bad("has the wrong number of checksums");
        }
        Ok(())
    }

    fn flush(&mut self, gathered: &Gathered<'_>, sums: &[u8]) -> ReplicaResult<()> {
        if gathered.slices.is_empty() {
            return Ok(());
        }
        self.data_unsynced = true;
        self.data
            .write_vectored_at(&gathered.slices, gathered.start)
            .map_err(self.failed("write"))?;
        self.write_sums(gathered.start / u64::from(self.format.chunk), sums)?;
        self.settle(gathered.end, sums);
        Ok(())
    }

    /// Writes a packet whose checksums do not fit the meta file: unaligned, of another format, or without any.
    fn write_recomputing(&mut self, packet: &Packet<'_>) -> ReplicaResult<()> {
        let fresh = &packet.data[(self.len - packet.offset) as usize..];
        let chunk = u64::from(self.format.chunk);
        let into = self.len % chunk;
        let mut sums = Vec::new();
        let head = if into == 0 {
            0
        } else {
            fresh.len().min((chunk - into) as usize)
        };
        if head > 0 && self.format.size() > 0 {
            let known = self.partial_sum(into as usize)?;
            sums.extend_from_slice(&self.format.extend(known, &fresh[..head]).to_be_bytes());
        }
        self.format.append_sums(&fresh[head..], &mut sums);
        self.data_unsynced = true;
        self.data.write_all_at(fresh, self.len).map_err(self.failed("write"))?;
        self.write_sums(self.len / chunk, &sums)?;
        self.settle(self.len + fresh.len() as u64, &sums);
        Ok(())
    }

    /// The checksum of the partial last chunk, from memory or from disk (then compared with the data).
    fn partial_sum(&self, into: usize) -> ReplicaResult<u32> {
        if let Some(sum) = self.last_sum {
            return Ok(sum);
        }
        let start = self.len - into as u64;
        partial_sum_on_disk(&self.data, &self.meta, self.format, start, into)
            .map_err(self.failed("read"))?
            .ok_or(ReplicaError::Corrupt {
                block: self.replica.id,
                offset: start,
            })
    }

    fn settle(&mut self, end: u64, sums: &[u8]) {
        self.len = end;
        self.last_sum = match sums.last_chunk::<4>() {
            Some(last) if !end.is_multiple_of(u64::from(self.format.chunk)) => Some(u32::from_be_bytes(*last)),
            _ => None,
        };
    }

    /// Writes checksums from that of chunk `first` on. One that replaces a checksum which vouches for synced bytes waits
    /// for its data, and those behind it wait for it: at no moment may a loss of power leave those bytes without one.
    fn write_sums(&mut self, first: u64, sums: &[u8]) -> ReplicaResult<()> {
        let size = self.format.size();
        if size == 0 {
            return Ok(());
        }
        let synced = self.replica.status().synced.unwrap_or(0);
        let chunk = u64::from(self.format.chunk);
        if synced.is_multiple_of(chunk) || first > synced / chunk || sums.len() < size {
            return self.put_sums(first, sums);
        }
        self.sync_data()?;
        self.put_sums(first, &sums[..size])?;
        self.sync_meta()?;
        self.put_sums(first + 1, &sums[size..])
    }

    fn put_sums(&mut self, first: u64, sums: &[u8]) -> ReplicaResult<()> {
        if sums.is_empty() {
            return Ok(());
        }
        self.meta_unsynced = true;
        self.meta
            .write_all_at(sums, self.format.meta_offset(first))
            .map_err(self.failed("write checksums of"))
    }

    fn sync_meta(&mut self) -> ReplicaResult<()> {
        if self.meta_unsynced {
            self.meta.sync_data().map_err(self.failed("sync checksums of"))?;
            self.meta_unsynced = false;
        }
        Ok(())
    }

    fn sync_data(&mut self) -> ReplicaResult<()> {
        if self.data_unsynced {
            self.data.sync_data().map_err(self.failed("sync"))?;
            self.data_unsynced = false;
        }
        Ok(())
    }

    /// Makes everything written so far survive loss of power (hsync).
    pub fn sync(&mut self) -> ReplicaResult<()> {
        self.sync_data()?;
        self.sync_meta()?;
        if !self.dir_synced {
            let dir = self.data_path.parent().unwrap_or(Path::new("/"));
            let synced = self.replica.home.disk().sync_dir(dir);
            synced.map_err(ReplicaError::io("sync", dir))?;
            self.dir_synced = true;
        }
        self.replica.status().synced = Some(self.len);
        Ok(())
    }

    /// Closes the replica: it becomes FINALIZED and moves to its place. `expected`: the block's length. A replica that
    /// was ever synced is synced as a whole, its new place included.
    pub fn finalize(mut self, expected: Option<u64>) -> ReplicaResult<FinalizedReplica> {
        drop(self.replica.still_mine(self.number)?);
        if let Some(expected) = expected.filter(|expected| *expected != self.len) {
            return Err(ReplicaError::WrongLength {
                block: self.replica.id,
                problem: format!("has {} bytes, its last packet says {expected}", self.len),
            });
        }
        if self.pool.options.sync_on_close || self.replica.status().synced.is_some() {
            self.sync()?;
        }
        let finalized = self.pool.finalize(&self.replica);
        // A failure behind the move leaves it finalized.
        self.done = finalized.is_ok() || !self.pool.holds(&self.replica);
        finalized
    }

    /// Leaves the replica open for a pipeline that waits for this DataNode to be back by `expires_ms` (Unix time): until
    /// then it is loaded as an RBW again. Nothing happens to a copy or to a replica that another writer has taken.
    pub fn leave_for_restart(self, expires_ms: u64) -> ReplicaResult<()> {
        let acked = {
            let status = self.replica.still_mine(self.number)?;
            match status.state {
                ReplicaState::Rbw => status.acked,
                _ => return Ok(()),
            }
        };
        let mark = RestartMark {
            expires_ms,
            acked: Some(acked),
        };
        mark.leave(&self.replica.home, self.replica.id)
    }

    /// Turns a finished TEMPORARY copy into an RBW that a pipeline may go on with. `visible` bytes are what the pipeline
    /// acked; the copy may have more, up to the end of a chunk.
    ///
    /// Errors: the copy is shorter than that.
    pub fn adopt(mut self, visible: u64) -> ReplicaResult<Block> {
        drop(self.replica.still_mine(self.number)?);
        if self.len < visible {
            return Err(ReplicaError::WrongLength {
                block: self.replica.id,
                problem: format!("has {} bytes, {visible} of them should be visible", self.len),
            });
        }
        let block = self.pool.adopt(&self.replica, visible)?;
        self.done = true;
        Ok(block)
    }

    /// Tells the system about cached pages of the data; `len` 0: to the end.
    pub fn hint(&self, hint: PageHint, offset: u64, len: u64) {
        self.data.hint(hint, offset, len);
    }

    fn failed(&self, action: &'static str) -> impl FnOnce(std::io::Error) -> ReplicaError + '_ {
        ReplicaError::io(action, &self.data_path)
    }
}

impl Drop for ReplicaWriter {
    fn drop(&mut self) {
        let temporary = self.replica.status().state == ReplicaState::Temporary;
        if !self.done && temporary {
            self.pool.discard(&self.replica);
        } else if !self.done && self.broken && self.replica.still_mine(self.number).is_ok() {
            self.pool.cut_to_acked(&self.replica);
        }
        self.replica.leave(self.number);
    }
}

/// Consecutive packets on their way into one `pwritev`.
struct Gathered<'a> {
    start: u64,
    end: u64,
    slices: Vec<IoSlice<'a>>,
}

impl<'a> Gathered<'a> {
    fn at(start: u64) -> Self {
        Self {
            start,
            end: start,
            slices: Vec::new(),
        }
    }

    /// Adds what of a chunk-aligned `packet` is new. A checksum of a chunk that was partial is replaced.
    fn push(&mut self, packet: &Packet<'a>, format: ChunkFormat, sums: &mut Vec<u8>) {
        let chunk = u64::from(format.chunk);
        let first = self.end / chunk;
        let known = (first - self.start / chunk) as usize * format.size();
        sums.truncate(known);
        let skip = (first - packet.offset / chunk) as usize * format.size();
        sums.extend_from_slice(packet.sums.get(skip..).unwrap_or(&[]));
        let fresh = &packet.data[(self.end - packet.offset) as usize..];
        self.slices.push(IoSlice::new(fresh));
        self.end += fresh.len() as u64;
    }
}

/// Reads the last, partial chunk of `len` bytes at `start` and its stored checksum; `None` when they disagree.
pub(crate) fn partial_sum_on_disk(
    data: &VolumeFile,
    meta: &VolumeFile,
    format: ChunkFormat,
    start: u64,
    len: usize,
) -> std::io::Result<Option<u32>> {
    let mut chunk = vec![0; len];
    data.read_exact_at(&mut chunk, start)?;
    let mut stored = [0; 4];
    meta.read_exact_at(&mut stored, format.meta_offset(start / u64::from(format.chunk)))?;
    let sum = format.sum(&chunk);
    Ok((sum == u32::from_be_bytes(stored)).then_some(sum))
}
