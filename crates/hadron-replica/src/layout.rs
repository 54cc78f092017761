//! Names of directories and files on a DataNode's disk: Apache's layout -57, blocks of -56 accepted at load.
//!
//! Pure functions of ids; nothing here touches a disk. A string from the wire becomes a name only through
//! [`pool_dir_name`], which refuses everything that is not a plain block pool id.
//! Byte maps: docs/formats/datanode-disk.md.

use hadron_types::{BlockId, BlockPoolId, GenerationStamp};
use std::path::{Path, PathBuf};

/// The layout written (Hadoop `DataNodeLayoutVersion` BLOCKID_BASED_LAYOUT_32_by_32).
pub const LAYOUT_VERSION: i32 = -57;
/// The oldest layout taken over in place (256 by 256 directories).
pub const OLDEST_LAYOUT_VERSION: i32 = -56;
/// Longest block pool id accepted as a directory name.
pub const MAX_POOL_ID_LEN: usize = 200;

/// Directory of everything in use below a storage directory and below a pool.
pub const CURRENT: &str = "current";
/// Finalized replicas, below a pool's `current`.
pub const FINALIZED: &str = "finalized";
/// Replicas being written, below a pool's `current`.
pub const RBW: &str = "rbw";
/// Replicas being copied here and files on their way out, below the pool.
pub const TMP: &str = "tmp";
/// The properties file of a storage directory and of a pool.
pub const VERSION: &str = "VERSION";
/// The lock of a storage directory.
pub const LOCK: &str = "in_use.lock";
/// Cached usage of a pool on a volume.
pub const DFS_USED: &str = "dfsUsed";

/// How far the block scanner is, below the pool.
pub const SCANNER_CURSOR: &str = "scanner.cursor";

/// The list of replicas that a Java DataNode leaves at its end, and takes for true for five minutes.
pub const JAVA_REPLICA_LIST: &str = "replicas";

/// The name of a block's data file.
pub fn data_name(id: BlockId) -> String {
    format!("blk_{id}")
}

/// The name of a block's checksum file.
pub fn meta_name(id: BlockId, stamp: GenerationStamp) -> String {
    format!("blk_{id}_{stamp}.meta")
}

/// The mark beside the directory `rbw` that says until when an open replica's pipeline waits for a restart. The odd name
/// is Java's, which takes the separator of a search path for that of a path.
pub fn restart_mark_name(id: BlockId) -> String {
    format!("{RESTART_PREFIX}{id}{RESTART_SUFFIX}")
}

/// The block that a file name in a pool's `current` is the restart mark of.
pub fn parse_restart_mark(name: &str) -> Option<BlockId> {
    let id = name.strip_prefix(RESTART_PREFIX)?.strip_suffix(RESTART_SUFFIX)?;
    canonical(id).map(BlockId)
}

const RESTART_PREFIX: &str = "rbw:.blk_";
const RESTART_SUFFIX: &str = ".restart";

/// The directory of a finalized block below `finalized`, by layout -57.
pub fn finalized_dir(id: BlockId) -> PathBuf {
    finalized_dir_of(LAYOUT_VERSION, id)
}

/// As [`finalized_dir`] by the layout that a storage directory says it has: software of that layout looks for a block
/// where the formula puts it, and may get the directory back.
pub fn finalized_dir_of(layout: i32, id: BlockId) -> PathBuf {
    let mask = if layout == LAYOUT_VERSION { 0x1f } else { 0xff };
    let first = (id.0 >> 16) & mask;
    let second = (id.0 >> 8) & mask;
    Path::new(&format!("subdir{first}")).join(format!("subdir{second}"))
}

/// What a file name in a replica directory is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BlockFile {
    /// `blk_<id>`.
    Data(BlockId),
    /// `blk_<id>_<stamp>.meta`.
    Meta(BlockId, GenerationStamp),
}

/// Reads a file name; `None` when it is neither a data nor a meta file.
pub fn parse_name(name: &str) -> Option<BlockFile> {
    let rest = name.strip_prefix("blk_")?;
    match rest.strip_suffix(".meta") {
        None => canonical(rest).map(|id| BlockFile::Data(BlockId(id))),
        Some(stem) => {
            let (id, stamp) = stem.rsplit_once('_')?;
            let stamp = canonical(stamp).filter(|stamp| *stamp >= 0)?;
            Some(BlockFile::Meta(
                BlockId(canonical(id)?),
                GenerationStamp(stamp.unsigned_abs()),
            ))
        }
    }
}

/// Parses a decimal that prints back as itself, so that two names never mean one block.
fn canonical(text: &str) -> Option<i64> {
    text.parse::<i64>().ok().filter(|number| number.to_string() == text)
}

/// The directory name of a pool; `None` when the id could be anything but one plain directory entry.
pub fn pool_dir_name(pool: &BlockPoolId) -> Option<&str> {
    let text = pool.as_str();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ':' | '_');
    (text.starts_with("BP-") && text.len() <= MAX_POOL_ID_LEN && text.chars().all(plain)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_others_are_refused() {
        let id = BlockId(1073741825);
        assert_eq!(parse_name(&data_name(id)), Some(BlockFile::Data(id)));
        let stamp = GenerationStamp(1001);
        assert_eq!(parse_name(&meta_name(id, stamp)), Some(BlockFile::Meta(id, stamp)));
        let striped = BlockId(-9223372036854775792);
        assert_eq!(data_name(striped), "blk_-9223372036854775792");
        assert_eq!(parse_name(&data_name(striped)), Some(BlockFile::Data(striped)));
        assert_eq!(
            parse_name(&meta_name(striped, stamp)),
            Some(BlockFile::Meta(striped, stamp))
        );
        for bad in [
            "blk_",
            "blk_01",
            "blk_+1",
            "blk_1.meta",
            "blk_1_-5.meta",
            "blk_1_2.meta.tmp",
            "x",
            "blk_1_2",
        ] {
            assert_eq!(parse_name(bad), None, "{bad}");
        }
    }

    #[test]
    fn directories_follow_the_block_id() {
        for (id, dir) in [
            (1073741825, "subdir0/subdir0"),
            (1073742081, "subdir0/subdir1"),
            (1073741824 + 65536 * 33 + 256 * 34, "subdir1/subdir2"),
            (-9223372036854775792, "subdir0/subdir0"),
        ] {
            assert_eq!(finalized_dir(BlockId(id)), Path::new(dir), "{id}");
        }
    }

    #[test]
    fn older_directories_keep_their_formula() {
        let id = BlockId(1073741824 + 65536 * 33 + 256 * 250);
        for (layout, dir) in [
            (LAYOUT_VERSION, "subdir1/subdir26"),
            (OLDEST_LAYOUT_VERSION, "subdir33/subdir250"),
        ] {
            assert_eq!(finalized_dir_of(layout, id), Path::new(dir), "{layout}");
        }
    }

    #[test]
    fn only_plain_pool_ids_become_directories() {
        assert!(pool_dir_name(&"BP-1-127.0.0.1-1700000000000".into()).is_some());
        for bad in ["", "..", "BP-/../x", "BP-\0", "current", "BP-a b"] {
            assert_eq!(pool_dir_name(&bad.into()), None, "{bad:?}");
        }
    }
}
