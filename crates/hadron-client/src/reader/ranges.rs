//! Which ranges of a file are read together.
//!
//! Ranges close to each other are one read: what lies between costs less than a request. Pure.

use std::ops::Range;

/// Widest gap that is read along (Hadoop's `vectored.read.min.seek.size`).
const MAX_GAP: u64 = 4 * 1024;
/// Longest read that ranges are joined to (Hadoop's `vectored.read.max.size`).
const MAX_JOINED: u64 = 1024 * 1024;

/// A read, and which of the ranges asked for are in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Combined {
    pub(super) range: Range<u64>,
    /// Their numbers in the list of ranges.
    pub(super) members: Vec<usize>,
}

/// The reads for `ranges`, which may overlap and be in any order.
pub(super) fn combine(ranges: &[Range<u64>]) -> Vec<Combined> {
    let mut order: Vec<usize> = (0..ranges.len()).collect();
    order.sort_by_key(|number| ranges[*number].start);
    let mut reads: Vec<Combined> = Vec::new();
    for number in order {
        let range = &ranges[number];
        if let Some(last) = reads.last_mut() {
            let end = last.range.end.max(range.end);
            if range.start <= last.range.end.saturating_add(MAX_GAP) && end - last.range.start <= MAX_JOINED {
                last.range.end = end;
                last.members.push(number);
                continue;
            }
        }
        reads.push(Combined {
            range: range.clone(),
            members: vec![number],
        });
    }
    reads
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_read_together() {
        let check = |ranges: &[Range<u64>], expected: &[(Range<u64>, &[usize])]| {
            let expected: Vec<_> = expected
                .iter()
                .map(|(range, members)| Combined {
                    range: range.clone(),
                    members: members.to_vec(),
                })
                .collect();
            assert_eq!(combine(ranges), expected, "{ranges:?}");
        };
        check(&[], &[]);
        check(&[5..9, 5..9], &[(5..9, &[0, 1])]);
        check(&[100..200, 0..50], &[(0..200, &[1, 0])]);
        check(
            &[0..10, 4106..4110, 9000..9001],
            &[(0..4110, &[0, 1]), (9000..9001, &[2])],
        );
        check(&[0..10, 2..5, 2..20], &[(0..20, &[0, 1, 2])]);
        check(
            &[0..1_048_570, 1_048_572..1_048_580],
            &[(0..1_048_570, &[0]), (1_048_572..1_048_580, &[1])],
        );
    }
}
