//! What a block token says: who may do what with which block, and until when.
//!
//! Two encodings: Hadoop's Writables, which every release reads, and protobuf (3.x with
//! `dfs.block.access.token.protobuf.enable`). The first byte tells them apart: a point in time as a Writable begins
//! with a byte of 0 or below, a protobuf message with the tag of its first field.

use super::writable::{ReadError, Reader, put_name, put_string, put_vlong};
use bytes::{BufMut, Bytes, BytesMut};
use hadron_proto::hdfs::{AccessModeProto, BlockTokenSecretProto};
use hadron_types::{BlockId, StorageType};
use prost::Message;
use std::fmt;

/// What a token allows. The order is that of Java's enum, which is that of the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum AccessMode {
    /// Read the block, its checksums, its length.
    Read = 1,
    /// Write it, or set up a pipeline for it.
    Write = 2,
    /// Have it copied to another DataNode.
    Copy = 3,
    /// Have it replaced (balancing).
    Replace = 4,
}

impl AccessMode {
    const ALL: [Self; 4] = [Self::Read, Self::Write, Self::Copy, Self::Replace];

    /// Java's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "READ",
            Self::Write => "WRITE",
            Self::Copy => "COPY",
            Self::Replace => "REPLACE",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == name)
    }
}

impl fmt::Display for AccessMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How an identifier is written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum IdentifierForm {
    /// Writables as 2.x writes them, without storages. 3.x reads it as a token for any storage; the only form whose
    /// password a DataNode of 2.x computes alike.
    Short,
    /// Writables as 3.x writes them.
    #[default]
    Full,
    /// Protobuf; DataNodes of 2.x cannot read it.
    Protobuf,
}

/// A token's content.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct BlockTokenIdentifier {
    /// Last millisecond of its life, since 1970.
    pub expiry: i64,
    /// The key its password was made with.
    pub key_id: i32,
    /// Whom it was given to; nobody checks it.
    pub user: Option<String>,
    /// The block's pool.
    pub pool: Option<String>,
    /// The block.
    pub block: BlockId,
    /// What is allowed, in order and without repetitions.
    pub modes: Vec<AccessMode>,
    /// Media it is good for; empty: any.
    pub storage_types: Vec<StorageType>,
    /// Storages it is good for; empty: any.
    pub storage_ids: Vec<String>,
    /// 3.3's secret of a SASL handshake; carried, not used.
    pub handshake: Bytes,
}

/// An identifier that cannot be read; Java's `IOException`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("malformed block token identifier: {0}")]
pub struct MalformedIdentifier(&'static str);

impl From<ReadError> for MalformedIdentifier {
    fn from(error: ReadError) -> Self {
        Self(match error {
            ReadError::End => "it ends early",
            ReadError::Malformed(reason) => reason,
        })
    }
}

impl BlockTokenIdentifier {
    /// Writes it.
    pub fn encode(&self, form: IdentifierForm) -> Bytes {
        if form == IdentifierForm::Protobuf {
            return self.to_proto().encode_to_vec().into();
        }
        let mut out = BytesMut::with_capacity(128);
        put_vlong(&mut out, self.expiry);
        put_vlong(&mut out, i64::from(self.key_id));
        put_string(&mut out, self.user.as_deref());
        put_string(&mut out, self.pool.as_deref());
        put_vlong(&mut out, self.block.0);
        put_vlong(&mut out, self.modes.len() as i64);
        for mode in &self.modes {
            put_name(&mut out, mode.name());
        }
        if form == IdentifierForm::Short {
            return out.freeze();
        }
        put_vlong(&mut out, self.storage_types.len() as i64);
        for kind in &self.storage_types {
            put_name(&mut out, kind.name());
        }
        put_vlong(&mut out, self.storage_ids.len() as i64);
        for id in &self.storage_ids {
            put_string(&mut out, Some(id));
        }
        if !self.handshake.is_empty() {
            put_vlong(&mut out, self.handshake.len() as i64);
            out.put_slice(&self.handshake);
        }
        out.freeze()
    }

    fn to_proto(&self) -> BlockTokenSecretProto {
        BlockTokenSecretProto {
            expiry_date: Some(self.expiry as u64),
            key_id: Some(self.key_id as u32),
            user_id: self.user.clone(),
            block_pool_id: self.pool.clone(),
            block_id: Some(self.block.to_wire()),
            modes: self.modes.iter().map(|mode| *mode as i32).collect(),
            storage_types: self.storage_types.iter().map(|kind| *kind as i32).collect(),
            storage_ids: self.storage_ids.clone(),
            handshake_secret: (!self.handshake.is_empty()).then(|| self.handshake.clone()),
        }
    }

    /// Reads either encoding. What follows a Writable form is ignored, as Java does.
    ///
    /// Errors: the bytes are neither; an enum's name is unknown.
    pub fn decode(bytes: &[u8]) -> Result<Self, MalformedIdentifier> {
        match bytes.first() {
            None => Err(ReadError::End.into()),
            Some(first) if *first as i8 <= 0 => Ok(Self::read_writable(&mut Reader(bytes))?),
            Some(_) => BlockTokenSecretProto::decode(bytes)
                .map(Self::from_proto)
                .map_err(|_| MalformedIdentifier("not a BlockTokenSecretProto")),
        }
    }

    fn read_writable(reader: &mut Reader<'_>) -> Result<Self, ReadError> {
        let mut read = Self {
            expiry: reader.vlong()?,
            key_id: reader.vint()?,
            user: reader.string()?,
            pool: reader.string()?,
            block: BlockId(reader.vlong()?),
            modes: Vec::new(),
            storage_types: Vec::new(),
            storage_ids: Vec::new(),
            handshake: Bytes::new(),
        };
        let modes = reader.count()?;
        if modes > AccessMode::ALL.len() {
            return Err(ReadError::Malformed("more modes than there are"));
        }
        for _ in 0..modes {
            let mode = AccessMode::from_name(reader.name()?).ok_or(ReadError::Malformed("unknown mode"))?;
            read.modes.push(mode);
        }
        read.modes.sort_unstable();
        read.modes.dedup();
        // Older NameNodes end here or further on; what is missing is empty.
        match read.read_storages(reader) {
            Ok(()) | Err(ReadError::End) => Ok(read),
            Err(error) => Err(error),
        }
    }

    fn read_storages(&mut self, reader: &mut Reader<'_>) -> Result<(), ReadError> {
        let mut types = Vec::new();
        for _ in 0..reader.count()? {
            let name = reader.name()?;
            let kind = StorageType::from_name(name).filter(|kind| kind.name() == name);
            types.push(kind.ok_or(ReadError::Malformed("unknown storage type"))?);
        }
        self.storage_types = types;
        let mut ids = Vec::new();
        for _ in 0..reader.count()? {
            ids.push(reader.string()?.unwrap_or_default());
        }
        self.storage_ids = ids;
        let len = reader.count()?;
        self.handshake = Bytes::copy_from_slice(reader.bytes(len)?);
        Ok(())
    }

    fn from_proto(message: BlockTokenSecretProto) -> Self {
        let mut modes: Vec<_> = message.modes.iter().filter_map(|number| mode_of(*number)).collect();
        modes.sort_unstable();
        modes.dedup();
        let kinds = message.storage_types.iter().copied().filter_map(StorageType::from_wire);
        Self {
            expiry: message.expiry_date.unwrap_or(0) as i64,
            key_id: message.key_id.unwrap_or(0) as i32,
            modes,
            storage_types: kinds.collect(),
            block: BlockId::from_wire(message.block_id.unwrap_or(0)),
            user: message.user_id,
            pool: message.block_pool_id,
            storage_ids: message.storage_ids,
            handshake: message.handshake_secret.unwrap_or_default(),
        }
    }

    /// Whom a connection acts as that was opened with this token (`BlockTokenIdentifier.getUser`).
    pub fn caller(&self) -> String {
        match self.user.as_deref() {
            Some(user) if !user.is_empty() => user.to_owned(),
            _ => format!("{}:{}", self.pool.as_deref().unwrap_or("null"), self.block),
        }
    }
}

fn mode_of(number: i32) -> Option<AccessMode> {
    Some(match AccessModeProto::try_from(number).ok()? {
        AccessModeProto::Read => AccessMode::Read,
        AccessModeProto::Write => AccessMode::Write,
        AccessModeProto::Copy => AccessMode::Copy,
        AccessModeProto::Replace => AccessMode::Replace,
    })
}

/// A list as Java's collections print themselves.
pub(super) struct JavaList<'a, T>(pub(super) &'a [T], pub(super) fn(&T) -> &str);

impl<T> fmt::Display for JavaList<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, item) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { ", " };
            write!(f, "{separator}{}", self.1(item))?;
        }
        f.write_str("]")
    }
}

impl fmt::Display for BlockTokenIdentifier {
    /// As Java's 3.3 prints it; part of refusals.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "block_token_identifier (expiryDate={}, keyId={}, userId={}, blockPoolId={}, blockId={}, access modes={}, \
             storageTypes= {}, storageIds= {})",
            self.expiry,
            self.key_id,
            self.user.as_deref().unwrap_or("null"),
            self.pool.as_deref().unwrap_or("null"),
            self.block,
            JavaList(&self.modes, |mode| mode.name()),
            JavaList(&self.storage_types, |kind| kind.name()),
            JavaList(&self.storage_ids, |id| id.as_str()),
        )
    }
}

#[cfg(test)]
#[path = "identifier_tests.rs"]
mod tests;
