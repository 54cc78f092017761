//! Two processes and one segment: what each sees of the other, and what is left when one is killed.
//!
//! The tests start this test binary again as the other side, which finds its socket in an environment variable.

#![allow(clippy::unwrap_used)]

use hadron_shm::{DomainListener, Segment, receive_descriptors, send_descriptors};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

const SOCKET: &str = "HADRON_SHM_TEST_SOCKET";

/// The other side: takes the segment, makes slots, anchors slot 3, says so, and waits to be killed or for the end.
#[test]
fn other_side() {
    let Some(path) = std::env::var_os(SOCKET) else { return };
    let mut socket = UnixStream::connect(path).unwrap();
    let mut byte = [0];
    let (_, mut descriptors) = receive_descriptors(&socket, &mut byte).unwrap();
    let segment = Segment::open(descriptors.pop().unwrap(), "the other side's").unwrap();
    for index in 0..segment.slots() {
        segment.word(index).unwrap().reset_valid();
    }
    socket.write_all(&[1]).unwrap();
    socket.read_exact(&mut byte).unwrap();
    for _ in 0..u16::from(byte[0]) * 1000 {
        assert!(segment.word(3).unwrap().add_anchor());
    }
    socket.write_all(&[2]).unwrap();
    // Returns when this side's peer is gone.
    let _ = socket.read(&mut byte);
    assert!(
        !segment.word(3).unwrap().add_anchor(),
        "the peer made it unanchorable before it went"
    );
    std::process::exit(7);
}

/// A child that runs [`other_side`].
fn other_process(path: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["other_side", "--exact", "--nocapture"]).env(SOCKET, path);
    command.stdout(Stdio::null()).spawn().unwrap()
}

fn meet(path: &Path) -> (Child, UnixStream, Segment) {
    let listener = DomainListener::bind(path).unwrap();
    let child = other_process(path);
    let mut socket = listener.accept().unwrap();
    let segment = Segment::create().unwrap();
    send_descriptors(&socket, &[segment.as_fd()], &[0]).unwrap();
    let mut byte = [0];
    socket.read_exact(&mut byte).unwrap();
    assert_eq!(byte, [1]);
    (child, socket, segment)
}

// covers: SC-02, SC-38
#[test]
fn a_killed_client_leaves_anchors_and_a_closed_socket() {
    let home = tempfile::tempdir().unwrap();
    let (mut child, mut socket, segment) = meet(&home.path().join("sock"));
    let word = segment.word(3).unwrap();
    assert!((0..segment.slots()).all(|index| segment.word(index).unwrap().is_valid()));
    word.make_anchorable();
    socket.write_all(&[2]).unwrap();
    // Both sides at the same word: none of the other's anchors gets lost.
    for _ in 0..10_000 {
        assert!(word.add_anchor());
        word.remove_anchor().unwrap();
    }
    let mut byte = [0];
    socket.read_exact(&mut byte).unwrap();
    assert_eq!((byte, word.anchors()), ([2], 2000));
    child.kill().unwrap();
    assert_eq!(socket.read(&mut byte).unwrap(), 0, "the end of the stream tells of it");
    child.wait().unwrap();
    assert_eq!(word.anchors(), 2000, "which is why the socket has to be watched");
}

// covers: SC-16
#[test]
fn a_client_outlives_the_maker_of_its_segment() {
    let home = tempfile::tempdir().unwrap();
    let (mut child, mut socket, segment) = meet(&home.path().join("sock"));
    segment.word(3).unwrap().make_anchorable();
    socket.write_all(&[1]).unwrap();
    let mut byte = [0];
    socket.read_exact(&mut byte).unwrap();
    assert_eq!(byte, [2]);
    segment.word(3).unwrap().make_unanchorable();
    drop(segment);
    drop(socket);
    assert_eq!(child.wait().unwrap().code(), Some(7), "its map is still there");
}
