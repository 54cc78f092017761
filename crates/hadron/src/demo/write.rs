//! The demo's write: a DataNode dies while packets of a block are on their way through it.
//!
//! What is checked here: the write succeeds, and the block that was hit has a newer generation stamp, by which the dead
//! node's part of it can be told from a good replica. The content is checked by whoever reads the file.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hadron_client::{BlockLocation, CreateOptions, HadronFs};
use hadron_types::{Block, FsPath};

use super::cluster::Cluster;
use super::{BLOCK_BYTES, PATIENCE, POLL, REPLICAS, Story, TARGET, file, time};

/// What came of it.
pub(super) struct Written {
    /// Permanent name of the DataNode that was killed.
    pub(super) victim: String,
    pub(super) elapsed: Duration,
}

/// Writes the file and kills a DataNode in the middle of the block half-way.
pub(super) async fn write(
    fs: &HadronFs,
    cluster: &mut Cluster,
    source: &file::Content,
    story: &Story,
) -> Result<Written> {
    let path = FsPath::parse(TARGET)?;
    let options = CreateOptions {
        replication: Some(REPLICAS),
        block_size: Some(BLOCK_BYTES),
        ..CreateOptions::default()
    };
    let started = Instant::now();
    let mut writer = fs.create(&path, options).await.context("create the file")?;
    let kill_at = kill_at(source.len);
    let mut chunks = source.open()?;
    let mut written = 0;
    let mut hit = None;
    while let Some(chunk) = chunks.next_chunk()? {
        let due = kill_at.checked_sub(written).filter(|ahead| *ahead < chunk.len() as u64);
        written += chunk.len() as u64;
        let Some(ahead) = due else {
            writer.write_all(chunk).await.context("write")?;
            continue;
        };
        let (before, after) = chunk.split_at(usize::try_from(ahead)?);
        writer.write_all(before).await.context("write")?;
        let block = wait_for_block(fs, &path, kill_at / BLOCK_BYTES).await?;
        // Packets are under way while the process dies.
        let (wrote, killed) = tokio::join!(writer.write_all(after), async {
            let place = block.locations.get(1).context("the block has no second DataNode")?;
            let begun = Instant::now();
            cluster.kill_datanode(&place.addr)?;
            story.note(&format!(
                "killed the DataNode at {} (SIGKILL) after {} KiB, in the middle of {}: it and {} others were receiving it",
                place.addr,
                kill_at >> 10,
                block.block.block,
                block.locations.len() - 1
            ));
            let watch = wait_for_stamp(fs.clone(), path.clone(), block.block.block, begun);
            Ok::<_, anyhow::Error>((place.datanode_uuid.clone(), tokio::spawn(watch)))
        });
        let (victim, healing) = killed?;
        wrote.context("write after the kill")?;
        hit = Some((victim, block.block.block, healing));
    }
    writer.close().await.context("close the file")?;
    let elapsed = started.elapsed();
    let (victim, before, healing) = hit.context("the file is empty: there is no middle to kill in")?;
    let (after, after_kill) = healing.await.context("watch the block")??;
    story.note(&format!(
        "the writer dropped that node, made a new pipeline of the others within {} and sent again what they had not acked",
        time(after_kill)
    ));
    story.note(&format!(
        "the block's generation stamp rose from {} to {}: what the dead node holds of it can never be taken for a replica",
        before.generation_stamp, after.generation_stamp
    ));
    Ok(Written { victim, elapsed })
}

/// Where to kill: half-way into the block in the middle of the file, or half-way into a file of one block.
fn kill_at(len: u64) -> u64 {
    let middle = len / 2;
    let in_block = middle / BLOCK_BYTES * BLOCK_BYTES + BLOCK_BYTES / 2;
    if in_block < len { in_block } else { middle }
}

/// Block number `index` of the file, when the NameNode has given it to the writer.
async fn wait_for_block(fs: &HadronFs, path: &FsPath, index: u64) -> Result<BlockLocation> {
    let index = usize::try_from(index)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut blocks = locate(fs, path).await?;
        if index < blocks.len() && !blocks[index].locations.is_empty() {
            return Ok(blocks.swap_remove(index));
        }
        ensure!(Instant::now() < deadline, "no block number {index} after {PATIENCE:?}");
        tokio::time::sleep(POLL).await;
    }
}

/// Waits until `before` has a newer stamp; returns the block then and how long that was after `since`.
async fn wait_for_stamp(fs: HadronFs, path: FsPath, before: Block, since: Instant) -> Result<(Block, Duration)> {
    loop {
        let blocks = locate(&fs, &path).await?;
        let mut blocks = blocks.into_iter().map(|located| located.block.block);
        let now = blocks.find(|block| block.id == before.id);
        let now = now.with_context(|| format!("{before} is not in the file any more"))?;
        if now.generation_stamp > before.generation_stamp {
            return Ok((now, since.elapsed()));
        }
        ensure!(
            since.elapsed() < PATIENCE,
            "{before} still has its old generation stamp after {PATIENCE:?}"
        );
        tokio::time::sleep(POLL).await;
    }
}

async fn locate(fs: &HadronFs, path: &FsPath) -> Result<Vec<BlockLocation>> {
    fs.block_locations(path, 0, i64::MAX as u64)
        .await
        .context("ask for block locations")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kill_is_inside_a_block_and_inside_the_file() {
        for mib in 1..200 {
            let len = mib << 20;
            let at = kill_at(len);
            assert!(at > 0 && at < len, "{mib} MiB: {at}");
            assert!(!at.is_multiple_of(BLOCK_BYTES), "{mib} MiB: {at} is between two blocks");
        }
        assert_eq!(kill_at(64 << 20), (32 << 20) + BLOCK_BYTES / 2);
        assert_eq!(kill_at(1 << 20), 1 << 19);
    }
}
