//! Replies to operations, and the status a reader sends after the last packet.
//!
//! All are delimited messages; `BlockOpResponseProto` answers most operations and is used as it is.

use super::{Checksum, MAX_RESPONSE_LEN};
use crate::{WireError, delimited};
use bytes::{Bytes, BytesMut};
use hadron_proto::decode_checked;
use hadron_proto::hdfs::{BlockOpResponseProto, ChecksumProto, ClientReadStatusProto, ReadOpChecksumInfoProto, Status};
use std::io::{self, Read};

/// Longest status of a reader.
pub const MAX_READ_STATUS_LEN: usize = 1024;
const WHAT: &str = "block operation response";
const WHAT_STATUS: &str = "client read status";

/// A plain success.
pub fn success() -> BlockOpResponseProto {
    status(Status::Success)
}

/// A failure with its reason.
pub fn failure(status: Status, message: impl Into<String>) -> BlockOpResponseProto {
    BlockOpResponseProto {
        message: Some(message.into()),
        ..self::status(status)
    }
}

/// The ack of a pipeline's set-up: empty `first_bad_link` when every node further down connected.
pub fn connect_ack(status: Status, first_bad_link: &str) -> BlockOpResponseProto {
    BlockOpResponseProto {
        first_bad_link: Some(first_bad_link.to_owned()),
        ..self::status(status)
    }
}

/// The success of a read: how the packets are checksummed and where the first chunk begins.
pub fn read_success(checksum: &Checksum, chunk_offset: u64) -> BlockOpResponseProto {
    BlockOpResponseProto {
        read_op_checksum_info: Some(ReadOpChecksumInfoProto {
            checksum: ChecksumProto::from(checksum),
            chunk_offset,
        }),
        ..success()
    }
}

fn status(status: Status) -> BlockOpResponseProto {
    BlockOpResponseProto {
        status: status as i32,
        ..Default::default()
    }
}

/// Appends a response.
pub fn encode_response(out: &mut BytesMut, response: &BlockOpResponseProto) {
    delimited::put(out, response);
}

/// Reads a response from the start of `buf`: the response and the bytes it takes. `Ok(None)`: more are needed.
pub fn decode_response(buf: &[u8]) -> Result<Option<(BlockOpResponseProto, usize)>, WireError> {
    match delimited::split(buf, MAX_RESPONSE_LEN, WHAT)? {
        Some((message, used)) => {
            let message = decode_checked(Bytes::copy_from_slice(message));
            Ok(Some((
                message.map_err(|source| WireError::Message { what: WHAT, source })?,
                used,
            )))
        }
        None => Ok(None),
    }
}

/// Reads a response from a blocking reader, which should be buffered.
pub fn read_response(reader: &mut impl Read) -> io::Result<BlockOpResponseProto> {
    delimited::read_message(reader, MAX_RESPONSE_LEN, WHAT)
}

/// Appends the status a reader sends when it has read everything: `CHECKSUM_OK` if it verified, else `SUCCESS`.
pub fn encode_read_status(out: &mut BytesMut, status: Status) {
    delimited::put(out, &ClientReadStatusProto { status: status as i32 });
}

/// Reads a reader's status from the start of `buf`. `Ok(None)`: more bytes are needed.
pub fn decode_read_status(buf: &[u8]) -> Result<Option<(Status, usize)>, WireError> {
    match delimited::split(buf, MAX_READ_STATUS_LEN, WHAT_STATUS)? {
        Some((message, used)) => {
            let message: ClientReadStatusProto =
                decode_checked(Bytes::copy_from_slice(message)).map_err(|source| WireError::Message {
                    what: WHAT_STATUS,
                    source,
                })?;
            Ok(Some((read_status_of(&message)?, used)))
        }
        None => Ok(None),
    }
}

/// Reads a reader's status from a blocking reader, which should be buffered.
pub fn read_read_status(reader: &mut impl Read) -> io::Result<Status> {
    let message: ClientReadStatusProto = delimited::read_message(reader, MAX_READ_STATUS_LEN, WHAT_STATUS)?;
    Ok(read_status_of(&message)?)
}

fn read_status_of(message: &ClientReadStatusProto) -> Result<Status, WireError> {
    Status::try_from(message.status).map_err(|_| WireError::Unknown {
        what: WHAT_STATUS,
        value: i64::from(message.status),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hadron_types::ChecksumType;

    #[test]
    fn responses_survive_the_wire() {
        let checksum = Checksum::new(ChecksumType::Crc32c, 512).expect("in range");
        for response in [
            success(),
            failure(Status::ErrorAccessToken, "no"),
            connect_ack(Status::Error, "127.0.0.1:50010"),
            read_success(&checksum, 1024),
        ] {
            let mut out = BytesMut::new();
            encode_response(&mut out, &response);
            for cut in 0..out.len() {
                assert_eq!(decode_response(&out[..cut]), Ok(None));
            }
            assert_eq!(decode_response(&out), Ok(Some((response.clone(), out.len()))));
            assert_eq!(read_response(&mut &out[..]).expect("readable"), response);
        }
    }

    #[test]
    fn a_reader_s_status_is_two_bytes_and_a_length() {
        let mut out = BytesMut::new();
        encode_read_status(&mut out, Status::ChecksumOk);
        assert_eq!(out[..], [2, 8, 6]);
        assert_eq!(decode_read_status(&out), Ok(Some((Status::ChecksumOk, 3))));
        assert_eq!(read_read_status(&mut &out[..]).expect("readable"), Status::ChecksumOk);
        assert!(decode_read_status(&[2, 8, 77]).is_err());
        assert!(decode_read_status(&[0]).is_err());
    }
}
