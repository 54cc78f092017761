//! Who is in the chain, what is committed, and whom to cut out.
//!
//! What it is for: the leader's judgement. What it does not do: I/O, clocks (now is an argument), the log itself.
//! Invariants: committed only rises, and only by what `needed` members, the leader included, hold durably in a log that
//! has reached this leader's own reign; a lost member counts again only after it said so itself; a deposed leader
//! commits nothing.

use std::time::Duration;

use hadron_types::Epoch;

use super::types::{Member, MemberId};

/// When a silent member is cut out, and how soon it is asked again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Patience {
    /// A member that owes something and says nothing for this long is cut out.
    pub stall_after: Duration,
    /// A lost member is asked again after this long.
    pub retry_after: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            stall_after: Duration::from_secs(5),
            retry_after: Duration::from_secs(1),
        }
    }
}

/// What the leader knows of one follower.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FollowerStatus {
    /// Who and where.
    pub member: Member,
    /// The last sequence it has durable under this reign; `None` until it said so.
    pub durable: Option<u64>,
    /// `None` while it is in the chain; else when to ask it again.
    pub lost_until: Option<Duration>,
    heard_at: Duration,
}

/// What the shell has to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Order {
    /// End the chain and form this one.
    Form(Vec<Member>),
    /// Ask this lost member whether it is alive; then call [`Leader::found`] or [`Leader::missed`].
    Probe(Member),
}

/// The leader's state.
#[derive(Debug)]
pub struct Leader {
    epoch: Epoch,
    followers: Vec<FollowerStatus>,
    own_durable: Option<u64>,
    needed: usize,
    committed: u64,
    patience: Patience,
    deposed: Option<Epoch>,
    probing: Option<MemberId>,
}

impl Leader {
    /// A leader whose log is durable up to `last` under its own reign. `needed` counts the leader.
    pub fn new(
        epoch: Epoch,
        followers: Vec<Member>,
        needed: usize,
        last: u64,
        committed: u64,
        patience: Patience,
        now: Duration,
    ) -> Self {
        let status = |member| FollowerStatus {
            member,
            durable: None,
            lost_until: None,
            heard_at: now,
        };
        let mut leader = Self {
            epoch,
            followers: followers.into_iter().map(status).collect(),
            own_durable: Some(last),
            needed: needed.max(1),
            committed,
            patience,
            deposed: None,
            probing: None,
        };
        leader.recount();
        leader
    }

    /// The reign.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// All up to here is durable on as many members as needed.
    pub fn committed(&self) -> u64 {
        self.committed
    }

    /// The later epoch that ended this reign.
    pub fn deposed(&self) -> Option<Epoch> {
        self.deposed
    }

    /// All followers, those in the chain first to last, then the lost ones.
    pub fn followers(&self) -> &[FollowerStatus] {
        &self.followers
    }

    /// The chain as it should be.
    pub fn chain(&self) -> Vec<Member> {
        let live = self.followers.iter().filter(|status| status.lost_until.is_none());
        live.map(|status| status.member.clone()).collect()
    }

    /// Parcels up to here may leave memory: they are committed, or all members of a chain that is not empty have them.
    pub fn releasable(&self) -> u64 {
        self.committed.max(self.chain_has().unwrap_or(0))
    }

    /// What all of the chain have durable; `None` when it is empty.
    pub fn chain_has(&self) -> Option<u64> {
        let live = self.followers.iter().filter(|status| status.lost_until.is_none());
        live.map(|status| status.durable.unwrap_or(0)).min()
    }

    /// Members that can count: the leader and those in the chain.
    pub fn alive(&self) -> usize {
        1 + self
            .followers
            .iter()
            .filter(|status| status.lost_until.is_none())
            .count()
    }

    /// The leader's own file is durable up to `sequence`. True when more is committed now.
    pub fn own_durable(&mut self, sequence: u64) -> bool {
        self.own_durable = self.own_durable.max(Some(sequence));
        self.recount()
    }

    /// A follower's log, of this reign, is durable up to `sequence`. True when more is committed now.
    pub fn durable(&mut self, member: MemberId, epoch: Epoch, sequence: u64, last: u64, now: Duration) -> bool {
        let ours = self.epoch;
        self.heard(member, now);
        let Some(status) = self.status(member) else {
            return false;
        };
        if epoch != ours || sequence > last || status.lost_until.is_some() {
            return false;
        }
        status.durable = status.durable.max(Some(sequence));
        self.recount()
    }

    /// A follower said something. Those behind it that were not heard yet wait for it, and are not to blame.
    pub fn heard(&mut self, member: MemberId, now: Duration) {
        let Some(at) = self.followers.iter().position(|status| status.member.id == member) else {
            return;
        };
        self.followers[at].heard_at = now;
        for behind in &mut self.followers[at + 1..] {
            if behind.durable.is_none() {
                behind.heard_at = now;
            }
        }
    }

    /// A follower refused because of a later epoch: this reign is over.
    pub fn depose(&mut self, by: Epoch) {
        if by > self.epoch {
            self.deposed = self.deposed.max(Some(by));
        }
    }

    /// A follower is lost: the chain is formed without it. `None` when that was known.
    pub fn lost(&mut self, member: MemberId, now: Duration) -> Option<Order> {
        let retry_at = now + self.patience.retry_after;
        let status = self.status(member).filter(|status| status.lost_until.is_none())?;
        status.lost_until = Some(retry_at);
        status.durable = None;
        self.start_clocks(now);
        Some(Order::Form(self.chain()))
    }

    /// A lost follower answered a probe: it goes to the end of the chain, where it holds up nobody.
    pub fn found(&mut self, member: MemberId, now: Duration) -> Option<Order> {
        self.probing = None;
        let at = self.followers.iter().position(|status| status.member.id == member)?;
        self.followers[at].lost_until?;
        let mut status = self.followers.remove(at);
        status.lost_until = None;
        self.followers.push(status);
        self.start_clocks(now);
        Some(Order::Form(self.chain()))
    }

    /// A lost follower did not answer a probe.
    pub fn missed(&mut self, member: MemberId, now: Duration) {
        self.probing = None;
        let retry_at = now + self.patience.retry_after;
        if let Some(status) = self.status(member).filter(|status| status.lost_until.is_some()) {
            status.lost_until = Some(retry_at);
        }
    }

    /// Time has passed. `last`: the last sequence offered.
    pub fn tick(&mut self, last: u64, now: Duration) -> Vec<Order> {
        let mut orders = Vec::new();
        let stall_after = self.patience.stall_after;
        // The first that stalls is to blame: those behind it hear nothing because of it.
        let stalled = self.followers.iter_mut().find_map(|status| {
            if status.lost_until.is_some() {
                return None;
            }
            if status.durable == Some(last) {
                status.heard_at = now;
                return None;
            }
            (now.saturating_sub(status.heard_at) >= stall_after).then_some(status.member.id)
        });
        if let Some(order) = stalled.and_then(|member| self.lost(member, now)) {
            orders.push(order);
        }
        if self.probing.is_none() {
            let due = self
                .followers
                .iter()
                .find(|status| status.lost_until.is_some_and(|at| at <= now));
            if let Some(status) = due {
                self.probing = Some(status.member.id);
                orders.push(Order::Probe(status.member.clone()));
            }
        }
        orders
    }

    fn status(&mut self, member: MemberId) -> Option<&mut FollowerStatus> {
        self.followers.iter_mut().find(|status| status.member.id == member)
    }

    fn start_clocks(&mut self, now: Duration) {
        for status in &mut self.followers {
            status.heard_at = now;
        }
    }

    fn recount(&mut self) -> bool {
        if self.deposed.is_some() {
            return false;
        }
        let mut durable: Vec<u64> = self.followers.iter().filter_map(|status| status.durable).collect();
        durable.extend(self.own_durable);
        durable.sort_unstable_by(|a, b| b.cmp(a));
        match durable.get(self.needed - 1) {
            Some(&sequence) if sequence > self.committed => {
                self.committed = sequence;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: MemberId = MemberId(1);
    const B: MemberId = MemberId(2);

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn leader() -> Leader {
        let member = |id| Member {
            id,
            address: "127.0.0.1:1".into(),
        };
        let patience = Patience {
            stall_after: at(50),
            retry_after: at(10),
        };
        Leader::new(Epoch(3), vec![member(A), member(B)], 2, 5, 4, patience, at(0))
    }

    fn ids(chain: &[Member]) -> Vec<MemberId> {
        chain.iter().map(|member| member.id).collect()
    }

    #[test]
    fn only_logs_of_this_reign_count() {
        let mut leader = leader();
        assert_eq!(leader.committed(), 4);
        assert!(!leader.durable(A, Epoch(2), 5, 5, at(1)), "of an older reign");
        assert!(!leader.durable(A, Epoch(3), 9, 5, at(1)), "more than was offered");
        assert!(!leader.durable(MemberId(9), Epoch(3), 5, 5, at(1)), "no member");
        assert!(leader.durable(A, Epoch(3), 5, 5, at(1)));
        assert!(!leader.durable(B, Epoch(3), 6, 7, at(1)), "one of three");
        assert!(leader.own_durable(7));
        assert_eq!((leader.committed(), leader.releasable()), (6, 6));
        leader.depose(Epoch(3));
        assert_eq!(leader.deposed(), None);
        leader.depose(Epoch(8));
        assert!(!leader.durable(B, Epoch(3), 7, 7, at(2)), "its reign is over");
        assert_eq!((leader.committed(), leader.deposed()), (6, Some(Epoch(8))));
    }

    #[test]
    fn the_first_that_stalls_is_cut_out_and_comes_back_at_the_end() {
        let mut leader = leader();
        leader.durable(A, Epoch(3), 5, 6, at(30));
        assert_eq!(leader.tick(6, at(60)), []);
        // The first has been silent for 50 ms; the second only waited for it.
        let orders = leader.tick(6, at(80));
        let [Order::Form(chain)] = &orders[..] else {
            panic!("{orders:?}")
        };
        assert_eq!(ids(chain), [B]);
        assert_eq!(leader.lost(A, at(81)), None, "that was known");
        let orders = leader.tick(6, at(91));
        assert!(
            matches!(&orders[..], [Order::Probe(member)] if member.id == A),
            "{orders:?}"
        );
        assert_eq!(leader.tick(6, at(92)), [], "one probe at a time");
        leader.missed(A, at(93));
        assert_eq!(leader.tick(6, at(102)), []);
        assert_eq!(leader.tick(6, at(103)).len(), 1);
        let Some(Order::Form(chain)) = leader.found(A, at(104)) else {
            panic!("it is back")
        };
        assert_eq!(ids(&chain), [B, A]);
        assert_eq!(leader.followers()[1].durable, None, "it counts again once it says so");
    }
}
