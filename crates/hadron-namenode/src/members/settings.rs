//! What the configuration says about DataNodes that want to join.

use hadron_env::Configuration;
use hadron_env::config::keys;
use std::path::PathBuf;
use std::time::Duration;

/// Settings of membership. Files are named, not yet read.
#[derive(Clone, Debug)]
pub struct DatanodeSettings {
    /// `dfs.namenode.min.supported.datanode.version`.
    pub min_version: String,
    /// `dfs.namenode.datanode.registration.ip-hostname-check`; local addresses always pass.
    pub check_host_name: bool,
    /// `dfs.hosts`: who may join; everybody where there is none.
    pub hosts: Option<PathBuf>,
    /// `dfs.hosts.exclude`: who shall leave.
    pub excluded_hosts: Option<PathBuf>,
    /// `dfs.namenode.hosts.provider.classname` is `CombinedHostFileManager`: one JSON file in `dfs.hosts`.
    pub combined: bool,
    /// Where racks come from.
    pub mapping: Mapping,
    /// `dfs.namenode.reject-unresolved-dn-topology-mapping`.
    pub reject_unresolved: bool,
    /// `dfs.namenode.decommission.interval`.
    pub admin_interval: Duration,
}

/// Where racks come from.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Mapping {
    /// All hosts are on one rack.
    #[default]
    Flat,
    /// A file of two columns, host and rack (`TableMapping`).
    Table(PathBuf),
    /// A program that prints a rack for each of its arguments (`ScriptBasedMapping`).
    Script {
        /// The program.
        path: PathBuf,
        /// Most arguments at a time, at least 1.
        max_arguments: usize,
    },
}

impl Default for DatanodeSettings {
    fn default() -> Self {
        Self {
            min_version: "2.1.0-beta".to_owned(),
            check_host_name: true,
            hosts: None,
            excluded_hosts: None,
            combined: false,
            mapping: Mapping::Flat,
            reject_unresolved: false,
            admin_interval: Duration::from_secs(30),
        }
    }
}

impl DatanodeSettings {
    /// Reads the configuration.
    pub fn from_configuration(conf: &Configuration) -> Self {
        let policy = conf.get(keys::DFS_BLOCK_REPLICATOR_CLASSNAME);
        if simple_name(&policy) != "BlockPlacementPolicyDefault" {
            tracing::warn!(%policy, "dfs.block.replicator.classname is not known here; the default policy places replicas");
        }
        Self {
            min_version: conf.get(keys::DFS_NAMENODE_MIN_SUPPORTED_DATANODE_VERSION),
            check_host_name: conf.get(keys::DFS_NAMENODE_DATANODE_REGISTRATION_IP_HOSTNAME_CHECK),
            hosts: path(conf.get(keys::DFS_HOSTS)),
            excluded_hosts: path(conf.get(keys::DFS_HOSTS_EXCLUDE)),
            combined: conf
                .get(keys::DFS_NAMENODE_HOSTS_PROVIDER_CLASSNAME)
                .is_some_and(|class| simple_name(&class) == "CombinedHostFileManager"),
            mapping: mapping(conf),
            reject_unresolved: conf.get(keys::DFS_NAMENODE_REJECT_UNRESOLVED_DN_TOPOLOGY_MAPPING),
            admin_interval: conf.get(keys::DFS_NAMENODE_DECOMMISSION_INTERVAL),
        }
    }
}

/// The mapping of `net.topology.node.switch.mapping.impl`; without one, a script if there is one, else a table.
fn mapping(conf: &Configuration) -> Mapping {
    let table = path(conf.get(keys::NET_TOPOLOGY_TABLE_FILE_NAME)).map(Mapping::Table);
    let script = path(conf.get(keys::NET_TOPOLOGY_SCRIPT_FILE_NAME)).map(|path| Mapping::Script {
        path,
        max_arguments: conf.get(keys::NET_TOPOLOGY_SCRIPT_NUMBER_ARGS).max(1),
    });
    let class = conf
        .get(keys::NET_TOPOLOGY_NODE_SWITCH_MAPPING_IMPL)
        .unwrap_or_default();
    let chosen = match simple_name(&class) {
        "TableMapping" => table,
        "ScriptBasedMapping" | "ScriptBasedMappingWithDependency" => script,
        "" => script.or(table),
        other => {
            tracing::warn!(
                class = other,
                "unknown net.topology.node.switch.mapping.impl; taking the script or the table that is configured"
            );
            script.or(table)
        }
    };
    chosen.unwrap_or_default()
}

fn simple_name(class: &str) -> &str {
    class.trim().rsplit('.').next().unwrap_or_default()
}

fn path(text: Option<String>) -> Option<PathBuf> {
    let text = text?;
    let text = text.trim();
    (!text.is_empty()).then(|| PathBuf::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_class_decides_and_else_what_is_there() {
        const CLASS: &str = "net.topology.node.switch.mapping.impl";
        let (table, script) = ("net.topology.table.file.name", "net.topology.script.file.name");
        let at = |path: &str| PathBuf::from(path);
        let run = |max_arguments| Mapping::Script {
            path: at("/s"),
            max_arguments,
        };
        for (entries, expected) in [
            (&[][..], Mapping::Flat),
            (&[(table, "/t")], Mapping::Table(at("/t"))),
            (&[(script, "/s"), (table, "/t")], run(100)),
            (
                &[
                    (CLASS, "org.apache.hadoop.net.TableMapping"),
                    (script, "/s"),
                    (table, "/t"),
                ],
                Mapping::Table(at("/t")),
            ),
            (
                &[
                    (CLASS, "org.apache.hadoop.net.ScriptBasedMapping"),
                    (script, "/s"),
                    ("net.topology.script.number.args", "3"),
                ],
                run(3),
            ),
            (
                &[(CLASS, "org.apache.hadoop.net.ScriptBasedMapping"), (table, "/t")],
                Mapping::Flat,
            ),
            (&[(CLASS, "com.example.Mine"), (table, "/t")], Mapping::Table(at("/t"))),
        ] {
            let mut conf = Configuration::new();
            for (key, value) in entries {
                conf.set(*key, *value);
            }
            assert_eq!(
                DatanodeSettings::from_configuration(&conf).mapping,
                expected,
                "{entries:?}"
            );
        }
    }
}
