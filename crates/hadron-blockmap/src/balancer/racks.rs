//! Who is near whom.

use super::{Member, NodeNumber};

/// Racks, and node groups where the topology has them, as numbers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Racks {
    racks: Vec<usize>,
    /// The lowest level of the path, in a topology with node groups.
    groups: Option<Vec<usize>>,
}

impl Racks {
    /// Of these nodes. `node_groups`: the last part of a rack's path names a node group of the rack before it.
    pub fn new(members: &[Member], node_groups: bool) -> Self {
        let whole: Vec<&str> = members.iter().map(|member| member.rack.trim_end_matches('/')).collect();
        if !node_groups {
            return Self {
                racks: numbers(&whole),
                groups: None,
            };
        }
        let above = |path: &&'_ str| path.rfind('/').map_or(0, |slash| slash);
        let racks: Vec<&str> = whole.iter().map(|path| &path[..above(path)]).collect();
        Self {
            racks: numbers(&racks),
            groups: Some(numbers(&whole)),
        }
    }

    /// Whether there are node groups.
    pub fn has_node_groups(&self) -> bool {
        self.groups.is_some()
    }

    /// A number for the node's rack.
    pub(super) fn rack(&self, node: NodeNumber) -> usize {
        self.racks[node.0]
    }

    /// Whether both are on one rack.
    pub fn same_rack(&self, one: NodeNumber, other: NodeNumber) -> bool {
        self.rack(one) == self.rack(other)
    }

    /// Whether both are in one node group; never without such.
    pub fn same_node_group(&self, one: NodeNumber, other: NodeNumber) -> bool {
        let groups = self.groups.as_ref();
        groups.is_some_and(|groups| groups[one.0] == groups[other.0])
    }
}

/// Equal texts get equal numbers.
fn numbers(texts: &[&str]) -> Vec<usize> {
    let mut known: Vec<&str> = texts.to_vec();
    known.sort_unstable();
    known.dedup();
    texts
        .iter()
        .map(|text| known.binary_search(text).unwrap_or(0))
        .collect()
}
