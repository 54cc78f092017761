//! The usage lines of `dfsadmin`.

/// Every command with its words.
const COMMANDS: &[&str] = &[
    "[-report [-live] [-dead] [-decommissioning] [-enteringmaintenance] [-inmaintenance] [-slownodes]]",
    "[-safemode <enter | leave | get | wait | forceExit>]",
    "[-saveNamespace [-beforeShutdown]]",
    "[-rollEdits]",
    "[-restoreFailedStorage true|false|check]",
    "[-refreshNodes]",
    "[-setQuota <quota> <dirname>...<dirname>]",
    "[-clrQuota <dirname>...<dirname>]",
    "[-setSpaceQuota <quota> [-storageType <storagetype>] <dirname>...<dirname>]",
    "[-clrSpaceQuota [-storageType <storagetype>] <dirname>...<dirname>]",
    "[-finalizeUpgrade]",
    "[-upgrade <query | finalize>]",
    "[-refreshServiceAcl]",
    "[-refreshUserToGroupsMappings]",
    "[-refreshSuperUserGroupsConfiguration]",
    "[-refreshCallQueue]",
    "[-refresh <host:ipc_port> <key> [arg1..argn]",
    "[-reconfig <namenode|datanode> <host:ipc_port> <start|status|properties>]",
    "[-printTopology]",
    "[-setBalancerBandwidth <bandwidth in bytes per second>]",
    "[-getBalancerBandwidth <datanode_host:ipc_port>]",
    "[-allowSnapshot <snapshotDir>]",
    "[-disallowSnapshot <snapshotDir>]",
    "[-shutdownDatanode <datanode_host:ipc_port> [upgrade]]",
    "[-getDatanodeInfo <datanode_host:ipc_port>]",
    "[-metasave filename]",
    "[-triggerBlockReport [-incremental] <datanode_host:ipc_port> [-namenode <namenode_host:ipc_port>]]",
    "[-listOpenFiles [-blockingDecommission] [-path <path>]]",
    "[-help [cmd]]",
];

/// Prints the line of `command`, or all lines, to standard error.
pub(super) fn print(command: &str) {
    let name = format!("[-{}", command.trim_start_matches('-'));
    let fits = |line: &&&str| {
        let rest = line.strip_prefix(name.as_str());
        rest.is_some_and(|rest| rest.starts_with([' ', ']']))
    };
    match COMMANDS.iter().find(fits) {
        Some(line) => eprintln!("Usage: hdfs dfsadmin {line}"),
        None => {
            eprintln!("Usage: hdfs dfsadmin");
            eprintln!("Note: Administrative commands can only be run as the HDFS superuser.");
            for line in COMMANDS {
                eprintln!("\t{line}");
            }
        }
    }
}
