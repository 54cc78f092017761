//! Random histories of the pure machines against a plain map: what readers find, what the file holds, and that it never
//! comes to a stop, with the fewest buffers the configuration allows.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use hadron_writecache::core::machine::Forgotten;
use hadron_writecache::core::{BufferId, Completed, Job, Machine, ReadLists, RecordMap, Relocation, Reserved, Slot};
use hadron_writecache::sealed::Body;
use hadron_writecache::{Config, Layout};
use proptest::prelude::*;

const KEYS: u64 = 10;
const STRIDE: u64 = 100;

#[derive(Clone, Debug)]
enum Op {
    Reserve { key: u64, len: usize },
    Complete { which: usize },
    Write { key: u64, len: usize },
    Clear { key: u64 },
    Read { key: u64 },
    Flush,
    StartJob,
    FinishJob,
    Reset { clear: bool },
}

/// The shell in miniature: bytes as vectors, a file as a map from record offset to content.
struct World {
    config: Config,
    machine: Machine,
    lists: ReadLists,
    map: RecordMap,
    memory: Vec<(u64, Vec<u8>)>,
    job: Option<Job>,
    reserved: Vec<(u64, u64, Slot, Vec<u8>)>,
    file: BTreeMap<u64, Vec<u8>>,
    /// What a reader must get; nothing for a freed record.
    newest: BTreeMap<u64, Vec<u8>>,
    /// What the file must hold when the flush of this set is done.
    flush: Option<(u64, BTreeMap<u64, Vec<u8>>)>,
    stamp: u8,
    bytes_written: usize,
}

impl World {
    fn new(config: Config) -> Self {
        config.check().unwrap();
        let buffers = config.write_buffers + config.read_buffers + config.hot_buffers;
        Self {
            machine: Machine::new(config.clone(), 0),
            lists: ReadLists::new(&config),
            map: RecordMap::default(),
            memory: vec![(0, vec![0; config.buffer_len]); buffers],
            job: None,
            reserved: Vec::new(),
            file: BTreeMap::new(),
            newest: BTreeMap::new(),
            flush: None,
            stamp: 0,
            bytes_written: 0,
            config,
        }
    }

    fn data(&mut self, len: usize) -> Vec<u8> {
        self.stamp = self.stamp.wrapping_add(1);
        vec![self.stamp; len]
    }

    fn forget(&mut self, forgotten: impl IntoIterator<Item = Forgotten>) {
        for Forgotten {
            buffer,
            generation,
            offsets,
        } in forgotten
        {
            for offset in offsets {
                self.map.retract_from(offset, buffer, generation);
            }
        }
    }

    fn open(&mut self, id: BufferId, generation: u64) -> &mut Vec<u8> {
        let (held, bytes) = &mut self.memory[id.index()];
        assert!(*held <= generation, "an older content came back");
        if *held < generation {
            bytes.fill(0xEE);
            *held = generation;
        }
        bytes
    }

    fn put(&mut self, slot: Slot, data: &[u8]) {
        let at = slot.position as usize;
        self.open(slot.buffer, slot.generation)[at..at + data.len()].copy_from_slice(data);
    }

    fn get(&self, slot: Slot) -> Option<Vec<u8>> {
        let (held, bytes) = &self.memory[slot.buffer.index()];
        let at = slot.position as usize;
        (*held == slot.generation).then(|| bytes[at..at + slot.len as usize].to_vec())
    }

    /// Writes of one record do not overlap: that is what the caller promises.
    fn settle(&mut self, key: u64) {
        if let Some(which) = self.reserved.iter().position(|reserved| reserved.0 == key) {
            self.complete(which);
        }
    }

    fn reserve(&mut self, key: u64, len: usize) {
        self.settle(key);
        let data = self.data(len);
        let reserved = match self.machine.reserve(key * STRIDE, len).unwrap() {
            Reserved::Wait => {
                self.make_room();
                self.machine.reserve(key * STRIDE, len).unwrap()
            }
            room => room,
        };
        let Reserved::Room { slot, forgotten } = reserved else {
            panic!("came to a stop: {:?}", self.machine);
        };
        self.forget(forgotten);
        // The machine renews a buffer when it gives the first slot of it, so the set is the one of now.
        self.reserved.push((key, self.machine.set(), slot, data));
    }

    /// Nothing else happening, the writer alone must make room.
    fn make_room(&mut self) {
        while !self.reserved.is_empty() {
            self.complete(0);
        }
        while self.finish_job() || self.start_job() {}
    }

    fn complete(&mut self, which: usize) {
        let (key, set, slot, data) = self.reserved.swap_remove(which);
        let (held, _) = &self.memory[slot.buffer.index()];
        if *held <= slot.generation {
            self.put(slot, &data);
        }
        let completed = self.machine.complete(key * STRIDE, slot, false);
        if let Some((flushing, expected)) = &mut self.flush
            && set <= *flushing
            && completed == Completed::Accepted
        {
            expected.insert(key, data.clone());
        }
        if completed == Completed::Accepted {
            self.map.publish(key * STRIDE, slot);
            self.newest.insert(key, data);
        }
    }

    fn clear(&mut self, key: u64) {
        self.settle(key);
        self.machine.clear_write(key * STRIDE);
        self.map.retract(key * STRIDE);
        self.newest.remove(&key);
    }

    fn start_job(&mut self) -> bool {
        if self.job.is_some() {
            return false;
        }
        self.job = self.machine.next_job();
        self.check_flush();
        if let Some(Job::Compact { forgotten, .. }) = &mut self.job {
            let forgotten = forgotten.take();
            self.forget(forgotten);
        }
        self.job.is_some()
    }

    fn finish_job(&mut self) -> bool {
        match self.job.take() {
            None => return false,
            Some(Job::Write { buffer, live, body, .. }) => {
                assert_eq!(body, Body::Prefixed);
                assert!(!live.is_empty(), "wrote a buffer with nothing in it");
                for placed in live {
                    let at = placed.position as usize;
                    let data = self.memory[buffer.index()].1[at..at + placed.len as usize].to_vec();
                    self.bytes_written += data.len();
                    self.file.insert(placed.offset / STRIDE, data);
                }
                self.machine.written();
            }
            Some(Job::Compact { moves, .. }) => {
                for a_move in moves {
                    // A reset may have given either buffer away by now; the shell's copy fails then and changes nothing.
                    let Some(data) = self.get(a_move.from) else { continue };
                    self.put(a_move.to, &data);
                }
                for a_move in self.machine.compacted() {
                    self.map.relocate(a_move.offset, a_move.from, a_move.to);
                }
            }
        }
        self.check_flush();
        true
    }

    fn begin_flush(&mut self) {
        if self.flush.is_none() {
            let set = self.machine.begin_flush();
            self.flush = Some((set, self.newest.clone()));
            self.check_flush();
        }
    }

    fn check_flush(&mut self) {
        let Some((set, expected)) = &self.flush else { return };
        if self.machine.is_flushed(*set) {
            for (key, data) in expected {
                assert_eq!(
                    self.file.get(key),
                    Some(data),
                    "record {key} after the flush of set {set}"
                );
            }
            self.flush = None;
        }
    }

    fn lookup(&self, key: u64) -> Option<Vec<u8>> {
        let slot = self.map.find(key * STRIDE)?;
        self.get(slot)
    }

    /// A read by a user: counts hits and installs what was not there.
    fn read(&mut self, key: u64) {
        if self.lookup(key).is_some() {
            return;
        }
        let Some(data) = self.file.get(&key).cloned() else {
            return;
        };
        if !self.newest.contains_key(&key) || self.map.peek(key * STRIDE).is_some() {
            return;
        }
        let Some(installed) = self.lists.install(key * STRIDE, data.len(), &self.map) else {
            return;
        };
        assert!(installed.before.len() <= 2 * self.config.buffer_len + 2);
        for step in installed.before {
            match step {
                Relocation::Move(a_move) => {
                    let data = self.get(a_move.from).unwrap();
                    self.put(a_move.to, &data);
                    assert!(self.map.relocate(a_move.offset, a_move.from, a_move.to));
                }
                Relocation::Forget(forgotten) => self.forget([forgotten]),
            }
        }
        self.put(installed.slot, &data);
        self.map.publish(key * STRIDE, installed.slot);
    }

    fn reset(&mut self, clear: bool) {
        let forgotten = if clear {
            let mut all = self.machine.reset_and_clear();
            all.extend(self.lists.clear());
            all
        } else {
            self.machine.reset()
        };
        self.forget(forgotten);
        self.flush = None;
        // The writer thread may be in the middle of a buffer: that one may still reach the file, and nothing else.
        self.finish_job();
        if clear {
            assert_eq!(self.map.len(), 0);
        }
        // A record that was freed stays unknown until written again: the store above does not ask for it.
        self.newest = self.file.clone();
        assert!(!self.machine.wants_work(), "nothing is left to write");
    }

    fn check(&self) {
        self.machine.assert_sound();
        for key in 0..KEYS {
            let Some(expected) = self.newest.get(&key) else {
                continue;
            };
            let found = self.map.peek(key * STRIDE).and_then(|slot| self.get(slot));
            let found = found.or_else(|| self.file.get(&key).cloned());
            assert_eq!(found.as_ref(), Some(expected), "record {key}");
        }
    }

    fn step(&mut self, op: &Op) {
        match *op {
            Op::Reserve { key, len } => self.reserve(key, len),
            Op::Write { key, len } => {
                self.reserve(key, len);
                let last = self.reserved.len() - 1;
                self.complete(last);
            }
            Op::Complete { which } if !self.reserved.is_empty() => self.complete(which % self.reserved.len()),
            Op::Complete { .. } => {}
            Op::Clear { key } => self.clear(key),
            Op::Read { key } => self.read(key),
            Op::Flush => self.begin_flush(),
            Op::StartJob => drop(self.start_job()),
            Op::FinishJob => drop(self.finish_job()),
            Op::Reset { clear } => self.reset(clear),
        }
    }

    fn finish(&mut self) {
        self.make_room();
        self.flush = None;
        self.begin_flush();
        self.make_room();
        assert!(self.flush.is_none(), "a flush with nothing in its way ends");
        assert!(self.machine.is_clean());
    }
}

fn smallest() -> Config {
    Config {
        buffer_len: 64,
        write_buffers: 5,
        read_buffers: 2,
        hot_buffers: 2,
        hot_threshold: 2,
        max_dirty: 1,
        checksums: false,
        ..Config::rw()
    }
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let key = 0..KEYS;
    let len = 1..49_usize;
    let op = prop_oneof![
        4 => (key.clone(), len.clone()).prop_map(|(key, len)| Op::Reserve { key, len }),
        4 => (0..8_usize).prop_map(|which| Op::Complete { which }),
        8 => (key.clone(), len).prop_map(|(key, len)| Op::Write { key, len }),
        3 => key.clone().prop_map(|key| Op::Clear { key }),
        6 => key.prop_map(|key| Op::Read { key }),
        2 => Just(Op::Flush),
        4 => Just(Op::StartJob),
        4 => Just(Op::FinishJob),
        1 => any::<bool>().prop_map(|clear| Op::Reset { clear }),
    ];
    prop::collection::vec(op, 1..160)
}

/// 4,000 histories, or as many as `PROPTEST_CASES` says.
fn histories() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok())
        .unwrap_or(4000);
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(histories())]

    // covers: WC-03, WC-04, WC-05, WC-06, WC-17, WC-20, WC-27, WC-30, WC-32
    #[test]
    fn any_history_is_as_a_map(ops in ops(), write_buffers in 5..8_usize, threshold in prop_oneof![Just(100_u8), Just(1), Just(40)]) {
        let mut world = World::new(Config { write_buffers, compaction_threshold: threshold, ..smallest() });
        for op in &ops {
            world.step(op);
            world.check();
        }
        world.finish();
        world.check();
    }
}

// covers: WC-26
#[test]
fn what_is_freed_before_the_flush_never_reaches_the_file() {
    let mut world = World::new(smallest());
    for key in 0..KEYS {
        world.step(&Op::Write { key, len: 40 });
        world.step(&Op::Clear { key });
    }
    assert!(!world.machine.clear_write(0), "there is none any more");
    world.finish();
    assert_eq!(world.bytes_written, 0);
}

// covers: WC-18
#[test]
fn compaction_moves_what_is_left_together() {
    let written = |threshold| {
        let mut world = World::new(Config {
            compaction_threshold: threshold,
            write_buffers: 8,
            max_dirty: 2,
            ..smallest()
        });
        for key in 0..KEYS {
            world.reserve(key, 4);
            world.complete(0);
            if key % 3 != 0 {
                world.step(&Op::Clear { key });
            }
        }
        let mut sealed = 0;
        for flush in [false, true] {
            if flush {
                world.begin_flush();
            }
            while world.start_job() {
                if let Some(Job::Write { fill, .. }) = &world.job {
                    sealed += fill;
                }
                world.finish_job();
            }
        }
        assert_eq!(world.file.len(), 4);
        (world.machine.gauges().compactions, sealed)
    };
    assert_eq!(written(50), (2, 120), "two buffers were moved together");
    assert_eq!(written(100), (0, 200), "100 turns it off");
}

// covers: WC-31
#[test]
fn a_flush_writes_in_order_of_offset() {
    let mut world = World::new(Config {
        max_dirty: 4,
        write_buffers: 8,
        ..smallest()
    });
    for key in [7, 2, 9, 4] {
        world.step(&Op::Write { key, len: 40 });
    }
    world.begin_flush();
    let mut order = Vec::new();
    while world.start_job() {
        let Some(Job::Write { live, .. }) = &world.job else {
            panic!()
        };
        order.extend(live.iter().map(|placed| placed.offset / STRIDE));
        world.finish_job();
    }
    assert_eq!(order, [2, 4, 7, 9]);
}

// covers: WC-41
#[test]
fn sequences_have_no_gap_and_begin_anew() {
    let mut world = World::new(smallest());
    let flushed = |world: &mut World| {
        world.step(&Op::Write { key: 1, len: 40 });
        world.begin_flush();
        assert!(world.start_job());
        let Some(Job::Write { sequence, .. }) = &world.job else {
            panic!()
        };
        let sequence = *sequence;
        world.finish_job();
        sequence
    };
    assert_eq!([flushed(&mut world), flushed(&mut world)], [1, 2]);
    assert_eq!((world.machine.sequence(), world.machine.reset_sequence()), (2, 2));
    assert_eq!(flushed(&mut world), 1);
    world.reset(false);
    assert_eq!(flushed(&mut world), 1);
}

/// Reads by a heavy-tailed law; hits of the cache with and without the hot buffers, in the same bytes.
fn zipf_hits(read_buffers: usize, hot_buffers: usize) -> u32 {
    let config = Config {
        buffer_len: 640,
        read_buffers,
        hot_buffers,
        hot_threshold: 2,
        ..smallest()
    };
    let mut lists = ReadLists::new(&config);
    let mut map = RecordMap::default();
    let mut hits = 0;
    for offset in zipf_trace() {
        if map.find(offset).is_some() {
            hits += 1;
            continue;
        }
        let installed = lists.install(offset, 16, &map).unwrap();
        for step in installed.before {
            match step {
                Relocation::Move(a_move) => assert!(map.relocate(a_move.offset, a_move.from, a_move.to)),
                Relocation::Forget(old) => {
                    for offset in old.offsets {
                        map.retract_from(offset, old.buffer, old.generation);
                    }
                }
            }
        }
        map.publish(offset, installed.slot);
    }
    hits
}

/// Reads of 4,000 records, the same each time, of which the first are asked for most.
fn zipf_trace() -> impl Iterator<Item = u64> {
    const RECORDS: u64 = 4000;
    let mut state = 88172645463325252_u64;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let uniform = (state >> 11) as f64 / (1_u64 << 53) as f64;
        ((RECORDS as f64).powf(uniform) - 1.0) as u64
    })
    .take(60_000)
}

/// The same trace on a list ordered by last use, holding as many records as all buffers.
fn lru_hits(records: usize) -> u32 {
    let mut list: Vec<u64> = Vec::new();
    let mut hits = 0;
    for offset in zipf_trace() {
        if let Some(at) = list.iter().position(|one| *one == offset) {
            hits += 1;
            list.remove(at);
        } else if list.len() == records {
            list.remove(0);
        }
        list.push(offset);
    }
    hits
}

// covers: WC-21, WC-22
#[test]
fn hot_records_stay() {
    let plain = zipf_hits(10, 0);
    let hot = zipf_hits(4, 6);
    let lru = lru_hits(10 * 640 / 16);
    println!("hits of 60000: first in first out {plain}, hot {hot}, last used {lru}");
    assert!(hot > plain);
    assert!(hot > lru);
}

// covers: WC-13, WC-38
#[test]
fn an_append_only_buffer_is_one_run_and_large_records_keep_others_out() {
    let config = Config {
        buffer_len: 64,
        write_buffers: 5,
        layout: Layout::Worm,
        ..Config::worm()
    };
    let mut machine = Machine::new(config, 0);
    let put = |machine: &mut Machine, offset, len| match machine.reserve(offset, len).unwrap() {
        Reserved::Room { slot, .. } => machine.complete(offset, slot, false),
        other => panic!("{other:?}"),
    };
    assert_eq!(put(&mut machine, 100, 30), Completed::Accepted);
    assert_eq!(put(&mut machine, 130, 30), Completed::Accepted);
    assert!(machine.reserve(120, 1).is_err(), "append only");
    assert!(machine.reserve(160, 65).is_err(), "too large for a buffer");
    let token = machine.begin_large(160, 150).unwrap().unwrap();
    assert_eq!(machine.begin_large(160, 150).unwrap(), None);
    let mut at = 160;
    let mut lens = Vec::new();
    while at < 310 {
        if let Reserved::Room { slot, .. } = machine.reserve_chunk(token, at, (310 - at) as usize) {
            assert_eq!(machine.complete(at, slot, true), Completed::Hidden);
            lens.push(slot.len);
            at += u64::from(slot.len);
        }
        assert_eq!(machine.reserve(310, 4).unwrap(), Reserved::Wait, "a small writer waits");
    }
    assert_eq!(lens, [4, 64, 64, 18]);
    machine.end_large(token);
    assert_eq!(put(&mut machine, 310, 4), Completed::Accepted);
    assert_eq!(
        put(&mut machine, 400, 4),
        Completed::Accepted,
        "a gap begins a new buffer"
    );
    machine.begin_flush();
    let mut runs = Vec::new();
    while let Some(Job::Write {
        body: Body::Worm { offset },
        fill,
        ..
    }) = machine.next_job()
    {
        runs.push((offset, fill));
        machine.written();
    }
    assert_eq!(runs, [(100, 64), (164, 64), (228, 64), (292, 22), (400, 4)]);
}
