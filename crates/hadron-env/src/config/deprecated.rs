//! Old names of keys that are still found in site files.
//!
//! Source: Hadoop `HdfsConfiguration.addDeprecatedKeys` and `Configuration`'s defaults. All map one to one.

/// The name to use instead of `old`, or `None` when `old` is not deprecated.
pub(super) fn current_name(old: &str) -> Option<&'static str> {
    let found = DEPRECATED.binary_search_by(|(name, _)| (*name).cmp(old)).ok()?;
    Some(DEPRECATED[found].1)
}

/// Old and new name, sorted by old name.
const DEPRECATED: &[(&str, &str)] = &[
    ("dfs.access.time.precision", "dfs.namenode.accesstime.precision"),
    ("dfs.balance.bandwidthPerSec", "dfs.datanode.balance.bandwidthPerSec"),
    ("dfs.block.size", "dfs.blocksize"),
    ("dfs.data.dir", "dfs.datanode.data.dir"),
    ("dfs.datanode.max.xcievers", "dfs.datanode.max.transfer.threads"),
    ("dfs.encryption.key.provider.uri", "hadoop.security.key.provider.path"),
    ("dfs.federation.nameservice.id", "dfs.nameservice.id"),
    ("dfs.federation.nameservices", "dfs.nameservices"),
    ("dfs.http.address", "dfs.namenode.http-address"),
    ("dfs.https.address", "dfs.namenode.https-address"),
    ("dfs.max-repl-streams", "dfs.namenode.replication.max-streams"),
    ("dfs.max.objects", "dfs.namenode.max.objects"),
    ("dfs.name.dir", "dfs.namenode.name.dir"),
    ("dfs.name.dir.restore", "dfs.namenode.name.dir.restore"),
    ("dfs.name.edits.dir", "dfs.namenode.edits.dir"),
    (
        "dfs.namenode.replication.considerLoad",
        "dfs.namenode.redundancy.considerLoad",
    ),
    (
        "dfs.namenode.replication.interval",
        "dfs.namenode.redundancy.interval.seconds",
    ),
    (
        "dfs.namenode.replication.pending.timeout-sec",
        "dfs.namenode.reconstruction.pending.timeout-sec",
    ),
    ("dfs.permissions", "dfs.permissions.enabled"),
    ("dfs.permissions.supergroup", "dfs.permissions.superusergroup"),
    ("dfs.read.prefetch.size", "dfs.client.read.prefetch.size"),
    ("dfs.replication.considerLoad", "dfs.namenode.redundancy.considerLoad"),
    ("dfs.replication.interval", "dfs.namenode.redundancy.interval.seconds"),
    ("dfs.replication.min", "dfs.namenode.replication.min"),
    (
        "dfs.replication.pending.timeout.sec",
        "dfs.namenode.reconstruction.pending.timeout-sec",
    ),
    ("dfs.safemode.extension", "dfs.namenode.safemode.extension"),
    ("dfs.safemode.threshold.pct", "dfs.namenode.safemode.threshold-pct"),
    ("dfs.secondary.http.address", "dfs.namenode.secondary.http-address"),
    ("dfs.socket.timeout", "dfs.client.socket-timeout"),
    ("dfs.umaskmode", "fs.permissions.umask-mode"),
    ("dfs.write.packet.size", "dfs.client-write-packet-size"),
    ("fs.checkpoint.dir", "dfs.namenode.checkpoint.dir"),
    ("fs.checkpoint.edits.dir", "dfs.namenode.checkpoint.edits.dir"),
    ("fs.checkpoint.period", "dfs.namenode.checkpoint.period"),
    ("fs.default.name", "fs.defaultFS"),
    ("heartbeat.recheck.interval", "dfs.namenode.heartbeat.recheck-interval"),
    ("io.bytes.per.checksum", "dfs.bytes-per-checksum"),
    ("slave.host.name", "dfs.datanode.hostname"),
    ("topology.script.file.name", "net.topology.script.file.name"),
    ("topology.script.number.args", "net.topology.script.number.args"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorted_without_chains() {
        assert!(DEPRECATED.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert!(DEPRECATED.iter().all(|(_, new)| current_name(new).is_none()));
        assert_eq!(current_name("fs.default.name"), Some("fs.defaultFS"));
        assert_eq!(current_name("fs.defaultFS"), None);
    }
}
