//! Making, opening, moving and removing the two files of a replica.
//!
//! What it does not do: it changes no map and no status; the caller owns the replica while it runs. Invariant: files are
//! touched through the volume's [`VolumeDisk`] only, and a name that should be there and is not has the volume checked.

use crate::chunks::{ChunkFormat, META_HEADER_LEN};
use crate::disk::{VolumeDisk, VolumeFile};
use crate::error::{ReplicaError, ReplicaResult};
use crate::layout;
use crate::pool_volume::PoolVolume;
use hadron_env::disk::Open;
use hadron_types::{Block, BlockId, GenerationStamp};
use std::path::Path;

/// Creates both files of a new replica in `dir`; the meta file gets its header. Files already there are leftovers: every
/// replica that counts is in the map, and the map had none. `home`: the block directory it will be moved to.
///
/// The files are made near `home`: a file stays where its directory had it made, so that else all blocks of a volume
/// would lie around `rbw`. There ext4 searches long for an inode while it may not use those of files deleted just now.
pub(crate) fn create_files(
    disk: &VolumeDisk,
    dir: &Path,
    home: &Path,
    block: &Block,
    format: ChunkFormat,
) -> ReplicaResult<(VolumeFile, VolumeFile)> {
    let create = |path: &Path| {
        match disk.create_near(home, path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                // Without it they are made elsewhere, and moving them makes it or tells what is wrong.
                if let Err(error) = make_block_dir(disk, home) {
                    tracing::debug!(%error, dir = %home.display(), "cannot make a block directory ahead of its replicas");
                }
                disk.open(path, Open::TRUNCATE)
            }
            made => made,
        }
        .map_err(ReplicaError::io("create", path))
    };
    let data_path = dir.join(layout::data_name(block.id));
    let meta_path = dir.join(layout::meta_name(block.id, block.generation_stamp));
    let data = create(&data_path)?;
    let header = create(&meta_path).and_then(|meta| {
        meta.write_all_at(&format.header(), 0)
            .map_err(ReplicaError::io("write", &meta_path))?;
        Ok(meta)
    });
    match header {
        Ok(meta) => Ok((data, meta)),
        Err(error) => {
            for path in [&data_path, &meta_path] {
                if let Err(error) = remove(disk, path) {
                    tracing::debug!(%error, "cannot remove what was made of a replica");
                }
            }
            Err(error)
        }
    }
}

/// Makes a block directory and the one above it, apart from the others. Nothing above those: a volume that was taken away
/// is not begun anew where it was mounted.
fn make_block_dir(disk: &VolumeDisk, dir: &Path) -> std::io::Result<()> {
    if let Some(above) = dir.parent() {
        disk.create_dir(above)?;
        disk.spread(above);
    }
    disk.create_dir(dir)
}

/// Opens both files of a replica for reading and writing.
pub(crate) fn open_files(
    disk: &VolumeDisk,
    dir: &Path,
    id: BlockId,
    stamp: GenerationStamp,
) -> ReplicaResult<(VolumeFile, VolumeFile, ChunkFormat)> {
    let open = |path: &Path| disk.open(path, Open::WRITE).map_err(ReplicaError::io("open", path));
    let data = open(&dir.join(layout::data_name(id)))?;
    let meta_path = dir.join(layout::meta_name(id, stamp));
    let meta = open(&meta_path)?;
    let mut header = [0; META_HEADER_LEN as usize];
    meta.read_exact_at(&mut header, 0)
        .map_err(ReplicaError::io("read", &meta_path))?;
    let format = ChunkFormat::from_header(header).ok_or(ReplicaError::Corrupt { block: id, offset: 0 })?;
    Ok((data, meta, format))
}

/// Renames into the block directory `dir`, making it if it is missing.
pub(crate) fn move_file(disk: &VolumeDisk, from: &Path, dir: &Path, name: &str) -> ReplicaResult<()> {
    let to = dir.join(name);
    match disk.rename(from, &to) {
        Err(error)
            if error.kind() == std::io::ErrorKind::NotFound
                && !disk.exists(dir).map_err(ReplicaError::io("stat", dir))? =>
        {
            make_block_dir(disk, dir).map_err(ReplicaError::io("create directory", dir))?;
            rename(disk, from, &to)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            disk.trouble().note(&error);
            Err(ReplicaError::io("rename", from)(error))
        }
        other => other.map_err(ReplicaError::io("rename", from)),
    }
}

pub(crate) fn rename(disk: &VolumeDisk, from: &Path, to: &Path) -> ReplicaResult<()> {
    disk.rename(from, to).map_err(|error| {
        if error.kind() == std::io::ErrorKind::NotFound {
            disk.trouble().note(&error);
        }
        ReplicaError::io("rename", from)(error)
    })
}

/// Makes a replica's move from `from` into the block directory `to` durable: first the directories made on the way, from
/// the top, then the move itself.
pub(crate) fn sync_move(home: &PoolVolume, from: &Path, to: &Path) -> ReplicaResult<()> {
    let root = home.finalized();
    let mut dirs: Vec<&Path> = to.ancestors().take_while(|dir| dir.starts_with(&root)).collect();
    dirs.reverse();
    dirs.push(from);
    for dir in dirs {
        home.disk().sync_dir(dir).map_err(ReplicaError::io("sync", dir))?;
    }
    Ok(())
}

/// Makes the content of both files of a replica durable.
pub(crate) fn sync_files(disk: &VolumeDisk, dir: &Path, id: BlockId, stamp: GenerationStamp) -> ReplicaResult<()> {
    let (data, meta, _) = open_files(disk, dir, id, stamp)?;
    let synced = data.sync_data().and_then(|()| meta.sync_data());
    synced.map_err(ReplicaError::io("sync", &dir.join(layout::data_name(id))))
}

/// Removes a file that may be gone already.
pub(crate) fn remove(disk: &VolumeDisk, path: &Path) -> ReplicaResult<()> {
    disk.remove(path).map_err(ReplicaError::io("remove", path))
}

/// Removes a file and takes its length off the usage figures.
pub(crate) fn remove_counted(home: &PoolVolume, path: &Path) {
    let len = home.disk().open(path, Open::READ).and_then(|file| file.len());
    match home.disk().remove(path) {
        Ok(()) => home.add_used(-(len.unwrap_or(0) as i64)),
        Err(error) => tracing::warn!(%error, file = %path.display(), "cannot remove a deleted replica's file"),
    }
}
