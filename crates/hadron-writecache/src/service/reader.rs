//! Reads: from memory at once, or through the file with others' reads of the same record joined.
//!
//! Invariants: a read from memory waits for no I/O; bytes that fail their checksum are given to nobody and kept nowhere.

use std::sync::Arc;

use bytes::Bytes;

use super::counters::count;
use super::error::ReadError;
use super::map::Boarding;
use super::shared::Shared;
use crate::core::{Relocation, Slot};
use crate::sealed::checksum;

/// Times a record may move to another buffer under a reader before the read counts as a miss; it moves at most once for
/// each compaction or recycling in between.
const MAX_LOOKS: usize = 8;

/// The record from memory; `None`: not there, or the cache is closed.
pub(crate) fn read(shared: &Shared, offset: u64, len: usize) -> Result<Option<Bytes>, ReadError> {
    let mut last = None;
    for _ in 0..MAX_LOOKS {
        let Some(slot) = shared.map.find(offset) else { break };
        if let Some(bytes) = shared.memory(slot.buffer).read(slot) {
            count(&shared.tally.hits);
            return checked(shared, offset, len, bytes).map(Some);
        }
        if last.replace(slot) == Some(slot) {
            // Its buffer was recycled and the map is about to say so: the file has it.
            break;
        }
    }
    count(&shared.tally.misses);
    Ok(None)
}

/// The record from memory or the file; what was read from the file is kept for the next reader.
pub(crate) fn read_through(shared: &Shared, offset: u64, len: usize) -> Result<Bytes, ReadError> {
    if let Some(bytes) = read(shared, offset, len)? {
        return Ok(bytes);
    }
    if shared.core.lock().closed {
        return Err(ReadError::Closed);
    }
    let file_len = len + shared.config.trailer_len();
    match shared.map.board(offset, file_len) {
        Boarding::Fly(flight) => {
            let result = read_file(shared, offset, file_len);
            let checked = result.and_then(|bytes| Ok((checked(shared, offset, len, bytes.clone())?, bytes)));
            let slot = checked.as_ref().ok().and_then(|(_, bytes)| keep(shared, offset, bytes));
            if !shared.map.install(offset, file_len, &flight, slot) {
                count(&shared.tally.reads_not_installed);
            }
            let result = checked.map(|(record, _)| record);
            flight.land(result.clone());
            result
        }
        Boarding::Join(flight) => {
            count(&shared.tally.coalesced_reads);
            flight.wait()
        }
        Boarding::Shown => match read(shared, offset, len)? {
            Some(bytes) => Ok(bytes),
            // It moved or went again; the file has it, and once without company does no harm.
            None => checked(shared, offset, len, read_file(shared, offset, file_len)?),
        },
    }
}

fn read_file(shared: &Shared, offset: u64, len: usize) -> Result<Vec<u8>, ReadError> {
    count(&shared.tally.backing_reads);
    let mut bytes = vec![0; len];
    let mut result = shared.backing().read_exact_at(&mut bytes, offset);
    if let Err(error) = &result
        && error.kind() != std::io::ErrorKind::UnexpectedEof
    {
        tracing::warn!(%error, offset, "read of the file below the cache failed, open it again");
        result = shared
            .reopen()
            .and_then(|backing| backing.read_exact_at(&mut bytes, offset));
    }
    result.map(|()| bytes).map_err(|source| ReadError::Io {
        offset,
        len,
        source: Arc::new(source),
    })
}

/// Copies a record to a read buffer; nobody finds it there before it is installed.
fn keep(shared: &Shared, offset: u64, bytes: &[u8]) -> Option<Slot> {
    let mut lists = shared.reads.lock();
    let installed = lists.install(offset, bytes.len(), &shared.map)?;
    for step in installed.before {
        match step {
            Relocation::Move(a_move) => {
                let record = shared.memory(a_move.from.buffer).read(a_move.from);
                let to = a_move.to;
                if record.is_some_and(|record| {
                    let start = to.position as usize;
                    shared.memory(to.buffer).fill(to.generation, start, &[&record])
                }) {
                    shared.map.relocate(&a_move);
                }
            }
            Relocation::Forget(forgotten) => shared.map.forget(&forgotten),
        }
    }
    let slot = installed.slot;
    let start = slot.position as usize;
    shared
        .memory(slot.buffer)
        .fill(slot.generation, start, &[bytes])
        .then_some(slot)
}

/// Takes the checksum off after comparing it.
fn checked(shared: &Shared, offset: u64, len: usize, bytes: Vec<u8>) -> Result<Bytes, ReadError> {
    let trailer = shared.config.trailer_len();
    if bytes.len() != len + trailer {
        return Err(ReadError::Length {
            offset,
            asked: len,
            held: bytes.len().saturating_sub(trailer),
            history: shared.map.history(offset),
        });
    }
    let bytes = Bytes::from(bytes);
    let record = bytes.slice(..len);
    if trailer == 0 {
        return Ok(record);
    }
    let mut stored = [0; 4];
    stored.copy_from_slice(&bytes[len..]);
    let expected = u32::from_le_bytes(stored);
    let actual = checksum(&record);
    if actual == expected {
        return Ok(record);
    }
    count(&shared.tally.checksum_errors);
    let history = shared.map.history(offset);
    tracing::error!(offset, len, expected, actual, history, "a record fails its checksum");
    Err(ReadError::Checksum {
        offset,
        len,
        expected,
        actual,
        history,
    })
}
