//! The name under which the NameNode itself owns files that it recovers.
//!
//! As in Hadoop it carries the time at which it was made, and another one is taken once it is older than the hard limit:
//! else its lease, renewed with every file that comes to it, would never be seen to expire.

use hadron_env::zone;
use hadron_namespace::NAMENODE_LEASE_HOLDER;
use hadron_types::TimeMs;
use parking_lot::Mutex;
use std::sync::Arc;

/// The present name.
#[derive(Debug, Default)]
pub struct RecoveryHolder(Mutex<Option<(TimeMs, Arc<str>)>>);

impl RecoveryHolder {
    /// The name to use at `now`.
    pub fn name(&self, now: TimeMs, hard_limit_ms: u64) -> Arc<str> {
        let mut current = self.0.lock();
        let fresh = current.as_ref().filter(|(since, _)| now.since(*since) <= hard_limit_ms);
        if let Some((_, name)) = fresh {
            return Arc::clone(name);
        }
        let name: Arc<str> = Arc::from(format!("{NAMENODE_LEASE_HOLDER}-{}", stamp(now)));
        *current = Some((now, Arc::clone(&name)));
        name
    }
}

/// A time as Hadoop's `Time.formatTime` writes it: `2026-11-22 08:20:09,123+0000`.
fn stamp(time: TimeMs) -> String {
    let at = zone::local(time);
    let sign = if at.offset < 0 { '-' } else { '+' };
    let (hours, minutes) = (at.offset.abs() / 3600, at.offset.abs() / 60 % 60);
    format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02},{:03}{sign}{hours:02}{minutes:02}",
        at.year,
        at.month,
        at.day,
        at.hour,
        at.minute,
        at.second,
        time.0 % 1000
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_lasts_for_the_hard_limit() {
        let holder = RecoveryHolder::default();
        let first = holder.name(TimeMs(1_700_000_000_123), 1000);
        let digits: Vec<usize> = first
            .match_indices(|c: char| c.is_ascii_digit())
            .map(|(at, _)| at)
            .collect();
        assert!(first.starts_with("HDFS_NameNode-2023-11-1"), "{first}");
        assert!(first.contains(",123"), "{first}");
        assert_eq!(
            (digits.len(), first.len()),
            (21, "HDFS_NameNode-2023-11-14 22:13:20,123+0000".len()),
            "{first}"
        );
        assert_eq!(holder.name(TimeMs(1_700_000_001_123), 1000), first);
        assert_ne!(holder.name(TimeMs(1_700_000_001_124), 1000), first);
    }
}
