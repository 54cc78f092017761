//! The keys of one block pool: making tokens with the current one, checking tokens with any.
//!
//! A DataNode fills them from what its NameNodes send; a NameNode's own are kept by [`super::KeyMaster`]. A key stays
//! as long as its end is ahead, so that tokens made before a change of keys stay good.

use super::access::{Access, expired, refusal};
use super::identifier::{BlockTokenIdentifier, IdentifierForm};
use super::key::BlockKey;
use super::{BLOCK_TOKEN_KIND, KeyTimes};
use bytes::Bytes;
use hadron_proto::common::TokenProto;
use hadron_proto::convert::no_block_keys;
use hadron_proto::hdfs::ExportedBlockKeysProto;
use hadron_types::HadoopResult;
use std::collections::HashMap;

/// Most keys kept; a day's keys when they change every second. Beyond it new ones are not taken in.
pub const MAX_BLOCK_KEYS: usize = 86_400;

/// Keys by number, one of them current.
#[derive(Clone, Debug)]
pub struct BlockKeys {
    pub(super) times: KeyTimes,
    pub(super) current: Option<BlockKey>,
    pub(super) all: HashMap<i32, BlockKey>,
}

impl BlockKeys {
    /// No keys yet.
    pub fn new(times: KeyTimes) -> Self {
        Self {
            times,
            current: None,
            all: HashMap::new(),
        }
    }

    /// What a NameNode sent, at millisecond `now`; `None` when it says that it has no tokens.
    pub fn of(exported: &ExportedBlockKeysProto, now: i64) -> Option<Self> {
        let mut keys = Self::new(KeyTimes::of(exported));
        exported.is_block_token_enabled.then(|| {
            keys.import(exported, now);
            keys
        })
    }

    /// Takes in what a NameNode sent: its current key becomes ours, keys that ended are forgotten.
    pub fn import(&mut self, exported: &ExportedBlockKeysProto, now: i64) {
        self.forget_ended(now);
        self.times = KeyTimes::of(exported);
        let current = BlockKey::from_proto(&exported.current_key);
        self.insert(current.clone());
        self.current = Some(current);
        for key in &exported.all_keys {
            self.insert(BlockKey::from_proto(key));
        }
    }

    pub(super) fn insert(&mut self, key: BlockKey) {
        if self.all.len() < MAX_BLOCK_KEYS || self.all.contains_key(&key.id()) {
            self.all.insert(key.id(), key);
        }
    }

    pub(super) fn forget_ended(&mut self, now: i64) {
        self.all.retain(|_, key| key.expiry() >= now);
    }

    /// All keys for a DataNode, a balancer or another NameNode: the only way out for their bytes.
    pub fn export(&self) -> ExportedBlockKeysProto {
        let Some(current) = &self.current else {
            return no_block_keys();
        };
        ExportedBlockKeysProto {
            is_block_token_enabled: true,
            key_update_interval: self.times.update_interval_ms as u64,
            token_life_time: self.times.lifetime_ms as u64,
            current_key: current.to_proto(),
            all_keys: self.all.values().map(BlockKey::to_proto).collect(),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Number of the current key.
    pub fn current_id(&self) -> Option<i32> {
        self.current.as_ref().map(BlockKey::id)
    }

    /// Makes a token with the current key, its life beginning at millisecond `now`; `None` before the first key.
    /// The identifier's end and key are filled in here.
    pub fn mint(&self, mut what: BlockTokenIdentifier, form: IdentifierForm, now: i64) -> Option<TokenProto> {
        let key = self.current.as_ref()?;
        what.expiry = now.saturating_add(self.times.lifetime_ms);
        what.key_id = key.id();
        let identifier = what.encode(form);
        Some(TokenProto {
            password: key.password(&identifier),
            identifier,
            kind: BLOCK_TOKEN_KIND.to_owned(),
            service: String::new(),
        })
    }

    /// Checks a token for an operation at millisecond `now`.
    ///
    /// Errors: `ErrorKind::InvalidToken` with Java's text.
    pub fn check(&self, token: &TokenProto, access: &Access<'_>, now: i64) -> HadoopResult<()> {
        let identifier = BlockTokenIdentifier::decode(&token.identifier).map_err(|_| {
            refusal(format_args!(
                "Unable to de-serialize block token identifier for user=null, block={}, access mode={}",
                access.block, access.mode
            ))
        })?;
        access.check(&identifier, now)?;
        if self
            .key_of(&identifier, now)?
            .vouches(&token.identifier, &token.password)
        {
            return Ok(());
        }
        Err(refusal(format_args!(
            "Block token with {identifier} doesn't have the correct token password"
        )))
    }

    /// The password of an identifier somebody presents, for a handshake that proves to know it.
    ///
    /// Errors: `ErrorKind::InvalidToken` with Java's text: malformed, expired, or its key is not known here.
    pub fn password(&self, identifier: &[u8], now: i64) -> HadoopResult<(BlockTokenIdentifier, Bytes)> {
        let read =
            BlockTokenIdentifier::decode(identifier).map_err(|_| refusal("Can't de-serialize tokenIdentifier"))?;
        let password = self.key_of(&read, now)?.password(identifier);
        Ok((read, password))
    }

    fn key_of(&self, token: &BlockTokenIdentifier, now: i64) -> HadoopResult<&BlockKey> {
        if now > token.expiry {
            return Err(expired(token));
        }
        self.all.get(&token.key_id).ok_or_else(|| {
            refusal(format_args!(
                "Can't re-compute password for {token}, since the required block key (keyID={}) doesn't exist.",
                token.key_id
            ))
        })
    }
}
