//! Writes images in the background and removes what they make needless.
//!
//! What it is for: the journal thread freezes the state between two batches and goes on; a thread of its own writes.
//! What it does not do: decide when. Invariant: nothing is removed before the new image is durable in that dir.

use std::path::PathBuf;
use std::sync::Arc;

use hadron_env::Disk;

use crate::image::{ImageHeader, ImageWriter};
use crate::inventory::purge;
use crate::machine::StateMachine;

/// Writes `snapshot` to every one of `currents`. Returns the dirs that have it, at least one.
pub(crate) fn write<M: StateMachine>(
    disk: &dyn Disk,
    currents: &[PathBuf],
    header: &ImageHeader,
    snapshot: M::Snapshot,
    retained: usize,
) -> Result<Vec<PathBuf>, Arc<str>> {
    let mut writer = ImageWriter::create(disk, currents, header);
    let mut slice_count = 0_u64;
    for slice in M::image(snapshot) {
        writer.push(&slice).map_err(|error| Arc::from(error.0.as_str()))?;
        slice_count += 1;
    }
    let (done, failed) = writer.finish();
    for (current, error) in &failed {
        tracing::error!(dir = %current.display(), %error, "cannot write an image to this name dir");
    }
    if done.is_empty() {
        let reasons: Vec<_> = failed
            .iter()
            .map(|(dir, error)| format!("{}: {error}", dir.display()))
            .collect();
        return Err(Arc::from(reasons.join("; ").as_str()));
    }
    for current in &done {
        if let Err(error) = purge(disk, current, retained) {
            tracing::warn!(dir = %current.display(), %error, "cannot remove old images and journal segments");
        }
    }
    tracing::info!(
        index = header.index.0,
        slices = slice_count,
        dirs = done.len(),
        "checkpoint written"
    );
    Ok(done)
}
