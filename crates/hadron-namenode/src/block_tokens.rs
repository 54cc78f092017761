//! Block tokens of a running NameNode: its keys, the tokens it puts into answers, and which DataNode has heard of them.
//!
//! Present only with `dfs.block.access.token.enable`; without it nothing here costs anything. What it does not do: the
//! format and the checks (`hadron_wire::token`).
//! Invariants: keys live in memory only and leave only towards DataNodes and callers of `getBlockKeys`; a DataNode is
//! told of each change of keys once. Token times are wall-clock times: DataNodes compare them with their own clocks.
//! Source: Hadoop `BlockManager.setBlockToken`, `BlockManager.addKeyUpdateCommand`, `HeartbeatManager.Monitor`.

use crate::{Shared, State};
use hadron_env::config::keys;
use hadron_env::{Clock, Configuration, Random, clock};
use hadron_proto::convert::no_block_keys;
use hadron_proto::hdfs::{ExportedBlockKeysProto, LocatedBlockProto, LocatedBlocksProto};
use hadron_types::{BlockId, DatanodeUuid, StorageType};
use hadron_wire::token::{AccessMode, BlockTokenIdentifier, IdentifierForm, KeyMaster, KeyTimes, SECRET_LEN};
use parking_lot::{Mutex, RwLock};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Longest sleep between two looks at the wall clock, which may be set.
const ROLL_CHECK: Duration = Duration::from_secs(60);
/// First release whose DataNodes know storages in tokens.
const FIRST_WITH_STORAGES: u32 = 3;

/// What the configuration says about block tokens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TokenSettings {
    /// `dfs.block.access.key.update.interval` and `dfs.block.access.token.lifetime`.
    pub times: KeyTimes,
    /// `dfs.block.access.token.protobuf.enable`.
    pub protobuf: bool,
}

impl TokenSettings {
    /// Reads the keys; `None` when tokens are off.
    pub fn from_configuration(conf: &Configuration) -> Option<Self> {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
        conf.get(keys::DFS_BLOCK_ACCESS_TOKEN_ENABLE).then(|| Self {
            times: KeyTimes::new(
                millis(conf.get(keys::DFS_BLOCK_ACCESS_KEY_UPDATE_INTERVAL)),
                millis(conf.get(keys::DFS_BLOCK_ACCESS_TOKEN_LIFETIME)),
            ),
            protobuf: conf.get(keys::DFS_BLOCK_ACCESS_TOKEN_PROTOBUF_ENABLE),
        })
    }
}

/// The keys and who knows them.
pub struct BlockTokens {
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    master: RwLock<KeyMaster>,
    protobuf: bool,
    /// Set for good once a DataNode has registered that does not know storages in tokens.
    has_old_nodes: AtomicBool,
    told: Mutex<Told>,
}

/// Per DataNode the current key's number when it was told last.
#[derive(Default)]
struct Told(HashMap<DatanodeUuid, Option<i32>>);

impl BlockTokens {
    /// Fresh keys.
    pub fn new(settings: &TokenSettings, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        let secrets = [secret(&*random), secret(&*random)];
        let serial = random.next_u64() as u32;
        let master = KeyMaster::new(settings.times, serial, secrets, wall(&*clock));
        tracing::info!(
            interval_ms = settings.times.update_interval_ms,
            lifetime_ms = settings.times.lifetime_ms,
            protobuf = settings.protobuf,
            "block access tokens are on"
        );
        Self {
            clock,
            random,
            master: RwLock::new(master),
            protobuf: settings.protobuf,
            has_old_nodes: AtomicBool::new(false),
            told: Mutex::default(),
        }
    }

    /// Tokens as `settings` say, with the clock and randomness of `state`.
    pub fn of(settings: Option<&TokenSettings>, state: &State) -> Option<Self> {
        settings.map(|settings| Self::new(settings, Arc::clone(&state.clock), Arc::clone(&state.random)))
    }

    fn form(&self) -> IdentifierForm {
        match (self.protobuf, self.has_old_nodes.load(Ordering::Relaxed)) {
            (true, _) => IdentifierForm::Protobuf,
            (false, true) => IdentifierForm::Short,
            (false, false) => IdentifierForm::Full,
        }
    }

    /// Puts a token for `user` into a block of an answer; it is good for the storages listed there.
    pub fn put(&self, located: &mut LocatedBlockProto, user: &str, mode: AccessMode) {
        let form = self.form();
        let (storage_types, storage_ids) = match form {
            IdentifierForm::Short => Default::default(),
            _ => (
                located
                    .storage_types
                    .iter()
                    .map(|number| StorageType::from_wire(*number).unwrap_or_default())
                    .collect(),
                located.storage_i_ds.clone(),
            ),
        };
        let what = BlockTokenIdentifier {
            expiry: 0,
            key_id: 0,
            user: Some(user.to_owned()),
            pool: Some(located.b.pool_id.clone()),
            block: BlockId::from_wire(located.b.block_id),
            modes: vec![mode],
            storage_types,
            storage_ids,
            handshake: Default::default(),
        };
        located.block_token = self.master.read().mint(what, form, wall(&*self.clock));
    }

    /// Puts READ tokens into a file's blocks.
    pub fn put_all(&self, located: &mut LocatedBlocksProto, user: &str) {
        for block in &mut located.blocks {
            self.put(block, user, AccessMode::Read);
        }
        if let Some(last) = &mut located.last_block {
            match located.blocks.last() {
                Some(same) if same.b.block_id == last.b.block_id => last.block_token = same.block_token.clone(),
                _ => self.put(last, user, AccessMode::Read),
            }
        }
    }

    /// A DataNode registers: what it is told of the keys.
    pub fn registered(&self, node: &DatanodeUuid, software_version: &str) -> ExportedBlockKeysProto {
        let major = software_version.split(['.', '-']).next().unwrap_or_default();
        let is_old = major.parse::<u32>().is_ok_and(|major| major < FIRST_WITH_STORAGES);
        if is_old && !self.has_old_nodes.swap(true, Ordering::Relaxed) {
            tracing::info!(%node, software_version, "block tokens name no storages from now on: old datanodes refuse them");
        }
        self.export_to(node)
    }

    /// A DataNode's heartbeat: the keys, if they have changed since it was told last.
    pub fn update_for(&self, node: &DatanodeUuid) -> Option<ExportedBlockKeysProto> {
        let current = self.master.read().keys().current_id();
        // A node that never registered is asked to; it gets its keys then.
        let is_behind = self.told.lock().0.get(node).is_some_and(|told| *told != current);
        is_behind.then(|| self.export_to(node))
    }

    fn export_to(&self, node: &DatanodeUuid) -> ExportedBlockKeysProto {
        let (exported, current) = {
            let master = self.master.read();
            (master.export(), master.keys().current_id())
        };
        self.told.lock().0.insert(node.clone(), current);
        exported
    }

    /// All keys, for balancers and other NameNodes (`getBlockKeys`).
    pub fn export(&self) -> ExportedBlockKeysProto {
        self.master.read().export()
    }

    /// Changes keys now.
    pub fn roll(&self) {
        let fresh = secret(&*self.random);
        self.master.write().roll(fresh, wall(&*self.clock));
        tracing::info!("block keys changed");
    }

    /// Time until keys change; zero when it is due.
    fn due_in(&self) -> Duration {
        Duration::from_millis(self.master.read().due_in(wall(&*self.clock)))
    }
}

/// Changes keys in time, until dropped. Ends at once without tokens.
pub(crate) async fn roll_keys(shared: Arc<Shared>) {
    let Some(tokens) = &shared.block_tokens else { return };
    loop {
        let due = tokens.due_in();
        if due.is_zero() {
            tokens.roll();
        } else {
            clock::sleep(&*shared.state.clock, due.min(ROLL_CHECK)).await;
        }
    }
}

/// What registrations carry: `tokens`' keys or the word that there are none.
pub(crate) fn keys_for(
    tokens: Option<&BlockTokens>,
    node: &DatanodeUuid,
    software_version: &str,
) -> ExportedBlockKeysProto {
    tokens.map_or_else(no_block_keys, |tokens| tokens.registered(node, software_version))
}

fn wall(clock: &dyn Clock) -> i64 {
    i64::try_from(clock.now().0).unwrap_or(i64::MAX)
}

fn secret(random: &dyn Random) -> [u8; SECRET_LEN] {
    let mut bytes = [0; SECRET_LEN];
    random.fill(&mut bytes);
    bytes
}

#[cfg(test)]
#[path = "block_tokens_tests.rs"]
mod tests;
