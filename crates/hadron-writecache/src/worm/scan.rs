//! Finds the last commit of an append-only file by reading it from the front.
//!
//! What it is for: recovery. What it does not do: it changes nothing. Invariants: a commit is told to the caller only when its
//! checksum proved it; what follows the last one is a torn tail, unless a later commit is whole: that is damage, because one
//! commit was on its way at most.

use bytes::Bytes;

use super::error::WormError;
use super::frame::{BLOCK_BYTES, FIRST_COMMIT_AT, Sum, Trailer};
use crate::io::RecordIo;

/// Bytes read at once.
const SCAN_BYTES: u64 = 1 << 20;
/// Blocks behind a broken commit that look like the end of a later one and are examined; each costs a read of what it claims.
const MAX_SUSPECTS: u32 = 64;

/// A commit as it lies in the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Commit {
    /// Number, from 1 on.
    pub sequence: u64,
    /// File offset of its first record byte.
    pub start: u64,
    /// Bytes of records, one behind the other.
    pub len: u64,
    /// File offset behind its last block.
    pub end: u64,
    /// Sealed buffers that carried it.
    pub block_sequence: u64,
}

/// What was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Found {
    /// Number of the last commit; 0: none.
    pub(super) sequence: u64,
    /// Where the next commit begins.
    pub(super) end: u64,
    /// True when what follows `end` is nothing but zeros, in whole blocks: room prepared for more.
    pub(super) tail_is_blank: bool,
}

/// Reads commits from the front to `extent`, the end of the file, and shows each to `visit`.
pub(super) fn scan(io: &dyn RecordIo, id: u64, extent: u64, mut visit: impl FnMut(Commit)) -> Result<Found, WormError> {
    let mut found = Found {
        sequence: 0,
        end: FIRST_COMMIT_AT,
        tail_is_blank: true,
    };
    let mut sum = Sum::default();
    let mut suspects = 0;
    let whole = extent - extent % BLOCK_BYTES as u64;
    let mut at = FIRST_COMMIT_AT;
    while at < whole {
        let chunk = read(io, at, (whole - at).min(SCAN_BYTES))?;
        for block in chunk.chunks_exact(BLOCK_BYTES) {
            let next = at + BLOCK_BYTES as u64;
            let trailer = Trailer::decode(block, at, id);
            let due = |trailer: &Trailer| trailer.start == found.end && trailer.sequence == found.sequence + 1;
            match trailer {
                Some(trailer) if due(&trailer) && Trailer::is_whole(sum.clone(), block) => {
                    found = Found {
                        sequence: trailer.sequence,
                        end: next,
                        tail_is_blank: true,
                    };
                    sum = Sum::default();
                    visit(Commit {
                        sequence: trailer.sequence,
                        start: trailer.start,
                        len: trailer.len,
                        end: next,
                        block_sequence: trailer.block_sequence,
                    });
                }
                other => {
                    if let Some(trailer) = other.filter(|trailer| trailer.sequence > found.sequence + 1)
                        && trailer.start > found.end
                        && suspects < MAX_SUSPECTS
                    {
                        suspects += 1;
                        if is_whole(io, trailer.start, next)? {
                            return Err(WormError::Damaged {
                                offset: found.end,
                                sequence: found.sequence + 1,
                                later: trailer.sequence,
                            });
                        }
                    }
                    found.tail_is_blank &= block.iter().all(|byte| *byte == 0);
                    sum.update(block);
                }
            }
            at = next;
        }
    }
    found.tail_is_blank &= whole == extent;
    Ok(found)
}

/// True when the blocks from `start` to `end` are one whole commit.
fn is_whole(io: &dyn RecordIo, start: u64, end: u64) -> Result<bool, WormError> {
    let mut sum = Sum::default();
    let last = end - BLOCK_BYTES as u64;
    let mut at = start;
    while at < last {
        let chunk = read(io, at, (last - at).min(SCAN_BYTES))?;
        sum.update(&chunk);
        at += chunk.len() as u64;
    }
    Ok(Trailer::is_whole(sum, &read(io, last, BLOCK_BYTES as u64)?))
}

fn read(io: &dyn RecordIo, at: u64, len: u64) -> Result<Bytes, WormError> {
    // At most `SCAN_BYTES`.
    io.read(at, len as usize).map_err(WormError::io("read commits", at))
}
