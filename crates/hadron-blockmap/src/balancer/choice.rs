//! Whether a block may be moved, and who sends it.

use super::Group;
use super::racks::Racks;
use hadron_types::Block;

/// A block that a source holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// Id, stamp and length.
    pub block: Block,
    /// All its sound replicas, also on nodes that are left out of balancing.
    pub places: Vec<Group>,
}

impl Candidate {
    /// Whether its replica may go from `source` to `target` without the block being worse off.
    pub fn may_move(&self, source: Group, target: Group, racks: &Racks) -> bool {
        let others = || {
            self.places
                .iter()
                .map(|place| place.node)
                .filter(|node| *node != source.node)
        };
        self.places.contains(&source)
            && self.places.iter().all(|place| place.node != target.node)
            && others().all(|node| !racks.same_node_group(node, target.node))
            && self.keeps_spread(source, target, racks)
    }

    fn keeps_spread(&self, source: Group, target: Group, racks: &Racks) -> bool {
        let mut before: Vec<usize> = self.places.iter().map(|place| racks.rack(place.node)).collect();
        let kept = self.places.iter().filter(|place| place.node != source.node);
        let mut after: Vec<usize> = kept.map(|place| racks.rack(place.node)).collect();
        after.push(racks.rack(target.node));
        count(&mut after) >= count(&mut before)
    }

    /// Who could send it to `target`, the nearest first.
    pub fn proxies(&self, target: Group, racks: &Racks) -> impl Iterator<Item = Group> {
        let mut places = self.places.clone();
        places.sort_by_key(|place| {
            let near = racks.same_node_group(place.node, target.node);
            (!near, !racks.same_rack(place.node, target.node))
        });
        places.into_iter()
    }
}

/// How many different ones.
fn count(racks: &mut Vec<usize>) -> usize {
    racks.sort_unstable();
    racks.dedup();
    racks.len()
}
