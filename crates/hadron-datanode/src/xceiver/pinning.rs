//! Pinned replicas: placed here by a client's wish, and left alone by balancers (`dfs.datanode.block-pinning.enabled`).
//!
//! The mark is the sticky bit of the data file, as in Hadoop, so that either finds the other's. What it does not do:
//! keep the NameNode from moving or deleting the replica.

use crate::shared::Shared;
use hadron_types::ExtendedBlock;
use rustix::fs::{Mode, fchmod, fstat};
use std::time::Duration;

/// Whether balancers must leave the replica alone.
pub(super) fn is_pinned(shared: &Shared, block: &ExtendedBlock) -> bool {
    if !shared.settings.block_pinning {
        return false;
    }
    let Ok(replica) = shared.store.open_for_read(block, 0, Duration::ZERO) else {
        return false;
    };
    let mode = replica.data().and_then(|file| fstat(file).ok());
    mode.is_some_and(|stat| Mode::from_raw_mode(stat.st_mode).contains(Mode::SVTX))
}

/// Marks a finished replica. One that cannot be marked is a replica all the same.
pub(super) fn pin(shared: &Shared, block: &ExtendedBlock) {
    if !shared.settings.block_pinning {
        return;
    }
    let pinned = shared.store.open_for_read(block, 0, Duration::ZERO).map(|replica| {
        let file = replica.data()?;
        let mode = Mode::from_raw_mode(fstat(file).ok()?.st_mode);
        fchmod(file, mode | Mode::SVTX).ok()
    });
    if !matches!(pinned, Ok(Some(()))) {
        tracing::warn!(%block, "cannot pin a replica, balancers may move it");
    }
}
