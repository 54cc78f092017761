//! A replica of which this client holds the descriptors.

use super::BlockKey;
use super::manager::ShmSlot;
use hadron_proto::hdfs::LocatedBlockProto;
use hadron_shm::MappedFile;
use hadron_wire::transfer::Checksum;
use parking_lot::Mutex;
use std::cmp::Ordering;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::Notify;

/// Descriptors of one replica, and what goes with them. Closed on drop.
pub(crate) struct Replica {
    pub(crate) key: BlockKey,
    /// Name of the DataNode whose replica it is; others on this machine may have one, too.
    pub(crate) node: String,
    /// Generation stamp of the block when it was located for whoever asked for these files.
    pub(super) stamp: u64,
    pub(crate) data: File,
    /// Header and checksums.
    pub(crate) meta: File,
    pub(crate) checksum: Checksum,
    /// On the cache's clock.
    pub(super) created: Duration,
    pub(super) slot: Option<ShmSlot>,
    pub(super) map: Mutex<MapState>,
    /// Its bytes are not what they should be.
    pub(super) bad: AtomicBool,
}

/// The one mapping of a replica.
#[derive(Default)]
pub(super) enum MapState {
    #[default]
    None,
    /// Somebody maps it; told when that is over.
    Loading(Arc<Notify>),
    Mapped(Arc<MappedFile>),
    /// It could not be mapped at that time.
    Failed(Duration),
}

impl Replica {
    /// Nobody else shall read it.
    pub(crate) fn mark_bad(&self) {
        self.bad.store(true, Relaxed);
    }

    /// Whether it may no longer be the block's: it is bad, its DataNode said so in the slot, or it has no slot and is too old.
    pub(super) fn is_stale(&self, now: Duration, threshold: Duration) -> bool {
        if self.bad.load(Relaxed) {
            return true;
        }
        match &self.slot {
            Some(slot) => !slot.word().is_valid(),
            None => now.saturating_sub(self.created) > threshold,
        }
    }

    /// Whether it is a replica of the block as `located` knows it. It is not if the block was given a newer stamp since: the
    /// replica may have missed what was appended or cut off, and without a slot nobody says so. Nor is it if the NameNode,
    /// as far as `located` knows, counts it no more among the block's.
    pub(crate) fn serves(&self, located: &LocatedBlockProto) -> bool {
        match self.stamp.cmp(&located.b.generation_stamp) {
            Ordering::Less => false,
            Ordering::Equal => located.locs.iter().any(|info| info.id.datanode_uuid == self.node),
            Ordering::Greater => true,
        }
    }

    /// Makes the DataNode keep the replica locked in memory, if it is; then its checksums need not be verified.
    pub(crate) fn add_anchor(&self) -> bool {
        self.slot.as_ref().is_some_and(|slot| slot.word().add_anchor())
    }

    /// Ends one [`Replica::add_anchor`] that said yes.
    pub(crate) fn remove_anchor(&self) {
        if let Some(slot) = &self.slot
            && let Err(error) = slot.word().remove_anchor()
        {
            // The DataNode shares this memory: it may have written anything.
            tracing::warn!(?slot, %error, "anchor was lost");
        }
    }
}

impl std::fmt::Debug for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replica")
            .field("key", &self.key)
            .field("slot", &self.slot)
            .finish_non_exhaustive()
    }
}
