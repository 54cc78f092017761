//! The numbers of a cache and the bounds they must keep.
//!
//! What it is for: [`Config::check`] refuses at the start what could later deadlock or waste memory. What it does not do: it
//! reads no file. Memory used: ([`Config::write_buffers`] + [`Config::read_buffers`] + [`Config::hot_buffers`]) ×
//! [`Config::buffer_len`] bytes.

use thiserror::Error;

use crate::sealed::RECORD_HEADER_LEN;

/// Write buffers that always have a job: current, compacting, reserve, and one to be clean.
pub const BUFFERS_WITH_A_JOB: usize = 4;
/// The fewest write buffers: those with a job, and one to be dirty.
pub const MIN_WRITE_BUFFERS: usize = BUFFERS_WITH_A_JOB + 1;
/// The most buffers of each kind.
pub const MAX_BUFFERS: usize = 1 << 16;
/// The smallest buffer, in bytes.
pub const MIN_BUFFER_LEN: usize = 64;
/// The largest buffer, in bytes.
pub const MAX_BUFFER_LEN: usize = 1 << 30;
/// Bytes of a buffer unless said otherwise.
pub const DEFAULT_BUFFER_LEN: usize = 1 << 20;
/// A compaction threshold that turns compaction off.
pub const NO_COMPACTION: u8 = 100;

/// How records lie in the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Layout {
    /// Append only: each buffer is one run of the file, exact bytes, never compacted, large records allowed.
    Worm,
    /// Each record has its own place; buffers carry the offsets; compaction allowed; no record larger than a buffer.
    Rw,
}

/// Settings of a cache. Start from [`Config::worm`] or [`Config::rw`], change fields, let the service check them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// How records lie in the file.
    pub layout: Layout,
    /// Bytes of each buffer, [`MIN_BUFFER_LEN`]`..=`[`MAX_BUFFER_LEN`].
    pub buffer_len: usize,
    /// Buffers for writes, [`MIN_WRITE_BUFFERS`]`..=`[`MAX_BUFFERS`].
    pub write_buffers: usize,
    /// Buffers for records read from the file; 0 turns the read cache off, else at least 2.
    pub read_buffers: usize,
    /// Buffers for records read often; 0 turns the hot cache off, else at least 2 (one is always in reserve). Needs read
    /// buffers.
    pub hot_buffers: usize,
    /// Hits from which on a record moves to the hot cache, at least 1.
    pub hot_threshold: u32,
    /// Writing begins when this many buffers are dirty; 0 = default (half of the most), at most `write_buffers - 4`.
    pub max_dirty: usize,
    /// Writing also begins when fewer buffers than this are clean; 0 = default (1), at most `write_buffers - 4`.
    pub min_clean: usize,
    /// Percentage of a dirty buffer that must be reclaimable before its records are moved together, 1..=100;
    /// [`NO_COMPACTION`] turns it off. Ignored for [`Layout::Worm`].
    pub compaction_threshold: u8,
    /// A CRC-32C of 4 bytes behind each record, in memory and in the file, verified by each read.
    pub checksums: bool,
}

/// Why settings are refused.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{field} is {value}, it must be {bounds}")]
pub struct ConfigError {
    /// Name of the setting.
    pub field: &'static str,
    /// What it was set to.
    pub value: u64,
    /// What it may be.
    pub bounds: String,
}

impl Config {
    /// An append-only cache with checksums off: six write buffers of 1 MiB, no read cache.
    pub fn worm() -> Self {
        Self {
            layout: Layout::Worm,
            buffer_len: DEFAULT_BUFFER_LEN,
            write_buffers: 6,
            read_buffers: 0,
            hot_buffers: 0,
            hot_threshold: 1,
            max_dirty: 0,
            min_clean: 0,
            compaction_threshold: NO_COMPACTION,
            checksums: false,
        }
    }

    /// A read-write cache with checksums: twelve write buffers, four read and two hot ones of 1 MiB, compaction from 30 %.
    pub fn rw() -> Self {
        Self {
            layout: Layout::Rw,
            write_buffers: 12,
            read_buffers: 4,
            hot_buffers: 2,
            compaction_threshold: 30,
            checksums: true,
            ..Self::worm()
        }
    }

    /// True when dirty buffers may be compacted.
    pub fn can_compact(&self) -> bool {
        self.layout == Layout::Rw && self.compaction_threshold < NO_COMPACTION
    }

    /// Bytes the buffers take.
    pub fn memory(&self) -> usize {
        (self.write_buffers + self.read_buffers + self.hot_buffers) * self.buffer_len
    }

    /// Dirty buffers from which on writing begins.
    pub fn dirty_limit(&self) -> usize {
        match self.max_dirty {
            0 => (self.write_buffers - BUFFERS_WITH_A_JOB).div_ceil(2),
            limit => limit,
        }
    }

    /// Clean buffers below which writing begins.
    pub fn clean_limit(&self) -> usize {
        self.min_clean.max(1)
    }

    /// Bytes in front of each record within a buffer.
    pub fn header_len(&self) -> usize {
        match self.layout {
            Layout::Worm => 0,
            Layout::Rw => RECORD_HEADER_LEN,
        }
    }

    /// Bytes behind each record, in a buffer and in the file.
    pub fn trailer_len(&self) -> usize {
        if self.checksums { 4 } else { 0 }
    }

    /// The longest record one buffer holds, in bytes.
    pub fn max_record_len(&self) -> usize {
        self.buffer_len - self.header_len() - self.trailer_len()
    }

    /// Refuses values outside of their bounds, naming the first one.
    pub fn check(&self) -> Result<(), ConfigError> {
        within("buffer_len", self.buffer_len, MIN_BUFFER_LEN, MAX_BUFFER_LEN)?;
        within("write_buffers", self.write_buffers, MIN_WRITE_BUFFERS, MAX_BUFFERS)?;
        if self.read_buffers != 0 {
            within("read_buffers", self.read_buffers, 2, MAX_BUFFERS)?;
        }
        if self.hot_buffers != 0 {
            within("read_buffers", self.read_buffers, 2, MAX_BUFFERS)?;
            within("hot_buffers", self.hot_buffers, 2, MAX_BUFFERS)?;
        }
        within("hot_threshold", self.hot_threshold as usize, 1, u32::MAX as usize)?;
        let most = self.write_buffers - BUFFERS_WITH_A_JOB;
        within("max_dirty", self.max_dirty, 0, most)?;
        within("min_clean", self.min_clean, 0, most)?;
        within("compaction_threshold", self.compaction_threshold.into(), 1, 100)
    }
}

fn within(field: &'static str, value: usize, low: usize, high: usize) -> Result<(), ConfigError> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(ConfigError {
        field,
        value: value as u64,
        bounds: format!("{low} to {high}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // covers: WC-16, WC-17, WC-19
    #[test]
    fn values_out_of_bounds_are_refused_by_name() {
        let check = |field: &str, change: fn(&mut Config)| {
            let mut config = Config::rw();
            change(&mut config);
            let refused = config.check().err().map_or("", |error| error.field);
            assert_eq!(refused, field);
        };
        check("", |_| {});
        check("write_buffers", |c| c.write_buffers = 4);
        check("", |c| c.write_buffers = 5);
        check("buffer_len", |c| c.buffer_len = 63);
        check("read_buffers", |c| c.read_buffers = 1);
        check("read_buffers", |c| c.read_buffers = 0);
        check("hot_buffers", |c| c.hot_buffers = 1);
        check("hot_threshold", |c| c.hot_threshold = 0);
        check("max_dirty", |c| c.max_dirty = 9);
        check("", |c| c.max_dirty = 8);
        check("min_clean", |c| c.min_clean = 9);
        check("compaction_threshold", |c| c.compaction_threshold = 0);
        check("compaction_threshold", |c| c.compaction_threshold = 101);
        let mut config = Config::rw();
        assert_eq!(config.memory(), 18 << 20);
        assert!(config.can_compact());
        config.compaction_threshold = NO_COMPACTION;
        assert!(!config.can_compact() && !Config::worm().can_compact());
    }
}
