//! Three members in one thread: every kill at every buffer, and random histories of writes, kills and leader changes.
//!
//! What it is for: the pure parts and the copies together, on disks that forget what was not synced. Every frame goes through
//! the codec. Invariants checked: what a leader called committed is in every later leader's log; what a member holds is a
//! prefix of what its leader wrote; at rest all files are equal and equal to the model.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hadron_env::Open;
use hadron_env::disk::{Disk, SimDisk};
use hadron_types::Epoch;

use super::codec::{Frame, Refusal, decode as decode_frame};
use super::copy::{Copy, read_piece};
use super::follower::{Action, Follower, SessionId};
use super::leader::{Leader, Order, Patience};
use super::log::Log;
use super::promotion::{Verdict, Vote, decide};
use super::sender::{PeerLog, Sender, Step};
use super::state_file::StateFile;
use super::types::{History, Member, MemberId, Parcel, Reign, ReplicaState};
use crate::backing::DiskBacking;
use crate::sealed::{Body, KIND_LIVE, encode_header};

const MEMBERS: usize = 3;
const NEEDED: usize = 2;
const GROUP: u64 = 77;
/// Three buffers or so: members that miss a few are filled from the file.
const RETAINED_BYTES: usize = 400;
const SLOT: u64 = 64;
const SLOTS: u64 = 24;

struct Node {
    log: Log,
    copy: Copy,
    follower: Follower,
    /// What is in the file, in order.
    lineage: Vec<Parcel>,
}

struct Link {
    from: usize,
    to: usize,
    session: SessionId,
    sender: Sender,
    down: VecDeque<Frame>,
    up: VecDeque<Frame>,
}

struct Reigning {
    at: usize,
    leader: Leader,
    state: ReplicaState,
}

struct World {
    disks: Vec<SimDisk>,
    nodes: Vec<Option<Node>>,
    durable_lineage: Vec<Vec<Parcel>>,
    reigning: Option<Reigning>,
    links: Vec<Link>,
    committed: BTreeMap<u64, Parcel>,
    append_only: bool,
    next_session: u64,
    next_epoch: u64,
    serial: u64,
    random: u64,
    fills: usize,
    cuts: usize,
}

fn member(at: usize) -> Member {
    Member {
        id: MemberId(at as u32),
        address: format!("127.0.0.1:{}", 1000 + at),
    }
}

fn through_codec(frame: &Frame) -> Frame {
    let encoded = frame.encode();
    let bytes = [encoded.head.as_slice(), &encoded.data].concat();
    let (decoded, used) = decode_frame(&bytes).unwrap().unwrap();
    assert_eq!((&decoded, used), (frame, bytes.len()));
    decoded
}

impl World {
    fn new(append_only: bool, seed: u64) -> Self {
        let mut world = Self {
            disks: (0..MEMBERS).map(|_| SimDisk::new()).collect(),
            nodes: (0..MEMBERS).map(|_| None).collect(),
            durable_lineage: vec![Vec::new(); MEMBERS],
            reigning: None,
            links: Vec::new(),
            committed: BTreeMap::new(),
            append_only,
            next_session: 0,
            next_epoch: 0,
            serial: 0,
            random: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            fills: 0,
            cuts: 0,
        };
        for at in 0..MEMBERS {
            world.boot(at);
        }
        world
    }

    fn dice(&mut self, sides: u64) -> u64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % sides
    }

    fn boot(&mut self, at: usize) {
        let disk = &self.disks[at];
        let (state_file, state) = StateFile::open(disk, Path::new("/state")).unwrap();
        let file = disk.open(Path::new("/file"), Open::CREATE).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        let copy = Copy::new(Arc::new(DiskBacking::new(file)), state_file);
        let mut lineage = self.durable_lineage[at].clone();
        lineage.truncate(state.last as usize);
        assert_eq!(
            lineage.len() as u64,
            state.last,
            "member {at}: what was saved was there"
        );
        self.nodes[at] = Some(Node {
            log: Log::new(&state, self.append_only, RETAINED_BYTES),
            copy,
            follower: Follower::new(member(at).id, state),
            lineage,
        });
    }

    /// Power fails at one member.
    fn kill(&mut self, at: usize) {
        self.nodes[at] = None;
        let seed = self.dice(1 << 20);
        self.disks[at].crash(seed);
        if self.reigning.as_ref().is_some_and(|reigning| reigning.at == at) {
            self.reigning = None;
            self.unlink_all();
        } else if self.links.iter().any(|link| link.to == at) {
            self.lose(at);
        }
    }

    fn restart(&mut self, at: usize) {
        if self.nodes[at].is_none() {
            self.boot(at);
        }
        let now = Duration::ZERO;
        if let Some(reigning) = &mut self.reigning
            && let Some(Order::Form(chain)) = reigning.leader.found(MemberId(at as u32), now)
        {
            self.form(&chain);
        }
    }

    fn lose(&mut self, at: usize) {
        if let Some(reigning) = &mut self.reigning
            && let Some(Order::Form(chain)) = reigning.leader.lost(MemberId(at as u32), Duration::ZERO)
        {
            self.form(&chain);
        }
    }

    fn form(&mut self, chain: &[Member]) {
        self.unlink_all();
        let Some(reigning) = &self.reigning else { return };
        let (at, epoch) = (reigning.at, reigning.leader.epoch());
        self.link(at, epoch, chain);
    }

    fn link(&mut self, from: usize, epoch: Epoch, chain: &[Member]) {
        let Some((first, rest)) = chain.split_first() else {
            return;
        };
        let to = first.id.0 as usize;
        if self.nodes[to].is_none() {
            return self.lose(to);
        }
        self.next_session += 1;
        let session = SessionId(self.next_session);
        let hello = Frame::Hello {
            group: GROUP,
            epoch,
            append_only: self.append_only,
            chain: rest.to_vec(),
        };
        match self.take(to, session, hello) {
            Ok(replies) => {
                let Some(Frame::Welcome {
                    last,
                    extent,
                    consistent,
                    history,
                    ..
                }) = replies.into_iter().next()
                else {
                    panic!("no welcome");
                };
                let peer = PeerLog {
                    last,
                    extent,
                    consistent,
                    history,
                };
                let (sender, start) = Sender::start(&self.nodes[from].as_ref().unwrap().log, &peer);
                self.links.push(Link {
                    from,
                    to,
                    session,
                    sender,
                    down: VecDeque::from([start]),
                    up: VecDeque::new(),
                });
            }
            Err(Refusal::StaleEpoch { promised }) => self.depose(promised),
            Err(other) => panic!("{other}"),
        }
    }

    fn depose(&mut self, by: Epoch) {
        if let Some(reigning) = self.reigning.take() {
            assert!(by > reigning.leader.epoch());
            self.unlink_all();
            self.boot(reigning.at);
        }
    }

    /// A connection ends, as its member sees it.
    fn unlink(&mut self, at: usize, session: SessionId) {
        if let Some(node) = self.nodes[at].as_mut() {
            for action in node.follower.ended(&mut node.log, session) {
                if let Action::Save(state) = action {
                    node.copy.save(&state).unwrap();
                    node.lineage.truncate(state.last as usize);
                    self.durable_lineage[at] = node.lineage.clone();
                }
            }
        }
    }

    fn unlink_all(&mut self) {
        for link in std::mem::take(&mut self.links) {
            self.unlink(link.to, link.session);
        }
    }

    /// Gives a frame to a member and does what it says; returns its replies.
    fn take(&mut self, at: usize, session: SessionId, frame: Frame) -> Result<Vec<Frame>, Refusal> {
        let frame = through_codec(&frame);
        let leader_lineage = self
            .reigning
            .as_ref()
            .and_then(|reigning| self.nodes[reigning.at].as_ref())
            .map(|node| node.lineage.clone());
        let node = self.nodes[at].as_mut().unwrap();
        if let Frame::FillEnd { sequence, .. } = &frame {
            self.fills += 1;
            node.lineage = leader_lineage.unwrap()[..*sequence as usize].to_vec();
        }
        let mut replies = Vec::new();
        let mut links = Vec::new();
        for action in node.follower.handle(&mut node.log, session, frame)? {
            match action {
                Action::Save(state) => {
                    node.copy.save(&state).unwrap();
                    if (state.last as usize) < node.lineage.len() {
                        self.cuts += 1;
                    }
                    node.lineage.truncate(state.last as usize);
                    self.durable_lineage[at] = node.lineage.clone();
                }
                Action::Write(parcel) => {
                    node.copy.write(&parcel).unwrap();
                    node.follower.wrote(&mut node.log, parcel.sequence);
                    assert_eq!(node.lineage.len() as u64 + 1, parcel.sequence);
                    node.lineage.push(parcel);
                }
                Action::Fill { offset, bytes } => node.copy.fill(offset, &bytes).unwrap(),
                Action::SetLen(len) => node.copy.set_len(len).unwrap(),
                Action::Reply(frame) => replies.push(through_codec(&frame)),
                Action::Unlink => {}
                Action::Link { epoch, chain } => links.push((epoch, chain)),
            }
        }
        self.links.retain(|link| link.from != at || link.session.0 > session.0);
        for (epoch, chain) in links {
            self.link(at, epoch, &chain);
        }
        Ok(replies)
    }

    /// Lets a member make durable what it has.
    fn flush(&mut self, at: usize) -> Option<Frame> {
        let node = self.nodes[at].as_mut().unwrap();
        let state = node.follower.to_save(&node.log)?;
        node.copy.save(&state).unwrap();
        self.durable_lineage[at] = node.lineage.clone();
        node.follower.was_saved(state)
    }

    fn offer(&mut self) -> bool {
        self.serial += 1;
        let serial = self.serial;
        let slot = self.dice(SLOTS);
        let size = 40 + self.dice(80);
        let Some(reigning) = &mut self.reigning else {
            return false;
        };
        let node = self.nodes[reigning.at].as_mut().unwrap();
        let (last, extent) = node.log.last();
        let parcel = if self.append_only {
            let text = format!("{serial:08}").repeat(size as usize / 8);
            let body = Body::Worm { offset: extent };
            Parcel::new(last + 1, extent + text.len() as u64, body, text.into_bytes().into())
        } else {
            let mut bytes = Vec::new();
            for offset in [slot * SLOT, (slot + 7) % SLOTS * SLOT] {
                bytes.extend_from_slice(&encode_header(offset, 16, KIND_LIVE));
                bytes.extend_from_slice(format!("{serial:016}").as_bytes());
            }
            Parcel::new(last + 1, SLOTS * SLOT, Body::Prefixed, bytes.into())
        };
        // Memory is for what is committed or what the whole chain has; a slow member is served from the file.
        node.log.evict(reigning.leader.releasable(), parcel.bytes.len());
        if !node.log.has_room(parcel.bytes.len()) {
            return false;
        }
        node.log.push(parcel.clone());
        node.copy.write(&parcel).unwrap();
        node.copy.set_len(parcel.extent).unwrap();
        node.lineage.push(parcel);
        true
    }

    fn sync_leader(&mut self) {
        let Some(reigning) = &mut self.reigning else { return };
        let node = self.nodes[reigning.at].as_mut().unwrap();
        let (last, extent) = node.log.last();
        node.log.wrote(last);
        reigning.state.last = last;
        reigning.state.extent = extent;
        reigning.state.committed = reigning.leader.committed();
        node.copy.save(&reigning.state).unwrap();
        self.durable_lineage[reigning.at] = node.lineage.clone();
        reigning.leader.own_durable(last);
        self.note_committed();
    }

    fn note_committed(&mut self) {
        let Some(reigning) = &mut self.reigning else { return };
        let node = self.nodes[reigning.at].as_mut().unwrap();
        node.log.committed = reigning.leader.committed();
        for parcel in &node.lineage[..reigning.leader.committed() as usize] {
            let known = self.committed.entry(parcel.sequence).or_insert_with(|| parcel.clone());
            assert_eq!(known, parcel, "what was committed stays");
        }
    }

    /// One move of one link.
    fn step(&mut self, index: usize) -> bool {
        let Some(link) = self.links.get_mut(index) else {
            return false;
        };
        let (from, to, session) = (link.from, link.to, link.session);
        if let Some(frame) = link.up.pop_front() {
            if let Some(reigning) = &mut self.reigning
                && let Frame::Durable {
                    member,
                    epoch,
                    sequence,
                } = frame
            {
                let last = self.nodes[reigning.at].as_ref().unwrap().log.last().0;
                reigning.leader.durable(member, epoch, sequence, last, Duration::ZERO);
                self.note_committed();
            }
            return true;
        }
        if let Some(frame) = link.down.pop_front() {
            match self.take(to, session, frame) {
                Ok(replies) => {
                    if let Some(link) = self.links.iter_mut().find(|link| link.session == session) {
                        link.up.extend(replies);
                    }
                }
                Err(Refusal::StaleEpoch { promised }) => self.depose(promised),
                Err(other) => {
                    let node = self.nodes[to].as_ref().unwrap();
                    let leading = self.reigning.as_ref().map(|r| (r.at, &r.state, r.leader.committed()));
                    panic!(
                        "{from}->{to} {other}: {:?} {:?} leader {leading:?} committed {:?}",
                        node.follower,
                        node.log,
                        self.committed.len()
                    );
                }
            }
            return true;
        }
        let node = self.nodes[from].as_ref().unwrap();
        match link.sender.next(&node.log) {
            Step::Send(frame) => link.down.push_back(frame),
            Step::Read { offset, len } => {
                let bytes = read_piece(&**node.copy.store(), offset, len.min(100)).unwrap();
                link.down.extend(link.sender.piece(Bytes::from(bytes)));
            }
            Step::Wait => {
                let durable = self.flush(to);
                let moved = durable.is_some();
                self.links[index].up.extend(durable);
                return moved;
            }
        }
        true
    }

    /// Makes the best member of a majority the leader.
    fn promote(&mut self, mut at: usize) -> bool {
        for _ in 0..MEMBERS {
            self.next_epoch += 1;
            let epoch = Epoch(self.next_epoch);
            let mut votes = Vec::new();
            for other in 0..MEMBERS {
                if self.nodes[other].is_none() {
                    continue;
                }
                if self.reigning.as_ref().is_some_and(|reigning| reigning.at == other) {
                    // The old leader hears of it like anybody, and follows from what it has durable.
                    self.reigning = None;
                    self.boot(other);
                }
                self.next_session += 1;
                let prepare = Frame::Prepare { group: GROUP, epoch };
                let replies = self.take(other, SessionId(self.next_session), prepare).unwrap();
                let state = self.nodes[other].as_ref().unwrap().follower.saved();
                assert_eq!(replies.len(), 1);
                votes.push(Vote {
                    member: member(other).id,
                    position: state.is_consistent().then(|| state.position()),
                    demand: state.demand(),
                });
            }
            // What is still on its way from the old leader is refused, and by whom it was written it does not matter.
            for mut link in std::mem::take(&mut self.links) {
                while let Some(frame) = link.down.pop_front() {
                    if self.nodes[link.to].is_some() {
                        let refused = self.take(link.to, link.session, frame).unwrap_err();
                        assert!(matches!(refused, Refusal::StaleEpoch { .. }), "{refused}");
                    }
                }
            }
            match decide(member(at).id, &votes, NEEDED) {
                Verdict::Lead => {
                    self.reign(at, epoch);
                    return true;
                }
                Verdict::Behind { member, .. } => at = member.0 as usize,
                Verdict::Missing { .. } | Verdict::NoMajority { .. } => return false,
            }
        }
        false
    }

    fn reign(&mut self, at: usize, epoch: Epoch) {
        self.boot(at);
        let node = self.nodes[at].as_mut().unwrap();
        let mut state = node.follower.saved().clone();
        let reign = Reign {
            epoch,
            first: state.last + 1,
            extent: state.extent,
        };
        if state.writing {
            // The file may hold more than the state says: nobody's copy is the same, all are made anew.
            state.history = History::default();
            node.log.history = History::default();
        }
        state.writing = !self.append_only;
        assert!(state.history.begin(reign) && node.log.begin(reign));
        node.copy.set_len(state.extent).unwrap();
        node.copy.save(&state).unwrap();
        for (sequence, parcel) in &self.committed {
            assert_eq!(
                node.lineage.get(*sequence as usize - 1),
                Some(parcel),
                "{sequence} was committed"
            );
        }
        let others = (0..MEMBERS).filter(|other| *other != at).map(member).collect();
        let leader = Leader::new(
            epoch,
            others,
            NEEDED,
            state.last,
            state.committed,
            Patience::default(),
            Duration::ZERO,
        );
        let chain = leader.chain();
        self.reigning = Some(Reigning { at, leader, state });
        self.form(&chain);
    }

    /// Brings everyone up, lets everything settle, and compares.
    fn settle(&mut self) {
        for at in 0..MEMBERS {
            if self.nodes[at].is_none() {
                self.restart(at);
            }
        }
        if self.reigning.is_none() {
            assert!(self.promote(0), "all are there");
        }
        for at in 0..MEMBERS {
            self.restart(at);
        }
        self.sync_leader();
        self.run();
        let reigning = self.reigning.as_ref().expect("nobody else wants to lead");
        let leading = self.nodes[reigning.at].as_ref().unwrap();
        assert_eq!(reigning.leader.committed(), leading.log.last().0);
        let mut expected = model(&leading.lineage);
        if !self.append_only {
            // A leader that lost power amid writes keeps them, where nothing refers to them; its copies are as it is.
            expected = self.disks[reigning.at].read(Path::new("/file"), 1 << 20).unwrap();
        }
        for at in 0..MEMBERS {
            let node = self.nodes[at].as_ref().unwrap();
            assert_eq!(node.lineage, leading.lineage, "member {at}");
            assert_eq!(node.log.last(), leading.log.last());
            let found = self.disks[at].read(Path::new("/file"), 1 << 20).unwrap();
            if found != expected {
                let at_byte = found.iter().zip(&expected).position(|(a, b)| a != b);
                let (append_only, lens) = (self.append_only, (found.len(), expected.len()));
                panic!("member {at} differs at {at_byte:?}, lengths {lens:?}, append only {append_only}");
            }
            assert!(node.log.retained_bytes().1 <= RETAINED_BYTES, "memory is bounded");
        }
    }

    fn run(&mut self) {
        loop {
            let moved: Vec<bool> = (0..MEMBERS).map(|index| self.step(index)).collect();
            if !moved.contains(&true) {
                return;
            }
        }
    }
}

fn model(lineage: &[Parcel]) -> Vec<u8> {
    let mut file = Vec::new();
    for parcel in lineage {
        for record in parcel.records().unwrap() {
            let end = record.offset as usize + record.bytes.len();
            file.resize(file.len().max(end), 0);
            file[record.offset as usize..end].copy_from_slice(&record.bytes);
        }
        file.resize(parcel.extent as usize, 0);
    }
    file
}

// covers: WC-39, WC-40, WC-43
#[test]
fn any_member_is_killed_at_any_buffer() {
    const BUFFERS: usize = 14;
    for append_only in [true, false] {
        let mut fills = 0;
        for victim in 0..MEMBERS {
            for kill_at in 0..BUFFERS {
                for gap in [0, 2, 9] {
                    let mut world = World::new(append_only, (kill_at * 31 + victim * 7 + gap) as u64);
                    assert!(world.promote(0));
                    for buffer in 0..BUFFERS + gap {
                        if buffer == kill_at {
                            world.kill(victim);
                            if world.reigning.is_none() {
                                assert!(world.promote(1));
                            }
                        }
                        if buffer == kill_at + gap {
                            world.restart(victim);
                        }
                        world.offer();
                        for index in 0..(buffer + gap) % 5 {
                            world.step(index % 2);
                        }
                        if buffer % 3 == 2 {
                            world.sync_leader();
                            world.run();
                        }
                    }
                    world.settle();
                    fills += world.fills;
                }
            }
        }
        assert!(fills > 0, "some were filled from the file");
    }
}

// covers: WC-39, WC-40
#[test]
fn random_histories_lose_and_double_nothing_committed() {
    let (mut fills, mut cuts, mut committed) = (0, 0, 0);
    for seed in 0..400 {
        let mut world = World::new(seed % 2 == 0, seed);
        assert!(world.promote(0));
        for _ in 0..150 {
            match world.dice(40) {
                0 => {
                    let at = world.dice(3) as usize;
                    world.kill(at);
                }
                1..3 => {
                    let at = world.dice(3) as usize;
                    world.restart(at);
                }
                3 => {
                    let at = world.dice(3) as usize;
                    if world.nodes[at].is_some() {
                        world.promote(at);
                    }
                }
                4..8 => world.sync_leader(),
                8..18 => {
                    world.offer();
                }
                other => {
                    world.step(other as usize % 2);
                }
            }
        }
        world.settle();
        fills += world.fills;
        cuts += world.cuts;
        committed += world.committed.len();
    }
    assert!(
        fills > 100 && cuts > 20 && committed > 2000,
        "{fills} {cuts} {committed}"
    );
}

// covers: WC-41
#[test]
fn gap_repeat_stale_epoch_and_bad_checksum_are_refused() {
    let mut world = World::new(true, 1);
    assert!(world.promote(0));
    for _ in 0..2 {
        assert!(world.offer());
    }
    world.sync_leader();
    world.run();
    let session = world.links.iter().find(|link| link.to == 1).unwrap().session;
    let buffer = |sequence, crc_flip| {
        let mut parcel = Parcel::new(sequence, 5000, Body::Worm { offset: 0 }, Bytes::from_static(b"abc"));
        parcel.crc ^= crc_flip;
        Frame::Buffer { committed: 0, parcel }
    };
    let before = world.disks[1].read(Path::new("/file"), 1 << 20).unwrap();
    let gap = |found| Err(Refusal::Gap { expected: 3, found });
    assert_eq!(world.take(1, session, buffer(4, 0)), gap(4));
    assert_eq!(world.take(1, session, buffer(2, 0)), gap(2));
    assert_eq!(
        world.take(1, session, buffer(3, 1)),
        Err(Refusal::Checksum { sequence: 3 })
    );
    let stale = Err(Refusal::StaleEpoch { promised: Epoch(1) });
    assert_eq!(world.take(1, SessionId(999), buffer(3, 0)), stale);
    let hello = |group, epoch| Frame::Hello {
        group,
        epoch: Epoch(epoch),
        append_only: true,
        chain: Vec::new(),
    };
    assert_eq!(world.take(1, SessionId(999), hello(GROUP, 0)), stale);
    assert_eq!(
        world.take(1, SessionId(999), hello(5, 9)),
        Err(Refusal::WrongGroup { group: GROUP })
    );
    let prepare = Frame::Prepare {
        group: GROUP,
        epoch: Epoch(1),
    };
    assert_eq!(world.take(1, SessionId(999), prepare), stale);
    assert_eq!(world.disks[1].read(Path::new("/file"), 1 << 20).unwrap(), before);
    // All of that was refused, and the session goes on.
    world.offer();
    world.settle();
}

#[test]
fn a_committed_log_is_not_cut() {
    let mut world = World::new(true, 2);
    assert!(world.promote(0));
    for _ in 0..3 {
        world.offer();
        world.sync_leader();
        world.run();
    }
    // The beat that says so goes out, and the follower saves it with the next buffer.
    world.offer();
    world.sync_leader();
    world.run();
    let hello = Frame::Hello {
        group: GROUP,
        epoch: Epoch(9),
        append_only: true,
        chain: Vec::new(),
    };
    world.take(1, SessionId(500), hello).unwrap();
    let start = Frame::Start {
        epoch: Epoch(1),
        sequence: 1,
        extent: 40,
    };
    let refused = world.take(1, SessionId(500), start).unwrap_err();
    assert!(
        matches!(refused, Refusal::Committed { committed } if committed >= 3),
        "{refused}"
    );
}

// covers: WC-39
#[test]
fn a_paused_follower_costs_the_leader_no_memory() {
    let mut world = World::new(true, 3);
    assert!(world.promote(0));
    world.run();
    // Only the first link moves: the last member is paused, and its relay must not keep everything either.
    for _ in 0..200 {
        assert!(world.offer(), "a majority goes on");
        world.sync_leader();
        while world.step(0) {}
    }
    for at in 0..2 {
        let (_, most) = world.nodes[at].as_ref().unwrap().log.retained_bytes();
        assert!(most <= RETAINED_BYTES, "{most}");
    }
    assert_eq!(world.nodes[2].as_ref().unwrap().log.last().0, 0);
    world.settle();
    assert!(world.fills > 0, "what it missed came from its relay's file");
}
