//! Safe mode, images, segments, upgrades, snapshots' switches.

use std::time::Duration;

use hadron_env::config::keys;
use hadron_proto::hdfs::{
    AllowSnapshotRequestProto, AllowSnapshotResponseProto, DisallowSnapshotRequestProto, DisallowSnapshotResponseProto,
    FinalizeUpgradeRequestProto, FinalizeUpgradeResponseProto, MetaSaveRequestProto, MetaSaveResponseProto,
    RestoreFailedStorageRequestProto, RestoreFailedStorageResponseProto, RollEditsRequestProto, RollEditsResponseProto,
    SafeModeActionProto, SaveNamespaceRequestProto, SaveNamespaceResponseProto, SetSafeModeRequestProto,
    SetSafeModeResponseProto, UpgradeStatusRequestProto, UpgradeStatusResponseProto,
};

use super::link::{Failure, Link};
use super::{FAILED, Outcome, want_none, want_one};

/// Between two looks of `-safemode wait`.
const WAIT_POLL: Duration = Duration::from_secs(5);
/// Checkpoint periods that `-saveNamespace -beforeShutdown` lets pass
/// (`dfs.namenode.missing.checkpoint.periods.before.shutdown`).
const TOLERATED_PERIODS: u64 = 3;

/// `-safemode enter|leave|get|wait|forceExit`.
pub(super) async fn safe_mode(link: &Link, args: &[String]) -> Outcome {
    let word = want_one(args)?;
    let action = match word.to_ascii_lowercase().as_str() {
        "enter" => SafeModeActionProto::SafemodeEnter,
        "leave" => SafeModeActionProto::SafemodeLeave,
        "get" | "wait" => SafeModeActionProto::SafemodeGet,
        "forceexit" => SafeModeActionProto::SafemodeForceExit,
        _ => return Err(Failure::Usage),
    };
    let request = SetSafeModeRequestProto {
        action: action as i32,
        checked: Some(false),
    };
    let mut is_on = ask_safe_mode(link, &request).await?;
    while is_on && word.eq_ignore_ascii_case("wait") {
        tokio::time::sleep(WAIT_POLL).await;
        is_on = ask_safe_mode(link, &request).await?;
    }
    println!("Safe mode is {}", if is_on { "ON" } else { "OFF" });
    Ok(0)
}

async fn ask_safe_mode(link: &Link, request: &SetSafeModeRequestProto) -> Result<bool, Failure> {
    let answer: SetSafeModeResponseProto = link.call("setSafeMode", request).await?;
    Ok(answer.result)
}

/// `-saveNamespace [-beforeShutdown]`.
pub(super) async fn save_namespace(link: &Link, args: &[String]) -> Outcome {
    let (time_window, tx_gap) = match args {
        [] => (0, 0),
        [word] if word == "-beforeShutdown" => {
            let period = link.conf.get(keys::DFS_NAMENODE_CHECKPOINT_PERIOD).as_secs();
            let count = u64::try_from(link.conf.get(keys::DFS_NAMENODE_CHECKPOINT_TXNS)).unwrap_or(0);
            let (window, gap) = (period * TOLERATED_PERIODS, count * TOLERATED_PERIODS);
            println!(
                "Do checkpoint if necessary before stopping namenode. The time window is {window} seconds, and the \
                 transaction gap is {gap}"
            );
            (window, gap)
        }
        _ => return Err(Failure::Usage),
    };
    let request = SaveNamespaceRequestProto {
        time_window: Some(time_window),
        tx_gap: Some(tx_gap),
    };
    let answer: SaveNamespaceResponseProto = link.call("saveNamespace", &request).await?;
    match answer.saved() {
        true => println!("Save namespace successful"),
        false => println!("No extra checkpoint has been made"),
    }
    Ok(0)
}

/// `-rollEdits`.
pub(super) async fn roll_edits(link: &Link, args: &[String]) -> Outcome {
    want_none(args)?;
    let answer: RollEditsResponseProto = link.call("rollEdits", &RollEditsRequestProto {}).await?;
    println!("Successfully rolled edit logs.");
    println!("New segment starts at txid {}", answer.new_segment_tx_id);
    Ok(0)
}

/// `-restoreFailedStorage true|false|check`.
pub(super) async fn restore_failed_storage(link: &Link, args: &[String]) -> Outcome {
    let arg = want_one(args)?.to_owned();
    if !["true", "false", "check"].contains(&arg.as_str()) {
        eprintln!("restoreFailedStorage valid args are true|false|check");
        return Ok(FAILED);
    }
    let request = RestoreFailedStorageRequestProto { arg };
    let answer: RestoreFailedStorageResponseProto = link.call("restoreFailedStorage", &request).await?;
    println!("restoreFailedStorage is set to {}", answer.result);
    Ok(0)
}

/// `-finalizeUpgrade`.
pub(super) async fn finalize_upgrade(link: &Link, args: &[String]) -> Outcome {
    want_none(args)?;
    let _: FinalizeUpgradeResponseProto = link.call("finalizeUpgrade", &FinalizeUpgradeRequestProto {}).await?;
    println!("Finalize upgrade successful");
    Ok(0)
}

/// `-upgrade query|finalize`.
pub(super) async fn upgrade(link: &Link, args: &[String]) -> Outcome {
    match want_one(args)?.to_ascii_lowercase().as_str() {
        "query" => {
            let answer: UpgradeStatusResponseProto = link.call("upgradeStatus", &UpgradeStatusRequestProto {}).await?;
            match answer.upgrade_finalized {
                true => println!("Upgrade finalized"),
                false => println!("Upgrade not finalized"),
            }
            Ok(0)
        }
        "finalize" => finalize_upgrade(link, &[]).await,
        _ => Err(Failure::Usage),
    }
}

/// `-metasave FILE`.
pub(super) async fn meta_save(link: &Link, args: &[String]) -> Outcome {
    let filename = want_one(args)?.to_owned();
    let line = format!(
        "Created metasave file {filename} in the log directory of namenode {}",
        link.url()
    );
    let _: MetaSaveResponseProto = link.call("metaSave", &MetaSaveRequestProto { filename }).await?;
    println!("{line}");
    Ok(0)
}

/// `-allowSnapshot DIR`.
pub(super) async fn allow_snapshot(link: &Link, args: &[String]) -> Outcome {
    let snapshot_root = want_one(args)?.to_owned();
    let line = format!("Allowing snapshot on {snapshot_root} succeeded");
    let request = AllowSnapshotRequestProto { snapshot_root };
    let _: AllowSnapshotResponseProto = link.call("allowSnapshot", &request).await?;
    println!("{line}");
    Ok(0)
}

/// `-disallowSnapshot DIR`.
pub(super) async fn disallow_snapshot(link: &Link, args: &[String]) -> Outcome {
    let snapshot_root = want_one(args)?.to_owned();
    let line = format!("Disallowing snapshot on {snapshot_root} succeeded");
    let request = DisallowSnapshotRequestProto { snapshot_root };
    let _: DisallowSnapshotResponseProto = link.call("disallowSnapshot", &request).await?;
    println!("{line}");
    Ok(0)
}
