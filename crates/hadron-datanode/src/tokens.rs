//! Block tokens on a DataNode: the keys its NameNodes sent, checks of what peers show, tokens for its own copies.
//!
//! Whether tokens are wanted is the NameNode's word, pool by pool, renewed with each registration. Keys outlive the
//! connection to the NameNode, so that a restart of it disturbs no reader. What it does not do: the format and the
//! rules (`hadron_wire::token`).
//! Invariant: without tokens a check is one load.
//! Source: Hadoop `BlockPoolTokenSecretManager`, `DataNode.checkReadAccess`.

use bytes::Bytes;
use hadron_env::{Random, SystemRandom};
use hadron_net::{NONCE_LEN, TokenAuthority, UserIdentity};
use hadron_proto::common::TokenProto;
use hadron_proto::convert::no_token;
use hadron_proto::hdfs::ExportedBlockKeysProto;
use hadron_types::{BlockPoolId, ErrorKind, ExtendedBlock, HadoopError, HadoopResult};
use hadron_wire::token::{Access, AccessMode, BlockKeys, BlockTokenIdentifier, IdentifierForm};
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The keys of all pools.
pub(crate) struct PoolTokens {
    /// Pools whose NameNode has spoken; `None`: it wants no tokens.
    pools: RwLock<HashMap<BlockPoolId, Option<BlockKeys>>>,
    /// Whether any pool wants tokens.
    enabled: AtomicBool,
    /// How own tokens are written; peers of 2.x read the short form only.
    form: IdentifierForm,
    /// Who own tokens are for.
    user: String,
    random: SystemRandom,
}

impl PoolTokens {
    /// No keys yet. `protobuf`: `dfs.block.access.token.protobuf.enable`.
    pub(crate) fn new(user: &str, protobuf: bool) -> Self {
        Self {
            pools: RwLock::default(),
            enabled: AtomicBool::new(false),
            form: match protobuf {
                true => IdentifierForm::Protobuf,
                false => IdentifierForm::Short,
            },
            user: user.to_owned(),
            random: SystemRandom::new(),
        }
    }

    /// Whether any pool wants tokens.
    pub(crate) fn is_wanted(&self) -> bool {
        self.enabled.load(Ordering::Acquire)
    }

    /// Whether a NameNode of the pool has said if it wants tokens; until then nothing may be served.
    pub(crate) fn has_heard_of(&self, pool: &BlockPoolId) -> bool {
        self.pools.read().contains_key(pool)
    }

    /// Takes what a NameNode said with the registration, or sent after a change of keys.
    pub(crate) fn take(&self, pool: &BlockPoolId, exported: &ExportedBlockKeysProto) {
        let now = now();
        let mut pools = self.pools.write();
        let known = pools.entry(pool.clone()).or_default();
        match known {
            Some(keys) if exported.is_block_token_enabled => {
                keys.import(exported, now);
                tracing::info!(%pool, keys = keys.len(), current = keys.current_id(), "block keys updated");
            }
            _ => {
                let was_wanted = known.is_some();
                *known = BlockKeys::of(exported, now);
                match known {
                    Some(keys) => tracing::info!(%pool, current = keys.current_id(), "block tokens are wanted"),
                    None if was_wanted => tracing::warn!(%pool, "block tokens are not wanted any more"),
                    None => {}
                }
            }
        }
        self.enabled
            .store(pools.values().any(Option::is_some), Ordering::Release);
    }

    /// Checks the token of an operation; everything passes in pools without tokens.
    ///
    /// Errors: [`ErrorKind::InvalidToken`].
    pub(crate) fn check(&self, token: &TokenProto, access: &Access<'_>) -> HadoopResult<()> {
        if !self.is_wanted() {
            return Ok(());
        }
        match self.pools.read().get(&access.block.pool) {
            Some(Some(keys)) => keys.check(token, access, now()),
            _ => Ok(()),
        }
    }

    /// Checks that the caller of an RPC opened its connection with a token that lets it read `block`.
    ///
    /// Errors: no token, or one for something else.
    pub(crate) fn check_reader(&self, caller: &UserIdentity, block: &ExtendedBlock) -> HadoopResult<()> {
        if !self.is_wanted() || !matches!(self.pools.read().get(&block.pool), Some(Some(_))) {
            return Ok(());
        }
        let identifier = caller.token.as_deref().map(BlockTokenIdentifier::decode);
        let Some(Ok(identifier)) = identifier else {
            let text = "Can't continue since none or more than one BlockTokenIdentifier is found.";
            return Err(HadoopError::io(text));
        };
        // The password was proven when the connection was opened.
        Access::new(block, AccessMode::Read).check(&identifier, now())
    }

    /// A token for writing `block` to another DataNode; the empty one in pools without tokens.
    pub(crate) fn for_copy(&self, block: &ExtendedBlock) -> TokenProto {
        if !self.is_wanted() {
            return no_token();
        }
        let what = BlockTokenIdentifier {
            expiry: 0,
            key_id: 0,
            user: Some(self.user.clone()),
            pool: Some(block.pool.as_str().to_owned()),
            block: block.block.id,
            modes: vec![AccessMode::Write],
            storage_types: Vec::new(),
            storage_ids: Vec::new(),
            handshake: Bytes::new(),
        };
        let pools = self.pools.read();
        let minted = pools
            .get(&block.pool)
            .and_then(Option::as_ref)
            .and_then(|keys| keys.mint(what, self.form, now()));
        minted.unwrap_or_else(no_token)
    }
}

impl TokenAuthority for PoolTokens {
    fn is_enabled(&self) -> bool {
        self.is_wanted()
    }

    fn look_up(&self, identifier: &[u8]) -> HadoopResult<(String, Bytes)> {
        let malformed = || HadoopError::new(ErrorKind::InvalidToken, "Can't de-serialize tokenIdentifier");
        let token = BlockTokenIdentifier::decode(identifier).map_err(|_| malformed())?;
        let pool = BlockPoolId::from(token.pool.as_deref().unwrap_or_default());
        let pools = self.pools.read();
        let keys = pools
            .get(&pool)
            .and_then(Option::as_ref)
            .ok_or_else(|| HadoopError::new(ErrorKind::InvalidToken, format!("Block pool {pool} is not found")))?;
        let (token, password) = keys.password(identifier, now())?;
        Ok((token.caller(), password))
    }

    fn nonce(&self) -> [u8; NONCE_LEN] {
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce);
        nonce
    }
}

/// Wall time in milliseconds: tokens end at wall times.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hadron_proto::convert::no_block_keys;
    use hadron_types::{Block, BlockId, GenerationStamp};
    use hadron_wire::token::{KeyMaster, KeyTimes, SECRET_LEN};

    fn block(pool: &str) -> ExtendedBlock {
        ExtendedBlock {
            pool: pool.into(),
            block: Block {
                id: BlockId(3),
                generation_stamp: GenerationStamp(1001),
                len: 1,
            },
        }
    }

    fn master(serial: u32) -> KeyMaster {
        KeyMaster::new(
            KeyTimes::new(60_000, 60_000),
            serial,
            [[1; SECRET_LEN], [serial as u8; SECRET_LEN]],
            now(),
        )
    }

    #[test]
    fn pools_have_their_own_keys_and_want_tokens_or_not() {
        let (one, two, plain) = (block("BP-1"), block("BP-2"), block("BP-3"));
        let tokens = PoolTokens::new("dn", false);
        let refused = |token: &TokenProto, block: &ExtendedBlock| {
            let access = Access::new(block, AccessMode::Write);
            tokens.check(token, &access).err().map(|error| error.kind)
        };
        assert_eq!(refused(&no_token(), &one), None, "nobody asked for tokens yet");
        assert_eq!(tokens.for_copy(&one), no_token());
        tokens.take(&one.pool, &master(1).export());
        tokens.take(&two.pool, &master(500).export());
        tokens.take(&plain.pool, &no_block_keys());
        let own = tokens.for_copy(&one);
        assert_eq!(refused(&own, &one), None);
        assert_eq!(refused(&own, &two), Some(ErrorKind::InvalidToken));
        assert_eq!(refused(&no_token(), &one), Some(ErrorKind::InvalidToken));
        assert_eq!(refused(&no_token(), &plain), None);
        // A restarted NameNode has other keys; tokens of before stay good.
        tokens.take(&one.pool, &master(9).export());
        assert_eq!(refused(&own, &one), None);
        tokens.take(&one.pool, &no_block_keys());
        assert_eq!(refused(&no_token(), &one), None, "switched off");
    }

    #[test]
    fn callers_need_a_token_of_the_block_they_ask_about() {
        let (mine, master) = (block("BP-1"), master(1));
        let tokens = PoolTokens::new("dn", false);
        let nobody = UserIdentity::simple("x");
        assert_eq!(tokens.check_reader(&nobody, &mine), Ok(()));
        tokens.take(&mine.pool, &master.export());
        let error = tokens.check_reader(&nobody, &mine).unwrap_err();
        assert!(error.message.starts_with("Can't continue since none"), "{error}");
        for (modes, id, good) in [
            (AccessMode::Read, 3, true),
            (AccessMode::Write, 3, false),
            (AccessMode::Read, 4, false),
        ] {
            let what = BlockTokenIdentifier {
                expiry: 0,
                key_id: 0,
                user: Some("alice".into()),
                pool: Some("BP-1".into()),
                block: BlockId(id),
                modes: vec![modes],
                storage_types: Vec::new(),
                storage_ids: Vec::new(),
                handshake: Bytes::new(),
            };
            let token = master.mint(what, IdentifierForm::Full, now());
            let (user, password) = tokens.look_up(&token.identifier).unwrap();
            assert_eq!((user.as_str(), password), ("alice", token.password));
            let caller = UserIdentity {
                token: Some(token.identifier),
                ..UserIdentity::simple(&user)
            };
            assert_eq!(tokens.check_reader(&caller, &mine).is_ok(), good, "{modes} {id}");
        }
        assert!(tokens.look_up(b"\x8anonsense").is_err());
    }
}
