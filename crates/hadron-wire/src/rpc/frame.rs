//! Cutting a byte stream into frames: a 32-bit big-endian length, then that many bytes.
//!
//! Invariant: the buffer holds what has arrived plus at most as much again; a length field alone reserves nothing.

use crate::WireError;
use bytes::{Buf, Bytes, BytesMut};

/// Longest request a server accepts (`ipc.maximum.data.length` of 3.3).
pub const DEFAULT_MAX_REQUEST_LEN: usize = 128 * 1024 * 1024;
/// Longest response a client accepts (`ipc.maximum.response.length`).
pub const DEFAULT_MAX_RESPONSE_LEN: usize = 128 * 1024 * 1024;
/// Room kept free for a read between frames: what an idle connection costs.
const READ_LEN: usize = 8 * 1024;
/// Most room kept free for a read inside a long frame.
const MAX_READ_LEN: usize = 1024 * 1024;
const PREFIX_LEN: usize = 4;

/// Collects bytes and gives back frames without their lengths.
///
/// Read into [`FrameDecoder::read_buffer`] (or [`FrameDecoder::push`] what was read), then call
/// [`FrameDecoder::next_frame`] until it gives `None`.
#[derive(Debug)]
pub struct FrameDecoder {
    buffer: BytesMut,
    max_len: usize,
}

impl FrameDecoder {
    /// A decoder that refuses frames longer than `max_len` bytes.
    pub fn new(max_len: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            max_len,
        }
    }

    /// The buffer to append to, with room for at least one sensible read.
    pub fn read_buffer(&mut self) -> &mut BytesMut {
        let wanted = match self.frame_len() {
            Ok(Some(len)) => (PREFIX_LEN + len).saturating_sub(self.buffer.len()),
            _ => 0,
        };
        // At most as much as has come already: a claimed length must be paid for with bytes.
        let room = wanted.min(self.buffer.len()).clamp(READ_LEN, MAX_READ_LEN);
        self.buffer.reserve(room);
        &mut self.buffer
    }

    /// Appends bytes that were read elsewhere.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Takes `len` bytes that are no frame (the preamble). Panics if fewer are there (caller checks).
    pub fn skip(&mut self, len: usize) {
        self.buffer.advance(len);
    }

    /// What has arrived and is not taken yet.
    pub fn buffered(&self) -> &[u8] {
        &self.buffer
    }

    /// The next whole frame; `Ok(None)`: more bytes are needed. An error ends the connection.
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, WireError> {
        match self.frame_len()? {
            Some(len) if self.buffer.len() - PREFIX_LEN >= len => {
                self.buffer.advance(PREFIX_LEN);
                Ok(Some(self.buffer.split_to(len).freeze()))
            }
            _ => Ok(None),
        }
    }

    fn frame_len(&self) -> Result<Option<usize>, WireError> {
        let Some(prefix) = self.buffer.first_chunk::<PREFIX_LEN>() else {
            return Ok(None);
        };
        let len = i32::from_be_bytes(*prefix);
        match usize::try_from(len) {
            Ok(len) if len <= self.max_len => Ok(Some(len)),
            _ => Err(WireError::Length {
                what: "RPC frame",
                len: i64::from(len),
                limit: self.max_len,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lengths_beyond_the_limit_end_the_connection() {
        for (prefix, accepted) in [
            (16_i32, true),
            (17, false),
            (-1, false),
            (i32::MIN, false),
            (i32::MAX, false),
        ] {
            let mut decoder = FrameDecoder::new(16);
            decoder.push(&prefix.to_be_bytes());
            assert_eq!(decoder.next_frame().is_ok(), accepted, "{prefix}");
        }
    }

    #[test]
    fn a_claimed_length_reserves_next_to_nothing() {
        let mut decoder = FrameDecoder::new(DEFAULT_MAX_REQUEST_LEN);
        decoder.push(&(100_i32 << 20).to_be_bytes());
        assert!(decoder.read_buffer().capacity() <= 4 * READ_LEN);
    }

    proptest! {
        #[test]
        fn frames_come_out_however_the_bytes_are_cut(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8),
            cut in 1_usize..30,
        ) {
            let mut stream = Vec::new();
            for frame in &frames {
                stream.extend_from_slice(&(frame.len() as i32).to_be_bytes());
                stream.extend_from_slice(frame);
            }
            let mut decoder = FrameDecoder::new(64);
            let mut found = Vec::new();
            for piece in stream.chunks(cut) {
                decoder.read_buffer().extend_from_slice(piece);
                while let Some(frame) = decoder.next_frame().expect("good frames") {
                    found.push(frame.to_vec());
                }
            }
            prop_assert_eq!(found, frames);
            prop_assert!(decoder.buffered().is_empty());
        }
    }
}
