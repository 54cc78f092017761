//! One iteration: blocks, targets and proxies for what was paired, one move at a time.
//!
//! ```text
//!   Fetch(source) --> blocks_received / fetch_failed
//!   Move(order)   --> move_ended
//!   Wait          --> any of these, or the time that it names
//!   Done          --> nothing more can be moved in this iteration
//! ```
//!
//! A shell calls [`Schedule::next`] until it says to wait, and again after each event. Invariants: no node sends or
//! takes more moves at a time than `moves_per_node`, none within `backoff_ms` of a failure it had a part in; no more is
//! fetched for a source than twice what it is to give, and each block is tried once, so that every iteration ends.

use super::choice::Candidate;
use super::moved::MovedBlocks;
use super::pairing::Pair;
use super::racks::Racks;
use super::{Group, NodeNumber};
use hadron_types::{Block, TimeMs};
use hashbrown::HashMap;

/// A source with fewer blocks to choose from asks for more.
const MIN_BLOCKS: usize = 5;

/// How fast and how long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// Moves that a node takes part in at a time, as target or as proxy.
    pub moves_per_node: usize,
    /// Moves at a time.
    pub moves: usize,
    /// Sources for which blocks are asked for at a time.
    pub fetches: usize,
    /// Most bytes of blocks to ask for at once.
    pub fetch_bytes: u64,
    /// How long a node is left alone after a failure.
    pub backoff_ms: u64,
    /// How long an iteration begins new moves.
    pub iteration_ms: u64,
}

/// One move of one schedule.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct MoveId(u64);

/// What is to be moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MoveOrder {
    /// For [`Schedule::move_ended`].
    pub id: MoveId,
    /// The block.
    pub block: Block,
    /// Whose replica is to go.
    pub source: Group,
    /// Who is to have one.
    pub target: Group,
    /// Who sends it.
    pub proxy: Group,
}

/// What to do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Ask the NameNode for about so many bytes of the source's blocks.
    Fetch {
        /// Whose.
        source: Group,
        /// How much, > 0.
        bytes: u64,
    },
    /// Begin a move.
    Move(MoveOrder),
    /// Come back after an event, or at this time.
    Wait(Option<TimeMs>),
    /// The iteration is over.
    Done,
}

#[derive(Debug)]
struct Source {
    group: Group,
    /// Target and bytes still to be given to it.
    tasks: Vec<(Group, u64)>,
    blocks: Vec<Candidate>,
    /// Bytes of blocks that may still be asked for.
    to_receive: u64,
    fetching: bool,
}

#[derive(Clone, Copy, Default, Debug)]
struct Load {
    moves: usize,
    /// Left alone until then.
    until: Option<TimeMs>,
}

/// The state of an iteration.
#[derive(Debug)]
pub struct Schedule {
    rules: Rules,
    racks: Racks,
    sources: Vec<Source>,
    loads: HashMap<NodeNumber, Load>,
    running: HashMap<MoveId, MoveOrder>,
    fetching: usize,
    turn: usize,
    next_id: u64,
    deadline: TimeMs,
}

impl Schedule {
    /// For `pairs`, from `now` on.
    pub fn new(pairs: &[Pair], racks: Racks, rules: Rules, now: TimeMs) -> Self {
        let mut sources: Vec<Source> = Vec::new();
        for pair in pairs {
            let known = sources.iter().position(|source| source.group == pair.source);
            let at = known.unwrap_or_else(|| {
                sources.push(Source {
                    group: pair.source,
                    tasks: Vec::new(),
                    blocks: Vec::new(),
                    to_receive: 0,
                    fetching: false,
                });
                sources.len() - 1
            });
            sources[at].tasks.push((pair.target, pair.bytes));
            sources[at].to_receive = sources[at].to_receive.saturating_add(pair.bytes.saturating_mul(2));
        }
        Self {
            rules,
            racks,
            sources,
            loads: HashMap::new(),
            running: HashMap::new(),
            fetching: 0,
            turn: 0,
            next_id: 0,
            deadline: now.plus(rules.iteration_ms),
        }
    }

    /// What to do now; a [`Step::Move`] is noted in `moved`.
    pub fn next(&mut self, moved: &mut MovedBlocks, now: TimeMs) -> Step {
        if now < self.deadline {
            for turn in 0..self.sources.len() {
                let at = (self.turn + turn) % self.sources.len();
                let step = self.start_move(at, moved, now).or_else(|| self.start_fetch(at));
                if let Some(step) = step {
                    self.turn = at + 1;
                    return step;
                }
            }
        }
        let busy = !self.running.is_empty() || self.fetching > 0;
        match self.next_release(now) {
            Some(at) => Step::Wait(Some(at)),
            None if busy => Step::Wait(None),
            None => Step::Done,
        }
    }

    /// Bytes that are still to be moved.
    pub fn bytes_left(&self) -> u64 {
        let tasks = self.sources.iter().flat_map(|source| &source.tasks);
        tasks.map(|(_, bytes)| bytes).sum()
    }

    /// Blocks that the NameNode named for a source.
    pub fn blocks_received(&mut self, group: Group, blocks: Vec<Candidate>, moved: &MovedBlocks) {
        let racks = &self.racks;
        let Some(source) = self
            .sources
            .iter_mut()
            .find(|source| source.group == group && source.fetching)
        else {
            return;
        };
        source.fetching = false;
        self.fetching -= 1;
        let received: u64 = blocks.iter().map(|one| one.block.len).sum();
        source.to_receive = match received {
            // There are no more.
            0 => 0,
            some => source.to_receive.saturating_sub(some),
        };
        for candidate in blocks {
            let known = source.blocks.iter().any(|one| one.block.id == candidate.block.id);
            let wanted = |(target, _): &(Group, u64)| candidate.may_move(group, *target, racks);
            if !known && !moved.contains(candidate.block.id) && source.tasks.iter().any(wanted) {
                source.blocks.push(candidate);
            }
        }
    }

    /// The NameNode did not say which blocks a source has: it gives no more in this iteration.
    pub fn fetch_failed(&mut self, group: Group) {
        if let Some(source) = self
            .sources
            .iter_mut()
            .find(|source| source.group == group && source.fetching)
        {
            source.fetching = false;
            source.to_receive = 0;
            self.fetching -= 1;
        }
    }

    /// A move is over.
    pub fn move_ended(&mut self, id: MoveId, succeeded: bool, now: TimeMs) {
        let Some(order) = self.running.remove(&id) else { return };
        for node in [order.target.node, order.proxy.node] {
            let load = self.loads.entry(node).or_default();
            load.moves = load.moves.saturating_sub(1);
            if !succeeded {
                load.until = Some(now.plus(self.rules.backoff_ms));
            }
        }
    }

    /// When the first node that is left alone may be used again, if there is anything to use it for.
    fn next_release(&self, now: TimeMs) -> Option<TimeMs> {
        let wanted = |source: &Source| !source.tasks.is_empty() && !source.blocks.is_empty();
        if now >= self.deadline || !self.sources.iter().any(wanted) {
            return None;
        }
        let waiting = self.loads.values().filter_map(|load| load.until);
        waiting.filter(|until| *until > now).min()
    }

    fn is_free(&self, node: NodeNumber, now: TimeMs) -> bool {
        let load = self.loads.get(&node).copied().unwrap_or_default();
        load.moves < self.rules.moves_per_node && load.until.is_none_or(|until| until <= now)
    }

    fn start_fetch(&mut self, at: usize) -> Option<Step> {
        let (source, racks) = (&mut self.sources[at], &self.racks);
        // Those that no target left may have only keep others from being asked for.
        let (tasks, group) = (&source.tasks, source.group);
        source
            .blocks
            .retain(|one| tasks.iter().any(|(target, _)| one.may_move(group, *target, racks)));
        let wants = !source.tasks.is_empty() && source.blocks.len() < MIN_BLOCKS && source.to_receive > 0;
        if !wants || source.fetching || self.fetching >= self.rules.fetches {
            return None;
        }
        source.fetching = true;
        self.fetching += 1;
        Some(Step::Fetch {
            source: source.group,
            bytes: source.to_receive.min(self.rules.fetch_bytes).max(1),
        })
    }

    fn start_move(&mut self, at: usize, moved: &mut MovedBlocks, now: TimeMs) -> Option<Step> {
        if self.running.len() >= self.rules.moves {
            return None;
        }
        self.sources[at].blocks.retain(|one| !moved.contains(one.block.id));
        let (task, block, proxy) = self.choose(&self.sources[at], now)?;
        let source = &mut self.sources[at];
        let candidate = source.blocks.remove(block);
        let (target, left) = &mut source.tasks[task];
        let target = *target;
        *left = left.saturating_sub(candidate.block.len);
        if *left == 0 {
            source.tasks.remove(task);
        }
        let order = MoveOrder {
            id: MoveId(self.next_id),
            block: candidate.block,
            source: source.group,
            target,
            proxy,
        };
        self.next_id += 1;
        for node in [target.node, proxy.node] {
            self.loads.entry(node).or_default().moves += 1;
        }
        moved.note(candidate.block.id, now);
        self.running.insert(order.id, order);
        Some(Step::Move(order))
    }

    /// Task, block and proxy of the first move of a source that may begin now.
    fn choose(&self, source: &Source, now: TimeMs) -> Option<(usize, usize, Group)> {
        let free = |group: &Group| self.is_free(group.node, now);
        let tasks = source.tasks.iter().enumerate().filter(|(_, (target, _))| free(target));
        for (task, (target, _)) in tasks {
            for (at, candidate) in source.blocks.iter().enumerate() {
                if !candidate.may_move(source.group, *target, &self.racks) {
                    continue;
                }
                if let Some(proxy) = candidate.proxies(*target, &self.racks).find(free) {
                    return Some((task, at, proxy));
                }
            }
        }
        None
    }
}
