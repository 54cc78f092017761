//! Length-delimited messages: a base-128 length, then that many bytes (protobuf's `writeDelimitedTo`).
//!
//! Invariant: `limit` is checked before a single body byte is kept, and buffers grow with the bytes that arrive.

use crate::WireError;
use bytes::{Buf, BufMut, Bytes};
use hadron_proto::{Required, decode_checked};
use prost::Message;
use std::io::{self, Read};

/// Longest length prefix: 32 bits in groups of seven.
pub const MAX_PREFIX_LEN: usize = 5;
/// How much is reserved ahead of bytes that have not arrived yet.
const GROW_STEP: usize = 64 * 1024;

/// Splits the first delimited message off `buf`: the message and how many bytes prefix and message take together.
///
/// `Ok(None)`: more bytes are needed. Errors: prefix malformed, or length above `limit`.
pub fn split<'a>(buf: &'a [u8], limit: usize, what: &'static str) -> Result<Option<(&'a [u8], usize)>, WireError> {
    let Some((len, prefix)) = prefix(buf, limit, what)? else {
        return Ok(None);
    };
    Ok(buf.get(prefix..prefix + len).map(|body| (body, prefix + len)))
}

/// Takes the first delimited message off a buffer that must hold all of it. No bytes are copied.
pub fn take(buf: &mut Bytes, limit: usize, what: &'static str) -> Result<Bytes, WireError> {
    let (len, prefix) = prefix(buf, limit, what)?.ok_or(WireError::Truncated { what })?;
    if buf.len() - prefix < len {
        return Err(WireError::Truncated { what });
    }
    buf.advance(prefix);
    Ok(buf.split_to(len))
}

/// As [`take`], and decodes the message, required fields checked.
pub fn take_message<M: Message + Default + Required>(
    buf: &mut Bytes,
    limit: usize,
    what: &'static str,
) -> Result<M, WireError> {
    decode_checked(take(buf, limit, what)?).map_err(|source| WireError::Message { what, source })
}

/// Appends `message` with its length in front.
pub fn put<M: Message>(out: &mut impl BufMut, message: &M) {
    put_len(out, message.encoded_len());
    // A growable buffer never runs out of room, which is the only error of prost's encoder.
    let encoded = message.encode(out);
    debug_assert!(encoded.is_ok(), "the buffer has room");
}

/// Appends already encoded bytes with their length in front.
pub fn put_bytes(out: &mut impl BufMut, message: &[u8]) {
    put_len(out, message.len());
    out.put_slice(message);
}

pub(crate) fn put_len(out: &mut impl BufMut, len: usize) {
    prost::encoding::encode_varint(len as u64, out);
}

/// Bytes that [`put`] adds for a message of `len` bytes.
pub fn delimited_len(len: usize) -> usize {
    prost::encoding::encoded_len_varint(len as u64) + len
}

/// Encodes `message` with its length in front.
pub fn to_vec<M: Message>(message: &M) -> Vec<u8> {
    let mut out = Vec::with_capacity(delimited_len(message.encoded_len()));
    put(&mut out, message);
    out
}

/// Reads one delimited message from a blocking reader. The prefix is read byte by byte, so give it a buffered reader.
///
/// Errors: those of `reader`; `UnexpectedEof` when it ends inside; `InvalidData` with a [`WireError`] within.
pub fn read(reader: &mut impl Read, limit: usize, what: &'static str) -> io::Result<Bytes> {
    let mut head = [0_u8; MAX_PREFIX_LEN];
    for count in 1..=MAX_PREFIX_LEN {
        reader.read_exact(&mut head[count - 1..count])?;
        if let Some((len, _)) = prefix(&head[..count], limit, what)? {
            let mut body = Vec::with_capacity(len.min(GROW_STEP));
            reader.by_ref().take(len as u64).read_to_end(&mut body)?;
            if body.len() < len {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    WireError::Truncated { what },
                ));
            }
            return Ok(Bytes::from(body));
        }
    }
    Err(WireError::Prefix { what }.into())
}

/// As [`read`], and decodes the message, required fields checked.
pub fn read_message<M: Message + Default + Required>(
    reader: &mut impl Read,
    limit: usize,
    what: &'static str,
) -> io::Result<M> {
    let body = read(reader, limit, what)?;
    Ok(decode_checked(body).map_err(|source| WireError::Message { what, source })?)
}

/// The length that `buf` starts with and the bytes it takes; `None` when it goes on beyond `buf`.
fn prefix(buf: &[u8], limit: usize, what: &'static str) -> Result<Option<(usize, usize)>, WireError> {
    let mut len: u64 = 0;
    for (index, byte) in buf.iter().take(MAX_PREFIX_LEN).enumerate() {
        len |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return match usize::try_from(len) {
                Ok(len) if len <= limit => Ok(Some((len, index + 1))),
                _ => Err(WireError::Length {
                    what,
                    len: len as i64,
                    limit,
                }),
            };
        }
    }
    if buf.len() >= MAX_PREFIX_LEN {
        return Err(WireError::Prefix { what });
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_once_they_are_whole() {
        let long = [&[0x82, 0x01][..], &[7; 130]].concat();
        for (bytes, expected) in [
            (&[][..], Ok(None)),
            (&[0x80][..], Ok(None)),
            (&[0x00][..], Ok(Some((0, 1)))),
            (&[0x02, 9][..], Ok(None)),
            (&[0x02, 9, 9, 9][..], Ok(Some((2, 3)))),
            (&long[..], Ok(Some((130, 132)))),
            (
                &[0xff, 0xff, 0xff, 0xff, 0x0f][..],
                Err(WireError::Length {
                    what: "test",
                    len: 0xffff_ffff,
                    limit: 200,
                }),
            ),
            (&[0x80; 6][..], Err(WireError::Prefix { what: "test" })),
        ] {
            let found = split(bytes, 200, "test").map(|found| found.map(|(body, used)| (body.len(), used)));
            assert_eq!(found, expected, "{bytes:?}");
        }
    }

    #[test]
    fn a_blocking_reader_stops_at_the_end_of_the_message() {
        let mut bytes: &[u8] = &[3, 1, 2, 3, 4];
        assert_eq!(read(&mut bytes, 10, "test").expect("complete"), &[1, 2, 3][..]);
        assert_eq!(bytes, [4]);
        let error = read(&mut &[3_u8, 1][..], 10, "test").expect_err("too short");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        let error = read(&mut &[11_u8][..], 10, "test").expect_err("too long");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
