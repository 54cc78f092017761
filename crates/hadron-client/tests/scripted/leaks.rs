//! Nothing leaks, however a stream ends: the family of HDFS-9812.
//!
//! For each step at which creating, writing, flushing, closing or dropping can fail: tasks, file descriptors, sockets,
//! packet buffers and open leases are counted before and after, [`TURNS`] times. The counts are the whole process's, so
//! each case needs a process of its own, which is how the tests are run.

use super::*;
use crate::datanode::Faults;
use hadron_client::AppendOptions;
use rstest::rstest;

const TURNS: usize = 1_000;
/// Turns before counting: connections that are kept are opened by them.
const WARM_TURNS: usize = 3;
/// Polls without a change after which things count as settled.
const CALM_POLLS: usize = 3_000;
/// Polls in which what was aborted or closed must be gone.
const MAX_POLLS: usize = 1_000_000;

/// Everything that a stream could leave behind.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Held {
    tasks: usize,
    descriptors: usize,
    sockets: usize,
    packets: usize,
    open_files: usize,
}

impl Held {
    fn count(cluster: &Cluster) -> Self {
        let links = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        let targets: Vec<_> = links.filter_map(|link| std::fs::read_link(link.path()).ok()).collect();
        Self {
            tasks: tokio::runtime::Handle::current().metrics().num_alive_tasks(),
            // Without the directory that is being read.
            descriptors: targets.len(),
            sockets: targets
                .iter()
                .filter(|target| target.to_string_lossy().starts_with("socket:"))
                .count(),
            packets: cluster.fs.held_packets(),
            open_files: cluster.fs.open_writers(),
        }
    }
}

fn is_quiet(cluster: &Cluster) -> bool {
    cluster.fs.open_writers() == 0 && cluster.datanodes.iter().all(|node| node.store.is_quiet())
}

/// What is held when nothing changes any more.
async fn settled(cluster: &Cluster) -> Held {
    let mut calm = 0;
    let mut tasks = 0;
    for _ in 0..MAX_POLLS {
        let now = tokio::runtime::Handle::current().metrics().num_alive_tasks();
        calm = if now == tasks && is_quiet(cluster) { calm + 1 } else { 0 };
        if calm > CALM_POLLS {
            break;
        }
        tasks = now;
        tokio::task::yield_now().await;
    }
    Held::count(cluster)
}

/// Polls until `base` is held again, or so long that it never will be.
async fn back_to(base: &Held, cluster: &Cluster) -> Held {
    for _ in 0..MAX_POLLS {
        let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
        if tasks <= base.tasks && is_quiet(cluster) {
            let held = Held::count(cluster);
            if held == *base {
                return held;
            }
        }
        tokio::task::yield_now().await;
    }
    Held::count(cluster)
}

fn fault(cluster: &Cluster, node: usize, faults: Faults) {
    cluster.datanodes[node].fault(faults);
}

fn dies_at(packet: usize) -> Faults {
    Faults {
        die_after_packets: Some(packet),
        ..Faults::default()
    }
}

/// Writes, flushes and closes; the first error.
async fn write_all_of_it(writer: &mut FileWriter, data: &[u8]) -> Result<(), FsError> {
    writer.write_all(&data[..1_000]).await?;
    writer.hflush().await?;
    writer.write_all(&data[1_000..]).await?;
    writer.close().await
}

/// Lets a stream end at `step`.
async fn turn(cluster: &Cluster, step: &str, name: &str) {
    let refusal = || [HadoopError::io("scripted")];
    let quota = || [HadoopError::new(ErrorKind::DsQuotaExceeded, "scripted")];
    let data = data(70_000);
    match step {
        "create" | "addBlock" | "fsync" | "complete" => cluster.namenode.script(step, refusal()),
        "quota" | "quota and drop" => cluster.namenode.script("addBlock", quota()),
        "abandonBlock" => {
            cluster.namenode.script(step, refusal());
            let refuses = Faults {
                refuse_set_up: true,
                ..Faults::default()
            };
            fault(cluster, 0, refuses);
        }
        "set-up" => {
            for node in 0..2 {
                let refuses = Faults {
                    refuse_set_up: true,
                    ..Faults::default()
                };
                fault(cluster, node, refuses);
            }
        }
        "last replica" => cluster.namenode.state.lock().complete_not_yet = 2,
        "updateBlockForPipeline" | "updatePipeline" => {
            cluster.namenode.script(step, refusal());
            fault(cluster, 1, dies_at(1));
        }
        "all nodes" => {
            fault(cluster, 0, dies_at(1));
            fault(cluster, 1, dies_at(0));
        }
        "corruption" => {
            for node in 0..2 {
                let corrupts = Faults {
                    always_bad_checksum: true,
                    ..Faults::default()
                };
                fault(cluster, node, corrupts);
            }
        }
        "drop while hung" => {
            let hangs = Faults {
                hang_after_packets: Some(1),
                ..Faults::default()
            };
            fault(cluster, 1, hangs);
        }
        _ => {}
    }
    let created = cluster.fs.create(&path(name), CreateOptions::default()).await;
    assert_eq!(created.is_err(), step == "create");
    let Ok(mut writer) = created else {
        return;
    };
    let is_still_to_come = || {
        cluster
            .namenode
            .state
            .lock()
            .scripted_errors
            .values()
            .any(|errors| !errors.is_empty())
    };
    match step {
        "" => write_all_of_it(&mut writer, &data).await.unwrap(),
        "drop at once" => drop(writer),
        "drop unflushed" => {
            writer.write_all(&data).await.unwrap();
            drop(writer);
        }
        "drop flushed" => {
            writer.write_all(&data).await.unwrap();
            writer.hflush().await.unwrap();
            drop(writer);
        }
        "drop while hung" => {
            writer.write_all(&data[..1_000]).await.unwrap();
            writer.hflush().await.unwrap();
            writer.write_all(&data).await.unwrap();
            assert!(futures::poll!(Box::pin(writer.hflush())).is_pending());
            drop(writer);
        }
        "drop in close" => {
            writer.write_all(&data).await.unwrap();
            // However far closing came.
            let polls = name.len() + name.bytes().map(usize::from).sum::<usize>() % 40;
            let mut closing = Box::pin(writer.close());
            for _ in 0..polls {
                if futures::poll!(&mut closing).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            drop(closing);
            drop(writer);
        }
        "abort" => {
            writer.write_all(&data).await.unwrap();
            writer.abort().await;
        }
        "lease" => {
            writer.write_all(&data).await.unwrap();
            cluster.fs.abort_writers();
            assert!(writer.close().await.is_err());
        }
        "quota and drop" => {
            writer.write_all(&data).await.unwrap();
            assert!(writer.hflush().await.is_err());
            drop(writer);
        }
        "append" | "append and drop" => {
            write_all_of_it(&mut writer, &data).await.unwrap();
            if step == "append" {
                cluster.namenode.script("append", refusal());
                assert!(cluster.fs.append(&path(name)).await.is_err());
            }
            let mut again = cluster
                .fs
                .append_with(&path(name), AppendOptions::default())
                .await
                .unwrap();
            again.write_all(b"more").await.unwrap();
            if step == "append" {
                again.close().await.unwrap();
            } else {
                again.hflush().await.unwrap();
                drop(again);
            }
        }
        _ => {
            // The first error is given to every later call, and closing twice asks nobody.
            let first = write_all_of_it(&mut writer, &data).await.unwrap_err().to_string();
            assert!(!is_still_to_come(), "{step}: never came so far");
            assert_eq!(writer.close().await.unwrap_err().to_string(), first, "{step}");
            assert_eq!(writer.close().await.unwrap_err().to_string(), first, "{step}");
        }
    }
}

// covers: WP-11, WP-13, WP-18, WP-24, WP-26, WP-27, WP-28, WP-29, WP-31, WP-32, WP-34
#[rstest]
#[case::closed("")]
#[case::create("create")]
#[case::add_block("addBlock")]
#[case::fsync("fsync")]
#[case::complete("complete")]
#[case::last_replica("last replica")]
#[case::set_up("set-up")]
#[case::abandon_block("abandonBlock")]
#[case::new_stamp("updateBlockForPipeline")]
#[case::new_pipeline("updatePipeline")]
#[case::all_nodes("all nodes")]
#[case::corruption("corruption")]
#[case::quota("quota")]
#[case::quota_and_drop("quota and drop")]
#[case::lease("lease")]
#[case::abort("abort")]
#[case::drop_at_once("drop at once")]
#[case::drop_unflushed("drop unflushed")]
#[case::drop_flushed("drop flushed")]
#[case::drop_in_close("drop in close")]
#[case::drop_while_hung("drop while hung")]
#[case::append("append")]
#[case::append_and_drop("append and drop")]
#[tokio::test]
async fn nothing_is_left_behind(#[case] step: &str) {
    let cluster = Cluster::start_with(
        2,
        |conf| {
            conf.set("dfs.replication", "2");
            conf.set("dfs.client.block.write.retries", "0");
            conf.set("dfs.client.block.write.locateFollowingBlock.retries", "1");
        },
        |_| {},
    )
    .await;
    let mut base = None;
    for number in 0..WARM_TURNS + TURNS {
        turn(&cluster, step, &format!("/f{number}")).await;
        for node in &cluster.datanodes {
            node.revive();
        }
        match &base {
            None if number + 1 < WARM_TURNS => {}
            None => base = Some(settled(&cluster).await),
            Some(base) => {
                let held = back_to(base, &cluster).await;
                assert_eq!(held, *base, "{step:?}, turn {number}");
            }
        }
    }
    let base = base.unwrap();
    assert_eq!((base.packets, base.open_files), (0, 0), "{step:?}");
}
