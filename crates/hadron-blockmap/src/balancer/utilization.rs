//! Who has too much and who too little.
//!
//! The utilization of a group is its used share in percent, held against that of all groups of its type together.

use super::{Group, GroupSpace, Member, NodeNumber, Part};
use hadron_types::StorageType;

/// What "even" means, and how much may be moved in one go.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Limits {
    /// Percent above or below the average that is still even.
    pub threshold: f64,
    /// Most bytes that one group gives or takes in one iteration.
    pub max_size: u64,
}

/// Where a group stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub enum Level {
    /// Above the average by more than the threshold.
    Over,
    /// Above the average.
    Above,
    /// At the average or below it.
    Below,
    /// Below the average by more than the threshold.
    Under,
}

/// A group, where it stands, and how much of a difference may be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// The group.
    pub group: Group,
    /// Where it stands.
    pub level: Level,
    /// Bytes it may give ([`Level::Over`], [`Level::Above`]) or take.
    pub size: u64,
}

/// The whole picture.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Utilizations {
    /// Every group that takes part.
    pub standings: Vec<Standing>,
    /// Bytes to move until nobody is beyond the threshold; 0: the cluster is balanced.
    pub left: u64,
}

/// Where every group of `members` stands. Groups without capacity do not take part, neither do transient ones.
pub fn classify(members: &[Member], limits: &Limits) -> Utilizations {
    let mut standings = Vec::new();
    let (mut over, mut under) = (0_u64, 0_u64);
    for (number, member) in members.iter().enumerate() {
        for space in &member.groups {
            let group = Group {
                node: NodeNumber(number),
                kind: space.kind,
            };
            let Some(average) = average(members, space.kind) else {
                continue;
            };
            if member.part == Part::None || !is_movable(space) {
                continue;
            }
            let difference = percent(space.used, space.capacity) - average;
            if difference >= 0.0 && member.part == Part::Takes {
                continue;
            }
            let beyond = difference.abs() - limits.threshold;
            let beyond_bytes = if beyond > 0.0 { share(beyond, space.capacity) } else { 0 };
            let bytes = share(difference.abs(), space.capacity).min(limits.max_size);
            let (level, size) = if difference > 0.0 {
                over = over.saturating_add(beyond_bytes);
                (if beyond > 0.0 { Level::Over } else { Level::Above }, bytes)
            } else {
                under = under.saturating_add(beyond_bytes);
                let level = if beyond > 0.0 { Level::Under } else { Level::Below };
                (level, bytes.min(space.remaining))
            };
            standings.push(Standing { group, level, size });
        }
    }
    Utilizations {
        standings,
        left: over.max(under),
    }
}

/// Replicas in memory are moved by nobody, and providers' are not ours.
fn is_movable(space: &GroupSpace) -> bool {
    space.capacity > 0 && !space.kind.is_transient() && space.kind != StorageType::Provided
}

/// Percent used of all capacity of a type, on the nodes that take part.
fn average(members: &[Member], kind: StorageType) -> Option<f64> {
    let taking_part = members.iter().filter(|member| member.part != Part::None);
    let groups = taking_part.flat_map(|member| &member.groups);
    let (used, capacity) = groups
        .filter(|space| space.kind == kind && is_movable(space))
        .fold((0_u64, 0_u64), |(used, capacity), space| {
            (used.saturating_add(space.used), capacity.saturating_add(space.capacity))
        });
    (capacity > 0).then(|| percent(used, capacity))
}

fn percent(part: u64, whole: u64) -> f64 {
    part as f64 * 100.0 / whole as f64
}

fn share(percent: f64, whole: u64) -> u64 {
    (percent * whole as f64 / 100.0) as u64
}
