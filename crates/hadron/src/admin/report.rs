//! `-report` and `-printTopology`: the cluster and its DataNodes.

use std::collections::BTreeMap;

use hadron_env::zone::java_date;
use hadron_namenode::format::{bytes, percent};
use hadron_proto::hdfs::datanode_info_proto::AdminState;
use hadron_proto::hdfs::{
    DatanodeInfoProto, DatanodeReportTypeProto, GetDatanodeReportRequestProto, GetDatanodeReportResponseProto,
    GetFsEcBlockGroupStatsRequestProto, GetFsEcBlockGroupStatsResponseProto, GetFsReplicatedBlockStatsRequestProto,
    GetFsReplicatedBlockStatsResponseProto, GetFsStatsResponseProto, GetFsStatusRequestProto, SafeModeActionProto,
    SetSafeModeRequestProto, SetSafeModeResponseProto,
};
use hadron_types::TimeMs;

use super::link::{Failure, Link};
use super::{Outcome, want_none};

/// Rack that is not worth a line.
const DEFAULT_RACK: &str = "/default-rack";
/// Kinds of DataNodes, as options and headings name them.
const KINDS: [(&str, DatanodeReportTypeProto, &str); 5] = [
    ("-live", DatanodeReportTypeProto::Live, "Live"),
    ("-dead", DatanodeReportTypeProto::Dead, "Dead"),
    (
        "-decommissioning",
        DatanodeReportTypeProto::Decommissioning,
        "Decommissioning",
    ),
    (
        "-enteringmaintenance",
        DatanodeReportTypeProto::EnteringMaintenance,
        "Entering maintenance",
    ),
    (
        "-inmaintenance",
        DatanodeReportTypeProto::InMaintenance,
        "In maintenance",
    ),
];

/// `-report [-live] [-dead] [-decommissioning] [-enteringmaintenance] [-inmaintenance] [-slownodes]`.
pub(super) async fn report(link: &Link, args: &[String]) -> Outcome {
    let known = |arg: &String| arg == "-slownodes" || KINDS.iter().any(|(option, _, _)| option == arg);
    if !args.iter().all(known) {
        return Err(Failure::Usage);
    }
    let stats: GetFsStatsResponseProto = link.call("getFsStats", &GetFsStatusRequestProto {}).await?;
    let ask = SetSafeModeRequestProto {
        action: SafeModeActionProto::SafemodeGet as i32,
        checked: Some(false),
    };
    let safe_mode: SetSafeModeResponseProto = link.call("setSafeMode", &ask).await?;
    if safe_mode.result {
        println!("Safe mode is ON");
    }
    print_capacity(&stats);
    let blocks: GetFsReplicatedBlockStatsResponseProto = link
        .call("getFsReplicatedBlockStats", &GetFsReplicatedBlockStatsRequestProto {})
        .await?;
    let groups: GetFsEcBlockGroupStatsResponseProto = link
        .call("getFsECBlockGroupStats", &GetFsEcBlockGroupStatsRequestProto {})
        .await?;
    print_blocks(&blocks, &groups);
    println!("\n-------------------------------------------------");
    for (option, kind, heading) in KINDS {
        let asked = args.iter().any(|arg| arg == option);
        if asked || args.is_empty() {
            let nodes = datanodes(link, kind).await?;
            if asked || !nodes.is_empty() {
                println!("{heading} datanodes ({}):\n", nodes.len());
            }
            for node in &nodes {
                println!("{}\n", describe(node));
            }
        }
    }
    if args.iter().any(|arg| arg == "-slownodes") {
        println!("Slow datanodes (0):\n");
    }
    Ok(0)
}

fn print_capacity(stats: &GetFsStatsResponseProto) {
    let present = stats.used + stats.remaining;
    for (name, value) in [
        ("Configured Capacity", stats.capacity),
        ("Present Capacity", present),
        ("DFS Remaining", stats.remaining),
        ("DFS Used", stats.used),
    ] {
        println!("{name}: {value} ({})", bytes(value));
    }
    let share = match present {
        0 => "0.00%".to_owned(),
        _ => percent(stats.used, present),
    };
    println!("DFS Used%: {share}");
}

fn print_blocks(blocks: &GetFsReplicatedBlockStatsResponseProto, groups: &GetFsEcBlockGroupStatsResponseProto) {
    println!("Replicated Blocks:");
    println!("\tUnder replicated blocks: {}", blocks.low_redundancy);
    println!("\tBlocks with corrupt replicas: {}", blocks.corrupt_blocks);
    println!("\tMissing blocks: {}", blocks.missing_blocks);
    println!(
        "\tMissing blocks (with replication factor 1): {}",
        blocks.missing_repl_one_blocks
    );
    if let Some(highest) = blocks.highest_prio_low_redundancy_blocks {
        println!("\tLow redundancy blocks with highest priority to recover: {highest}");
    }
    println!("\tPending deletion blocks: {}", blocks.pending_deletion_blocks);
    println!("Erasure Coded Block Groups: ");
    println!("\tLow redundancy block groups: {}", groups.low_redundancy);
    println!("\tBlock groups with corrupt internal blocks: {}", groups.corrupt_blocks);
    println!("\tMissing block groups: {}", groups.missing_blocks);
    if let Some(highest) = groups.highest_prio_low_redundancy_blocks {
        println!("\tLow redundancy blocks with highest priority to recover: {highest}");
    }
    println!("\tPending deletion blocks: {}", groups.pending_deletion_blocks);
}

async fn datanodes(link: &Link, kind: DatanodeReportTypeProto) -> Result<Vec<DatanodeInfoProto>, Failure> {
    let request = GetDatanodeReportRequestProto { r#type: kind as i32 };
    let answer: GetDatanodeReportResponseProto = link.call("getDatanodeReport", &request).await?;
    Ok(answer.di)
}

/// Hadoop's paragraph of a DataNode.
fn describe(node: &DatanodeInfoProto) -> String {
    let (capacity, used, remaining) = (node.capacity(), node.dfs_used(), node.remaining());
    let rest = capacity.saturating_sub(used).saturating_sub(remaining);
    let other = node.non_dfs_used.unwrap_or(rest);
    let (cache, cached) = (node.cache_capacity(), node.cache_used());
    let share_left = match capacity {
        0 => "0.00%".to_owned(),
        _ => percent(remaining, capacity),
    };
    let state = match node.admin_state() {
        AdminState::Normal => "Normal",
        AdminState::DecommissionInprogress => "Decommission in progress",
        AdminState::Decommissioned => "Decommissioned",
        AdminState::EnteringMaintenance => "Entering maintenance",
        AdminState::InMaintenance => "In maintenance",
    };
    let mut text = format!(
        "Name: {}:{} ({})\n",
        node.id.ip_addr, node.id.xfer_port, node.id.host_name
    );
    text += &format!("Hostname: {}\n", node.id.host_name);
    if node.location() != DEFAULT_RACK && !node.location().is_empty() {
        text += &format!("Rack: {}\n", node.location());
    }
    text += &format!("Decommission Status : {state}\n");
    for (name, value) in [
        ("Configured Capacity", capacity),
        ("DFS Used", used),
        ("Non DFS Used", other),
        ("DFS Remaining", remaining),
    ] {
        text += &format!("{name}: {value} ({})\n", bytes(value));
    }
    text += &format!("DFS Used%: {}\nDFS Remaining%: {share_left}\n", percent(used, capacity));
    let left = cache.saturating_sub(cached);
    for (name, value) in [
        ("Configured Cache Capacity", cache),
        ("Cache Used", cached),
        ("Cache Remaining", left),
    ] {
        text += &format!("{name}: {value} ({})\n", bytes(value));
    }
    let cache_left = match cache {
        0 => "0.00%".to_owned(),
        _ => percent(left, cache),
    };
    text += &format!(
        "Cache Used%: {}\nCache Remaining%: {cache_left}\n",
        percent(cached, cache)
    );
    text += &format!("Xceivers: {}\n", node.xceiver_count());
    text += &format!("Last contact: {}\n", java_date(TimeMs(node.last_update())));
    let reported = match node.last_block_report_time() {
        0 => "Never".to_owned(),
        time => java_date(TimeMs(time)),
    };
    text + &format!("Last Block Report: {reported}\nNum of Blocks: {}\n", node.num_blocks())
}

/// `-printTopology`.
pub(super) async fn print_topology(link: &Link, args: &[String]) -> Outcome {
    want_none(args)?;
    let mut racks: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for node in datanodes(link, DatanodeReportTypeProto::All).await? {
        let state = match node.admin_state() {
            AdminState::Normal => "In Service",
            AdminState::DecommissionInprogress => "Decommission In Progress",
            AdminState::Decommissioned => "Decommissioned",
            AdminState::EnteringMaintenance => "Entering Maintenance",
            AdminState::InMaintenance => "In Maintenance",
        };
        let line = format!(
            "   {}:{} ({}) {state}",
            node.id.ip_addr, node.id.xfer_port, node.id.host_name
        );
        racks.entry(node.location().to_owned()).or_default().push(line);
    }
    for (rack, mut nodes) in racks {
        println!("Rack: {rack}");
        nodes.sort_unstable();
        for node in nodes {
            println!("{node}");
        }
        println!();
    }
    Ok(0)
}
