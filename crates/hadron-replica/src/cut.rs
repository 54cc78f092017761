//! Cutting a replica's files back to a shorter length: the data, and the checksums that then cover it.
//!
//! What it does not do: it changes no map and no status; the caller owns the replica while it runs.
//! Order: the checksum of a last chunk that becomes partial is written before the data is cut, so that a process killed
//! in between leaves a replica whose last chunk fails its checksum rather than one that lost bytes unseen.

use crate::disk::VolumeDisk;
use crate::error::{ReplicaError, ReplicaResult};
use crate::files::open_files;
use crate::layout;
use crate::writer::partial_sum_on_disk;
use hadron_types::{Block, BlockId, GenerationStamp};
use std::path::Path;

/// What a cut left.
pub(crate) struct Cut {
    /// Checksum of the last chunk if that is partial now.
    pub(crate) last_sum: Option<u32>,
    /// Bytes that both files lost.
    pub(crate) freed: u64,
}

/// Cuts the files of replica `id` with stamp `stamp` in `dir` from `on_disk` to `len` bytes (`len <= on_disk`).
///
/// Bytes and checksums behind `len`, which a writer left that was stopped, go too.
///
/// Errors: [`ReplicaError::Corrupt`] when the chunk that is cut does not match its checksum; the disk's.
pub(crate) fn cut_files(
    disk: &VolumeDisk,
    dir: &Path,
    id: BlockId,
    stamp: GenerationStamp,
    on_disk: u64,
    len: u64,
) -> ReplicaResult<Cut> {
    let path = dir.join(layout::data_name(id));
    let (data, meta, format) = open_files(disk, dir, id, stamp)?;
    let chunk = u64::from(format.chunk);
    let (start, into) = (len - len % chunk, (len % chunk) as usize);
    let mut last_sum = None;
    if into > 0 && format.size() > 0 {
        let whole = (on_disk - start).min(chunk) as usize;
        let kept = partial_sum_on_disk(&data, &meta, format, start, whole).map_err(ReplicaError::io("read", &path))?;
        let kept = kept.ok_or(ReplicaError::Corrupt {
            block: id,
            offset: start,
        })?;
        let mut sum = kept;
        if whole > into {
            let mut bytes = vec![0; into];
            data.read_exact_at(&mut bytes, start)
                .map_err(ReplicaError::io("read", &path))?;
            sum = format.sum(&bytes);
            meta.write_all_at(&sum.to_be_bytes(), format.meta_offset(start / chunk))
                .map_err(ReplicaError::io("write checksums of", &path))?;
        }
        last_sum = Some(sum);
    }
    let cut = || -> std::io::Result<u64> {
        let before = data.len()? + meta.len()?;
        data.set_len(len)?;
        meta.set_len(format.meta_len(len))?;
        Ok(before.saturating_sub(len + format.meta_len(len)))
    };
    let freed = cut().map_err(ReplicaError::io("truncate", &path))?;
    Ok(Cut { last_sum, freed })
}

/// Checks that the files of `block` are there and hold at least its bytes.
///
/// Errors: [`ReplicaError::Unrecoverable`] naming what is short; the disk's.
pub(crate) fn check_files(disk: &VolumeDisk, dir: &Path, block: &Block) -> ReplicaResult<()> {
    let (data, _, _) = open_files(disk, dir, block.id, block.generation_stamp)?;
    let path = dir.join(layout::data_name(block.id));
    let found = data.len().map_err(ReplicaError::io("look at", &path))?;
    if found < block.len {
        return Err(ReplicaError::Unrecoverable {
            block: block.id,
            problem: format!(
                "File length mismatched.  The length of {} is {found} but r={block}",
                path.display()
            ),
        });
    }
    Ok(())
}
