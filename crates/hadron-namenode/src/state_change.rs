//! The lines about files and blocks that operators of HDFS look for, in Hadoop's words and levels.
//!
//! Target [`TARGET`], as Hadoop's logger `org.apache.hadoop.hdfs.StateChange`: `RUST_LOG=info,StateChange=warn` leaves the
//! everyday ones out. Nothing is formatted for a level that is off.
//! Source of the texts: Hadoop `FSNamesystem`, `FSDirWriteFileOp`.

use hadron_blockmap::ReplicaLocation;
use hadron_namespace::LeaseProgress;
use hadron_types::{Block, HadoopError};
use std::net::IpAddr;

/// Target of these lines.
pub(crate) const TARGET: &str = "StateChange";

/// A file is about to be created.
pub(crate) fn start_file(
    path: &str,
    holder: &str,
    machine: IpAddr,
    create_parent: bool,
    replication: u32,
    flags: &str,
) {
    tracing::debug!(
        target: TARGET,
        "DIR* NameSystem.startFile: src={path}, holder={holder}, clientMachine={machine}, createParent={create_parent}, \
         replication={replication}, createFlag=[{flags}]"
    );
}

/// A file is about to be appended to.
pub(crate) fn append_file(path: &str, holder: &str, machine: IpAddr) {
    tracing::debug!(
        target: TARGET,
        "DIR* NameSystem.appendFile: src={path}, holder={holder}, clientMachine={machine}"
    );
}

/// An append is refused.
pub(crate) fn append_refused(error: &HadoopError) {
    tracing::warn!(target: TARGET, "DIR* NameSystem.append: {}", error.first_line());
}

/// A file is about to be cut.
pub(crate) fn truncate(path: &str, new_len: i64) {
    tracing::info!(target: TARGET, "DIR* NameSystem.truncate: src={path} newLength={new_len}");
}

/// A file has a new block.
pub(crate) fn allocated(path: &str, block: Block, replicas: &[ReplicaLocation]) {
    if !tracing::enabled!(target: TARGET, tracing::Level::INFO) {
        return;
    }
    let nodes: Vec<String> = replicas
        .iter()
        .map(|replica| format!("{}:{}", replica.node.id.ip, replica.node.id.xfer_port))
        .collect();
    let nodes = nodes.join(", ");
    tracing::info!(target: TARGET, "BLOCK* allocate {block}, replicas={nodes} for {path}");
}

/// A client asked again for the block it had been given.
pub(crate) fn allocated_again(path: &str, block: Block) {
    tracing::info!(
        target: TARGET,
        "BLOCK* allocateBlock: caught retry for allocation of a new block in {path}. Returning previously allocated \
         block {block}"
    );
}

/// A block is given up.
pub(crate) fn abandon_block(path: &str, block: Block) {
    tracing::debug!(target: TARGET, "BLOCK* NameSystem.abandonBlock: {block} of file {path}");
}

/// It is gone.
pub(crate) fn abandoned(block: Block) {
    tracing::debug!(target: TARGET, "BLOCK* NameSystem.abandonBlock: {block} is removed from pendingCreates");
}

/// A client makes known what it wrote so far.
pub(crate) fn fsync(path: &str, holder: &str) {
    tracing::info!(target: TARGET, "BLOCK* fsync: {path} for {holder}");
}

/// A file was closed by its writer.
pub(crate) fn completed(path: &str, holder: &str) {
    tracing::info!(target: TARGET, "DIR* completeFile: {path} is closed by {holder}");
}

/// A pipeline was rebuilt.
pub(crate) fn pipeline_updated(old: Block, new: Block) {
    tracing::info!(
        target: TARGET,
        "updatePipeline({old} => {new}) success, newGS={}, newLength={}",
        new.generation_stamp,
        new.len
    );
}

/// What a file was like whose lease ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    /// All its blocks were complete.
    Complete,
    /// Its last ones were committed, with replicas enough.
    Committed,
    /// Its last one never had a byte.
    Empty,
}

/// A lease was released, or its end began.
pub(crate) fn released(path: &str, ending: Ending, progress: &LeaseProgress) {
    match (progress, ending) {
        (LeaseProgress::RecoveryStarted { block, recovery_id }, _) => tracing::warn!(
            target: TARGET,
            "DIR* NameSystem.internalReleaseLease: File {path} has not been closed. Lease recovery is in progress. \
             RecoveryId = {recovery_id} for block {block}"
        ),
        (LeaseProgress::Closed, Ending::Complete) => tracing::warn!(
            target: TARGET,
            "BLOCK* internalReleaseLease: All existing blocks are COMPLETE, lease removed, file {path} closed."
        ),
        (LeaseProgress::Closed, Ending::Committed) => tracing::warn!(
            target: TARGET,
            "BLOCK* internalReleaseLease: Committed blocks are minimally replicated, lease removed, file {path} closed."
        ),
        (LeaseProgress::Closed, Ending::Empty) => tracing::warn!(
            target: TARGET,
            "BLOCK* internalReleaseLease: Removed empty last block and closed file {path}"
        ),
    }
}

/// A lease could not be released.
pub(crate) fn not_released(error: &HadoopError) {
    tracing::warn!(target: TARGET, "{}", error.first_line());
}
