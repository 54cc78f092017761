//! Marks that a DataNode leaves for itself when it is about to be started again: which open replicas a pipeline waits for.
//!
//! What it is for: a replica with a mark that has not run out is loaded as the RBW it was, so that its pipeline goes on
//! with it; without one it becomes an RWR, which no pipeline may use. Invariants: marks serve one start, whatever they
//! say; a mark's acked length is never above what readers saw before.
//!
//! A mark is text: the Unix time in milliseconds at which it runs out, then (ours; Java writes and reads the first number
//! only) how many bytes every node of the pipeline had acked. Source: Hadoop `BlockReceiver`, `BlockPoolSlice`.

use crate::error::{ReplicaError, ReplicaResult};
use crate::layout;
use crate::pool_volume::PoolVolume;
use hadron_env::disk::Open;
use hadron_types::BlockId;
use hashbrown::HashMap;

/// More than two numbers need.
const MAX_MARK_BYTES: u64 = 64;

/// What a mark says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RestartMark {
    /// Unix time in milliseconds from which on it says nothing.
    pub(crate) expires_ms: u64,
    /// Bytes acked by the whole pipeline; `None` in Java's.
    pub(crate) acked: Option<u64>,
}

impl RestartMark {
    /// Leaves the mark of `id`.
    pub(crate) fn leave(self, home: &PoolVolume, id: BlockId) -> ReplicaResult<()> {
        let path = home.current().join(layout::restart_mark_name(id));
        let text = match self.acked {
            Some(acked) => format!("{} {acked}", self.expires_ms),
            None => self.expires_ms.to_string(),
        };
        let written = home
            .disk()
            .open(&path, Open::TRUNCATE)
            .and_then(|file| file.write_all_at(text.as_bytes(), 0));
        written.map_err(ReplicaError::io("write", &path))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split_ascii_whitespace().map(str::parse);
        Some(Self {
            expires_ms: numbers.next()?.ok()?,
            acked: numbers.next().and_then(Result::ok),
        })
    }
}

/// Takes all marks away; gives those that can be read.
pub(crate) fn take_marks(home: &PoolVolume) -> ReplicaResult<HashMap<BlockId, RestartMark>> {
    let (disk, dir) = (home.disk(), home.current());
    let mut marks = HashMap::new();
    for entry in disk.list(&dir).map_err(ReplicaError::io("list", &dir))? {
        let Some(id) = layout::parse_restart_mark(&entry.name).filter(|_| !entry.is_dir) else {
            continue;
        };
        let path = dir.join(&entry.name);
        let mut bytes = vec![0; entry.len.min(MAX_MARK_BYTES) as usize];
        let file = disk.open(&path, Open::READ).map_err(ReplicaError::io("open", &path))?;
        file.read_exact_at(&mut bytes, 0)
            .map_err(ReplicaError::io("read", &path))?;
        match RestartMark::parse(&String::from_utf8_lossy(&bytes)) {
            Some(mark) => drop(marks.insert(id, mark)),
            None => tracing::warn!(file = %path.display(), "unreadable restart mark is ignored"),
        }
        disk.remove(&path).map_err(ReplicaError::io("remove", &path))?;
    }
    Ok(marks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_both_kinds_are_read_and_nonsense_is_not() {
        let mark = |expires_ms, acked| Some(RestartMark { expires_ms, acked });
        for (text, expected) in [
            ("1700000000000", mark(1_700_000_000_000, None)),
            ("1700000000000\n", mark(1_700_000_000_000, None)),
            ("1700000000000 700", mark(1_700_000_000_000, Some(700))),
            ("1700000000000 x", mark(1_700_000_000_000, None)),
            ("", None),
            ("soon", None),
            ("-5", None),
        ] {
            assert_eq!(RestartMark::parse(text), expected, "{text:?}");
        }
        let id = BlockId(-5);
        assert_eq!(layout::restart_mark_name(id), "rbw:.blk_-5.restart");
        assert_eq!(layout::parse_restart_mark("rbw:.blk_-5.restart"), Some(id));
        for other in ["rbw", "rbw:.blk_.restart", "rbw:.blk_05.restart", "blk_5.restart"] {
            assert_eq!(layout::parse_restart_mark(other), None, "{other}");
        }
    }
}
