//! Decoding that refuses absent required fields, as Java's generated parsers do.
//!
//! [`check_required`] walks the encoded bytes with a [`Shape`], the table `build.rs` made of the descriptors, before prost
//! allocates anything: a frame full of empty sub-messages is refused without building them. It allocates for the error
//! text only, of which at most [`MAX_MISSING_REPORTED`] names are kept.
//! A required enum whose number is unknown counts as absent, as in Java, where it lands among the unknown fields. Of
//! several numbers the last counts, since prost keeps it.

use bytes::Bytes;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use std::borrow::Cow;

/// Deepest nesting of known messages that is followed; Hadoop's own need 6.
pub const MAX_NESTING: usize = 32;
/// Most missing fields that one error names.
pub const MAX_MISSING_REPORTED: usize = 32;

/// What must be present in a message.
#[derive(Debug)]
pub struct Shape {
    /// Full name with package, e.g. `hadoop.hdfs.BlockProto`.
    pub name: &'static str,
    /// The fields that are required or hold messages with required fields, in order of declaration.
    pub fields: &'static [FieldShape],
}

/// One field of a [`Shape`].
#[derive(Debug)]
pub struct FieldShape {
    /// Field number.
    pub number: u32,
    /// Hadoop's field name, as error texts show it.
    pub name: &'static str,
    /// Whether the message is invalid without it.
    pub required: bool,
    /// Whether it may occur many times.
    pub repeated: bool,
    /// What the message it holds must contain.
    pub nested: Option<&'static Shape>,
    /// The known numbers, if it is a required enum.
    pub values: Option<&'static [i32]>,
}

/// A message whose required fields are known; implemented for every generated message.
pub trait Required {
    /// The message's table.
    const SHAPE: &'static Shape;
}

/// Why bytes are no message of the wanted type.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DecodeError {
    /// Required fields are absent. The text is that of Java's `UninitializedMessageException`.
    #[error("Message missing required fields: {}", fields.join(", "))]
    Missing {
        /// The message that was to be decoded.
        message: &'static str,
        /// Paths such as `b.poolId` or `locs[1].id`.
        fields: Vec<String>,
    },
    /// The bytes are not protobuf, or a field has another type than it should.
    #[error("decode {message}: {source}")]
    Malformed {
        /// The message that was to be decoded.
        message: &'static str,
        /// What prost found.
        source: prost::DecodeError,
    },
    /// Messages are nested deeper than [`MAX_NESTING`].
    #[error("decode {message}: nested too deeply")]
    TooDeep {
        /// The message that was to be decoded.
        message: &'static str,
    },
}

/// Decodes a message of a peer: required fields are checked at every depth, then prost decodes.
///
/// `bytes`: exactly one message, without length prefix. Byte fields of the result share this buffer.
pub fn decode_checked<M: prost::Message + Default + Required>(bytes: Bytes) -> Result<M, DecodeError> {
    check_required(M::SHAPE, &bytes)?;
    M::decode(bytes).map_err(|source| DecodeError::Malformed {
        message: M::SHAPE.name,
        source,
    })
}

/// Checks that no required field is absent from the encoded message `bytes`, at any depth.
pub fn check_required(shape: &'static Shape, bytes: &[u8]) -> Result<(), DecodeError> {
    let mut missing = Vec::new();
    let walked = match is_plainly_complete(shape, bytes, MAX_NESTING) {
        Ok(true) => return Ok(()),
        Ok(false) => walk(shape, bytes, MAX_NESTING, &mut missing),
        Err(stop) => Err(stop),
    };
    match walked {
        Ok(()) if missing.is_empty() => Ok(()),
        Ok(()) => Err(DecodeError::Missing {
            message: shape.name,
            fields: missing,
        }),
        Err(Stop::TooDeep) => Err(DecodeError::TooDeep { message: shape.name }),
        Err(Stop::Malformed(source)) => Err(DecodeError::Malformed {
            message: shape.name,
            source,
        }),
    }
}

enum Stop {
    TooDeep,
    Malformed(prost::DecodeError),
}

impl From<prost::DecodeError> for Stop {
    fn from(error: prost::DecodeError) -> Self {
        Self::Malformed(error)
    }
}

/// The common case without allocation: `true` when every required field is there and no message comes in parts.
///
/// `false` means that [`walk`] must look closer: something is absent, or was seen only in part.
fn is_plainly_complete(shape: &'static Shape, mut rest: &[u8], depth: usize) -> Result<bool, Stop> {
    if depth == 0 {
        return Err(Stop::TooDeep);
    }
    // build.rs refuses shapes of more than 64 fields.
    let mut present = 0_u64;
    while !rest.is_empty() {
        let (number, wire_type) = decode_key(&mut rest)?;
        let Some(at) = shape.fields.iter().position(|field| field.number == number) else {
            skip_field(wire_type, number, &mut rest, DecodeContext::default())?;
            continue;
        };
        let field = &shape.fields[at];
        match (wire_type, field.nested, field.values) {
            (WireType::LengthDelimited, Some(nested), _) => {
                let body = take_delimited(&mut rest)?;
                let is_part = !field.repeated && present & 1 << at != 0;
                if is_part || !is_plainly_complete(nested, body, depth - 1)? {
                    return Ok(false);
                }
            }
            (WireType::Varint, _, Some(values)) => {
                if !values.contains(&(decode_varint(&mut rest)? as i32)) {
                    present &= !(1 << at);
                    continue;
                }
            }
            _ => skip_field(wire_type, number, &mut rest, DecodeContext::default())?,
        }
        present |= 1 << at;
    }
    let absent = |(at, field): (usize, &FieldShape)| field.required && present & 1 << at == 0;
    Ok(!shape.fields.iter().enumerate().any(absent))
}

/// What was met of one field of the shape.
#[derive(Default)]
struct Met<'a> {
    present: bool,
    /// Body of a message that is not repeated. Should it come in parts, they are merged, that is concatenated.
    body: Option<Cow<'a, [u8]>>,
    /// How many messages of a repeated field came by; they are checked in passing and not kept.
    count: usize,
    /// Paths below this field that are absent.
    below: Vec<String>,
}

/// Adds the absent fields of `bytes` and below to `missing`: its own first, then those of its messages, as Java does.
fn walk(shape: &'static Shape, bytes: &[u8], depth: usize, missing: &mut Vec<String>) -> Result<(), Stop> {
    if shape.fields.is_empty() || missing.len() >= MAX_MISSING_REPORTED {
        return Ok(());
    }
    if depth == 0 {
        return Err(Stop::TooDeep);
    }
    let mut met: Vec<Met<'_>> = Vec::new();
    met.resize_with(shape.fields.len(), Met::default);
    meet(shape, bytes, depth, &mut met)?;
    for (field, met) in shape.fields.iter().zip(&mut met) {
        if field.required && !met.present {
            missing.push(field.name.to_owned());
        }
        if let (Some(nested), Some(body)) = (field.nested, &met.body) {
            descend(field, nested, None, body, depth, &mut met.below)?;
        }
    }
    missing.extend(met.into_iter().flat_map(|met| met.below));
    missing.truncate(MAX_MISSING_REPORTED);
    Ok(())
}

/// Walks one message and puts its place before what is absent in it: a good message costs no text.
fn descend(
    field: &FieldShape,
    nested: &'static Shape,
    index: Option<usize>,
    body: &[u8],
    depth: usize,
    below: &mut Vec<String>,
) -> Result<(), Stop> {
    let before = below.len();
    walk(nested, body, depth - 1, below)?;
    for path in &mut below[before..] {
        *path = match index {
            Some(index) => format!("{}[{index}].{path}", field.name),
            None => format!("{}.{path}", field.name),
        };
    }
    Ok(())
}

fn meet<'a>(shape: &'static Shape, mut rest: &'a [u8], depth: usize, met: &mut [Met<'a>]) -> Result<(), Stop> {
    while !rest.is_empty() {
        let (number, wire_type) = decode_key(&mut rest)?;
        let Some(at) = shape.fields.iter().position(|field| field.number == number) else {
            skip_field(wire_type, number, &mut rest, DecodeContext::default())?;
            continue;
        };
        let (field, met) = (&shape.fields[at], &mut met[at]);
        match (wire_type, field.nested, field.values) {
            (WireType::LengthDelimited, Some(nested), _) => {
                met.present = true;
                let part = take_delimited(&mut rest)?;
                if field.repeated {
                    descend(field, nested, Some(met.count), part, depth, &mut met.below)?;
                    met.count += 1;
                } else if let Some(body) = &mut met.body {
                    body.to_mut().extend_from_slice(part);
                } else {
                    met.body = Some(Cow::Borrowed(part));
                }
            }
            (WireType::Varint, _, Some(values)) => met.present = values.contains(&(decode_varint(&mut rest)? as i32)),
            _ => {
                met.present = true;
                skip_field(wire_type, number, &mut rest, DecodeContext::default())?;
            }
        }
    }
    Ok(())
}

fn take_delimited<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Stop> {
    let len = decode_varint(rest)?;
    match usize::try_from(len).ok().and_then(|len| rest.split_at_checked(len)) {
        Some((body, after)) => {
            *rest = after;
            Ok(body)
        }
        None => Err(truncated()),
    }
}

/// prost's error for a length beyond the end; its constructor is private, so its own decoder makes it.
fn truncated() -> Stop {
    let mut empty: &[u8] = &[];
    match decode_varint(&mut empty) {
        Err(error) => Stop::Malformed(error),
        Ok(_) => Stop::TooDeep,
    }
}

include!(concat!(env!("OUT_DIR"), "/required.rs"));

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::{RpcRequestHeaderProto, RpcSaslProto};
    use crate::hdfs::{
        CompleteRequestProto, ExtendedBlockProto, GetListingRequestProto, LocatedBlockProto, LocatedBlocksProto,
        PacketHeaderProto, SetSafeModeRequestProto,
    };
    use prost::Message;

    /// The bytes of a message from (field number, encoded field) pairs written by hand.
    fn field(number: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![(number << 3 | 2) as u8, body.len() as u8];
        bytes.extend_from_slice(body);
        bytes
    }

    fn missing<M: Message + Default + Required>(bytes: &[u8]) -> String {
        match decode_checked::<M>(Bytes::copy_from_slice(bytes)) {
            Ok(_) => "complete".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn absent_fields_are_named_as_java_names_them() {
        assert_eq!(
            missing::<CompleteRequestProto>(&[]),
            "Message missing required fields: src, clientName"
        );
        assert_eq!(
            missing::<GetListingRequestProto>(&field(1, b"/")),
            "Message missing required fields: startAfter, needLocation"
        );
        let complete = [field(1, b"/f"), field(2, b"c"), field(3, &field(1, b"BP"))].concat();
        assert_eq!(
            missing::<CompleteRequestProto>(&complete),
            "Message missing required fields: last.blockId, last.generationStamp"
        );
    }

    #[test]
    fn repeated_messages_are_named_with_their_index() {
        let good = LocatedBlockProto::default().encode_to_vec();
        let blocks = LocatedBlocksProto::default().encode_to_vec();
        let bytes = [blocks, field(2, &good), field(2, &good[..good.len() - 10])].concat();
        let text = missing::<LocatedBlocksProto>(&bytes);
        assert!(text.contains("blocks[1].blockToken"), "{text}");
        assert!(!text.contains("blocks[0]"), "{text}");
    }

    #[test]
    fn parts_of_one_message_are_merged() {
        let block = ExtendedBlockProto {
            pool_id: "BP".into(),
            block_id: 7,
            generation_stamp: 9,
            num_bytes: None,
        };
        let encoded = block.encode_to_vec();
        let (head, tail) = encoded.split_at(4);
        let bytes = [field(1, b"/f"), field(2, b"c"), field(3, head), field(3, tail)].concat();
        let decoded: CompleteRequestProto = decode_checked(Bytes::from(bytes)).expect("complete once merged");
        assert_eq!(decoded.last, Some(block));
    }

    #[test]
    fn an_unknown_enum_number_counts_as_absent() {
        assert_eq!(
            missing::<SetSafeModeRequestProto>(&[8, 99]),
            "Message missing required fields: action"
        );
        assert_eq!(
            missing::<SetSafeModeRequestProto>(&[8, 3, 8, 99]),
            "Message missing required fields: action"
        );
        assert_eq!(missing::<SetSafeModeRequestProto>(&[8, 99, 8, 3]), "complete");
        assert_eq!(missing::<RpcSaslProto>(&[16, 1]), "complete");
    }

    #[test]
    fn zigzag_and_fixed_fields_stand_where_java_writes_them() {
        let header = RpcRequestHeaderProto {
            call_id: -33,
            client_id: Bytes::from_static(b"x"),
            ..Default::default()
        };
        assert_eq!(header.encode_to_vec(), [0x18, 65, 0x22, 1, b'x']);
        let packet = PacketHeaderProto {
            offset_in_block: 1,
            seqno: 2,
            last_packet_in_block: false,
            data_len: 3,
            sync_block: None,
        };
        assert_eq!(packet.encoded_len(), 25);
    }

    #[test]
    fn hostile_lengths_and_floods_stay_small() {
        assert!(missing::<CompleteRequestProto>(&[0x1a, 0xff, 0xff, 0xff, 0xff, 0x0f]).contains("decode"));
        let flood = [
            LocatedBlocksProto::default().encode_to_vec(),
            field(2, &[]).repeat(100_000),
        ]
        .concat();
        match decode_checked::<LocatedBlocksProto>(Bytes::from(flood)) {
            Err(DecodeError::Missing { fields, .. }) => assert!(fields.len() <= MAX_MISSING_REPORTED),
            other => panic!("{other:?}"),
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_arrives_is_answered(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = decode_checked::<LocatedBlocksProto>(Bytes::from(bytes.clone()));
            let _ = decode_checked::<RpcSaslProto>(Bytes::from(bytes));
        }
    }
}
