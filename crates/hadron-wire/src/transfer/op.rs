//! The operations a peer may ask of a DataNode.
//!
//! On the wire: version 28 (16 bits), opcode (8 bits), delimited message. Each operation here is a struct of checked
//! values; what a DataNode could trip over (unknown stage or checksum type, zero bytes per checksum) is refused while
//! decoding. Encoding writes the fields that Java writes, so that the bytes are the same.

use super::checksum::Checksum;
use super::{MAX_OP_LEN, TRANSFER_VERSION};
use crate::{WireError, delimited};
use bytes::{BufMut, Bytes, BytesMut};
use hadron_proto::common::TokenProto;
use hadron_proto::hdfs::op_write_block_proto::BlockConstructionStage;
use hadron_proto::hdfs::{
    BaseHeaderProto, BlockChecksumOptionsProto, CachingStrategyProto, ChecksumProto, ClientOperationHeaderProto,
    DatanodeInfoProto, OpBlockChecksumProto, OpBlockGroupChecksumProto, OpCopyBlockProto, OpCustomProto,
    OpReadBlockProto, OpReplaceBlockProto, OpRequestShortCircuitAccessProto, OpTransferBlockProto, OpWriteBlockProto,
    ReleaseShortCircuitAccessRequestProto, ShortCircuitShmRequestProto,
};
use hadron_proto::{Required, convert, decode_checked};
use hadron_types::{ExtendedBlock, GenerationStamp, StorageType};
use prost::Message;
use std::io::{self, Read};

/// Bytes before the delimited message: version and opcode.
pub const OP_HEAD_LEN: usize = 3;

const WRITE_BLOCK: u8 = 80;
const READ_BLOCK: u8 = 81;
const REPLACE_BLOCK: u8 = 83;
const COPY_BLOCK: u8 = 84;
const BLOCK_CHECKSUM: u8 = 85;
const TRANSFER_BLOCK: u8 = 86;
const REQUEST_SHORT_CIRCUIT_FDS: u8 = 87;
const RELEASE_SHORT_CIRCUIT_FDS: u8 = 88;
const REQUEST_SHORT_CIRCUIT_SHM: u8 = 89;
const BLOCK_GROUP_CHECKSUM: u8 = 90;
const CUSTOM: u8 = 127;

/// One operation. The boxed ones are large or rare.
#[derive(Clone, PartialEq, Debug)]
pub enum Op {
    /// Receive a block, and pass it on.
    WriteBlock(Box<WriteBlock>),
    /// Send a range of a block.
    ReadBlock(ReadBlock),
    /// Fetch a block from elsewhere and drop the copy of another node (balancing).
    ReplaceBlock(Box<ReplaceBlock>),
    /// Send a whole block to another DataNode (balancing).
    CopyBlock(BlockHeader),
    /// Digest a block's checksums.
    BlockChecksum(BlockChecksum),
    /// Copy a block to other DataNodes on a client's behalf.
    TransferBlock(Box<TransferBlock>),
    /// Pass descriptors of a block's files.
    RequestShortCircuitFds(OpRequestShortCircuitAccessProto),
    /// Give back a shared-memory slot.
    ReleaseShortCircuitFds(ReleaseShortCircuitAccessRequestProto),
    /// Create a shared-memory segment.
    RequestShortCircuitShm(ShortCircuitShmRequestProto),
    /// Digest a striped block group's checksums (3.x).
    BlockGroupChecksum(Box<OpBlockGroupChecksumProto>),
    /// An extension by name (3.3+).
    Custom(OpCustomProto),
}

/// Which block, and the right to it.
#[derive(Clone, PartialEq, Debug)]
pub struct BlockHeader {
    /// The block.
    pub block: ExtendedBlock,
    /// Four empty fields on clusters without block tokens.
    pub token: TokenProto,
}

/// `READ_BLOCK`.
#[derive(Clone, PartialEq, Debug)]
pub struct ReadBlock {
    /// The block.
    pub header: BlockHeader,
    /// Empty: the peer is a DataNode.
    pub client_name: String,
    /// First byte wanted.
    pub offset: u64,
    /// Bytes wanted; `u64::MAX` means all that is visible.
    pub len: u64,
    /// Whether checksums go before the data.
    pub send_checksums: bool,
    /// Read-ahead and page cache wishes.
    pub caching: CachingStrategyProto,
}

/// `WRITE_BLOCK`.
#[derive(Clone, PartialEq, Debug)]
pub struct WriteBlock {
    /// The block; its stamp is the old one in recovery stages, its length an estimate at creation.
    pub header: BlockHeader,
    /// Empty: the peer is a DataNode that replicates.
    pub client_name: String,
    /// The nodes after the receiver.
    pub targets: Vec<DatanodeInfoProto>,
    /// The node that sends, when it is a DataNode.
    pub source: Option<DatanodeInfoProto>,
    /// What the connection is for.
    pub stage: BlockConstructionStage,
    /// Nodes of the whole pipeline; passed on unchanged.
    pub pipeline_size: u32,
    /// Least bytes that survived, in recovery stages.
    pub min_bytes_received: u64,
    /// Most bytes that survived, in recovery stages.
    pub max_bytes_received: u64,
    /// The new stamp, in append and recovery stages.
    pub latest_generation_stamp: GenerationStamp,
    /// How the packets are checksummed.
    pub checksum: Checksum,
    /// Page cache wishes.
    pub caching: CachingStrategyProto,
    /// Medium at the receiver.
    pub storage_type: StorageType,
    /// Media at the targets.
    pub target_storage_types: Vec<StorageType>,
    /// Whether memory may hold the replica for a while; false when passed on.
    pub allow_lazy_persist: bool,
    /// Whether balancers must leave the receiver's replica alone.
    pub pinning: bool,
    /// The same for the targets.
    pub target_pinnings: Vec<bool>,
    /// Volume at the receiver (3.x).
    pub storage_id: Option<String>,
    /// Volumes at the targets (3.x).
    pub target_storage_ids: Vec<String>,
}

/// `TRANSFER_BLOCK`.
#[derive(Clone, PartialEq, Debug)]
pub struct TransferBlock {
    /// The block.
    pub header: BlockHeader,
    /// The writer on whose behalf it goes.
    pub client_name: String,
    /// Where it goes.
    pub targets: Vec<DatanodeInfoProto>,
    /// Media there.
    pub target_storage_types: Vec<StorageType>,
    /// Volumes there (3.x).
    pub target_storage_ids: Vec<String>,
}

/// `REPLACE_BLOCK`.
#[derive(Clone, PartialEq, Debug)]
pub struct ReplaceBlock {
    /// The block.
    pub header: BlockHeader,
    /// The DataNode whose copy is to go.
    pub delete_hint: String,
    /// The DataNode to fetch from.
    pub source: DatanodeInfoProto,
    /// Medium wanted here.
    pub storage_type: StorageType,
    /// Volume wanted here (3.x).
    pub storage_id: Option<String>,
}

/// `BLOCK_CHECKSUM`.
#[derive(Clone, PartialEq, Debug)]
pub struct BlockChecksum {
    /// The block; its length is the length to digest.
    pub header: BlockHeader,
    /// Which digest (3.x); a client that sent none must get MD5.
    pub options: Option<BlockChecksumOptionsProto>,
}

impl Op {
    /// Hadoop's name of the operation, for logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::WriteBlock(_) => "WRITE_BLOCK",
            Self::ReadBlock(_) => "READ_BLOCK",
            Self::ReplaceBlock(_) => "REPLACE_BLOCK",
            Self::CopyBlock(_) => "COPY_BLOCK",
            Self::BlockChecksum(_) => "BLOCK_CHECKSUM",
            Self::TransferBlock(_) => "TRANSFER_BLOCK",
            Self::RequestShortCircuitFds(_) => "REQUEST_SHORT_CIRCUIT_FDS",
            Self::ReleaseShortCircuitFds(_) => "RELEASE_SHORT_CIRCUIT_FDS",
            Self::RequestShortCircuitShm(_) => "REQUEST_SHORT_CIRCUIT_SHM",
            Self::BlockGroupChecksum(_) => "BLOCK_GROUP_CHECKSUM",
            Self::Custom(_) => "CUSTOM",
        }
    }

    /// Reads an operation from the start of `buf`: the operation and the bytes it takes. `Ok(None)`: more are needed.
    ///
    /// Errors: another version or an unknown opcode; like Java, the caller then closes without a reply.
    pub fn decode(buf: &[u8]) -> Result<Option<(Self, usize)>, WireError> {
        let Some((head, rest)) = buf.split_first_chunk::<OP_HEAD_LEN>() else {
            return Ok(None);
        };
        let code = opcode(*head)?;
        match delimited::split(rest, MAX_OP_LEN, "operation")? {
            Some((message, used)) => Ok(Some((
                Self::of(code, Bytes::copy_from_slice(message))?,
                OP_HEAD_LEN + used,
            ))),
            None => Ok(None),
        }
    }

    /// Reads an operation from a blocking reader, which should be buffered.
    pub fn read(reader: &mut impl Read) -> io::Result<Self> {
        let mut head = [0; OP_HEAD_LEN];
        reader.read_exact(&mut head)?;
        let code = opcode(head)?;
        let message = delimited::read(reader, MAX_OP_LEN, "operation")?;
        Ok(Self::of(code, message)?)
    }

    fn of(code: u8, message: Bytes) -> Result<Self, WireError> {
        Ok(match code {
            WRITE_BLOCK => Self::WriteBlock(Box::new(decode::<OpWriteBlockProto>(message)?.try_into()?)),
            READ_BLOCK => Self::ReadBlock(decode::<OpReadBlockProto>(message)?.into()),
            REPLACE_BLOCK => Self::ReplaceBlock(Box::new(decode::<OpReplaceBlockProto>(message)?.into())),
            COPY_BLOCK => Self::CopyBlock(decode::<OpCopyBlockProto>(message)?.header.into()),
            BLOCK_CHECKSUM => Self::BlockChecksum(decode::<OpBlockChecksumProto>(message)?.into()),
            TRANSFER_BLOCK => Self::TransferBlock(Box::new(decode::<OpTransferBlockProto>(message)?.into())),
            REQUEST_SHORT_CIRCUIT_FDS => Self::RequestShortCircuitFds(decode(message)?),
            RELEASE_SHORT_CIRCUIT_FDS => Self::ReleaseShortCircuitFds(decode(message)?),
            REQUEST_SHORT_CIRCUIT_SHM => Self::RequestShortCircuitShm(decode(message)?),
            BLOCK_GROUP_CHECKSUM => Self::BlockGroupChecksum(Box::new(decode(message)?)),
            CUSTOM => Self::Custom(decode(message)?),
            code => return Err(WireError::Opcode { code }),
        })
    }

    /// Appends the operation: version, opcode, message.
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::WriteBlock(op) => put(out, WRITE_BLOCK, &OpWriteBlockProto::from(&**op)),
            Self::ReadBlock(op) => put(out, READ_BLOCK, &OpReadBlockProto::from(op)),
            Self::ReplaceBlock(op) => put(out, REPLACE_BLOCK, &OpReplaceBlockProto::from(&**op)),
            Self::CopyBlock(header) => put(out, COPY_BLOCK, &OpCopyBlockProto { header: header.into() }),
            Self::BlockChecksum(op) => put(out, BLOCK_CHECKSUM, &OpBlockChecksumProto::from(op)),
            Self::TransferBlock(op) => put(out, TRANSFER_BLOCK, &OpTransferBlockProto::from(&**op)),
            Self::RequestShortCircuitFds(op) => put(out, REQUEST_SHORT_CIRCUIT_FDS, op),
            Self::ReleaseShortCircuitFds(op) => put(out, RELEASE_SHORT_CIRCUIT_FDS, op),
            Self::RequestShortCircuitShm(op) => put(out, REQUEST_SHORT_CIRCUIT_SHM, op),
            Self::BlockGroupChecksum(op) => put(out, BLOCK_GROUP_CHECKSUM, &**op),
            Self::Custom(op) => put(out, CUSTOM, op),
        }
    }
}

fn opcode(head: [u8; OP_HEAD_LEN]) -> Result<u8, WireError> {
    let [high, low, code] = head;
    let version = u16::from_be_bytes([high, low]);
    if version != TRANSFER_VERSION {
        return Err(WireError::TransferVersion {
            expected: TRANSFER_VERSION,
            received: version as i16,
        });
    }
    match code {
        WRITE_BLOCK | READ_BLOCK | REPLACE_BLOCK..=BLOCK_GROUP_CHECKSUM | CUSTOM => Ok(code),
        code => Err(WireError::Opcode { code }),
    }
}

fn decode<M: Message + Default + Required>(message: Bytes) -> Result<M, WireError> {
    decode_checked(message).map_err(|source| WireError::Message {
        what: "operation",
        source,
    })
}

fn put<M: Message>(out: &mut BytesMut, code: u8, message: &M) {
    out.put_u16(TRANSFER_VERSION);
    out.put_u8(code);
    delimited::put(out, message);
}

impl BlockHeader {
    /// A header for a cluster without block tokens.
    pub fn without_token(block: ExtendedBlock) -> Self {
        Self {
            block,
            token: convert::no_token(),
        }
    }
}

impl From<BaseHeaderProto> for BlockHeader {
    fn from(message: BaseHeaderProto) -> Self {
        Self {
            block: (&message.block).into(),
            token: message.token.unwrap_or_default(),
        }
    }
}

impl From<&BlockHeader> for BaseHeaderProto {
    fn from(header: &BlockHeader) -> Self {
        Self {
            block: (&header.block).into(),
            token: Some(header.token.clone()),
            trace_info: None,
        }
    }
}

fn client_header(header: &BlockHeader, client_name: &str) -> ClientOperationHeaderProto {
    ClientOperationHeaderProto {
        base_header: header.into(),
        client_name: client_name.to_owned(),
    }
}

/// Numbers of a later version become the default: the lists run parallel to the targets and must keep their length.
fn storage_types(numbers: &[i32]) -> Vec<StorageType> {
    let known = |number: &i32| convert::storage_type_from_wire(*number).unwrap_or_default();
    numbers.iter().map(known).collect()
}

fn storage_numbers(types: &[StorageType]) -> Vec<i32> {
    types.iter().map(|kind| convert::storage_type_to_wire(*kind)).collect()
}

fn storage_type(number: Option<i32>) -> StorageType {
    number.and_then(convert::storage_type_from_wire).unwrap_or_default()
}

impl From<OpReadBlockProto> for ReadBlock {
    fn from(message: OpReadBlockProto) -> Self {
        Self {
            send_checksums: message.send_checksums(),
            header: message.header.base_header.into(),
            client_name: message.header.client_name,
            offset: message.offset,
            len: message.len,
            caching: message.caching_strategy.unwrap_or_default(),
        }
    }
}

impl From<&ReadBlock> for OpReadBlockProto {
    fn from(op: &ReadBlock) -> Self {
        Self {
            header: client_header(&op.header, &op.client_name),
            offset: op.offset,
            len: op.len,
            send_checksums: Some(op.send_checksums),
            caching_strategy: Some(op.caching),
        }
    }
}

impl TryFrom<OpWriteBlockProto> for WriteBlock {
    type Error = WireError;

    fn try_from(message: OpWriteBlockProto) -> Result<Self, WireError> {
        let stage = BlockConstructionStage::try_from(message.stage).map_err(|_| WireError::Unknown {
            what: "block construction stage",
            value: i64::from(message.stage),
        })?;
        Ok(Self {
            allow_lazy_persist: message.allow_lazy_persist(),
            pinning: message.pinning(),
            checksum: Checksum::try_from(&message.requested_checksum)?,
            header: message.header.base_header.into(),
            client_name: message.header.client_name,
            targets: message.targets,
            source: message.source,
            stage,
            pipeline_size: message.pipeline_size,
            min_bytes_received: message.min_bytes_rcvd,
            max_bytes_received: message.max_bytes_rcvd,
            latest_generation_stamp: GenerationStamp(message.latest_generation_stamp),
            caching: message.caching_strategy.unwrap_or_default(),
            storage_type: storage_type(message.storage_type),
            target_storage_types: storage_types(&message.target_storage_types),
            target_pinnings: message.target_pinnings,
            storage_id: message.storage_id,
            target_storage_ids: message.target_storage_ids,
        })
    }
}

impl From<&WriteBlock> for OpWriteBlockProto {
    fn from(op: &WriteBlock) -> Self {
        Self {
            header: client_header(&op.header, &op.client_name),
            targets: op.targets.clone(),
            source: op.source.clone(),
            stage: op.stage as i32,
            pipeline_size: op.pipeline_size,
            min_bytes_rcvd: op.min_bytes_received,
            max_bytes_rcvd: op.max_bytes_received,
            latest_generation_stamp: op.latest_generation_stamp.0,
            requested_checksum: ChecksumProto::from(&op.checksum),
            caching_strategy: Some(op.caching),
            storage_type: Some(convert::storage_type_to_wire(op.storage_type)),
            target_storage_types: storage_numbers(&op.target_storage_types),
            allow_lazy_persist: Some(op.allow_lazy_persist),
            pinning: Some(op.pinning),
            target_pinnings: op.target_pinnings.clone(),
            storage_id: op.storage_id.clone(),
            target_storage_ids: op.target_storage_ids.clone(),
        }
    }
}

impl From<OpTransferBlockProto> for TransferBlock {
    fn from(message: OpTransferBlockProto) -> Self {
        Self {
            header: message.header.base_header.into(),
            client_name: message.header.client_name,
            targets: message.targets,
            target_storage_types: storage_types(&message.target_storage_types),
            target_storage_ids: message.target_storage_ids,
        }
    }
}

impl From<&TransferBlock> for OpTransferBlockProto {
    fn from(op: &TransferBlock) -> Self {
        Self {
            header: client_header(&op.header, &op.client_name),
            targets: op.targets.clone(),
            target_storage_types: storage_numbers(&op.target_storage_types),
            target_storage_ids: op.target_storage_ids.clone(),
        }
    }
}

impl From<OpReplaceBlockProto> for ReplaceBlock {
    fn from(message: OpReplaceBlockProto) -> Self {
        Self {
            storage_type: storage_type(message.storage_type),
            header: message.header.into(),
            delete_hint: message.del_hint,
            source: message.source,
            storage_id: message.storage_id,
        }
    }
}

impl From<&ReplaceBlock> for OpReplaceBlockProto {
    fn from(op: &ReplaceBlock) -> Self {
        Self {
            header: (&op.header).into(),
            del_hint: op.delete_hint.clone(),
            source: op.source.clone(),
            storage_type: Some(convert::storage_type_to_wire(op.storage_type)),
            storage_id: op.storage_id.clone(),
        }
    }
}

impl From<OpBlockChecksumProto> for BlockChecksum {
    fn from(message: OpBlockChecksumProto) -> Self {
        Self {
            header: message.header.into(),
            options: message.block_checksum_options,
        }
    }
}

impl From<&BlockChecksum> for OpBlockChecksumProto {
    fn from(op: &BlockChecksum) -> Self {
        Self {
            header: (&op.header).into(),
            block_checksum_options: op.options,
        }
    }
}

#[cfg(test)]
mod tests;
