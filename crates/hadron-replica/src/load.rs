//! What a DataNode finds on its disks at start: finalized replicas, RBWs that become RWR, leftovers to remove.
//!
//! An acked byte must survive `kill -9`: an RBW's last chunk may hold more data than its checksum covers (data is
//! written first), so the longest prefix that the checksum fits is kept, not whole chunks only. A replica whose
//! files were on their way between `rbw` and `finalized` has its meta file in the other directory; it is an RWR too.
//! An empty data file without any meta file is no replica: nobody can have been promised a byte of it.

use crate::active::ActiveReplica;
use crate::chunks::{ChunkFormat, META_HEADER_LEN};
use crate::disk::{VolumeDisk, VolumeFile};
use crate::error::{ReplicaError, ReplicaResult};
use crate::files::open_files;
use crate::layout::{self, BlockFile};
use crate::pool::{Entry, Finalized};
use crate::pool_volume::PoolVolume;
use crate::restart::take_marks;
use crate::state::{self, Step};
use crate::writer::partial_sum_on_disk;
use hadron_env::disk::Open;
use hadron_types::{Block, BlockId, GenerationStamp, ReplicaState};
use hashbrown::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Stamp of a replica without meta file, whose name is what tells it.
pub(crate) const UNKNOWN_STAMP: GenerationStamp = GenerationStamp(0);

/// How deep block directories may nest (old layouts: `subdirN/subdirM/…`).
pub(crate) const MAX_DEPTH: usize = 8;

/// Loads one volume's share of a pool.
///
/// `now_ms`: Unix time, against which announced restarts run out.
pub(crate) fn load_volume(home: &Arc<PoolVolume>, now_ms: u64) -> ReplicaResult<HashMap<BlockId, Entry>> {
    let disk = home.disk();
    empty(disk, &home.tmp())?;
    // A Java DataNode that comes back soon would believe the list it left here, not the directories.
    let list = home.current().join(layout::JAVA_REPLICA_LIST);
    disk.remove(&list).map_err(ReplicaError::io("remove", &list))?;
    let mut found = HashMap::new();
    let mut lost_metas = HashMap::new();
    let root = home.finalized();
    let mut open = vec![(root, 0)];
    while let Some((dir, depth)) = open.pop() {
        let listing = Listing::read(disk, &dir)?;
        if depth < MAX_DEPTH {
            open.extend(listing.dirs.into_iter().map(|dir| (dir, depth + 1)));
        }
        home.add_used(listing.bytes as i64);
        let mut shared_dir = None;
        for (id, len) in listing.data {
            let stamp = listing.metas.get(&id).copied().unwrap_or_else(|| {
                tracing::warn!(block = %id, dir = %dir.display(), "finalized replica without meta file");
                UNKNOWN_STAMP
            });
            let expected = home.block_dir(id);
            let misplaced = (dir != expected).then(|| shared_dir.get_or_insert_with(|| Arc::new(dir.clone())).clone());
            let replica = Finalized {
                stamp,
                len,
                volume: home.index,
                dir: misplaced,
            };
            keep_better(&mut found, id, Entry::Finalized(replica));
        }
        for (id, stamp) in listing.metas {
            if !found.contains_key(&id) {
                lost_metas.insert(id, dir.join(layout::meta_name(id, stamp)));
            }
        }
    }
    load_rbw(home, &lost_metas, now_ms, &mut found)?;
    Ok(found)
}

/// Of two replicas of one block keeps the one with the newer stamp, then the finalized, then the longer one.
pub(crate) fn keep_better(into: &mut HashMap<BlockId, Entry>, id: BlockId, entry: Entry) {
    let rank = |entry: &Entry| match entry {
        Entry::Finalized(replica) => (replica.stamp, 1, replica.len),
        Entry::Active(replica) => {
            let status = replica.status();
            (status.stamp, 0, status.on_disk)
        }
        Entry::Recovering(_) | Entry::Deleting | Entry::Held(_) => (GenerationStamp(0), 0, 0),
    };
    match into.get(&id) {
        Some(old) if rank(old) >= rank(&entry) => {
            tracing::warn!(block = %id, "second replica of a block ignored");
        }
        _ => {
            into.insert(id, entry);
        }
    }
}

fn load_rbw(
    home: &Arc<PoolVolume>,
    lost: &HashMap<BlockId, PathBuf>,
    now_ms: u64,
    found: &mut HashMap<BlockId, Entry>,
) -> ReplicaResult<()> {
    let disk = home.disk();
    let marks = take_marks(home)?;
    let dir = home.rbw();
    let listing = Listing::read(disk, &dir)?;
    for (id, data_len) in listing.data {
        if data_len == 0 && !listing.metas.contains_key(&id) && !lost.contains_key(&id) {
            // The process ended while it created the replica. Without a stamp recoveries would be refused for ever.
            tracing::info!(block = %id, "removing what was made of a replica");
            let path = dir.join(layout::data_name(id));
            disk.remove(&path).map_err(ReplicaError::io("remove", &path))?;
            continue;
        }
        let stamp = match listing.metas.get(&id) {
            Some(stamp) => *stamp,
            None => match lost.get(&id).and_then(|path| bring_back(disk, path, &dir)) {
                Some(stamp) => stamp,
                None => {
                    tracing::warn!(block = %id, dir = %dir.display(), "replica being written has no meta file");
                    UNKNOWN_STAMP
                }
            },
        };
        let len = validated_len(disk, &dir, id, stamp)?;
        let mark = marks.get(&id).filter(|mark| mark.expires_ms > now_ms);
        let step = if mark.is_some() {
            Step::AnnouncedRestart
        } else {
            Step::Restart
        };
        let Some(state) = state::after(Some(ReplicaState::Rbw), step) else {
            continue;
        };
        let block = Block {
            id,
            generation_stamp: stamp,
            len,
        };
        let replica = ActiveReplica::new(block, state, home.clone(), len);
        replica.count_used((len + meta_len(len)) as i64);
        if let Some(mark) = mark {
            let last_sum = last_sum(disk, &dir, &block)?;
            let mut status = replica.status();
            status.acked = mark.acked.unwrap_or(len).min(len);
            status.last_sum = last_sum;
            // The process before may have promised that they survive a loss of power.
            status.synced = Some(len);
            tracing::info!(%block, len, acked = status.acked, "replica being written waits for its pipeline");
        } else {
            tracing::info!(%block, len, "replica being written waits for recovery");
        }
        keep_better(found, id, Entry::Active(Arc::new(replica)));
    }
    Ok(())
}

/// The checksum of a replica's last chunk if that is partial: readers of an open replica get it from memory.
fn last_sum(disk: &VolumeDisk, dir: &Path, block: &Block) -> ReplicaResult<Option<u32>> {
    let (data, meta, format) = open_files(disk, dir, block.id, block.generation_stamp)?;
    let into = block.len % u64::from(format.chunk);
    if into == 0 || format.size() == 0 {
        return Ok(None);
    }
    let path = dir.join(layout::data_name(block.id));
    partial_sum_on_disk(&data, &meta, format, block.len - into, into as usize).map_err(ReplicaError::io("read", &path))
}

/// Moves a meta file that was on its way back beside its data file; gives its stamp.
fn bring_back(disk: &VolumeDisk, path: &Path, dir: &Path) -> Option<GenerationStamp> {
    let name = path.file_name()?.to_str()?;
    let Some(BlockFile::Meta(_, stamp)) = layout::parse_name(name) else {
        return None;
    };
    match disk.rename(path, &dir.join(name)) {
        Ok(()) => Some(stamp),
        Err(error) => {
            tracing::warn!(%error, file = %path.display(), "cannot move a meta file back");
            None
        }
    }
}

/// Finds how many bytes of an RBW its checksums vouch for, and cuts both files to that.
fn validated_len(disk: &VolumeDisk, dir: &Path, id: BlockId, stamp: GenerationStamp) -> ReplicaResult<u64> {
    let path = dir.join(layout::data_name(id));
    let data = disk.open(&path, Open::WRITE).map_err(ReplicaError::io("open", &path))?;
    let data_len = data.len().map_err(ReplicaError::io("stat", &path))?;
    let Ok(meta) = disk.open(&dir.join(layout::meta_name(id, stamp)), Open::WRITE) else {
        return Ok(0);
    };
    let meta_len = meta.len().map_err(ReplicaError::io("stat", &path))?;
    let mut header = [0; META_HEADER_LEN as usize];
    let Some(format) = meta
        .read_exact_at(&mut header, 0)
        .ok()
        .and_then(|()| ChunkFormat::from_header(header))
    else {
        return Ok(0);
    };
    let len = vouched_len(&data, &meta, format, data_len, meta_len).map_err(ReplicaError::io("read", &path))?;
    if len < data_len {
        tracing::info!(block = %id, from = data_len, to = len, "cutting bytes without checksum");
        data.set_len(len).map_err(ReplicaError::io("truncate", &path))?;
    }
    meta.set_len(format.meta_len(len))
        .map_err(ReplicaError::io("truncate", &path))?;
    Ok(len)
}

fn vouched_len(
    data: &VolumeFile,
    meta: &VolumeFile,
    format: ChunkFormat,
    data_len: u64,
    meta_len: u64,
) -> std::io::Result<u64> {
    if format.size() == 0 {
        return Ok(data_len);
    }
    let chunk = u64::from(format.chunk);
    let sums = meta_len.saturating_sub(META_HEADER_LEN) / 4;
    let chunks = sums.min(format.chunks(data_len));
    if chunks == 0 {
        return Ok(0);
    }
    let start = (chunks - 1) * chunk;
    let mut bytes = vec![0; (data_len - start).min(chunk) as usize];
    data.read_exact_at(&mut bytes, start)?;
    let mut stored = [0; 4];
    meta.read_exact_at(&mut stored, format.meta_offset(chunks - 1))?;
    Ok(start + longest_prefix(format, &bytes, u32::from_be_bytes(stored)) as u64)
}

/// The longest prefix of `bytes` with checksum `sum`, 0 if there is none.
fn longest_prefix(format: ChunkFormat, bytes: &[u8], sum: u32) -> usize {
    let mut found = 0;
    let mut so_far = format.sum(&[]);
    for (i, byte) in bytes.chunks(1).enumerate() {
        so_far = format.extend(so_far, byte);
        if so_far == sum {
            found = i + 1;
        }
    }
    found
}

/// Removes everything in a directory.
fn empty(disk: &VolumeDisk, dir: &Path) -> ReplicaResult<()> {
    for entry in disk.list(dir).map_err(ReplicaError::io("list", dir))? {
        let path = dir.join(&entry.name);
        let removed = if entry.is_dir {
            disk.remove_dir_all(&path)
        } else {
            disk.remove(&path)
        };
        removed.map_err(ReplicaError::io("remove", &path))?;
    }
    Ok(())
}

/// Bytes of a meta file with the usual chunks; good enough for usage figures of replicas being written.
fn meta_len(len: u64) -> u64 {
    META_HEADER_LEN + ChunkFormat::NONE.chunks(len) * 4
}

/// The block files of one directory.
#[derive(Default)]
struct Listing {
    data: Vec<(BlockId, u64)>,
    metas: HashMap<BlockId, GenerationStamp>,
    dirs: Vec<PathBuf>,
    /// Length of all block files together.
    bytes: u64,
}

impl Listing {
    fn read(disk: &VolumeDisk, dir: &Path) -> ReplicaResult<Self> {
        let mut listing = Self::default();
        for entry in disk.list(dir).map_err(ReplicaError::io("list", dir))? {
            if entry.is_dir {
                listing.dirs.push(dir.join(&entry.name));
                continue;
            }
            match layout::parse_name(&entry.name) {
                Some(BlockFile::Data(id)) => listing.data.push((id, entry.len)),
                Some(BlockFile::Meta(id, stamp)) => {
                    let newest = listing.metas.entry(id).or_insert(stamp);
                    *newest = stamp.max(*newest);
                }
                None => continue,
            }
            listing.bytes += entry.len;
        }
        Ok(listing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hadron_types::ChecksumType;

    #[test]
    fn the_longest_vouched_prefix_wins() {
        let format = ChunkFormat::new(ChecksumType::Crc32c, 512).unwrap();
        let bytes: Vec<u8> = (0..200u8).collect();
        for len in [1, 7, 199, 200] {
            assert_eq!(longest_prefix(format, &bytes, format.sum(&bytes[..len])), len);
        }
        assert_eq!(longest_prefix(format, &bytes, 0xdead_beef), 0);
    }
}
