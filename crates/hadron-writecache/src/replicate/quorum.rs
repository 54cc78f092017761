//! Who belongs to the group, who leads it under which epoch, and how many must have a buffer before it counts.
//!
//! What it is for: the one place where membership enters. What it does not do: elect, or detect failures.
//! Invariants of an implementation: members are the same on all members; two sets of `needed` members always share one.

use std::fmt;

use hadron_types::Epoch;
use parking_lot::Mutex;

use super::codec::{MAX_ADDRESS_BYTES, MAX_MEMBERS};
use super::types::{Member, MemberId};

/// Membership as the replication sees it.
pub trait Quorum: fmt::Debug + Send + Sync {
    /// The group; members of others are refused. Not 0.
    fn group(&self) -> u64;
    /// This member.
    fn me(&self) -> MemberId;
    /// All members in the order of the chain, this one included.
    fn members(&self) -> Vec<Member>;
    /// Who leads, when that is known.
    fn leader(&self) -> Option<MemberId>;
    /// The leader's epoch; 0 before the first.
    fn epoch(&self) -> Epoch;
    /// Members that must have a buffer durable, the leader included.
    fn needed(&self) -> usize {
        self.members().len() / 2 + 1
    }
}

/// Why a group cannot be.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum QuorumError {
    /// An even number, none, or too many.
    #[error("a group has an odd number of members up to {MAX_MEMBERS}, not {0}; change the list of members")]
    Count(usize),
    /// A name that is there twice.
    #[error("{0} is listed twice; give each member its own number")]
    Twice(MemberId),
    /// This member is not in the list.
    #[error("{0}, this member, is not in the list of members; add it")]
    NotListed(MemberId),
    /// An address that is empty or too long.
    #[error("the address of {0} is empty or longer than {MAX_ADDRESS_BYTES} bytes")]
    Address(MemberId),
    /// Group 0.
    #[error("group 0 means none; choose another number")]
    Group,
}

/// A group whose members never change; its leader is the one told at the start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StaticQuorum {
    group: u64,
    me: MemberId,
    members: Vec<Member>,
    leader: Option<MemberId>,
    epoch: Epoch,
}

impl StaticQuorum {
    /// A group of these members. `leader` leads under `epoch`.
    ///
    /// Errors: a list that is even, too long, or in disorder.
    pub fn new(
        group: u64,
        me: MemberId,
        members: Vec<Member>,
        leader: Option<MemberId>,
        epoch: Epoch,
    ) -> Result<Self, QuorumError> {
        if group == 0 {
            return Err(QuorumError::Group);
        }
        if members.len().is_multiple_of(2) || members.len() > MAX_MEMBERS {
            return Err(QuorumError::Count(members.len()));
        }
        for (at, member) in members.iter().enumerate() {
            if members[..at].iter().any(|other| other.id == member.id) {
                return Err(QuorumError::Twice(member.id));
            }
            if !(1..=MAX_ADDRESS_BYTES).contains(&member.address.len()) {
                return Err(QuorumError::Address(member.id));
            }
        }
        for needed in [Some(me), leader].into_iter().flatten() {
            if !members.iter().any(|member| member.id == needed) {
                return Err(QuorumError::NotListed(needed));
            }
        }
        Ok(Self {
            group,
            me,
            members,
            leader,
            epoch,
        })
    }
}

impl Quorum for StaticQuorum {
    fn group(&self) -> u64 {
        self.group
    }
    fn me(&self) -> MemberId {
        self.me
    }
    fn members(&self) -> Vec<Member> {
        self.members.clone()
    }
    fn leader(&self) -> Option<MemberId> {
        self.leader
    }
    fn epoch(&self) -> Epoch {
        self.epoch
    }
}

/// A group for tests: everything can be changed while it is in use.
#[derive(Debug)]
pub struct TestQuorum {
    group: u64,
    me: MemberId,
    state: Mutex<TestState>,
}

#[derive(Debug)]
struct TestState {
    members: Vec<Member>,
    leader: Option<MemberId>,
    epoch: Epoch,
    needed: usize,
}

impl TestQuorum {
    /// A group with no leader in which a majority of `members` is needed.
    pub fn new(group: u64, me: MemberId, members: Vec<Member>) -> Self {
        let needed = members.len() / 2 + 1;
        Self {
            group,
            me,
            state: Mutex::new(TestState {
                members,
                leader: None,
                epoch: Epoch(0),
                needed,
            }),
        }
    }

    /// Another leader.
    pub fn set_leader(&self, leader: Option<MemberId>, epoch: Epoch) {
        let mut state = self.state.lock();
        state.leader = leader;
        state.epoch = epoch;
    }

    /// Other members.
    pub fn set_members(&self, members: Vec<Member>) {
        self.state.lock().members = members;
    }

    /// Another number of members needed.
    pub fn set_needed(&self, needed: usize) {
        self.state.lock().needed = needed;
    }
}

impl Quorum for TestQuorum {
    fn group(&self) -> u64 {
        self.group
    }
    fn me(&self) -> MemberId {
        self.me
    }
    fn members(&self) -> Vec<Member> {
        self.state.lock().members.clone()
    }
    fn leader(&self) -> Option<MemberId> {
        self.state.lock().leader
    }
    fn epoch(&self) -> Epoch {
        self.state.lock().epoch
    }
    fn needed(&self) -> usize {
        self.state.lock().needed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // covers: WC-40
    #[test]
    fn a_group_is_odd_unique_and_holds_this_member() {
        let member = |id: u32| Member {
            id: MemberId(id),
            address: format!("127.0.0.1:{id}"),
        };
        let group = |ids: &[u32]| {
            let members = ids.iter().map(|&id| member(id)).collect();
            StaticQuorum::new(7, MemberId(1), members, Some(MemberId(1)), Epoch(1))
        };
        assert_eq!(group(&[1, 2, 3]).map(|quorum| quorum.needed()), Ok(2));
        assert_eq!(group(&[1]).map(|quorum| quorum.needed()), Ok(1));
        assert_eq!(group(&[1, 2, 3, 4, 5]).map(|quorum| quorum.needed()), Ok(3));
        assert_eq!(group(&[1, 2]), Err(QuorumError::Count(2)));
        assert_eq!(group(&[]), Err(QuorumError::Count(0)));
        assert_eq!(group(&[1, 2, 2]), Err(QuorumError::Twice(MemberId(2))));
        assert_eq!(group(&[4, 2, 3]), Err(QuorumError::NotListed(MemberId(1))));
        let nameless = Member {
            id: MemberId(1),
            address: String::new(),
        };
        let refused = StaticQuorum::new(7, MemberId(1), vec![nameless], None, Epoch(0));
        assert_eq!(refused, Err(QuorumError::Address(MemberId(1))));
        assert_eq!(
            StaticQuorum::new(0, MemberId(1), vec![member(1)], None, Epoch(0)),
            Err(QuorumError::Group)
        );
    }
}
