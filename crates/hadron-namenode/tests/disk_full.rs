//! The NameNode's own disk runs full: clear errors, no lost answer, recovery when space is back.
//!
//! On real, tiny file systems; without the right to mount them the tests say so and end.

mod common;

use common::{Client, Cluster, OWNER};
use hadron_proto::hdfs::{
    GetFileInfoRequestProto, GetFileInfoResponseProto, MkdirsRequestProto, MkdirsResponseProto, SafeModeActionProto,
    SetSafeModeRequestProto, SetSafeModeResponseProto,
};
use hadron_types::{ErrorKind, HadoopError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A mounted tmpfs; unmounted when dropped.
struct TinyDisk {
    dir: tempfile::TempDir,
}

impl TinyDisk {
    /// `None`, with a printed reason, where mounting is not allowed.
    fn mount(size: &str) -> Option<Self> {
        let dir = tempfile::tempdir().expect("folder");
        let options = format!("size={size}");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(dir.path())
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self { dir }),
            other => {
                eprintln!("skipped: cannot mount a tmpfs here: {other:?}");
                None
            }
        }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Takes all but `left` bytes; returns the file that does.
    fn fill(&self, left: u64) -> PathBuf {
        let path = self.path().join("filler");
        let mut file = std::fs::File::create(&path).expect("filler");
        let chunk = vec![0_u8; 64 << 10];
        while file.write_all(&chunk).is_ok() {}
        let len = file.metadata().expect("length").len();
        file.set_len(len.saturating_sub(left)).expect("give back");
        path
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.dir.path()).status();
    }
}

async fn mkdir(client: &Client, path: &str) -> Result<(), HadoopError> {
    let request = MkdirsRequestProto {
        src: path.to_owned(),
        masked: common::permission(0o755),
        create_parent: true,
        unmasked: None,
    };
    let made: Result<MkdirsResponseProto, _> = client.call("mkdirs", request).await;
    made.map(drop)
}

async fn exists(client: &Client, path: &str) -> bool {
    let request = GetFileInfoRequestProto { src: path.to_owned() };
    let info: GetFileInfoResponseProto = client.call("getFileInfo", request).await.expect("info");
    info.fs.is_some()
}

async fn safe_mode(client: &Client, action: SafeModeActionProto) -> bool {
    let request = SetSafeModeRequestProto {
        action: action as i32,
        checked: None,
    };
    let answer: SetSafeModeResponseProto = client.call("setSafeMode", request).await.expect("setSafeMode");
    answer.result
}

async fn wait_safe_mode(client: &Client) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !safe_mode(client, SafeModeActionProto::SafemodeGet).await {
        assert!(Instant::now() < deadline, "safe mode does not come");
        tokio::task::yield_now().await;
    }
}

/// Leaves safe mode until the NameNode, which looks for room now and then, lets `path` be made.
async fn leave_and_make(client: &Client, path: &str) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        safe_mode(client, SafeModeActionProto::SafemodeLeave).await;
        match mkdir(client, path).await {
            Ok(()) => return,
            Err(error) => assert!(Instant::now() < deadline, "no room again: {error}"),
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_full_journal_disk_refuses_clearly_and_recovers_without_restart() {
    let Some(disk) = TinyDisk::mount("24m") else { return };
    let name = disk.path().join("name").display().to_string();
    let cluster = Cluster::start_with(&[
        ("dfs.namenode.name.dir", name.as_str()),
        ("dfs.namenode.resource.du.reserved", "0"),
        ("dfs.namenode.resource.check.interval", "20ms"),
    ])
    .await;
    let hdfs = cluster.client(OWNER).await;
    mkdir(&hdfs, "/before").await.expect("there is room");
    let filler = disk.fill(0);
    let mut made = 0;
    let refused = loop {
        match mkdir(&hdfs, &format!("/d{made}")).await {
            Ok(()) => made += 1,
            Err(error) => break error,
        }
        assert!(made < 5000, "the prepared part of the journal is finite");
    };
    assert_eq!(refused.kind, ErrorKind::SafeMode, "{refused}");
    assert!(refused.message.contains("Resources are low on NN"), "{refused}");
    wait_safe_mode(&hdfs).await;
    let error = mkdir(&hdfs, "/more").await.expect_err("safe mode");
    assert!(
        error
            .first_line()
            .starts_with("Cannot create directory /more. Name node is in safe mode."),
        "{error}"
    );
    assert!(exists(&hdfs, "/before").await, "reads go on");
    assert!(
        !exists(&hdfs, &format!("/d{made}")).await,
        "what was refused did not happen"
    );
    std::fs::remove_file(filler).expect("free space");
    leave_and_make(&hdfs, "/after").await;
    let cluster = cluster.restart().await;
    let hdfs = cluster.client(OWNER).await;
    for path in ["/before", "/after"] {
        assert!(exists(&hdfs, path).await, "{path}");
    }
    for number in 0..made {
        assert!(
            exists(&hdfs, &format!("/d{number}")).await,
            "no answer was lost: {number}"
        );
    }
    assert!(!exists(&hdfs, &format!("/d{made}")).await);
}

#[tokio::test]
async fn low_space_enters_safe_mode_and_comes_back_until_there_is_room() {
    let Some(disk) = TinyDisk::mount("24m") else { return };
    let name = disk.path().join("name").display().to_string();
    let cluster = Cluster::start_with(&[
        ("dfs.namenode.name.dir", name.as_str()),
        ("dfs.namenode.resource.du.reserved", "8m"),
        ("dfs.namenode.resource.check.interval", "20ms"),
    ])
    .await;
    let hdfs = cluster.client(OWNER).await;
    mkdir(&hdfs, "/a").await.expect("there is room");
    let filler = disk.fill(1 << 20);
    wait_safe_mode(&hdfs).await;
    let error = mkdir(&hdfs, "/b").await.expect_err("safe mode");
    let tip = "Resources are low on NN. Please add or free up more resourcesthen turn off safe mode manually. NOTE:  If \
               you turn off safe mode before adding resources, the NN will immediately return to safe mode. Use \"hdfs \
               dfsadmin -safemode leave\" to turn safe mode off.";
    assert!(error.message.contains(tip), "{error}");
    safe_mode(&hdfs, SafeModeActionProto::SafemodeLeave).await;
    wait_safe_mode(&hdfs).await;
    std::fs::remove_file(filler).expect("free space");
    // Longer than the NameNode takes to look again.
    let looked = Instant::now() + Duration::from_millis(100);
    while Instant::now() < looked {
        let is_on = safe_mode(&hdfs, SafeModeActionProto::SafemodeGet).await;
        assert!(is_on, "as in Hadoop somebody must turn it off");
    }
    leave_and_make(&hdfs, "/b").await;
}
