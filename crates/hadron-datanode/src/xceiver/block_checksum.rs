//! BLOCK_CHECKSUM: a digest of a replica's chunk checksums, MD5 or composed CRC.
//!
//! The digest covers the length the client asks for; a partial last chunk's checksum is computed from the data.

use super::codec::write_response;
use super::{Connection, OpError, OpResult, Outcome, to_peer};
use bytes::Bytes;
use hadron_proto::hdfs::{BlockChecksumTypeProto, BlockOpResponseProto, OpBlockChecksumResponseProto};
use hadron_replica::{CompositeCrc, ReplicaReader};
use hadron_types::ExtendedBlock;
use hadron_wire::transfer::op::BlockChecksum;
use hadron_wire::transfer::response::success;
use md5::{Digest, Md5};
use std::time::Duration;

/// Checksum bytes read at a time.
const SUMS_STEP: u64 = 64 * 1024;

pub(super) fn run(connection: &mut Connection, op: BlockChecksum, block: &mut Option<ExtendedBlock>) -> OpResult {
    *block = Some(op.header.block.clone());
    connection.admit_read(&op.header)?;
    let wanted = op.header.block;
    let replica = connection.shared.open_for_read(&wanted, 0, Duration::ZERO)?;
    let visible = replica.visible_len();
    // A client that does not know the length of an open file sends more than there is.
    let len = match wanted.block.len {
        0 => visible,
        asked => asked.min(visible),
    };
    let options = op.options;
    let composite = options
        .as_ref()
        .is_some_and(|options| options.block_checksum_type == Some(BlockChecksumTypeProto::CompositeCrc as i32));
    let digest = match composite {
        true => composite_crc(&replica, len)?,
        false => md5_of_sums(&replica, len)?,
    };
    let answer = BlockOpResponseProto {
        checksum_response: Some(OpBlockChecksumResponseProto {
            bytes_per_crc: replica.format().chunk,
            crc_per_block: if replica.format().size() == 0 {
                0
            } else {
                replica.format().chunks(visible)
            },
            block_checksum: Bytes::from(digest),
            crc_type: Some(replica.format().kind as i32),
            block_checksum_options: options,
        }),
        ..success()
    };
    write_response(&connection.stream, &answer).map_err(to_peer)?;
    Ok(Outcome::Close)
}

/// Hands every chunk checksum of the first `len` bytes to `each`, in order, with the chunk's length.
fn for_each_sum(replica: &ReplicaReader, len: u64, mut each: impl FnMut([u8; 4], u64)) -> Result<(), OpError> {
    let format = replica.format();
    if format.size() == 0 {
        return Ok(());
    }
    let chunk = u64::from(format.chunk);
    // Stored checksums serve for whole chunks, and for the last one when all of it is asked for.
    let stored = if len == replica.readable_len() {
        format.chunks(len)
    } else {
        len / chunk
    };
    let mut buffer = Vec::new();
    let mut first = 0;
    while first < stored {
        let count = (stored - first).min(SUMS_STEP / 4);
        buffer.resize(count as usize * 4, 0);
        replica.read_sums(&mut buffer, first)?;
        for (i, sum) in buffer.as_chunks::<4>().0.iter().enumerate() {
            let start = (first + i as u64) * chunk;
            each(*sum, chunk.min(len - start));
        }
        first += count;
    }
    let rest = len.saturating_sub(stored * chunk);
    if rest > 0 {
        let mut data = vec![0; rest as usize];
        replica.read_data(&mut data, stored * chunk)?;
        each(format.sum(&data).to_be_bytes(), rest);
    }
    Ok(())
}

fn md5_of_sums(replica: &ReplicaReader, len: u64) -> Result<Vec<u8>, OpError> {
    let mut md5 = Md5::new();
    for_each_sum(replica, len, |sum, _| md5.update(sum))?;
    Ok(md5.finalize().to_vec())
}

fn composite_crc(replica: &ReplicaReader, len: u64) -> Result<Vec<u8>, OpError> {
    let mut crc = CompositeCrc::new(replica.format());
    for_each_sum(replica, len, |sum, chunk| crc.append(u32::from_be_bytes(sum), chunk))?;
    Ok(crc.value().to_be_bytes().to_vec())
}
