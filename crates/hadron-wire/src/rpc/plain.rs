//! Headers of the usual shape, read and written without the generated code: every call has two of them.
//!
//! What it does not do: anything unusual. A request header with other fields than the five that plain calls have, or
//! with fields in forms that need judgement, is left to the generated code, which also finds the words for errors.
//! Invariant: what is read or written here equals what the generated code reads or writes (tested for any bytes).

use super::RPC_VERSION;
use super::response::CallEcho;
use crate::delimited;
use bytes::{BufMut, Bytes, BytesMut};
use hadron_proto::common::RpcRequestHeaderProto;
use hadron_proto::common::rpc_response_header_proto::RpcStatusProto;

// Keys of fields: number << 3 | wire type.
const REQUEST_RPC_KIND: u8 = 1 << 3;
const REQUEST_RPC_OP: u8 = 2 << 3;
const REQUEST_CALL_ID: u8 = 3 << 3;
const REQUEST_CLIENT_ID: u8 = 4 << 3 | 2;
const REQUEST_RETRY_COUNT: u8 = 5 << 3;
const RESPONSE_CALL_ID: u8 = 1 << 3;
const RESPONSE_STATUS: u8 = 2 << 3;
const RESPONSE_VERSION: u8 = 3 << 3;
const RESPONSE_CLIENT_ID: u8 = 7 << 3 | 2;
const RESPONSE_RETRY_COUNT: u8 = 8 << 3;
/// Most bytes of the fields around the client id: two lengths, keys, numbers.
const MAX_FIXED_LEN: usize = 40;
/// Longest varint of 32 bits.
const MAX_VARINT32_LEN: usize = 5;

/// Reads the header that starts at `start` in `frame` and is `len` bytes long; `None`: let the generated code look.
pub(super) fn read_request_header(frame: &Bytes, start: usize, len: usize) -> Option<RpcRequestHeaderProto> {
    let end = start.checked_add(len)?;
    let bytes = frame.get(..end)?;
    let mut at = start;
    let mut header = RpcRequestHeaderProto::default();
    let (mut has_call_id, mut has_client_id) = (false, false);
    while at < end {
        let key = bytes[at];
        at += 1;
        let value = varint32(bytes, &mut at)?;
        match key {
            REQUEST_RPC_KIND => header.rpc_kind = Some(i32::try_from(value).ok()?),
            REQUEST_RPC_OP => header.rpc_op = Some(i32::try_from(value).ok()?),
            REQUEST_CALL_ID => {
                header.call_id = unzigzag(value);
                has_call_id = true;
            }
            REQUEST_RETRY_COUNT => header.retry_count = Some(unzigzag(value)),
            REQUEST_CLIENT_ID => {
                let from = at;
                at = at.checked_add(value as usize).filter(|after| *after <= end)?;
                header.client_id = frame.slice(from..at);
                has_client_id = true;
            }
            _ => return None,
        }
    }
    (has_call_id && has_client_id).then_some(header)
}

/// Appends the frame of a successful call.
pub(super) fn put_success(out: &mut BytesMut, echo: &CallEcho, message: &[u8]) {
    let mut fixed = [0_u8; MAX_FIXED_LEN];
    let mut head = Fields { to: &mut fixed, len: 0 };
    head.number(RESPONSE_CALL_ID, echo.call_id as u32);
    head.number(RESPONSE_STATUS, RpcStatusProto::Success as u32);
    head.number(RESPONSE_VERSION, u32::from(RPC_VERSION));
    head.number(RESPONSE_CLIENT_ID, echo.client_id.len() as u32);
    let middle = head.len;
    head.number(RESPONSE_RETRY_COUNT, zigzag(echo.retry_count));
    let after = head.len;
    let header_len = after + echo.client_id.len();
    let len = delimited::delimited_len(header_len) + delimited::delimited_len(message.len());
    out.reserve(4 + len);
    out.put_i32(len as i32);
    delimited::put_len(out, header_len);
    out.put_slice(&fixed[..middle]);
    out.put_slice(&echo.client_id);
    out.put_slice(&fixed[middle..after]);
    delimited::put_bytes(out, message);
}

struct Fields<'a> {
    to: &'a mut [u8; MAX_FIXED_LEN],
    len: usize,
}

impl Fields<'_> {
    fn byte(&mut self, byte: u8) {
        self.to[self.len] = byte;
        self.len += 1;
    }

    /// Five of these take at most 30 bytes.
    fn number(&mut self, key: u8, mut value: u32) {
        self.byte(key);
        while value >= 0x80 {
            self.byte(value as u8 | 0x80);
            value >>= 7;
        }
        self.byte(value as u8);
    }
}

/// A varint that fits 32 bits in its shortest or any form of at most [`MAX_VARINT32_LEN`] bytes.
fn varint32(bytes: &[u8], at: &mut usize) -> Option<u32> {
    let mut value = 0_u64;
    for shift in 0..MAX_VARINT32_LEN {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << (7 * shift);
        if byte & 0x80 == 0 {
            return u32::try_from(value).ok();
        }
    }
    None
}

fn unzigzag(value: u32) -> i32 {
    (value >> 1) as i32 ^ -((value & 1) as i32)
}

fn zigzag(value: i32) -> u32 {
    (value << 1) as u32 ^ (value >> 31) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::response::encode_with_generated;
    use hadron_proto::decode_checked;
    use proptest::prelude::*;
    use prost::Message;

    fn read_plain(encoded: &[u8]) -> Option<RpcRequestHeaderProto> {
        // Bytes of others before and after, which must not be touched.
        let frame = Bytes::from([&[0xff, 0x01][..], encoded, &[0x08]].concat());
        read_request_header(&frame, 2, encoded.len())
    }

    fn header() -> impl Strategy<Value = RpcRequestHeaderProto> {
        let numbers = (prop::option::of(0..5), prop::option::of(0..5), any::<i32>());
        (
            numbers,
            prop::collection::vec(any::<u8>(), 0..200),
            prop::option::of(any::<i32>()),
        )
            .prop_map(
                |((rpc_kind, rpc_op, call_id), client_id, retry_count)| RpcRequestHeaderProto {
                    rpc_kind,
                    rpc_op,
                    call_id,
                    client_id: client_id.into(),
                    retry_count,
                    ..Default::default()
                },
            )
    }

    #[test]
    fn what_is_not_plain_is_left_alone() {
        let mut traced = RpcRequestHeaderProto {
            client_id: Bytes::from_static(b"0123456789abcdef"),
            ..Default::default()
        };
        assert_eq!(read_plain(&traced.encode_to_vec()), Some(traced.clone()));
        traced.state_id = Some(1);
        assert_eq!(read_plain(&traced.encode_to_vec()), None);
        for bytes in [&[0x18, 0x01][..], &[0x22, 0x00], &[0x22, 0x05, 1], &[0x18]] {
            assert_eq!(read_plain(bytes), None, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn plain_headers_are_read_as_the_generated_code_reads_them(header in header()) {
            prop_assert_eq!(read_plain(&header.encode_to_vec()), Some(header));
        }

        #[test]
        fn of_any_bytes_only_right_headers_are_made(bytes in prop::collection::vec(
            prop_oneof![Just(0x08), Just(0x10), Just(0x18), Just(0x22), Just(0x28), Just(2_u8), any::<u8>()], 0..40)) {
            if let Some(header) = read_plain(&bytes) {
                prop_assert_eq!(decode_checked::<RpcRequestHeaderProto>(bytes.into()).ok(), Some(header));
            }
        }

        #[test]
        fn successes_are_written_as_the_generated_code_writes_them(
            call_id in any::<i32>(), retry_count in any::<i32>(),
            client_id in prop::collection::vec(any::<u8>(), 0..200), message in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let echo = CallEcho { call_id, client_id: client_id.into(), retry_count };
            let mut plain = BytesMut::new();
            put_success(&mut plain, &echo, &message);
            let mut generated = BytesMut::new();
            encode_with_generated(&mut generated, &echo, &message);
            prop_assert_eq!(plain, generated);
        }
    }
}
