//! Bytes of a mapped block, given out without a copy.

use crate::short_circuit::ReplicaRef;
use hadron_shm::MappedFile;
use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// A stretch of a block, as it lies in the page cache. Many share one mapping of the block, which stays mapped at least as
/// long as any of them lives.
///
/// Anchored bytes were verified by the DataNode, which keeps them locked in memory until the last of these is dropped;
/// others were verified by nobody.
pub struct ZeroCopy {
    mapped: Arc<MappedFile>,
    range: Range<usize>,
    replica: Arc<ReplicaRef>,
    anchored: bool,
}

impl ZeroCopy {
    /// `range` lies inside the mapping. If `anchored`, the anchor is taken over.
    pub(super) fn new(mapped: Arc<MappedFile>, range: Range<usize>, replica: Arc<ReplicaRef>, anchored: bool) -> Self {
        Self {
            mapped,
            range,
            replica,
            anchored,
        }
    }

    /// Whether the DataNode keeps these bytes in memory, verified.
    pub fn is_anchored(&self) -> bool {
        self.anchored
    }
}

impl Deref for ZeroCopy {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.mapped.bytes()[self.range.clone()]
    }
}

impl AsRef<[u8]> for ZeroCopy {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Drop for ZeroCopy {
    fn drop(&mut self) {
        if self.anchored {
            self.replica.remove_anchor();
        }
    }
}

impl fmt::Debug for ZeroCopy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZeroCopy")
            .field("range", &self.range)
            .field("anchored", &self.anchored)
            .finish_non_exhaustive()
    }
}
