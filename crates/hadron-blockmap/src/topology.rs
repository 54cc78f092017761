//! Racks as paths (`/dc1/rack7`) and how far apart two nodes are.
//!
//! What it does not do: find out which rack a host is on; that is the shell's, by table or script.
//! Invariant: distances are those of Hadoop's `NetworkTopology`: every step up or down the tree counts one, and a
//! node hangs one step below its rack, so that two nodes of a rack are 2 apart.

/// Steps between two nodes of one rack.
pub const SAME_RACK: u32 = 2;

/// Steps between a node on rack `a` and another node on rack `b`.
pub fn distance(a: &str, b: &str) -> u32 {
    let (mut left, mut right) = (levels(a), levels(b));
    loop {
        match (left.next(), right.next()) {
            (None, None) => return SAME_RACK,
            (Some(one), Some(other)) if one == other => {}
            (one, other) => {
                let above = u32::from(one.is_some()) + u32::from(other.is_some());
                return SAME_RACK + above + left.count() as u32 + right.count() as u32;
            }
        }
    }
}

/// Levels of a rack's path: 1 for `/default-rack`, 2 for `/dc1/rack7`.
pub fn depth(rack: &str) -> usize {
    levels(rack).count()
}

/// The path as Hadoop keeps it: no slash at the end. `None` unless it begins with a slash and names a rack.
pub fn normalize(rack: &str) -> Option<&str> {
    let rack = rack.trim().trim_end_matches('/');
    (rack.starts_with('/') && depth(rack) > 0).then_some(rack)
}

fn levels(rack: &str) -> impl Iterator<Item = &str> {
    rack.split('/').filter(|level| !level.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_counts_two() {
        for (a, b, steps) in [
            ("/default-rack", "/default-rack", 2),
            ("/r1", "/r2", 4),
            ("/d1/r1", "/d1/r1", 2),
            ("/d1/r1", "/d1/r2", 4),
            ("/d1/r1", "/d2/r1", 6),
            ("/d1/p1/r1", "/d2/p1/r1", 8),
            ("/d1", "/d1/r1", 3),
        ] {
            assert_eq!((distance(a, b), distance(b, a)), (steps, steps), "{a} {b}");
        }
    }

    #[test]
    fn racks_are_absolute_paths() {
        assert_eq!(normalize(" /d1/r1/ "), Some("/d1/r1"));
        for odd in ["", "/", "r1", "//"] {
            assert_eq!(normalize(odd), None, "{odd}");
        }
        assert_eq!((depth("/r1"), depth("/d1/r1")), (1, 2));
    }
}
