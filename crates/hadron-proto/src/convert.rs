//! Between messages and the vocabulary of `hadron-types`: the one place where wire integers become identifiers.
//!
//! What can go wrong (unknown enum numbers) is an `Option`; the caller knows which exception its peer expects.

use crate::common::TokenProto;
use crate::hdfs::{
    BlockKeyProto, BlockProto, ChecksumTypeProto, ExportedBlockKeysProto, ExtendedBlockProto, FsPermissionProto,
    ReplicaStateProto, StorageTypeProto,
};
use hadron_types::{
    Block, BlockId, BlockPoolId, ChecksumType, ExtendedBlock, FsPermission, GenerationStamp, ReplicaState, StorageType,
};

impl From<&BlockProto> for Block {
    fn from(message: &BlockProto) -> Self {
        Self {
            id: BlockId::from_wire(message.block_id),
            generation_stamp: GenerationStamp(message.gen_stamp),
            len: message.num_bytes(),
        }
    }
}

impl From<&Block> for BlockProto {
    fn from(block: &Block) -> Self {
        Self {
            block_id: block.id.to_wire(),
            gen_stamp: block.generation_stamp.0,
            num_bytes: Some(block.len),
        }
    }
}

impl From<&ExtendedBlockProto> for ExtendedBlock {
    fn from(message: &ExtendedBlockProto) -> Self {
        Self {
            pool: BlockPoolId::from(message.pool_id.as_str()),
            block: Block {
                id: BlockId::from_wire(message.block_id),
                generation_stamp: GenerationStamp(message.generation_stamp),
                len: message.num_bytes(),
            },
        }
    }
}

impl From<&ExtendedBlock> for ExtendedBlockProto {
    fn from(extended: &ExtendedBlock) -> Self {
        Self {
            pool_id: extended.pool.as_str().to_owned(),
            block_id: extended.block.id.to_wire(),
            generation_stamp: extended.block.generation_stamp.0,
            num_bytes: Some(extended.block.len),
        }
    }
}

impl From<&FsPermissionProto> for FsPermission {
    /// Keeps the mode bits and drops the marks that 2.x puts above them.
    fn from(message: &FsPermissionProto) -> Self {
        Self::from_wire(message.perm)
    }
}

impl From<FsPermission> for FsPermissionProto {
    fn from(permission: FsPermission) -> Self {
        Self {
            perm: u32::from(permission.bits()),
        }
    }
}

impl From<StorageType> for StorageTypeProto {
    fn from(kind: StorageType) -> Self {
        match kind {
            StorageType::Disk => Self::Disk,
            StorageType::Ssd => Self::Ssd,
            StorageType::Archive => Self::Archive,
            StorageType::RamDisk => Self::RamDisk,
            StorageType::Provided => Self::Provided,
            StorageType::Nvdimm => Self::Nvdimm,
        }
    }
}

impl From<ChecksumType> for ChecksumTypeProto {
    fn from(kind: ChecksumType) -> Self {
        match kind {
            ChecksumType::Null => Self::ChecksumNull,
            ChecksumType::Crc32 => Self::ChecksumCrc32,
            ChecksumType::Crc32c => Self::ChecksumCrc32c,
        }
    }
}

impl From<ReplicaState> for ReplicaStateProto {
    fn from(state: ReplicaState) -> Self {
        match state {
            ReplicaState::Finalized => Self::Finalized,
            ReplicaState::Rbw => Self::Rbw,
            ReplicaState::Rwr => Self::Rwr,
            ReplicaState::Rur => Self::Rur,
            ReplicaState::Temporary => Self::Temporary,
        }
    }
}

/// A storage type as a field of a message holds it; `None` for a number this version does not know.
pub fn storage_type_from_wire(number: i32) -> Option<StorageType> {
    StorageType::from_wire(number)
}

/// A storage type as a field of a message holds it.
pub fn storage_type_to_wire(kind: StorageType) -> i32 {
    StorageTypeProto::from(kind) as i32
}

/// The token of a cluster without security: four empty fields, never an absent message.
pub fn no_token() -> TokenProto {
    TokenProto::default()
}

/// The block keys of a cluster without block tokens. Registrations must carry them all the same, and Java's `BlockKey`
/// reads `keyBytes` even when it is empty.
pub fn no_block_keys() -> ExportedBlockKeysProto {
    ExportedBlockKeysProto {
        is_block_token_enabled: false,
        key_update_interval: 0,
        token_life_time: 0,
        current_key: BlockKeyProto {
            key_id: 0,
            expiry_date: 0,
            key_bytes: Some(bytes::Bytes::new()),
        },
        all_keys: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_survive_the_wire() {
        let extended = ExtendedBlock {
            pool: "BP-1-127.0.0.1-5".into(),
            block: Block {
                id: BlockId(-9_223_372_036_854_775_792),
                generation_stamp: GenerationStamp(1001),
                len: 1 << 40,
            },
        };
        assert_eq!(ExtendedBlock::from(&ExtendedBlockProto::from(&extended)), extended);
        assert_eq!(Block::from(&BlockProto::from(&extended.block)), extended.block);
    }

    #[test]
    fn enum_numbers_agree_with_the_vocabulary() {
        for number in 0..10 {
            if let Some(kind) = StorageType::from_wire(number) {
                assert_eq!(StorageTypeProto::from(kind) as i32, number);
            }
            if let Some(kind) = ChecksumType::from_wire(number) {
                assert_eq!(ChecksumTypeProto::from(kind) as i32, number);
            }
            if let Some(state) = ReplicaState::from_wire(number as u64) {
                assert_eq!(ReplicaStateProto::from(state) as i32, number);
            }
        }
    }
}
