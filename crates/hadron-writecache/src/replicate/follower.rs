//! What a follower does with each frame from upstream.
//!
//! What it is for: order, fencing and durability of a copy. What it does not do: I/O (it returns actions, the shell does
//! them in order and reports), relay (links read the same [`Log`]).
//! Invariants: `durable <= written <= received`; a promise is durable before it is told; nothing of an older epoch is
//! written once a newer one is promised; a parcel is written once, in order, with a good checksum; what is committed is
//! never cut off an append-only log.

use bytes::Bytes;
use hadron_types::Epoch;

use crate::sealed::checksum;

use super::codec::{Frame, Refusal};
use super::log::Log;
use super::types::{History, Member, MemberId, Parcel, ReplicaState};

/// One connection from upstream; numbered by the shell.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SessionId(pub u64);

/// What the shell has to do, in this order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Make the file, then this state, durable.
    Save(ReplicaState),
    /// Write a parcel; then call [`Follower::wrote`].
    Write(Parcel),
    /// Write a piece of the file.
    Fill {
        /// Where.
        offset: u64,
        /// What.
        bytes: Bytes,
    },
    /// Make the file this long.
    SetLen(u64),
    /// Send this to the session the frame came from.
    Reply(Frame),
    /// End all links to members further down.
    Unlink,
    /// Link to the first of these, and tell it of the others.
    Link {
        /// The leader's epoch.
        epoch: Epoch,
        /// Members further down.
        chain: Vec<Member>,
    },
}

#[derive(Debug)]
struct Session {
    id: SessionId,
    epoch: Epoch,
    chain: Vec<Member>,
    started: bool,
    filled_bytes: u64,
}

/// The follower's state.
#[derive(Debug)]
pub struct Follower {
    me: MemberId,
    saved: ReplicaState,
    session: Option<Session>,
    /// Reached since the last save: parcels, reigns or a copy.
    unsaved: bool,
    /// `writing` was set by this process, which knows what it wrote.
    wrote_here: bool,
}

impl Follower {
    /// A follower that goes on from `saved`.
    pub fn new(me: MemberId, saved: ReplicaState) -> Self {
        Self {
            me,
            saved,
            session: None,
            unsaved: false,
            wrote_here: false,
        }
    }

    /// What is durable.
    pub fn saved(&self) -> &ReplicaState {
        &self.saved
    }

    /// The session that speaks for the leader.
    pub fn session(&self) -> Option<SessionId> {
        self.session.as_ref().map(|session| session.id)
    }

    /// Takes one frame.
    ///
    /// Errors: a refusal, to be sent back as the last thing of this session. The log is as it was.
    pub fn handle(&mut self, log: &mut Log, from: SessionId, frame: Frame) -> Result<Vec<Action>, Refusal> {
        match frame {
            Frame::Hello {
                group,
                epoch,
                append_only,
                chain,
            } => self.handle_hello(log, from, group, epoch, append_only, chain),
            Frame::Probe { group } => {
                self.check_group(group)?;
                Ok(vec![Action::Reply(self.welcome(None))])
            }
            Frame::Prepare { group, epoch } => self.handle_prepare(log, group, epoch),
            other => {
                let promised = self.saved.promised;
                let Some(session) = self.session.as_mut().filter(|session| session.id == from) else {
                    return Err(Refusal::StaleEpoch { promised });
                };
                if session.epoch != promised {
                    return Err(Refusal::StaleEpoch { promised });
                }
                match other {
                    Frame::Start {
                        epoch,
                        sequence,
                        extent,
                    } if !session.started => {
                        session.started = true;
                        self.handle_start(log, epoch, sequence, extent)
                    }
                    _ if !session.started => Err(Refusal::OutOfPlace),
                    other => self.handle_stream(log, other),
                }
            }
        }
    }

    /// A session is over. What it brought is kept.
    pub fn ended(&mut self, log: &mut Log, from: SessionId) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.session() == Some(from) {
            self.close_session(log, &mut actions);
        }
        actions
    }

    fn close_session(&mut self, log: &mut Log, actions: &mut Vec<Action>) {
        self.session = None;
        actions.push(Action::Unlink);
        if log.filling {
            log.filling = false;
            log.restart(self.saved.history.clone(), self.saved.last, self.saved.extent);
            log.consistent_at = self.saved.consistent_at;
            log.rewound = self.saved.rewound;
            self.unsaved = false;
        }
        if std::mem::take(&mut self.unsaved) || self.saved.writing {
            // Saved while no session writes, the state tells all that is in the file. Not so after a loss of power: then
            // `writing` stays as it was found.
            let after_crash = self.saved.writing && !self.wrote_here;
            self.saved = self.state_of(log);
            self.saved.writing = after_crash;
            actions.push(Action::Save(self.saved.clone()));
        }
    }

    /// All up to `sequence` is in the file.
    pub fn wrote(&mut self, log: &mut Log, sequence: u64) {
        log.wrote(sequence);
        self.unsaved = true;
    }

    /// The state to save now, when something changed since the last one. The shell makes the file durable first.
    pub fn to_save(&mut self, log: &Log) -> Option<ReplicaState> {
        if !std::mem::take(&mut self.unsaved) || log.filling {
            return None;
        }
        Some(self.state_of(log))
    }

    /// `state` is durable. Returns what to tell upstream.
    pub fn was_saved(&mut self, state: ReplicaState) -> Option<Frame> {
        self.saved = state;
        self.durable()
    }

    fn durable(&self) -> Option<Frame> {
        let counts = self.session.is_some() && self.saved.is_consistent();
        counts.then(|| Frame::Durable {
            member: self.me,
            epoch: self.saved.history.epoch(),
            sequence: self.saved.last,
        })
    }

    fn state_of(&self, log: &Log) -> ReplicaState {
        let (last, extent) = log.written();
        ReplicaState {
            group: self.saved.group,
            promised: self.saved.promised,
            history: log.history.clone(),
            last,
            extent,
            consistent_at: log.consistent_at,
            // Known of parcels that are not durable here, perhaps: what is saved never claims more than it has.
            committed: log.committed.min(last).max(self.saved.committed.min(last)),
            rewound: log.rewound,
            writing: self.saved.writing,
            floor: self.saved.floor,
        }
    }

    fn check_group(&self, group: u64) -> Result<(), Refusal> {
        match self.saved.group {
            0 => Ok(()),
            ours if ours == group => Ok(()),
            ours => Err(Refusal::WrongGroup { group: ours }),
        }
    }

    /// `leader`: who will send; another leader than the one that was writing when power failed must copy anew.
    fn welcome(&self, leader: Option<Epoch>) -> Frame {
        let torn = self.saved.writing && leader.is_some_and(|epoch| epoch != self.saved.history.epoch());
        Frame::Welcome {
            member: self.me,
            promised: self.saved.promised,
            last: self.saved.last,
            extent: self.saved.extent,
            consistent: self.saved.is_consistent() && !torn,
            demand: self.saved.demand(),
            history: self.saved.history.clone(),
        }
    }

    fn handle_hello(
        &mut self,
        log: &mut Log,
        from: SessionId,
        group: u64,
        epoch: Epoch,
        append_only: bool,
        chain: Vec<Member>,
    ) -> Result<Vec<Action>, Refusal> {
        self.check_group(group)?;
        let promised = self.saved.promised;
        if epoch < promised || epoch.0 == 0 {
            return Err(Refusal::StaleEpoch { promised });
        }
        let mut actions = Vec::new();
        self.close_session(log, &mut actions);
        log.append_only = append_only;
        if epoch > promised || self.saved.group != group {
            self.saved.promised = epoch;
            self.saved.group = group;
            actions.push(Action::Save(self.saved.clone()));
        }
        self.session = Some(Session {
            id: from,
            epoch,
            chain,
            started: false,
            filled_bytes: 0,
        });
        actions.push(Action::Reply(self.welcome(Some(epoch))));
        Ok(actions)
    }

    fn handle_prepare(&mut self, log: &mut Log, group: u64, epoch: Epoch) -> Result<Vec<Action>, Refusal> {
        self.check_group(group)?;
        if epoch <= self.saved.promised {
            return Err(Refusal::StaleEpoch {
                promised: self.saved.promised,
            });
        }
        let mut actions = Vec::new();
        self.close_session(log, &mut actions);
        self.saved.promised = epoch;
        self.saved.group = group;
        actions.push(Action::Save(self.saved.clone()));
        actions.push(Action::Reply(self.welcome(None)));
        Ok(actions)
    }

    fn handle_start(
        &mut self,
        log: &mut Log,
        epoch: Epoch,
        sequence: u64,
        extent: u64,
    ) -> Result<Vec<Action>, Refusal> {
        let mut actions = Vec::new();
        let saved = &self.saved;
        let kept_already = epoch == saved.history.epoch() && (sequence, extent) == (saved.last, saved.extent);
        let from_nothing = epoch.0 == 0 && sequence == 0;
        if !kept_already {
            // A log that is copied from nothing is not cut: its file is, piece by piece, replaced by the leader's.
            if sequence > saved.last || (!from_nothing && sequence < saved.committed) {
                return Err(Refusal::Committed {
                    committed: saved.committed,
                });
            }
            let mut history = saved.history.clone();
            history.cut(epoch);
            if !from_nothing && history.epoch() != epoch {
                return Err(Refusal::OutOfPlace);
            }
            log.restart(history, sequence, extent);
            if from_nothing {
                log.consistent_at = u64::MAX;
            }
            self.saved = ReplicaState {
                history: log.history.clone(),
                last: sequence,
                extent,
                consistent_at: log.consistent_at,
                committed: saved.committed.min(sequence),
                floor: if from_nothing { saved.demand() } else { saved.floor },
                ..saved.clone()
            };
        }
        let begins_to_write = !log.append_only && !self.saved.writing;
        self.wrote_here |= begins_to_write;
        self.saved.writing |= begins_to_write;
        if !kept_already || begins_to_write {
            actions.push(Action::Save(self.saved.clone()));
        }
        if log.append_only && !from_nothing {
            // What lies beyond was written and never counted.
            actions.push(Action::SetLen(extent));
        }
        self.link(log, &mut actions);
        actions.extend(self.durable().map(Action::Reply));
        Ok(actions)
    }

    /// Links to those further down once this log has reached the leader's reign: before, it cannot tell where theirs part.
    fn link(&mut self, log: &Log, actions: &mut Vec<Action>) {
        if let Some(session) = self
            .session
            .as_mut()
            .filter(|session| session.epoch == log.history.epoch())
            && !session.chain.is_empty()
        {
            actions.push(Action::Link {
                epoch: session.epoch,
                chain: std::mem::take(&mut session.chain),
            });
        }
    }

    fn handle_stream(&mut self, log: &mut Log, frame: Frame) -> Result<Vec<Action>, Refusal> {
        match frame {
            Frame::Begin(reign) if !log.filling => {
                if reign.epoch > self.saved.promised || reign.extent != log.last().1 || !log.begin(reign) {
                    return Err(Refusal::OutOfPlace);
                }
                self.unsaved = true;
                let mut actions = Vec::new();
                self.link(log, &mut actions);
                Ok(actions)
            }
            Frame::Buffer { committed, parcel } if !log.filling => {
                let expected = log.last().0 + 1;
                if parcel.sequence != expected {
                    return Err(Refusal::Gap {
                        expected,
                        found: parcel.sequence,
                    });
                }
                if !parcel.is_intact() {
                    return Err(Refusal::Checksum {
                        sequence: parcel.sequence,
                    });
                }
                log.committed = log.committed.max(committed);
                log.evict(log.written().0, parcel.bytes.len());
                log.push(parcel.clone());
                Ok(vec![Action::Write(parcel)])
            }
            Frame::Beat { committed } => {
                log.committed = log.committed.max(committed);
                Ok(Vec::new())
            }
            Frame::FillStart { extent } if !log.filling => self.handle_fill_start(log, extent),
            Frame::Fill { offset, crc, bytes } if log.filling => {
                if checksum(&bytes) != crc {
                    let sequence = log.last().0 + 1;
                    return Err(Refusal::Checksum { sequence });
                }
                if log.append_only && offset < self.saved.extent {
                    return Err(Refusal::OutOfPlace);
                }
                let mut received = 0;
                if let Some(session) = &mut self.session {
                    session.filled_bytes += bytes.len() as u64;
                    received = session.filled_bytes;
                }
                let progress = Frame::Filling {
                    member: self.me,
                    received,
                };
                Ok(vec![Action::Fill { offset, bytes }, Action::Reply(progress)])
            }
            Frame::FillEnd {
                sequence,
                extent,
                consistent_at,
                rewound,
                history,
            } if log.filling => {
                log.rewound = rewound;
                self.handle_fill_end(log, sequence, extent, consistent_at, history)
            }
            _ => Err(Refusal::OutOfPlace),
        }
    }

    fn handle_fill_start(&mut self, log: &mut Log, extent: u64) -> Result<Vec<Action>, Refusal> {
        let (last, last_extent) = log.last();
        let grows = log.append_only && extent == last_extent && log.consistent_at <= last;
        if !grows && extent != 0 {
            return Err(Refusal::OutOfPlace);
        }
        let mut actions = Vec::new();
        log.filling = true;
        if grows {
            // The copy grows the file behind what is durable, which stays true meanwhile.
            if std::mem::take(&mut self.unsaved) {
                self.saved = self.state_of(log);
                actions.push(Action::Save(self.saved.clone()));
            }
        } else {
            log.consistent_at = u64::MAX;
            self.saved = ReplicaState {
                history: History::default(),
                last: 0,
                extent: 0,
                consistent_at: u64::MAX,
                committed: 0,
                floor: self.saved.demand(),
                ..self.saved.clone()
            };
            actions.push(Action::Save(self.saved.clone()));
        }
        Ok(actions)
    }

    fn handle_fill_end(
        &mut self,
        log: &mut Log,
        sequence: u64,
        extent: u64,
        consistent_at: u64,
        history: History,
    ) -> Result<Vec<Action>, Refusal> {
        if sequence < self.saved.last || consistent_at < sequence || history.epoch() > self.saved.promised {
            return Err(Refusal::OutOfPlace);
        }
        log.restart(history, sequence, extent);
        log.filling = false;
        log.consistent_at = consistent_at;
        self.unsaved = true;
        // Longer than the leader's file it must not stay; what a rewriting store has beyond its extent follows.
        let mut actions = vec![Action::SetLen(extent)];
        self.link(log, &mut actions);
        Ok(actions)
    }
}
