//! Descriptors and shared memory over the Unix socket, by a client that speaks the protocol itself.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use hadron_proto::datanode::BlockCommandProto;
use hadron_proto::hdfs::*;
use hadron_shm::{Segment, receive_descriptors};
use hadron_types::ExtendedBlock;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const FDS: u8 = 87;
const RELEASE: u8 = 88;
const SHM: u8 = 89;
const SUCCESS: i32 = Status::Success as i32;
const ERROR: i32 = Status::Error as i32;

/// One DataNode with a Unix socket.
struct Local {
    cluster: Cluster,
    path: PathBuf,
    _home: TempDir,
}

/// The settings of a DataNode whose socket is in `home`.
fn settings(home: &Path) -> [(String, String); 3] {
    [
        ("dfs.client.read.shortcircuit".into(), "true".into()),
        (
            "dfs.domain.socket.path".into(),
            home.join("dn._PORT").display().to_string(),
        ),
        ("hadron.domain.socket.check-directories".into(), "false".into()),
    ]
}

impl Local {
    fn start(more: &[(&str, &str)]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let own = settings(home.path());
        let mut all: Vec<(&str, &str)> = own.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        all.extend(more);
        let cluster = Cluster::start_with(1, &all);
        let path = home.path().join(format!("dn.{}", cluster.nodes[0].xfer_addr().port()));
        Self {
            cluster,
            path,
            _home: home,
        }
    }

    fn connect(&self) -> Peer {
        Peer::local(&self.path)
    }

    fn written(&self, id: i64, data: &[u8]) -> ExtendedBlock {
        let block = block(id, 1001, data.len() as u64);
        self.cluster.write(0, &block, data);
        block
    }

    fn counts(&self) -> (usize, usize) {
        self.cluster.nodes[0].short_circuit_counts()
    }

    /// A segment and the connection that it lives on.
    fn segment(&self) -> (Peer, ShortCircuitShmIdProto, Segment) {
        let mut peer = self.connect();
        peer.op(SHM, &shm_request());
        let answer: ShortCircuitShmResponseProto = peer.message();
        assert_eq!((answer.status, answer.error), (SUCCESS, None));
        let (bytes, mut descriptors) = passed(&peer, 1);
        assert_eq!(bytes, [0]);
        (
            peer,
            answer.id.unwrap(),
            Segment::open(descriptors.pop().unwrap(), "x").unwrap(),
        )
    }
}

fn shm_request() -> ShortCircuitShmRequestProto {
    ShortCircuitShmRequestProto {
        client_name: "DFSClient_test_1".into(),
        trace_info: None,
    }
}

fn slot(id: &ShortCircuitShmIdProto, index: i32) -> ShortCircuitShmSlotProto {
    ShortCircuitShmSlotProto {
        shm_id: *id,
        slot_idx: index,
    }
}

fn fds_request(block: &ExtendedBlock, slot_id: Option<ShortCircuitShmSlotProto>) -> OpRequestShortCircuitAccessProto {
    OpRequestShortCircuitAccessProto {
        header: read_op(block, 0, 0).header.base_header,
        max_version: 1,
        slot_id,
        supports_receipt_verification: Some(true),
    }
}

/// The byte and the descriptors that come next.
fn passed(peer: &Peer, count: usize) -> (Vec<u8>, Vec<OwnedFd>) {
    let mut bytes = [9];
    let (len, descriptors) = receive_descriptors(&peer.0, &mut bytes).unwrap();
    assert_eq!((len, descriptors.len()), (1, count));
    (bytes.to_vec(), descriptors)
}

fn release(peer: &mut Peer, slot: ShortCircuitShmSlotProto) -> ReleaseShortCircuitAccessResponseProto {
    let request = ReleaseShortCircuitAccessRequestProto {
        slot_id: slot,
        trace_info: None,
    };
    peer.op(RELEASE, &request);
    peer.message()
}

fn contents(file: &File) -> Vec<u8> {
    let mut all = vec![0; file.metadata().unwrap().len() as usize];
    file.read_exact_at(&mut all, 0).unwrap();
    all
}

// covers: SC-03, SC-04, SC-09, SC-22, SC-23, XC-18, XC-19, XC-20
#[test]
fn segment_slot_descriptors_and_release() {
    let local = Local::start(&[]);
    let data = bytes(3_000_001);
    let written = local.written(1, &data);
    let (watched, id, segment) = local.segment();
    assert_eq!((local.counts(), segment.slots()), ((1, 0), 128));
    let mut peer = local.connect();
    for round in 0..2 {
        segment.word(127).unwrap().reset_valid();
        peer.op(FDS, &fds_request(&written, Some(slot(&id, 127))));
        let answer = peer.response();
        assert_eq!(
            (answer.status, answer.short_circuit_access_version),
            (SUCCESS, Some(1)),
            "{round}"
        );
        let (bytes, descriptors) = passed(&peer, 2);
        assert_eq!(bytes, [1], "a receipt is wanted");
        peer.0.write_all(&[0]).unwrap();
        let files: Vec<File> = descriptors.into_iter().map(File::from).collect();
        assert_eq!(contents(&files[0]), data);
        let meta = contents(&files[1]);
        assert_eq!(
            (&meta[..2], meta.len()),
            (&[0, 1][..], 7 + data.len().div_ceil(512) * 4)
        );
        assert!(
            (&files[0]).write(b"x").is_err() && files[0].set_len(0).is_err(),
            "for reading only"
        );
        eventually("registered", || local.counts() == (1, 1));
        // The same connection serves the release and the next block.
        let answer = release(&mut peer, slot(&id, 127));
        assert_eq!((answer.status, answer.error), (SUCCESS, None));
        assert!(!segment.word(127).unwrap().is_valid());
        assert_eq!(local.counts(), (1, 0));
    }
    assert_eq!(local.cluster.nodes[0].metrics().short_circuit_replicas.get(), 2);
    assert_eq!(
        local.cluster.nodes[0].metrics().bytes_read.get(),
        0,
        "nothing went over a socket"
    );
    drop(watched);
    eventually("segment gone", || local.counts() == (0, 0));
}

// covers: SC-05, SC-08, SC-20
#[test]
fn what_cannot_be_had_is_refused_and_the_connection_goes_on() {
    let local = Local::start(&[]);
    let written = local.written(1, &bytes(1000));
    let (_watched, id, segment) = local.segment();
    let mut peer = local.connect();
    let mut refused = |request: OpRequestShortCircuitAccessProto| {
        peer.op(FDS, &request);
        let answer = peer.response();
        (
            answer.status,
            answer.message().to_owned(),
            answer.short_circuit_access_version,
        )
    };
    segment.word(0).unwrap().reset_valid();
    let unknown = ShortCircuitShmIdProto { hi: 1, lo: id.lo };
    let (status, text, _) = refused(fds_request(&written, Some(slot(&unknown, 0))));
    assert_eq!(status, ERROR);
    assert!(
        text.starts_with("there is no shared memory segment registered with shmId"),
        "{text}"
    );
    let (status, text, _) = refused(fds_request(&written, Some(slot(&id, 1))));
    assert_eq!((status, text.as_str()), (ERROR, "slot 1 is not marked as valid."));
    let (status, ..) = refused(fds_request(&block(2, 1001, 0), Some(slot(&id, 0))));
    assert_eq!(status, ERROR);
    assert!(!segment.word(0).unwrap().is_valid(), "taken back before the answer");
    let old = OpRequestShortCircuitAccessProto {
        max_version: 0,
        ..fds_request(&written, None)
    };
    let (status, text, version) = refused(old);
    assert_eq!((status, version), (Status::ErrorUnsupported as i32, Some(1)));
    assert!(text.starts_with("Your client is too old to read this block!"), "{text}");
    let answer = release(&mut peer, slot(&id, 0));
    assert_eq!(
        (answer.status, answer.error()),
        (Status::ErrorInvalid as i32, "slot 0 does not exist.")
    );
    let answer = release(&mut peer, slot(&unknown, 0));
    assert_eq!(answer.status, Status::ErrorInvalid as i32);
    // Still of use, and without a slot it also works.
    peer.op(
        FDS,
        &OpRequestShortCircuitAccessProto {
            supports_receipt_verification: None,
            ..fds_request(&written, None)
        },
    );
    assert_eq!(peer.response().status, SUCCESS);
    assert_eq!(passed(&peer, 2).0, [0], "an old client gives no receipt");
    assert_eq!(
        peer.read(&written, 10, 20),
        bytes(1000)[10..30],
        "reads go over it, too"
    );
    assert_eq!(local.counts(), (1, 0));
}

// covers: XC-18, XC-20
#[test]
fn descriptors_never_go_over_tcp() {
    let local = Local::start(&[]);
    let written = local.written(1, &bytes(1000));
    let mut peer = local.cluster.connect(0);
    peer.op(FDS, &fds_request(&written, None));
    let answer = peer.response();
    assert_eq!(
        (answer.status, answer.message()),
        (
            ERROR,
            "You cannot pass file descriptors over anything but a UNIX domain socket."
        )
    );
    peer.op(SHM, &shm_request());
    let answer: ShortCircuitShmResponseProto = peer.message();
    assert_eq!(answer.status, Status::ErrorInvalid as i32);
    assert!(answer.error().starts_with("Bad request from 127.0.0.1:"), "{answer:?}");
    assert_eq!(
        peer.read(&written, 0, u64::MAX),
        bytes(1000),
        "the connection is still of use"
    );
}

#[test]
fn a_client_that_gives_no_receipt_has_no_slot() {
    let local = Local::start(&[]);
    let written = local.written(1, &bytes(1000));
    let (_watched, id, segment) = local.segment();
    segment.word(5).unwrap().reset_valid();
    let mut peer = local.connect();
    peer.op(FDS, &fds_request(&written, Some(slot(&id, 5))));
    assert_eq!(peer.response().status, SUCCESS);
    passed(&peer, 2);
    assert_eq!(local.counts(), (1, 1));
    drop(peer);
    eventually("taken back", || local.counts() == (1, 0));
    assert!(!segment.word(5).unwrap().is_valid());
}

// covers: SC-11
#[test]
fn a_deleted_replica_is_told_through_the_slot() {
    let local = Local::start(&[]);
    let data = bytes(70_000);
    let written = local.written(1, &data);
    let (_watched, id, segment) = local.segment();
    let mut peer = local.connect();
    let mut files = Vec::new();
    for index in 0..2 {
        segment.word(index).unwrap().reset_valid();
        peer.op(FDS, &fds_request(&written, Some(slot(&id, index as i32))));
        assert_eq!(peer.response().status, SUCCESS);
        files.extend(passed(&peer, 2).1);
        peer.0.write_all(&[0]).unwrap();
    }
    let order = BlockCommandProto {
        action: 2,
        block_pool_id: POOL.into(),
        blocks: vec![(&written.block).into()],
        ..Default::default()
    };
    let node = local.cluster.uuid(0);
    local
        .cluster
        .namenode
        .with(|script| script.commands.push_back((node, block_command(order))));
    eventually("no longer valid", || {
        (0..2).all(|index| !segment.word(index).unwrap().is_valid())
    });
    assert_eq!(local.counts(), (1, 2), "registered until released");
    assert_eq!(
        contents(&File::from(files.swap_remove(0))),
        data,
        "open descriptors go on"
    );
    assert_eq!(release(&mut peer, slot(&id, 0)).status, SUCCESS);
    assert_eq!(release(&mut peer, slot(&id, 1)).status, SUCCESS);
}

// covers: SC-38
#[test]
fn whatever_comes_on_a_segments_connection_ends_it() {
    let local = Local::start(&[]);
    let (mut first, id, segment) = local.segment();
    let written = local.written(1, &bytes(1000));
    segment.word(0).unwrap().reset_valid();
    let mut peer = local.connect();
    peer.op(FDS, &fds_request(&written, Some(slot(&id, 0))));
    assert_eq!(peer.response().status, SUCCESS);
    passed(&peer, 2);
    peer.0.write_all(&[0]).unwrap();
    assert_eq!(local.counts(), (1, 1));
    first.op(SHM, &shm_request());
    assert!(first.is_closed());
    eventually("segment gone", || local.counts() == (0, 0));
    assert!(!segment.word(0).unwrap().is_valid());
}

#[test]
fn segments_count_towards_their_limit_and_end_with_the_datanode() {
    let local = Local::start(&[("dfs.datanode.max.transfer.threads", "2")]);
    let (mut first, ..) = local.segment();
    let _second = local.segment();
    eventually("their connections are the segments'", || {
        local.cluster.nodes[0].xceiver_count() == 0
    });
    let mut third = local.connect();
    third.op(SHM, &shm_request());
    let answer: ShortCircuitShmResponseProto = third.message();
    assert_eq!(answer.status, ERROR);
    assert!(
        answer.error().starts_with("2 shared memory segments are in use"),
        "{answer:?}"
    );
    let Local { mut cluster, path, .. } = local;
    let node = cluster.nodes.pop().unwrap();
    cluster.runtime.block_on(node.shutdown());
    assert_eq!(first.0.read(&mut [0]).unwrap(), 0);
    assert!(!path.exists(), "the socket's name goes with the DataNode");
}
