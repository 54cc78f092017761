//! Reading a replica on this machine through its descriptors.
//!
//! What the page cache has is read at once, on the caller's thread: handing 4 KiB to another thread would cost more than
//! reading them. What would have to wait for a disk is read by a thread that may wait.
//! Invariants: bytes are given out only after their chunk matched its checksum, unless the settings say otherwise or the
//! DataNode, which verified them, keeps the replica locked in memory for the time of the read; checksums are read many at
//! a time and kept; a replica that does not match is read once more with fresh checksums before it counts as corrupt,
//! since its block may have grown meanwhile. While it grows, the chunk in which it ended never counts as corrupt: its data
//! and its checksum are not written in one step.
//!
//! Source: Hadoop `BlockReaderLocal`.

use super::block::{BlockRange, ReadFault};
use super::sums::Sums;
use crate::short_circuit::{ReadBuffer, ReadBuffers, ReplicaRef};
use bytes::Bytes;
use hadron_proto::hdfs::DatanodeInfoProto;
use hadron_types::ChecksumType;
use hadron_wire::transfer::ChecksumMismatch;
use hadron_wire::transfer::meta::META_HEADER_LEN;
use rustix::fs::{Advice, fadvise};
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::task::AbortOnDropHandle;

/// Bytes of checksums that are read at once: those of 2 MiB with the usual chunks of 512 bytes.
const SUMS_AT_ONCE: u64 = 16 * 1024;
/// What a sequential reader asks for first; doubles up to the buffer's size, so that short reads stay cheap.
const FIRST_STEP: u64 = 128 * 1024;
/// Steps of a sequential reader that are being read at a time: one for the core that runs the reader's task when it waits,
/// and one for another core.
const STEPS_AHEAD: usize = 2;

/// A replica that an open file reads.
pub(super) struct LocalBlock {
    replica: Arc<ReplicaRef>,
    buffers: Arc<ReadBuffers>,
    verify: bool,
    /// Length of the block as it was located.
    promised: u64,
    /// Of the data file, when it was looked at last.
    len: AtomicU64,
    sums: Sums,
}

/// Which of a replica's files.
#[derive(Clone, Copy)]
enum Which {
    Data,
    Meta,
}

/// An anchor for as long as this lives.
pub(super) struct Anchor<'a>(pub(super) &'a ReplicaRef);

impl Drop for Anchor<'_> {
    fn drop(&mut self) {
        self.0.remove_anchor();
    }
}

impl LocalBlock {
    /// `promised`: length of the block as it was located.
    pub(super) fn new(
        replica: ReplicaRef,
        buffers: &Arc<ReadBuffers>,
        skip_checksum: bool,
        promised: u64,
    ) -> io::Result<Self> {
        Ok(Self {
            promised,
            verify: !skip_checksum && replica.checksum.kind != ChecksumType::Null,
            len: AtomicU64::new(replica.data.metadata()?.len()),
            replica: Arc::new(replica),
            buffers: Arc::clone(buffers),
            sums: Sums::default(),
        })
    }

    pub(super) fn replica(&self) -> &Arc<ReplicaRef> {
        &self.replica
    }
    /// `asked`, of the DataNode whose replica this is: of several on this machine it may be another one than was asked.
    pub(super) fn owner(&self, asked: &BlockRange) -> BlockRange {
        let is_owner = |info: &DatanodeInfoProto| info.id.datanode_uuid == self.replica.node;
        BlockRange {
            node: asked.located.locs.iter().position(is_owner).unwrap_or(asked.node),
            ..asked.clone()
        }
    }
    /// Whether reads verify checksums where they are not anchored.
    pub(super) fn verifies(&self) -> bool {
        self.verify
    }

    /// `range` of the block, verified, if its data is in the page cache and its checksums are at hand; without waiting, and
    /// with little more than the copy costs. `None` says nothing of the replica.
    pub(super) fn read_now(&self, range: &Range<u64>) -> Option<Bytes> {
        let whole = self.whole_chunks(range)?;
        let mut buffer = self.buffers.take(usize::try_from(whole.end - whole.start).ok()?);
        self.fill_now(&whole, buffer.as_mut())?;
        let bytes = buffer.freeze();
        if whole == *range {
            return Some(bytes);
        }
        Some(bytes.slice((range.start - whole.start) as usize..(range.end - whole.start) as usize))
    }

    /// The same, into the caller's buffer, which has the range's length; where more than the range must be read to verify
    /// it, by a copy. What is in the buffer after `None` is nobody's business.
    pub(super) fn read_now_into(&self, range: &Range<u64>, buffer: &mut [u8]) -> Option<()> {
        if self.whole_chunks(range)? == *range {
            return self.fill_now(range, buffer);
        }
        buffer.copy_from_slice(&self.read_now(range)?);
        Some(())
    }

    /// What must be read for `range`; `None` if it is empty or not in the file.
    fn whole_chunks(&self, range: &Range<u64>) -> Option<Range<u64>> {
        let chunk = if self.verify {
            self.replica.checksum.chunk_len() as u64
        } else {
            1
        };
        let end = range.end.next_multiple_of(chunk).min(self.len.load(Ordering::Relaxed));
        (!range.is_empty() && range.end <= end).then(|| range.start / chunk * chunk..end)
    }

    /// Reads and verifies the range of [`Self::whole_chunks`].
    fn fill_now(&self, whole: &Range<u64>, buffer: &mut [u8]) -> Option<()> {
        let fill = |buffer: &mut [u8]| {
            let done = read_cached(&self.replica.data, buffer, whole.start).ok()?;
            (done == buffer.len()).then_some(())
        };
        if !self.verify {
            return fill(buffer);
        }
        if self.replica.add_anchor() {
            let _anchor = Anchor(&self.replica);
            return fill(buffer);
        }
        let checksum = self.replica.checksum;
        let (chunk, size) = (checksum.chunk_len() as u64, checksum.kind.size() as u64);
        let (first, last) = (whole.start / chunk * size, whole.end.div_ceil(chunk) * size);
        let number = first / SUMS_AT_ONCE;
        let (from, piece) = (number * SUMS_AT_ONCE, self.sums.get(number)?);
        let sums = piece.get((first - from) as usize..(last - from) as usize)?;
        // By the time the data is here, so are its checksums.
        hadron_shm::prefetch(sums);
        fill(buffer)?;
        checksum.verify(buffer, sums).ok()
    }

    /// Reads and verifies `range` of the block. `ahead`: how much will be wanted behind it. After an error nobody else is
    /// given these files: the next reader asks for them anew.
    pub(super) async fn read(&self, range: Range<u64>, ahead: u64) -> Result<Bytes, ReadFault> {
        let read = self.try_read(range, ahead).await;
        if read.is_err() {
            self.replica.mark_bad();
        }
        read
    }

    async fn try_read(&self, range: Range<u64>, ahead: u64) -> Result<Bytes, ReadFault> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        if !self.verify {
            return self.read_plain(range, ahead).await;
        }
        if self.replica.add_anchor() {
            let _anchor = Anchor(&self.replica);
            return self.read_plain(range, ahead).await;
        }
        match self.read_verified(&range, ahead).await {
            Err(ReadFault::Corrupt(mismatch)) => {
                tracing::debug!(key = %self.replica.key, %mismatch, "reading once more with fresh checksums");
                self.sums.clear();
                let len = self.data_len()?;
                self.len.store(len, Ordering::Relaxed);
                match self.read_verified(&range, ahead).await {
                    Err(ReadFault::Corrupt(mismatch))
                        if self.is_written_on(len)? && self.is_where_it_ended(&mismatch) =>
                    {
                        Err(ReadFault::Unsettled(mismatch))
                    }
                    other => other,
                }
            }
            other => other,
        }
    }

    fn data_len(&self) -> io::Result<u64> {
        Ok(self.replica.data.metadata()?.len())
    }

    /// Whether the replica has grown beyond the block that was located, or since it had `len` bytes.
    fn is_written_on(&self, len: u64) -> io::Result<bool> {
        let now = self.data_len()?;
        Ok(now != len || now > self.promised)
    }

    /// Whether the chunk is the one in which the located block ended, which an append writes anew.
    fn is_where_it_ended(&self, mismatch: &ChecksumMismatch) -> bool {
        mismatch.chunk_index as u64 == self.promised / self.replica.checksum.chunk_len() as u64
    }

    async fn read_plain(&self, range: Range<u64>, ahead: u64) -> Result<Bytes, ReadFault> {
        let len = (range.end - range.start) as usize;
        let buffer = self
            .fill(Which::Data, self.buffers.take(len), range.start, ahead)
            .await?;
        Ok(buffer.freeze())
    }

    async fn read_verified(&self, range: &Range<u64>, ahead: u64) -> Result<Bytes, ReadFault> {
        let chunk = self.replica.checksum.chunk_len() as u64;
        let file_len = self.len.load(Ordering::Relaxed);
        if range.end > file_len {
            let text = format!("replica has {file_len} bytes; {} were promised", range.end);
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text).into());
        }
        let start = range.start / chunk * chunk;
        let end = range.end.next_multiple_of(chunk).min(file_len);
        let buffer = self.buffers.take((end - start) as usize);
        let buffer = self.fill(Which::Data, buffer, start, ahead).await?;
        self.verify_chunks(buffer.as_ref(), start / chunk).await?;
        let bytes = buffer.freeze();
        if start == range.start && end == range.end {
            return Ok(bytes);
        }
        Ok(bytes.slice((range.start - start) as usize..(range.end - start) as usize))
    }

    /// Verifies whole chunks, of which the first is number `first` of the block.
    async fn verify_chunks(&self, data: &[u8], first: u64) -> Result<(), ReadFault> {
        let checksum = self.replica.checksum;
        let size = checksum.kind.size() as u64;
        let (mut rest, mut at) = (data, first * size);
        while !rest.is_empty() {
            let piece = at / SUMS_AT_ONCE * SUMS_AT_ONCE;
            let sums = self.sums_at(piece).await?;
            let chunks = (piece + SUMS_AT_ONCE - at) / size;
            let here = rest.len().min(chunks as usize * checksum.chunk_len());
            let (now, later) = rest.split_at(here);
            let from = ((at - piece) as usize).min(sums.len());
            checksum
                .verify(now, &sums[from..])
                .map_err(|mismatch| ChecksumMismatch {
                    chunk_index: mismatch.chunk_index + (at / size) as usize,
                    offset: mismatch.offset + (at / size) as usize * checksum.chunk_len(),
                    ..mismatch
                })?;
            at += chunks * size;
            rest = later;
        }
        Ok(())
    }

    /// The checksums from `piece` on, in bytes behind the header.
    async fn sums_at(&self, piece: u64) -> io::Result<Bytes> {
        let number = piece / SUMS_AT_ONCE;
        if let Some(known) = self.sums.get(number) {
            return Ok(known);
        }
        let offset = META_HEADER_LEN as u64 + piece;
        let there = self
            .replica
            .meta
            .metadata()?
            .len()
            .saturating_sub(offset)
            .min(SUMS_AT_ONCE);
        let buffer = self.buffers.take(there as usize);
        let sums = self.fill(Which::Meta, buffer, offset, 0).await?.freeze();
        self.sums.put(number, sums.clone());
        Ok(sums)
    }

    /// Fills all of `buffer` from `offset` on.
    async fn fill(&self, which: Which, mut buffer: ReadBuffer, offset: u64, ahead: u64) -> io::Result<ReadBuffer> {
        let done = read_cached(self.file(which), buffer.as_mut(), offset)?;
        if done == buffer.as_ref().len() {
            return Ok(buffer);
        }
        let replica = Arc::clone(&self.replica);
        let reading = tokio::task::spawn_blocking(move || {
            let file = match which {
                Which::Data => &replica.data,
                Which::Meta => &replica.meta,
            };
            let end = offset + buffer.as_ref().len() as u64;
            if let Some(ahead) = NonZeroU64::new(ahead) {
                // Advice: nothing is wrong if it is not taken.
                let _ = fadvise(file, end, Some(ahead), Advice::WillNeed);
            }
            file.read_exact_at(&mut buffer.as_mut()[done..], offset + done as u64)?;
            Ok(buffer)
        });
        reading.await.map_err(io::Error::other)?
    }

    fn file(&self, which: Which) -> &File {
        match which {
            Which::Data => &self.replica.data,
            Which::Meta => &self.replica.meta,
        }
    }
}

/// Reads what can be had without waiting; returns how much that was.
fn read_cached(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        let mut slices = [IoSliceMut::new(&mut buffer[done..])];
        match preadv2(file, &mut slices, offset + done as u64, ReadWriteFlags::NOWAIT) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => done += count,
            Err(Errno::INTR) => {}
            // Not in memory, or a file system that cannot tell.
            Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => break,
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(done)
}

/// A range of a local replica, read in order.
///
/// Once steps have grown to their full size, the next ones are read and verified by tasks of their own while the reader
/// uses what it got: verifying 1 MiB takes a third of the time that copying it out of the page cache takes.
pub(super) struct LocalReader {
    block: Arc<LocalBlock>,
    asked: BlockRange,
    /// Position in the block of the next byte to give out.
    pos: u64,
    step: u64,
    largest_step: u64,
    /// Steps that are being read, in order from `pos` on.
    coming: VecDeque<Coming>,
}

/// A step that is being read.
struct Coming {
    /// Position in the block behind it.
    end: u64,
    reading: AbortOnDropHandle<Result<Bytes, ReadFault>>,
    /// One of what all readers of the client may read ahead.
    _leave: OwnedSemaphorePermit,
}

impl LocalReader {
    pub(super) fn new(block: Arc<LocalBlock>, asked: BlockRange, largest_step: usize) -> Self {
        let largest_step = largest_step as u64;
        Self {
            pos: asked.range.start,
            step: FIRST_STEP.min(largest_step),
            largest_step,
            coming: VecDeque::new(),
            block,
            asked,
        }
    }

    pub(super) fn asked(&self) -> &BlockRange {
        &self.asked
    }
    pub(super) fn position(&self) -> u64 {
        self.pos
    }

    /// The next bytes of the range, as many as a step; `None` at its end.
    pub(super) async fn next_bytes(&mut self) -> Result<Option<Bytes>, ReadFault> {
        if self.pos >= self.asked.range.end {
            return Ok(None);
        }
        if self.step == self.largest_step && self.pos > self.asked.range.start {
            while self.coming.len() < STEPS_AHEAD && self.begin_step() {}
        }
        let (end, bytes) = match self.coming.front_mut() {
            Some(first) => {
                let read = (&mut first.reading).await.map_err(io::Error::other);
                let end = first.end;
                self.coming.pop_front();
                let read = read.map_err(ReadFault::from).flatten();
                if read.is_err() {
                    // What follows must not be taken for what failed.
                    self.coming.clear();
                }
                (end, read?)
            }
            None => {
                let (range, ahead) = self.step_at(self.pos);
                (range.end, self.block.read(range, ahead).await?)
            }
        };
        self.pos = end;
        self.step = (self.step * 2).min(self.largest_step);
        Ok(Some(bytes))
    }

    /// Begins to read what follows the steps that are being read; false at the end of the range, and when all readers of the
    /// client together read ahead as much as they may.
    fn begin_step(&mut self) -> bool {
        let at = self.coming.back().map_or(self.pos, |last| last.end);
        if at >= self.asked.range.end {
            return false;
        }
        let Some(leave) = self.block.buffers.take_ahead() else {
            return false;
        };
        let (range, ahead) = self.step_at(at);
        let (block, end) = (Arc::clone(&self.block), range.end);
        let reading = tokio::spawn(async move { block.read(range, ahead).await });
        self.coming.push_back(Coming {
            end,
            reading: AbortOnDropHandle::new(reading),
            _leave: leave,
        });
        true
    }

    /// The step at `pos`, and how much will be wanted behind it.
    fn step_at(&self, pos: u64) -> (Range<u64>, u64) {
        let last = self.asked.range.end;
        // Steps end where steps of their size would if all began at 0.
        let end = ((pos + self.step) / self.step * self.step).min(last);
        (pos..end, (last - end).min(2 * self.largest_step))
    }
}
