//! Leader, relay and follower over TCP: equal files, members that come and go, leaders that change, members that stand still.
//!
//! Members are threads here, but for the last test, where they are processes that are killed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use hadron_env::disk::{Disk, RealDisk, SimDisk};
use hadron_env::{Open, SystemClock};
use hadron_types::Epoch;
use hadron_writecache::replicate::codec::Frame;
use hadron_writecache::replicate::wire::{read_frame, write_frame};
use hadron_writecache::replicate::{
    Copy, History, Member, MemberId, Node, NodeOptions, Patience, Pipeline, PipelineOptions, Position, Promotion,
    ReplicaState, StateFile, StaticQuorum, TestQuorum, Timeouts, Verdict, promote,
};
use hadron_writecache::sealed::Body;
use hadron_writecache::{BackingStore, DiskBacking, Placed, Replicator, ReplicatorError, Sealed};

const GROUP: u64 = 42;
const BUFFER: usize = 4096;

fn open_copy(disk: &dyn Disk, dir: &Path) -> (Copy, ReplicaState, Arc<dyn BackingStore>) {
    disk.create_dir_all(dir).expect("a dir");
    let (state_file, state) = StateFile::open(disk, &dir.join("state")).expect("a state file");
    let file = disk.open(&dir.join("file"), Open::CREATE).expect("a file");
    let store: Arc<dyn BackingStore> = Arc::new(DiskBacking::new(file));
    (Copy::new(Arc::clone(&store), state_file), state, store)
}

/// The bytes of buffer `number`, which lie at `(number - 1) * BUFFER`.
fn content(number: u64) -> Vec<u8> {
    let mut bytes = vec![number as u8; BUFFER];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes
}

fn model(count: u64) -> Vec<u8> {
    (1..=count).flat_map(content).collect()
}

/// A service in small: offers, writes, syncs and tells. `sequence` is the service's own, `number` the buffer's.
fn give(pipeline: &Pipeline, store: &dyn BackingStore, sequence: u64, number: u64) -> Result<(), ReplicatorError> {
    let offset = (number - 1) * BUFFER as u64;
    let bytes = content(number);
    let extent = offset + BUFFER as u64;
    let sealed = Sealed::new(
        pipeline.epoch(),
        sequence,
        extent,
        Body::Worm { offset },
        bytes.clone().into(),
    );
    pipeline.offer(sealed)?;
    store
        .write_gathered(&[Placed { offset, bytes: &bytes }])
        .expect("written");
    store.sync().expect("synced");
    pipeline.local_durable(sequence);
    Ok(())
}

fn options() -> PipelineOptions {
    PipelineOptions {
        retained_bytes: 4 * BUFFER,
        patience: Patience {
            stall_after: Duration::from_secs(5),
            retry_after: Duration::from_millis(20),
        },
        tick: Duration::from_millis(10),
        ..PipelineOptions::default()
    }
}

struct Group {
    disk: SimDisk,
    members: Vec<Member>,
    nodes: Vec<Option<Node>>,
}

impl Group {
    /// Member 0 is to lead; the others are running.
    fn new() -> Self {
        let listeners: Vec<_> = (0..3)
            .map(|_| TcpListener::bind("127.0.0.1:0").expect("a port"))
            .collect();
        let member = |(id, listener): (usize, &TcpListener)| Member {
            id: MemberId(id as u32),
            address: listener.local_addr().expect("bound").to_string(),
        };
        let members: Vec<Member> = listeners.iter().enumerate().map(member).collect();
        let mut group = Self {
            disk: SimDisk::new(),
            members,
            nodes: vec![None, None, None],
        };
        for (at, listener) in listeners.into_iter().enumerate().skip(1) {
            group.run(at, listener);
        }
        group
    }

    fn dir(at: usize) -> PathBuf {
        PathBuf::from(format!("/{at}"))
    }

    fn run(&mut self, at: usize, listener: TcpListener) {
        let (copy, state, _) = open_copy(&self.disk, &Self::dir(at));
        let id = self.members[at].id;
        let options = NodeOptions {
            retained_bytes: 4 * BUFFER,
            ..NodeOptions::default()
        };
        let node = Node::start(listener, id, copy, state, options).expect("a node");
        self.nodes[at] = Some(node);
    }

    fn restart(&mut self, at: usize) {
        let listener = TcpListener::bind(&self.members[at].address).expect("the same port");
        self.run(at, listener);
    }

    fn promotion(&self, at: usize) -> (Promotion, Copy, ReplicaState, Arc<dyn BackingStore>) {
        let (mut copy, mut state, store) = open_copy(&self.disk, &Self::dir(at));
        let quorum = TestQuorum::new(GROUP, self.members[at].id, self.members.clone());
        let promotion = promote(&quorum, &mut copy, &mut state, &Timeouts::default()).expect("judged");
        (promotion, copy, state, store)
    }

    fn lead(&self, at: usize, options: PipelineOptions) -> (Pipeline, Arc<dyn BackingStore>) {
        let (promotion, copy, state, store) = self.promotion(at);
        assert_eq!(promotion.verdict, Verdict::Lead);
        let me = self.members[at].id;
        let members = self.members.clone();
        let quorum = StaticQuorum::new(GROUP, me, members, Some(me), promotion.epoch).expect("odd");
        let pipeline = Pipeline::start(&quorum, copy, state, options, Arc::new(SystemClock::new())).expect("leads");
        (pipeline, store)
    }

    fn wait_for(&self, at: usize, last: u64) {
        if let Some(node) = &self.nodes[at] {
            node.wait_until(|state| state.last == last);
            assert_eq!(node.stats().failure, None);
        }
    }

    fn file(&self, at: usize) -> Vec<u8> {
        self.disk.read(&Self::dir(at).join("file"), 1 << 30).expect("a file")
    }
}

// covers: WC-36, WC-39, WC-42
#[test]
fn three_members_end_with_equal_files() {
    let group = Group::new();
    let (pipeline, store) = group.lead(0, options());
    for number in 1..=50 {
        give(&pipeline, &*store, number, number).unwrap();
        if number % 10 == 0 {
            pipeline.wait(number, Some(Duration::from_secs(30))).unwrap();
        }
    }
    group.wait_for(1, 50);
    group.wait_for(2, 50);
    for at in 0..3 {
        assert!(group.file(at) == model(50), "member {at}");
    }
    pipeline.wait_until(|stats| stats.followers.iter().all(|follower| follower.lag == 0));
    let stats = pipeline.stats();
    assert_eq!((stats.last, stats.committed), (50, 50));
    assert!(stats.max_retained_bytes <= 4 * BUFFER);
    let sends = pipeline.send_count();
    // A commit sets the service's sequence back; the log goes on.
    pipeline.reset_sequence();
    give(&pipeline, &*store, 1, 51).unwrap();
    pipeline.wait(1, Some(Duration::from_secs(30))).unwrap();
    group.wait_for(1, 51);
    group.wait_for(2, 51);
    assert_eq!(pipeline.stats().committed, 51);
    let relay = group.nodes[1].as_ref().unwrap().stats();
    let cut_out = pipeline.stats().cut_out;
    assert!(cut_out > 0 || (pipeline.send_count(), relay.sends > 0) == (sends + 1, true));
}

// covers: WC-39
#[test]
fn a_member_that_fails_is_cut_out_and_comes_back() {
    for failing in [1, 2] {
        let mut group = Group::new();
        let (pipeline, store) = group.lead(0, options());
        for number in 1..=60 {
            if number == 10 {
                drop(group.nodes[failing].take());
            }
            if number == 40 {
                // By now its place is far behind what memory holds.
                group.restart(failing);
            }
            give(&pipeline, &*store, number, number).unwrap();
            pipeline.wait(number, Some(Duration::from_secs(30))).unwrap();
        }
        for at in 1..3 {
            group.wait_for(at, 60);
        }
        for at in 0..3 {
            assert!(group.file(at) == model(60), "member {at}");
        }
        pipeline.wait_until(|stats| {
            stats
                .followers
                .iter()
                .all(|follower| !follower.lost && follower.lag == 0)
        });
        let stats = pipeline.stats();
        assert!(stats.cut_out >= 1 && stats.rejoined >= 1, "{stats:?}");
        assert!(stats.max_retained_bytes <= 4 * BUFFER, "{stats:?}");
        assert!(
            group.nodes[failing].as_ref().unwrap().stats().filled_bytes > 0,
            "from the file"
        );
    }
}

// covers: WC-40
#[test]
fn a_new_leader_fences_the_old_one_and_keeps_what_was_committed() {
    let mut group = Group::new();
    let (old, old_store) = group.lead(0, options());
    for number in 1..=20 {
        give(&old, &*old_store, number, number).unwrap();
    }
    old.wait(20, Some(Duration::from_secs(30))).unwrap();
    group.wait_for(1, 20);
    // Member 1 takes over while the old leader still believes it leads.
    drop(group.nodes[1].take());
    let (new, store) = group.lead(1, options());
    assert!(new.epoch() > old.epoch());
    assert!(group.file(1).starts_with(&model(20)));
    for number in 21..=30 {
        give(&new, &*store, number - 20, number).unwrap();
    }
    new.wait(10, Some(Duration::from_secs(30))).unwrap();
    group.wait_for(2, 30);
    let refused = (21..10_000).find_map(|number| {
        give(&old, &*old_store, number, number)
            .and_then(|()| old.wait(number, None))
            .err()
    });
    let (ours, theirs) = (old.epoch(), new.epoch());
    assert_eq!(refused, Some(ReplicatorError::Fenced { ours, theirs }));
    // What it wrote without anybody, if it was let, is cut off when it follows.
    let (_, state) = old.stop().unwrap();
    assert!(state.last >= 20);
    drop(old_store);
    group.restart(0);
    group.wait_for(0, 30);
    for at in 0..3 {
        assert!(group.file(at) == model(30), "member {at}");
    }
}

#[test]
fn without_a_majority_nobody_is_promoted_and_nothing_counts() {
    let mut group = Group::new();
    let (pipeline, store) = group.lead(
        0,
        PipelineOptions {
            no_quorum_after: Duration::from_millis(50),
            ..options()
        },
    );
    give(&pipeline, &*store, 1, 1).unwrap();
    pipeline.wait(1, Some(Duration::from_secs(30))).unwrap();
    group.wait_for(1, 1);
    group.wait_for(2, 1);
    group.nodes.iter_mut().for_each(|node| drop(node.take()));
    let refused = (2..10_000).find_map(|number| {
        give(&pipeline, &*store, number, number)
            .and_then(|()| pipeline.wait(number, None))
            .err()
    });
    assert_eq!(refused, Some(ReplicatorError::NoQuorum { alive: 1, needed: 2 }));
    pipeline.close();
    assert_eq!(pipeline.wait(99, None), Err(ReplicatorError::Closed));
    drop(pipeline);
    let (promotion, ..) = group.promotion(1);
    assert_eq!(promotion.verdict, Verdict::NoMajority { found: 1, needed: 2 });
    // The member with less is told who has more.
    group.restart(1);
    let fresh = group.promotion(2);
    assert_eq!(fresh.0.verdict, Verdict::Lead, "both have buffer 1");
}

// covers: WC-39
#[test]
fn a_member_that_stands_still_is_cut_out_and_costs_no_memory() {
    let group = Group::new();
    // In place of member 1, first in the chain: welcomes, and then takes nothing.
    let still = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut members = group.members.clone();
    members[1].address = still.local_addr().unwrap().to_string();
    let (promotion, copy, state, store) = group.promotion(0);
    let quorum = StaticQuorum::new(GROUP, MemberId(0), members, Some(MemberId(0)), promotion.epoch).unwrap();
    let epoch = promotion.epoch;
    let keeper = std::thread::spawn(move || {
        let (mut stream, _) = still.accept().unwrap();
        assert!(matches!(read_frame(&mut stream), Ok(Some(Frame::Hello { .. }))));
        let welcome = Frame::Welcome {
            member: MemberId(1),
            promised: epoch,
            last: 0,
            extent: 0,
            consistent: true,
            demand: Position::default(),
            history: History::default(),
        };
        write_frame(&mut stream, &welcome).unwrap();
        (still, stream)
    });
    let clock = Arc::new(SystemClock::new());
    let mut options = options();
    options.patience.stall_after = Duration::from_millis(100);
    let pipeline = Pipeline::start(&quorum, copy, state, options, clock).unwrap();
    for number in 1..=100 {
        give(&pipeline, &*store, number, number).unwrap();
    }
    pipeline.wait(100, Some(Duration::from_secs(30))).unwrap();
    group.wait_for(2, 100);
    assert!(group.file(2) == model(100));
    let stats = pipeline.stats();
    assert!(
        stats.max_retained_bytes <= 4 * BUFFER && stats.cut_out >= 1,
        "{stats:?}"
    );
    assert!(stats.waits_for_room >= 1, "{stats:?}");
    drop(pipeline);
    drop(keeper.join().unwrap());
}

#[test]
fn a_stranger_is_shown_the_door() {
    let group = Group::new();
    let node = group.nodes[1].as_ref().unwrap();
    let mut noise = TcpStream::connect(node.address()).unwrap();
    noise.write_all(&[0xff; 100]).unwrap();
    assert_eq!(noise.read_to_end(&mut Vec::new()).unwrap_or(0), 0);
    let mut early = TcpStream::connect(node.address()).unwrap();
    write_frame(&mut early, &Frame::Beat { committed: 9 }).unwrap();
    assert!(matches!(read_frame(&mut early), Ok(Some(Frame::Refuse { .. }))));
    let state = node.stats().state;
    assert_eq!((state.promised, state.committed), (Epoch(0), 0));
}

const ROLE: &str = "HADRON_TEST_REPLICA";
const COUNT: u64 = 8;

/// Not a test by itself: what the processes of the next one run.
#[test]
fn replica_process() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let words: Vec<&str> = role.split(' ').collect();
    let me: u32 = words[1].parse().unwrap();
    let members: Vec<Member> = (0..3)
        .map(|id| Member {
            id: MemberId(id),
            address: words[3 + id as usize].to_owned(),
        })
        .collect();
    let disk = RealDisk;
    let (mut copy, mut state, store) = open_copy(&disk, Path::new(words[2]));
    if words[0] == "follow" {
        let listener = TcpListener::bind(&members[me as usize].address).unwrap();
        let node = Node::start(listener, MemberId(me), copy, state, NodeOptions::default()).unwrap();
        say("ready");
        let _until_closed = std::io::stdin().read_to_end(&mut Vec::new());
        node.stop().unwrap();
        return;
    }
    let quorum = StaticQuorum::new(GROUP, MemberId(me), members.clone(), None, Epoch(0)).unwrap();
    let promotion = promote(&quorum, &mut copy, &mut state, &Timeouts::default()).unwrap();
    if let Verdict::Behind { member, .. } = promotion.verdict {
        return say(&format!("behind {}", member.0));
    }
    assert_eq!(promotion.verdict, Verdict::Lead);
    let quorum = StaticQuorum::new(GROUP, MemberId(me), members, Some(MemberId(me)), promotion.epoch).unwrap();
    let first = state.last;
    let clock = Arc::new(SystemClock::new());
    let pipeline = Pipeline::start(&quorum, copy, state, options(), clock).unwrap();
    say(&format!("leads {first}"));
    for number in first + 1..=COUNT {
        give(&pipeline, &*store, number - first, number).unwrap();
        pipeline.wait(number - first, None).unwrap();
        say(&format!("committed {number}"));
        // The other side says when to go on, and so kills between any two buffers.
        let mut go = [0];
        std::io::stdin().read_exact(&mut go).unwrap();
    }
    pipeline.wait_until(|stats| {
        stats
            .followers
            .iter()
            .all(|follower| !follower.lost && follower.lag == 0)
    });
    say("done");
    let _until_closed = std::io::stdin().read_to_end(&mut Vec::new());
}

/// A line of its own, whatever the test harness writes around it.
fn say(text: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "\nreplica: {text}")
        .and_then(|()| out.flush())
        .expect("a reader");
}

struct Process {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Process {
    fn start(role: &str, at: usize, root: &Path, addresses: &[String]) -> Self {
        let dir = root.join(at.to_string());
        let text = format!("{role} {at} {} {}", dir.display(), addresses.join(" "));
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "replica_process", "--nocapture"])
            .env(ROLE, text)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a process");
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, lines }
    }

    fn hear(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert!(self.lines.read_line(&mut line).expect("text") > 0, "the process ended");
            if let Some(text) = line.trim().strip_prefix("replica: ") {
                return text.to_owned();
            }
        }
    }

    fn go_on(&mut self) {
        let stdin = self.child.stdin.as_mut().expect("piped");
        stdin.write_all(b"g").and_then(|()| stdin.flush()).expect("it listens");
    }

    fn kill(mut self) {
        self.child.kill().expect("it ran");
        self.child.wait().expect("it ended");
    }

    fn end(mut self) {
        drop(self.child.stdin.take());
        let _rest = self.lines.read_to_end(&mut Vec::new());
        assert!(self.child.wait().expect("it ended").success());
    }
}

// covers: WC-39, WC-40
#[test]
fn three_processes_any_killed_at_any_buffer() {
    for victim in 0..3 {
        for kill_at in 1..=COUNT {
            let root = tempfile::tempdir().unwrap();
            let ports: Vec<_> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
            let addresses: Vec<String> = ports
                .iter()
                .map(|port| port.local_addr().unwrap().to_string())
                .collect();
            drop(ports);
            let start = |role: &str, at: usize| Process::start(role, at, root.path(), &addresses);
            let follow = |at: usize| {
                let mut process = start("follow", at);
                assert_eq!(process.hear(), "ready");
                process
            };
            let mut followers = vec![(1, follow(1)), (2, follow(2))];
            let mut leader = start("lead", 0);
            assert_eq!(leader.hear(), "leads 0");
            let mut committed = 0;
            while committed < COUNT {
                committed += 1;
                assert_eq!(leader.hear(), format!("committed {committed}"));
                if committed != kill_at {
                    leader.go_on();
                    continue;
                }
                if victim > 0 {
                    let at = followers.iter().position(|(at, _)| *at == victim).unwrap();
                    followers.remove(at).1.kill();
                    leader.go_on();
                    followers.push((victim, follow(victim)));
                    continue;
                }
                leader.kill();
                let mut candidate = 1;
                loop {
                    let at = followers.iter().position(|(at, _)| *at == candidate).unwrap();
                    followers.remove(at).1.end();
                    leader = start("lead", candidate);
                    let said = leader.hear();
                    if let Some(other) = said.strip_prefix("behind ") {
                        leader.end();
                        followers.push((candidate, follow(candidate)));
                        candidate = other.parse().unwrap();
                        continue;
                    }
                    let last: u64 = said.strip_prefix("leads ").unwrap().parse().unwrap();
                    assert!(last >= committed, "{last} of {committed} kept");
                    committed = last;
                    break;
                }
                followers.push((0, follow(0)));
            }
            assert_eq!(leader.hear(), "done");
            leader.end();
            followers.into_iter().for_each(|(_, follower)| follower.end());
            for at in 0..3 {
                let file = std::fs::read(root.path().join(at.to_string()).join("file")).unwrap();
                assert!(file == model(COUNT), "member {at}, {victim} killed at {kill_at}");
            }
        }
    }
}
