//! The three operations of short-circuit reads over a Unix socket: request, answer, descriptors.
//!
//! What it does not do: choose sockets or slots, or act on refusals.
//! Invariants: not a byte is read beyond an answer before its descriptors were received, since reading over them loses
//! them; every descriptor received is closed unless it is given to the caller.

use crate::datanode::invalid;
use bytes::BytesMut;
use hadron_proto::hdfs as proto;
use hadron_proto::{Required, decode_checked};
use hadron_shm::{ShmId, SlotId, receive_descriptors};
use hadron_wire::delimited;
use hadron_wire::transfer::{MAX_RESPONSE_LEN, Op};
use prost::Message;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;

/// Version of the files that we can read (`BlockReaderFactory`: 1).
const MAX_VERSION: u32 = 1;
/// The byte that asks for a byte back.
const USE_RECEIPT_VERIFICATION: u8 = 1;

/// What came of asking for a segment.
#[derive(Debug)]
pub(super) enum ShmAnswer {
    /// Its id and file.
    Segment(ShmId, OwnedFd),
    /// The DataNode does not do this, or could not; its status and reason.
    Refused(proto::Status, String),
}

/// What came of asking for a block's files.
#[derive(Debug)]
pub(super) enum FdsAnswer {
    /// Data and meta file.
    Files(File, File),
    /// The DataNode passes none: `versioned` tells whether only for this block.
    Unsupported { versioned: bool, reason: String },
    /// The block token was refused.
    Token(String),
    /// Any other refusal.
    Refused(String),
}

/// Asks for a shared-memory segment. After a segment the socket belongs to it.
pub(super) async fn request_segment(stream: &mut UnixStream, client_name: &str) -> io::Result<ShmAnswer> {
    let request = proto::ShortCircuitShmRequestProto {
        client_name: client_name.to_owned(),
        trace_info: None,
    };
    send(stream, &Op::RequestShortCircuitShm(request)).await?;
    let answer: proto::ShortCircuitShmResponseProto = read_message(stream, "short-circuit segment response").await?;
    let status = status_of(answer.status)?;
    if status != proto::Status::Success {
        return Ok(ShmAnswer::Refused(status, answer.error.unwrap_or_else(unknown)));
    }
    let id = answer.id.ok_or_else(|| invalid("segment without an id"))?;
    let (_, mut files) = receive(stream).await?;
    match files.pop() {
        Some(file) if files.is_empty() => Ok(ShmAnswer::Segment(ShmId { hi: id.hi, lo: id.lo }, file)),
        _ => Err(invalid("the data node did not pass one descriptor with a segment")),
    }
}

/// Asks for a block's files, and confirms that they came.
pub(super) async fn request_files(
    stream: &mut UnixStream,
    located: &proto::LocatedBlockProto,
    slot: Option<SlotId>,
) -> io::Result<FdsAnswer> {
    let request = proto::OpRequestShortCircuitAccessProto {
        header: proto::BaseHeaderProto {
            block: located.b.clone(),
            token: Some(located.block_token.clone()),
            trace_info: None,
        },
        max_version: MAX_VERSION,
        slot_id: slot.map(slot_to_wire),
        supports_receipt_verification: Some(true),
    };
    send(stream, &Op::RequestShortCircuitFds(request)).await?;
    let answer: proto::BlockOpResponseProto = read_message(stream, "short-circuit access response").await?;
    let reason = answer.message().to_owned();
    match status_of(answer.status)? {
        proto::Status::Success => {}
        proto::Status::ErrorUnsupported => {
            let versioned = answer.short_circuit_access_version.is_some();
            return Ok(FdsAnswer::Unsupported { versioned, reason });
        }
        proto::Status::ErrorAccessToken => return Ok(FdsAnswer::Token(reason)),
        status => return Ok(FdsAnswer::Refused(format!("{} {reason}", status.as_str_name()))),
    }
    let (byte, files) = receive(stream).await?;
    let [data, meta] = <[OwnedFd; 2]>::try_from(files)
        .map_err(|_| invalid("the data node did not pass two descriptors with a block"))?;
    if byte == USE_RECEIPT_VERIFICATION {
        stream.write_all(&[0]).await?;
    }
    Ok(FdsAnswer::Files(data.into(), meta.into()))
}

/// Gives a slot back. Errors say what the DataNode said, in Hadoop's form.
pub(super) async fn release_slot(stream: &mut UnixStream, slot: SlotId) -> io::Result<()> {
    let request = proto::ReleaseShortCircuitAccessRequestProto {
        slot_id: slot_to_wire(slot),
        trace_info: None,
    };
    send(stream, &Op::ReleaseShortCircuitFds(request)).await?;
    let answer: proto::ReleaseShortCircuitAccessResponseProto =
        read_message(stream, "short-circuit release response").await?;
    match status_of(answer.status)? {
        proto::Status::Success => Ok(()),
        status => {
            let error = answer.error.unwrap_or_else(unknown);
            Err(io::Error::other(format!("{}: {error}", status.as_str_name())))
        }
    }
}

fn unknown() -> String {
    "(unknown)".to_owned()
}

fn slot_to_wire(slot: SlotId) -> proto::ShortCircuitShmSlotProto {
    proto::ShortCircuitShmSlotProto {
        shm_id: proto::ShortCircuitShmIdProto {
            hi: slot.shm.hi,
            lo: slot.shm.lo,
        },
        slot_idx: slot.index,
    }
}

fn status_of(number: i32) -> io::Result<proto::Status> {
    proto::Status::try_from(number).map_err(|_| invalid("answer with an unknown status"))
}

async fn send(stream: &mut UnixStream, op: &Op) -> io::Result<()> {
    let mut frame = BytesMut::new();
    op.encode(&mut frame);
    stream.write_all(&frame).await
}

/// Reads one delimited message and nothing behind it.
async fn read_message<M: Message + Default + Required>(stream: &mut UnixStream, what: &'static str) -> io::Result<M> {
    let mut head = Vec::with_capacity(delimited::MAX_PREFIX_LEN);
    let len = loop {
        head.push(stream.read_u8().await?);
        match prost::decode_length_delimiter(&head[..]) {
            Ok(len) => break len,
            Err(_) if head.len() < delimited::MAX_PREFIX_LEN => {}
            Err(_) => return Err(invalid("answer with an endless length")),
        }
    };
    if len > MAX_RESPONSE_LEN {
        return Err(invalid("answer longer than any of its kind"));
    }
    let mut message = BytesMut::zeroed(len);
    stream.read_exact(&mut message).await?;
    decode_checked(message.freeze()).map_err(|error| io::Error::other(format!("{what}: {error}")))
}

/// The one byte, and the descriptors that came with it.
async fn receive(stream: &UnixStream) -> io::Result<(u8, Vec<OwnedFd>)> {
    let mut byte = [0];
    let (count, files) = stream
        .async_io(Interest::READABLE, || receive_descriptors(stream, &mut byte))
        .await?;
    if count == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok((byte[0], files))
}
