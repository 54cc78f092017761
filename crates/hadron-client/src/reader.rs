//! Reading one file, block by block, from whichever replica works.
//!
//! Replicas on this machine are read from their files where the DataNode passes them.
//! What it does not do: erasure coding.
//! Invariants: bytes are given out only after their chunk matched its checksum (zero-copy reads and
//! unverified local reads excepted, which callers ask for); a DataNode that failed is not asked
//! again for this file until every other replica of a block failed too, but for a connection that merely broke, which is
//! made again once; what arrives is not copied until it reaches the caller's buffer.

mod attempt;
mod block;
mod hedged;
mod joined;
mod local;
mod locations;
mod ranges;
mod source;
mod sums;
mod visible_length;
mod zero_copy;

pub use hedged::HedgedReads;
pub(crate) use hedged::Hedging;
pub use source::ReadStatistics;
pub use zero_copy::ZeroCopy;

use crate::error::{FsError, Result};
use crate::fs::Shared;
use attempt::Attempt;
use block::ReadFault;
use bytes::{Buf, Bytes};
use futures::future::BoxFuture;
use futures::{StreamExt, TryStreamExt, stream};
use hadron_types::FsPath;
use joined::Joined;
use locations::Locations;
use parking_lot::Mutex;
use source::Source;
use std::io::{self, SeekFrom};
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncSeek, ReadBuf};

/// Ranges of [`FileReader::read_ranges`] that are read at a time.
const MAX_READS_AT_ONCE: usize = 16;

/// Reads one file from a position that moves ([`AsyncRead`], [`AsyncSeek`], [`FileReader::next_chunk`]), or anywhere
/// ([`FileReader::read_at`]).
pub struct FileReader {
    locations: Arc<Locations>,
    pos: u64,
    /// Verified bytes at `pos`.
    chunk: Bytes,
    /// Behind a lock that is never taken, only reached through: so that readers can be shared for reads at offsets.
    state: Mutex<State>,
}

enum State {
    /// The connection that stands at `pos + chunk.len()`, if one is open.
    Idle(Option<Source>),
    /// Fetching what follows.
    Fetching(BoxFuture<'static, Fetched>),
}

type Fetched = (Result<Bytes>, Option<Source>);

impl FileReader {
    pub(crate) async fn open(shared: Arc<Shared>, path: &FsPath) -> Result<Self> {
        Ok(Self {
            locations: Arc::new(Locations::open(shared, path).await?),
            pos: 0,
            chunk: Bytes::new(),
            state: Mutex::new(State::Idle(None)),
        })
    }

    /// Length of the file when it was opened; of a file being written, what DataNodes acked by then.
    pub fn len(&self) -> u64 {
        self.locations.file_len()
    }
    /// Whether the file has no byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Where the next sequential read begins.
    pub fn position(&self) -> u64 {
        self.pos
    }

    /// The bytes that follow, as many as one packet brought; empty at the end of the file. Saves the copy into a buffer.
    ///
    /// Cancel safe: a dropped call loses nothing.
    pub async fn next_chunk(&mut self) -> Result<Bytes> {
        std::future::poll_fn(|cx| self.poll_chunk(cx)).await?;
        let chunk = std::mem::take(&mut self.chunk);
        self.pos += chunk.len() as u64;
        Ok(chunk)
    }

    /// Reads up to `len` bytes at `offset`, fewer only at the end of the file. Does not move the position; many may run
    /// at a time. With hedging on, a replica that is slow has a second one asked beside it.
    pub async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes> {
        let end = offset.saturating_add(len as u64).min(self.len());
        if offset < end
            && let Some(bytes) = self.locations.read_at_hand(offset, end)
        {
            return Ok(bytes);
        }
        self.read_from_replicas(offset, end).await
    }

    /// Reads `offset..end`, which is in the file or empty, from whichever replicas work.
    async fn read_from_replicas(&self, offset: u64, end: u64) -> Result<Bytes> {
        let mut joined = Joined::new(end.saturating_sub(offset) as usize);
        let mut pos = offset;
        let mut block = None;
        while pos < end {
            let (bytes, used) = match &self.locations.shared().hedging {
                Some(hedging) => {
                    let mut attempt = Attempt::default();
                    let read = hedged::read_hedged(&self.locations, hedging, pos, end, &mut attempt).await;
                    self.locations.report_corrupt(&mut attempt).await;
                    (read, None)
                }
                None => fetch(Arc::clone(&self.locations), pos, end, block.take()).await,
            };
            let bytes = bytes?;
            block = used;
            if bytes.is_empty() {
                break;
            }
            pos += bytes.len() as u64;
            joined.push(bytes);
        }
        if let Some(block) = block {
            block.finish().await;
        }
        Ok(joined.into_bytes())
    }

    /// As [`FileReader::read_at`], into the caller's buffer; returns how many bytes came, fewer than it holds only at the end
    /// of the file. Saves the copy where the block is on this machine, and the range begins and ends where chunks do. What is
    /// in the buffer after an error was verified by nobody.
    pub async fn read_at_into(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let end = offset.saturating_add(buffer.len() as u64).min(self.len());
        let wanted = end.saturating_sub(offset) as usize;
        if wanted > 0
            && self
                .locations
                .read_at_hand_into(offset, &mut buffer[..wanted])
                .is_some()
        {
            return Ok(wanted);
        }
        let bytes = self.read_from_replicas(offset, end).await?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }

    /// Reads several ranges, each as [`FileReader::read_at`] does; neighbours are read together.
    pub async fn read_ranges(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let reads = ranges::combine(ranges).into_iter().map(|combined| async move {
            let range = combined.range;
            let bytes = self
                .read_at(range.start, (range.end.saturating_sub(range.start)) as usize)
                .await?;
            Ok::<_, FsError>((range.start, bytes, combined.members))
        });
        let mut parts = vec![Bytes::new(); ranges.len()];
        let mut reads = stream::iter(reads).buffer_unordered(MAX_READS_AT_ONCE);
        while let Some((start, bytes, members)) = reads.try_next().await? {
            for number in members {
                let range = &ranges[number];
                let place = |at: u64| (at.saturating_sub(start) as usize).min(bytes.len());
                parts[number] = bytes.slice(place(range.start)..place(range.end.max(range.start)));
            }
        }
        Ok(parts)
    }

    /// The bytes that follow, at most `max_len`, as they lie in the memory of this machine, and moves behind them. `None`,
    /// and the position stays, when they cannot be had without a copy: the block is not on this machine, cannot be mapped,
    /// or nobody vouches for its bytes, which means that the DataNode does not keep it locked in memory and neither
    /// `skip_checksums` nor the settings make do without checksums. Also at the end of the file.
    pub async fn read_zero_copy(&mut self, max_len: usize, skip_checksums: bool) -> Result<Option<ZeroCopy>> {
        let end = self.pos.saturating_add(max_len as u64).min(self.len());
        if end <= self.pos {
            return Ok(None);
        }
        let Some(bytes) = self.locations.map_local(self.pos, end, skip_checksums).await? else {
            return Ok(None);
        };
        self.locations.served().add_zero_copy(bytes.len());
        self.seek_to(self.pos + bytes.len() as u64);
        Ok(Some(bytes))
    }

    /// How the bytes that this reader read so far came here.
    pub fn statistics(&self) -> ReadStatistics {
        self.locations.served().read()
    }

    /// Moves to `offset`, which may be beyond the end (reads then give nothing).
    pub fn seek_to(&mut self, offset: u64) {
        let ahead = offset.checked_sub(self.pos);
        match ahead
            .and_then(|ahead| usize::try_from(ahead).ok())
            .filter(|ahead| *ahead <= self.chunk.len())
        {
            Some(ahead) if matches!(self.state.get_mut(), State::Idle(_)) => self.chunk.advance(ahead),
            _ => {
                self.chunk = Bytes::new();
                *self.state.get_mut() = State::Idle(None);
            }
        }
        self.pos = offset;
    }

    /// Makes `chunk` non-empty, or leaves it empty at the end of the file.
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        loop {
            if !self.chunk.is_empty() {
                return Poll::Ready(Ok(()));
            }
            // An empty slice still holds the receive buffer, which could not be used again.
            self.chunk = Bytes::new();
            match self.state.get_mut() {
                State::Idle(_) if self.pos >= self.locations.file_len() => {
                    *self.state.get_mut() = State::Idle(None);
                    return Poll::Ready(Ok(()));
                }
                State::Idle(block) => {
                    let (locations, block) = (Arc::clone(&self.locations), block.take());
                    let end = locations.file_len();
                    *self.state.get_mut() = State::Fetching(Box::pin(fetch(locations, self.pos, end, block)));
                }
                State::Fetching(fetching) => {
                    let (bytes, block) = ready!(fetching.as_mut().poll(cx));
                    *self.state.get_mut() = State::Idle(block);
                    self.chunk = bytes?;
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

/// Fetches what follows `pos`, over `block` if it stands there, trying replicas until one works. Reads at most up to
/// `end`, and not beyond the block. Empty only when the file ends at `pos`.
async fn fetch(locations: Arc<Locations>, pos: u64, end: u64, block: Option<Source>) -> Fetched {
    let mut attempt = Attempt::default();
    let fetched = try_fetch(&locations, pos, end, block, &mut attempt).await;
    locations.report_corrupt(&mut attempt).await;
    match fetched {
        Ok((bytes, rest)) => (Ok(bytes), rest),
        Err(error) => (Err(error), None),
    }
}

async fn try_fetch(
    locations: &Locations,
    pos: u64,
    end: u64,
    block: Option<Source>,
    attempt: &mut Attempt,
) -> Result<(Bytes, Option<Source>)> {
    let mut block = block.filter(|block| block.file_position() == pos);
    loop {
        let mut reader = match block.take() {
            Some(reader) => reader,
            None => {
                let Some(asked) = locations.choose(pos, end, attempt).await? else {
                    return Ok((Bytes::new(), None));
                };
                match Source::open(locations, &asked).await {
                    Ok(reader) => reader,
                    Err(fault) => {
                        locations.note_fault(&asked, &fault, attempt);
                        continue;
                    }
                }
            }
        };
        match reader.next_bytes(locations).await {
            Ok(Some(bytes)) => {
                // The connection goes back to the cache as soon as its last byte is here.
                let rest = if reader.is_at_end() {
                    reader.finish().await;
                    None
                } else {
                    Some(reader)
                };
                return Ok((bytes, rest));
            }
            Ok(None) => reader.finish().await,
            // A DataNode may close the connection of a reader that paused for long: that is no reason to shun it.
            Err(ReadFault::Io(error)) if !attempt.same_node_retried && error.kind() != io::ErrorKind::TimedOut => {
                tracing::debug!(%error, pos, "connection broke while reading; connecting again");
                attempt.same_node_retried = true;
            }
            Err(fault) => locations.note_fault(reader.asked(), &fault, attempt),
        }
    }
}

impl AsyncRead for FileReader {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_chunk(cx)).map_err(io::Error::from)?;
        let taken = this.chunk.len().min(buf.remaining());
        buf.put_slice(&this.chunk[..taken]);
        this.chunk.advance(taken);
        this.pos += taken as u64;
        Poll::Ready(Ok(()))
    }
}

impl AsyncSeek for FileReader {
    fn start_seek(self: Pin<&mut Self>, position: SeekFrom) -> io::Result<()> {
        let this = self.get_mut();
        let target = match position {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(delta) => this.len().checked_add_signed(delta),
            SeekFrom::Current(delta) => this.pos.checked_add_signed(delta),
        };
        let target = target.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "seek before the file"))?;
        this.seek_to(target);
        Ok(())
    }

    fn poll_complete(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Poll::Ready(Ok(self.pos))
    }
}

impl std::fmt::Debug for FileReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileReader")
            .field("pos", &self.pos)
            .finish_non_exhaustive()
    }
}
