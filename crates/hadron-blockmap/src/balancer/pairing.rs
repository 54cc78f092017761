//! Who gives how much to whom.

use super::racks::Racks;
use super::utilization::{Level, Standing};
use super::{Group, NodeNumber};

/// What one group is to give to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pair {
    /// Who has too much.
    pub source: Group,
    /// Who has too little.
    pub target: Group,
    /// How much.
    pub bytes: u64,
}

type Near<'a> = &'a dyn Fn(NodeNumber, NodeNumber) -> bool;

/// Pairs groups of one storage type: of the same node group first, then of the same rack, then any; each time those
/// beyond the threshold with each other, then each of these with those on the other side of the average.
///
/// The order of `standings` says who chooses first.
pub fn pair(standings: &[Standing], racks: &Racks) -> Vec<Pair> {
    let mut left: Vec<Standing> = standings.iter().copied().filter(|one| one.size > 0).collect();
    let mut pairs = Vec::new();
    let same_node_group: Near<'_> = &|one, other| racks.same_node_group(one, other);
    let same_rack: Near<'_> = &|one, other| racks.same_rack(one, other);
    let any: Near<'_> = &|_, _| true;
    let matchers = [
        (racks.has_node_groups(), same_node_group),
        (true, same_rack),
        (true, any),
    ];
    for (_, near) in matchers.into_iter().filter(|(used, _)| *used) {
        for (from, to) in [
            (Level::Over, Level::Under),
            (Level::Over, Level::Below),
            (Level::Above, Level::Under),
        ] {
            match_levels(&mut left, from, to, near, &mut pairs);
        }
    }
    pairs
}

fn match_levels(left: &mut [Standing], from: Level, to: Level, near: Near<'_>, pairs: &mut Vec<Pair>) {
    for giver in 0..left.len() {
        for taker in 0..left.len() {
            let (source, target) = (left[giver], left[taker]);
            let fits = source.level == from && target.level == to && source.group.kind == target.group.kind;
            let bytes = source.size.min(target.size);
            if !fits || bytes == 0 || !near(source.group.node, target.group.node) {
                continue;
            }
            left[giver].size -= bytes;
            left[taker].size -= bytes;
            pairs.push(Pair {
                source: source.group,
                target: target.group,
                bytes,
            });
        }
    }
}
