//! What administrators ask of a store: where a block's files are, and to remove a pool nobody serves any more.

use crate::error::{ReplicaError, ReplicaResult};
use crate::layout;
use crate::pool::Pool;
use crate::store::ReplicaStore;
use hadron_types::{Block, BlockPoolId, ExtendedBlock};
use std::fs;
use std::path::{Path, PathBuf};

/// Deepest folder level looked into for block files: `current`, `finalized` and two levels of subdirectories.
const MAX_DEPTH: usize = 6;

/// A replica's files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LocalPaths {
    /// The replica as it is.
    pub block: Block,
    /// Its bytes.
    pub data: PathBuf,
    /// Its checksums.
    pub meta: PathBuf,
}

impl ReplicaStore {
    /// Where the files of a replica are, whose stamp is at least the block's.
    ///
    /// Errors: [`ReplicaError::NotFound`], [`ReplicaError::WrongStamp`].
    pub fn local_paths(&self, block: &ExtendedBlock) -> ReplicaResult<LocalPaths> {
        let pool = self.pool_of(block)?;
        let wanted = block.block;
        let entry = pool
            .entry(wanted.id)
            .ok_or(ReplicaError::NotFound(wanted.id, wanted.generation_stamp))?
            .effective();
        let (_, found) = Pool::describe(&entry);
        if found < wanted.generation_stamp {
            return Err(ReplicaError::WrongStamp {
                block: wanted.id,
                found,
                wanted: format!("at least {}", wanted.generation_stamp),
            });
        }
        let (block, dir) = pool.place_of(wanted.id, &entry);
        Ok(LocalPaths {
            block,
            data: dir.join(layout::data_name(block.id)),
            meta: dir.join(layout::meta_name(block.id, block.generation_stamp)),
        })
    }

    /// Removes the directories of a pool that is not attached; with `force` also when it has block files.
    ///
    /// Errors: [`ReplicaError::Incompatible`] for an attached pool, a malformed name, or block files without `force`.
    pub fn delete_pool(&self, pool: &BlockPoolId, force: bool) -> ReplicaResult<()> {
        let refused = |dir: &Path, problem: &str| ReplicaError::Incompatible {
            dir: dir.to_owned(),
            problem: problem.to_owned(),
        };
        let dirs: Vec<PathBuf> = (self.volumes().iter())
            .map(|volume| {
                let name = layout::pool_dir_name(pool);
                let name = name.ok_or_else(|| refused(volume.dir(), "the block pool id is malformed"))?;
                Ok(volume.dir().join(layout::CURRENT).join(name))
            })
            .collect::<ReplicaResult<_>>()?;
        if self.has_pool(pool) {
            return Err(refused(&dirs[0], "the block pool is served"));
        }
        let existing: Vec<&PathBuf> = dirs.iter().filter(|dir| dir.exists()).collect();
        if !force {
            for dir in &existing {
                if has_blocks(dir, MAX_DEPTH)? {
                    return Err(refused(dir, "Cannot delete block pool, it contains some block files"));
                }
            }
        }
        for dir in existing {
            fs::remove_dir_all(dir).map_err(ReplicaError::io("remove", dir))?;
            tracing::info!(dir = %dir.display(), "removed a block pool");
        }
        Ok(())
    }
}

fn has_blocks(dir: &Path, depth: usize) -> ReplicaResult<bool> {
    for entry in fs::read_dir(dir).map_err(ReplicaError::io("list", dir))? {
        let path = entry.map_err(ReplicaError::io("list", dir))?.path();
        let is_block = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("blk_"));
        if is_block || depth > 0 && path.is_dir() && has_blocks(&path, depth - 1)? {
            return Ok(true);
        }
    }
    Ok(false)
}
