//! What a balancer is asked to do, and the settings it does it with.

use crate::error::{FsError, Result};
use hadron_blockmap::balancer::{Limits, Part, Rules};
use hadron_env::Configuration;
use hadron_env::config::keys;
use hadron_proto::hdfs::DatanodeInfoProto;
use hadron_proto::hdfs::datanode_info_proto::AdminState;
use hadron_types::BlockPoolId;
use hadron_wire::token::IdentifierForm;
use std::collections::BTreeSet;
use std::time::Duration;

/// How long a DataNode is left alone after a move failed that it had a part in.
const BACKOFF_MS: u64 = 10_000;

/// What counts as used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum BalancingPolicy {
    /// Replicas of all pools: the DataNodes are to be equally full.
    #[default]
    Datanode,
    /// Replicas of each pool by itself.
    BlockPool,
}

/// The options of the command.
#[derive(Clone, PartialEq, Debug)]
pub struct BalancerOptions {
    /// What counts as used.
    pub policy: BalancingPolicy,
    /// Percent above or below the average that is still even.
    pub threshold: f64,
    /// Iterations without any move after which it ends; negative: never.
    pub max_idle_iterations: i64,
    /// DataNodes that take no part: name or address, with or without the transfer port.
    pub excluded: BTreeSet<String>,
    /// If not empty, only these take part.
    pub included: BTreeSet<String>,
    /// If not empty, only these give blocks away.
    pub sources: BTreeSet<String>,
    /// If not empty, only these pools are balanced.
    pub block_pools: BTreeSet<String>,
    /// Whether to run although an upgrade is not finalized.
    pub run_during_upgrade: bool,
}

impl Default for BalancerOptions {
    fn default() -> Self {
        Self {
            policy: BalancingPolicy::Datanode,
            threshold: 10.0,
            max_idle_iterations: 5,
            excluded: BTreeSet::new(),
            included: BTreeSet::new(),
            sources: BTreeSet::new(),
            block_pools: BTreeSet::new(),
            run_during_upgrade: false,
        }
    }
}

impl BalancerOptions {
    pub(super) fn wants_pool(&self, pool: &BlockPoolId) -> bool {
        self.block_pools.is_empty() || self.block_pools.contains(pool.as_str())
    }

    /// What a DataNode is wanted for.
    pub(super) fn part_of(&self, node: &DatanodeInfoProto) -> Part {
        let in_service = node.admin_state() == AdminState::Normal;
        let included = self.included.is_empty() || names(&self.included, node);
        if !in_service || !included || names(&self.excluded, node) {
            return Part::None;
        }
        match self.sources.is_empty() || names(&self.sources, node) {
            true => Part::Both,
            false => Part::Takes,
        }
    }
}

/// Whether the list has the node under one of its names.
fn names(list: &BTreeSet<String>, node: &DatanodeInfoProto) -> bool {
    let id = &node.id;
    [&id.host_name, &id.ip_addr]
        .into_iter()
        .any(|name| list.contains(name) || list.contains(&format!("{name}:{}", id.xfer_port)))
}

/// The balancer's keys as plain values.
#[derive(Clone, PartialEq, Debug)]
pub struct BalancerSettings {
    /// How fast and how long.
    pub rules: Rules,
    /// Most that one DataNode gives or takes in one iteration.
    pub max_size: u64,
    /// Smaller blocks are not moved.
    pub min_block_size: u64,
    /// How long a block that was moved is left alone, at most for the rest of the iteration.
    pub moved_window_ms: u64,
    /// Between two iterations: DataNodes report, and the NameNode deletes what is too much.
    pub pause: Duration,
    /// Whether racks have node groups.
    pub node_groups: bool,
    /// How tokens are written.
    pub token_form: IdentifierForm,
}

impl BalancerSettings {
    /// Reads all keys.
    ///
    /// Errors: [`FsError::Config`] for values that are not positive.
    pub fn from_configuration(conf: &Configuration) -> Result<Self> {
        let positive = |name: &str, value: u64| match value {
            0 => Err(FsError::Config(format!("{name} = {value} <= 0"))),
            value => Ok(value),
        };
        let count = |key: hadron_env::config::Key<hadron_env::config::kind::Count>| {
            let value = positive(key.name(), conf.get(key) as u64)?;
            Ok::<usize, FsError>(usize::try_from(value).unwrap_or(usize::MAX))
        };
        let size = |key: hadron_env::config::Key<hadron_env::config::kind::Size>| positive(key.name(), conf.get(key));
        let moved_window: Duration = conf.get(keys::DFS_BALANCER_MOVED_WINDOW);
        let iteration: Duration = conf.get(keys::DFS_BALANCER_MAX_ITERATION_TIME);
        let heartbeat: Duration = conf.get(keys::DFS_HEARTBEAT_INTERVAL);
        let redundancy: Duration = conf.get(keys::DFS_NAMENODE_REDUNDANCY_INTERVAL);
        Ok(Self {
            rules: Rules {
                moves_per_node: count(keys::DFS_DATANODE_BALANCE_MAX_CONCURRENT_MOVES)?,
                moves: count(keys::DFS_BALANCER_MOVER_THREADS)?,
                fetches: count(keys::DFS_BALANCER_DISPATCHER_THREADS)?,
                fetch_bytes: size(keys::DFS_BALANCER_GETBLOCKS_SIZE)?,
                backoff_ms: BACKOFF_MS,
                iteration_ms: u64::try_from(iteration.as_millis()).unwrap_or(u64::MAX),
            },
            max_size: size(keys::DFS_BALANCER_MAX_SIZE_TO_MOVE)?,
            min_block_size: size(keys::DFS_BALANCER_GETBLOCKS_MIN_BLOCK_SIZE)?,
            moved_window_ms: u64::try_from(moved_window.as_millis()).unwrap_or(u64::MAX),
            pause: heartbeat * 2 + redundancy,
            node_groups: conf.get(keys::NET_TOPOLOGY_IMPL).ends_with("WithNodeGroup"),
            token_form: match conf.get(keys::DFS_BLOCK_ACCESS_TOKEN_PROTOBUF_ENABLE) {
                true => IdentifierForm::Protobuf,
                false => IdentifierForm::Short,
            },
        })
    }

    pub(super) fn limits(&self, options: &BalancerOptions) -> Limits {
        Limits {
            threshold: options.threshold,
            max_size: self.max_size,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hadron_proto::hdfs::DatanodeIdProto;

    fn node(state: AdminState) -> DatanodeInfoProto {
        DatanodeInfoProto {
            id: DatanodeIdProto {
                ip_addr: "127.0.0.1".into(),
                host_name: "one".into(),
                xfer_port: 9866,
                ..Default::default()
            },
            admin_state: Some(state as i32),
            ..Default::default()
        }
    }

    #[test]
    fn nodes_are_named_by_host_or_address_with_or_without_port() {
        let list = |text: &str| -> BTreeSet<String> { text.split(',').map(str::to_owned).collect() };
        for (name, found) in [
            ("one", true),
            ("127.0.0.1", true),
            ("one:9866", true),
            ("127.0.0.1:9866", true),
            ("one:50010", false),
            ("two", false),
        ] {
            let options = |field: fn(&mut BalancerOptions) -> &mut BTreeSet<String>| {
                let mut options = BalancerOptions::default();
                *field(&mut options) = list(&format!("x,{name}"));
                options.part_of(&node(AdminState::Normal))
            };
            let expected = |yes, no| if found { yes } else { no };
            assert_eq!(options(|o| &mut o.excluded), expected(Part::None, Part::Both), "{name}");
            assert_eq!(options(|o| &mut o.included), expected(Part::Both, Part::None), "{name}");
            assert_eq!(options(|o| &mut o.sources), expected(Part::Both, Part::Takes), "{name}");
        }
        let leaving = BalancerOptions::default().part_of(&node(AdminState::DecommissionInprogress));
        assert_eq!(leaving, Part::None);
    }

    #[test]
    fn settings_are_hadoops_and_must_be_positive() {
        let mut conf = Configuration::new();
        let settings = BalancerSettings::from_configuration(&conf).expect("defaults");
        assert_eq!(settings.rules.moves_per_node, 100);
        assert_eq!((settings.rules.moves, settings.rules.fetch_bytes), (1000, 2 << 30));
        assert_eq!((settings.max_size, settings.min_block_size), (10 << 30, 10 << 20));
        assert_eq!(
            (settings.pause, settings.moved_window_ms),
            (Duration::from_secs(9), 5_400_000)
        );
        conf.set("dfs.balancer.moverThreads", "0");
        let error = BalancerSettings::from_configuration(&conf).unwrap_err();
        assert_eq!(error.to_string(), "dfs.balancer.moverThreads = 0 <= 0");
    }
}
