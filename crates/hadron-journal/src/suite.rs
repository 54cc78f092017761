//! A suite that judges any command log, and the small machine it uses.
//!
//! What it is for: each implementation of [`CommandLog`] calls [`check`] from a test. What it does not do: break disks;
//! that is up to the implementation's own tests. It panics where a log is wrong, as tests do.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hadron_types::LogIndex;
use parking_lot::RwLock;

use crate::image::ImageReader;
use crate::log::{CommandLog, LogError};
use crate::machine::{CodecError, Entry, StateMachine};

/// Rules version of the register.
const RULES: u32 = 1;
/// Additions per slice of its image.
const SLICE_ITEMS: usize = 64;

/// A machine that remembers every addition in order, with the index at which it was applied.
#[derive(Debug, Default)]
pub struct Register {
    state: RwLock<Arc<Vec<Addition>>>,
    order: RwLock<u64>,
}

/// A command of the register, and what it remembers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Addition {
    /// Where it was applied; 0 in a command.
    pub index: LogIndex,
    /// Given by [`StateMachine::order`]: rises by one from command to command.
    pub sequence: u64,
    /// What tells commands apart.
    pub number: u64,
    /// Payload of any length.
    pub text: String,
}

impl Register {
    /// An empty register.
    pub fn new() -> Self {
        Self::default()
    }

    /// A command.
    pub fn add(number: u64, text: &str) -> Addition {
        Addition {
            index: LogIndex(0),
            sequence: 0,
            number,
            text: text.to_owned(),
        }
    }

    /// Everything applied, in order.
    pub fn additions(&self) -> Arc<Vec<Addition>> {
        Arc::clone(&self.state.read())
    }
}

fn encode(addition: &Addition, buffer: &mut Vec<u8>) {
    for number in [
        addition.index.0,
        addition.sequence,
        addition.number,
        addition.text.len() as u64,
    ] {
        buffer.extend_from_slice(&number.to_le_bytes());
    }
    buffer.extend_from_slice(addition.text.as_bytes());
}

/// Reads one addition from the front of `bytes`.
fn decode(bytes: &mut &[u8]) -> Result<Addition, CodecError> {
    let bad = || CodecError("addition cut short".into());
    let mut numbers = [0_u64; 4];
    for number in &mut numbers {
        let (head, rest) = bytes.split_first_chunk::<8>().ok_or_else(bad)?;
        *number = u64::from_le_bytes(*head);
        *bytes = rest;
    }
    let len = usize::try_from(numbers[3]).map_err(|_| bad())?;
    let text = bytes.get(..len).ok_or_else(bad)?;
    *bytes = &bytes[len..];
    Ok(Addition {
        index: LogIndex(numbers[0]),
        sequence: numbers[1],
        number: numbers[2],
        text: String::from_utf8(text.to_vec()).map_err(|_| bad())?,
    })
}

impl StateMachine for Register {
    type Command = Addition;
    /// The number and how many additions there are now.
    type Outcome = (u64, u64);
    type Snapshot = Arc<Vec<Addition>>;

    fn rules_version(&self) -> u32 {
        RULES
    }

    fn order(&self, command: &mut Addition) {
        let mut last = self.order.write();
        *last += 1;
        command.sequence = *last;
    }

    fn encode(&self, command: &Addition, buffer: &mut Vec<u8>) {
        encode(command, buffer);
    }

    fn decode(&self, mut payload: &[u8]) -> Result<Addition, CodecError> {
        let addition = decode(&mut payload)?;
        if payload.is_empty() {
            Ok(addition)
        } else {
            Err(CodecError("bytes after the addition".into()))
        }
    }

    fn apply(&self, entries: &mut Vec<Entry<Addition>>, outcomes: &mut Vec<(u64, u64)>) {
        let mut state = self.state.write();
        let additions = Arc::make_mut(&mut state);
        for entry in entries.drain(..) {
            let number = entry.command.number;
            additions.push(Addition {
                index: entry.index,
                ..entry.command
            });
            outcomes.push((number, additions.len() as u64));
        }
    }

    fn digest(&self, outcome: &(u64, u64), buffer: &mut Vec<u8>) {
        buffer.extend_from_slice(&outcome.0.to_le_bytes());
        buffer.extend_from_slice(&outcome.1.to_le_bytes());
    }

    fn snapshot(&self) -> Arc<Vec<Addition>> {
        self.additions()
    }

    fn image(snapshot: Arc<Vec<Addition>>) -> Box<dyn Iterator<Item = Vec<u8>> + Send> {
        let slices = snapshot.len().div_ceil(SLICE_ITEMS);
        Box::new((0..slices).map(move |number| {
            let mut slice = Vec::new();
            let end = snapshot.len().min((number + 1) * SLICE_ITEMS);
            snapshot[number * SLICE_ITEMS..end]
                .iter()
                .for_each(|addition| encode(addition, &mut slice));
            slice
        }))
    }

    fn restore(&self, image: &ImageReader) -> Result<(), CodecError> {
        let slices = image.decode_parallel(|_, slice| {
            let (mut additions, mut bytes) = (Vec::new(), &slice[..]);
            while !bytes.is_empty() {
                additions.push(decode(&mut bytes)?);
            }
            Ok(additions)
        })?;
        *self.state.write() = Arc::new(slices.into_iter().flatten().collect());
        Ok(())
    }
}

/// Runs the whole suite. `open` opens the log under test over always the same storage, empty at first, and recovers the
/// given register from it; it is called again after each shutdown.
pub fn check<L: CommandLog<Register>>(open: &dyn Fn(Arc<Register>) -> L) {
    answers_come_after_apply_and_in_order(open);
    concurrent_proposals_all_get_a_place(open);
    a_forgotten_answer_is_still_applied(open);
    state_survives_restarts_and_checkpoints(open);
    a_closed_log_refuses(open);
}

fn start<L: CommandLog<Register>>(open: &dyn Fn(Arc<Register>) -> L) -> (Arc<Register>, L) {
    let machine = Arc::new(Register::new());
    let log = open(Arc::clone(&machine));
    (machine, log)
}

fn must<T>(result: Result<T, LogError>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("the log under test refused: {error}"),
    }
}

/// Indexes are without gaps and in order, and sequences too: `order` was called in log order.
fn assert_in_order(machine: &Register, log: &dyn CommandLog<Register>) {
    let additions = machine.additions();
    for pair in additions.windows(2) {
        assert_eq!(pair[1].index, pair[0].index.next(), "indexes rise by one");
    }
    let last = additions.last().map_or(LogIndex(0), |addition| addition.index);
    assert_eq!(log.last_applied(), last);
}

fn answers_come_after_apply_and_in_order<L: CommandLog<Register>>(open: &dyn Fn(Arc<Register>) -> L) {
    let (machine, log) = start(open);
    for number in 0..20 {
        let before = machine.additions().len() as u64;
        let outcome = must(log.propose(Register::add(number, "one by one")).wait());
        assert_eq!(outcome, (number, before + 1));
        must(log.read_barrier().wait());
        assert_eq!(machine.additions().len() as u64, before + 1, "visible once answered");
    }
    let propose = |number| match number % 3 {
        0 => log.propose_inline(Register::add(number, "in a row")),
        _ => log.propose(Register::add(number, "in a row")),
    };
    let pending: Vec<_> = (0..200).map(propose).collect();
    let mut last = 0;
    for (number, pending) in pending.into_iter().enumerate() {
        let (answered, count) = must(pending.wait());
        assert_eq!(answered, number as u64);
        assert!(count > last, "call order is log order");
        last = count;
    }
    assert_in_order(&machine, &log);
    must(log.shutdown().wait());
}

fn concurrent_proposals_all_get_a_place<L: CommandLog<Register>>(open: &dyn Fn(Arc<Register>) -> L) {
    const THREADS: u64 = 8;
    const EACH: u64 = 50;
    let (machine, log) = start(open);
    let before = machine.additions().len();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let log = &log;
            scope.spawn(move || {
                let mut last = 0;
                for number in 0..EACH {
                    let id = 1000 * (thread + 1) + number;
                    let command = Register::add(id, "many");
                    let pending = if thread % 2 == 0 {
                        log.propose(command)
                    } else {
                        log.propose_inline(command)
                    };
                    let (answered, count) = must(pending.wait());
                    assert_eq!(answered, id);
                    assert!(count > last);
                    last = count;
                }
            });
        }
    });
    let additions = machine.additions();
    let ids: BTreeSet<u64> = additions[before..].iter().map(|addition| addition.number).collect();
    assert_eq!(ids.len() as u64, THREADS * EACH);
    assert_in_order(&machine, &log);
    must(log.shutdown().wait());
}

fn a_forgotten_answer_is_still_applied<L: CommandLog<Register>>(open: &dyn Fn(Arc<Register>) -> L) {
    let (machine, log) = start(open);
    drop(log.propose(Register::add(77_777, "forgotten")));
    must(log.propose(Register::add(77_778, "waited for")).wait());
    let additions = machine.additions();
    let tail: Vec<_> = additions[additions.len() - 2..]
        .iter()
        .map(|addition| addition.number)
        .collect();
    assert_eq!(tail, [77_777, 77_778]);
    must(log.shutdown().wait());
}

fn state_survives_restarts_and_checkpoints<L: CommandLog<Register>>(open: &dyn Fn(Arc<Register>) -> L) {
    let (machine, log) = start(open);
    let running = AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 500_000;
            while running.load(Ordering::Relaxed) {
                must(log.propose_inline(Register::add(number, "during a checkpoint")).wait());
                number += 1;
            }
        });
        for _ in 0..3 {
            must(log.propose(Register::add(1, "before a checkpoint")).wait());
            let before = log.last_applied();
            let index = must(log.checkpoint().wait());
            assert!(index >= before, "an image holds what was applied when it was asked for");
        }
        running.store(false, Ordering::Relaxed);
    });
    must(log.propose(Register::add(2, "after the last checkpoint")).wait());
    let expected = machine.additions();
    must(log.shutdown().wait());
    drop(log);
    for _ in 0..2 {
        let (machine, log) = start(open);
        assert_eq!(*machine.additions(), *expected, "found again as it was");
        assert_in_order(&machine, &log);
        must(log.shutdown().wait());
    }
}

fn a_closed_log_refuses<L: CommandLog<Register>>(open: &dyn Fn(Arc<Register>) -> L) {
    let (_, log) = start(open);
    let taken = log.propose(Register::add(1, "taken before the end"));
    let closing = log.shutdown();
    must(taken.wait());
    must(closing.wait());
    assert_eq!(log.propose(Register::add(2, "too late")).wait(), Err(LogError::Closed));
    let inline = log.propose_inline(Register::add(2, "too late"));
    assert_eq!(inline.wait(), Err(LogError::Closed));
    assert!(log.checkpoint().wait().is_err());
}
