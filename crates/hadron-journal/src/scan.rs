//! Reads a segment from its start to where it stops making sense, and says why it stops there.
//!
//! What it is for: telling a torn tail, which is cut, from damage, which stops start-up. What it does not do: decode
//! entries or change files. Invariant: since only one batch is ever in flight, a bad batch with a good one after it
//! cannot be a torn tail.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hadron_env::{Disk, DiskFile, Open};
use hadron_types::LogIndex;

use crate::batch::{BLOCK_BYTES, BatchHeader, FrameError, HEADER_BYTES, check_frame, peek_header};
use crate::segment::{FIRST_BATCH_OFFSET, SegmentHeader};

/// Bytes read at a time while looking for good batches behind a bad one.
const SEARCH_BYTES: usize = 1 << 20;

/// How a segment ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Tail {
    /// Nothing but zeros after the last batch.
    Clean,
    /// A batch that was being written when the machine stopped.
    Torn(&'static str),
    /// What no crash leaves behind.
    Damaged(String),
}

/// What is in a segment.
#[derive(Debug)]
pub(crate) struct SegmentScan {
    pub(crate) path: PathBuf,
    pub(crate) header: SegmentHeader,
    /// The index after the last good batch.
    pub(crate) next_index: LogIndex,
    /// The offset after the last good batch; where `tail` was found.
    pub(crate) end: u64,
    pub(crate) file_len: u64,
    pub(crate) tail: Tail,
    /// The highest next index of any good batch, also of those behind damage.
    pub(crate) reach: LogIndex,
}

/// Why a segment cannot be scanned at all.
#[derive(Debug)]
pub(crate) enum ScanError {
    Io(io::Error),
    /// The header is damaged.
    Header(String),
}

/// Walks the batches of a segment.
pub(crate) struct Batches {
    file: Arc<dyn DiskFile>,
    file_len: u64,
    header: SegmentHeader,
    offset: u64,
    frame: Vec<u8>,
}

/// A step of the walk.
pub(crate) enum Step {
    /// A good batch, at this offset; its bytes are in [`Batches::frame`].
    Batch(BatchHeader, u64),
    /// The end of the file, or zeros, or worse.
    Stop(FrameError),
}

impl Batches {
    pub(crate) fn open(disk: &dyn Disk, path: &Path) -> Result<Self, ScanError> {
        let file = disk.open(path, Open::READ).map_err(ScanError::Io)?;
        let file_len = file.len().map_err(ScanError::Io)?;
        if file_len < FIRST_BATCH_OFFSET {
            return Err(ScanError::Header(format!("{file_len} bytes are too few for a segment")));
        }
        let mut block = vec![0; BLOCK_BYTES];
        file.read_exact_at(&mut block, 0).map_err(ScanError::Io)?;
        let header = SegmentHeader::decode(&block).map_err(ScanError::Header)?;
        Ok(Self {
            file,
            file_len,
            header,
            offset: FIRST_BATCH_OFFSET,
            frame: block,
        })
    }

    pub(crate) fn header(&self) -> &SegmentHeader {
        &self.header
    }

    /// The bytes of the batch just read, without padding.
    pub(crate) fn frame(&self) -> &[u8] {
        &self.frame
    }

    pub(crate) fn next(&mut self) -> io::Result<Step> {
        let at = self.offset;
        match self.read_frame(at)? {
            Ok(header) => {
                self.offset = at + header.padded_len();
                Ok(Step::Batch(header, at))
            }
            Err(error) => Ok(Step::Stop(error)),
        }
    }

    /// Reads and checks the frame at `offset` into `self.frame`.
    fn read_frame(&mut self, offset: u64) -> io::Result<Result<BatchHeader, FrameError>> {
        if offset + HEADER_BYTES as u64 > self.file_len {
            return Ok(Err(FrameError::NotAFrame));
        }
        let block = (self.file_len - offset).min(BLOCK_BYTES as u64) as usize;
        self.frame.resize(block, 0);
        self.file.read_exact_at(&mut self.frame, offset)?;
        let header = match peek_header(&self.frame, self.header.salt) {
            Ok(header) => header,
            Err(error) => return Ok(Err(error)),
        };
        if offset + header.len as u64 > self.file_len {
            return Ok(Err(FrameError::Damaged("ends after the end of the file")));
        }
        let have = self.frame.len();
        self.frame.resize(header.len, 0);
        if header.len > have {
            self.file.read_exact_at(&mut self.frame[have..], offset + have as u64)?;
        }
        Ok(check_frame(&self.frame).map(|()| header))
    }

    /// Looks behind `offset` for good batches; tells the highest next index found, and whether all bytes are zeros.
    fn search(&mut self, offset: u64) -> io::Result<(Option<(u64, LogIndex)>, bool)> {
        let mut all_zeros = true;
        let mut found: Option<(u64, LogIndex)> = None;
        let mut chunk = Vec::new();
        let mut at = offset;
        while at < self.file_len {
            chunk.resize((self.file_len - at).min(SEARCH_BYTES as u64) as usize, 0);
            self.file.read_exact_at(&mut chunk, at)?;
            all_zeros &= chunk.iter().all(|byte| *byte == 0);
            for (number, block) in chunk.chunks(BLOCK_BYTES).enumerate() {
                let block_offset = at + (number * BLOCK_BYTES) as u64;
                let candidate = block.len() >= HEADER_BYTES && peek_header(block, self.header.salt).is_ok();
                if candidate && let Ok(header) = self.read_frame(block_offset)? {
                    let first = found.map_or(block_offset, |(first, _)| first);
                    let reach = found.map_or(LogIndex(0), |(_, reach)| reach).max(header.next_index());
                    found = Some((first, reach));
                }
            }
            at += chunk.len() as u64;
        }
        Ok((found, all_zeros))
    }
}

/// Scans a segment to its end.
pub(crate) fn scan(disk: &dyn Disk, path: &Path) -> Result<SegmentScan, ScanError> {
    let mut batches = Batches::open(disk, path)?;
    let header = *batches.header();
    let mut scan = SegmentScan {
        path: path.to_owned(),
        header,
        next_index: header.first_index,
        end: FIRST_BATCH_OFFSET,
        file_len: batches.file_len,
        tail: Tail::Clean,
        reach: header.first_index,
    };
    let mut closed = false;
    let stop = loop {
        match batches.next().map_err(ScanError::Io)? {
            Step::Stop(error) => break error,
            Step::Batch(batch, _) => {
                scan.reach = scan.reach.max(batch.next_index());
                let wrong = if closed {
                    Some("a batch follows the one that closed the segment".to_owned())
                } else if batch.first_index != scan.next_index {
                    Some(format!(
                        "batch begins with entry {}, not {}",
                        batch.first_index.0, scan.next_index.0
                    ))
                } else if batch.epoch != header.epoch {
                    Some(format!(
                        "batch of epoch {} in a segment of epoch {}",
                        batch.epoch.0, header.epoch.0
                    ))
                } else {
                    None
                };
                if let Some(reason) = wrong {
                    scan.tail = Tail::Damaged(reason);
                    return Ok(scan);
                }
                scan.next_index = batch.next_index();
                scan.end = batches.offset;
                closed = batch.closed;
            }
        }
    };
    if let FrameError::UnknownVersion(version) = stop {
        scan.reach = LogIndex(u64::MAX);
        scan.tail = Tail::Damaged(format!("batch version {version} is unknown: a newer program wrote it"));
        return Ok(scan);
    }
    let (later, all_zeros) = batches.search(scan.end).map_err(ScanError::Io)?;
    scan.tail = match (later, stop) {
        (Some((offset, reach)), stop) => {
            scan.reach = scan.reach.max(reach);
            let what = match stop {
                FrameError::Damaged(what) => what,
                _ => "no batch here",
            };
            Tail::Damaged(format!("{what}, but a good batch follows at offset {offset}"))
        }
        (None, _) if all_zeros => Tail::Clean,
        (None, _) if closed => Tail::Damaged("bytes follow the batch that closed the segment".to_owned()),
        (None, FrameError::Damaged(what)) => Tail::Torn(what),
        (None, _) => Tail::Torn("start of a batch missing"),
    };
    Ok(scan)
}
