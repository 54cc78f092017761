//! The retry cache: outcomes of at-most-once calls, so that a repeated call is answered and not run again.
//!
//! Part of the replicated state: entries come and go by command time, never by a clock. Only successes are kept;
//! Hadoop runs a failed call again. Invariants: at most [`RETRY_CACHE_MAX_ENTRIES`] entries (the oldest go first),
//! none older than [`RETRY_CACHE_EXPIRY_MS`] survives the next insertion.

use crate::cow::{CowMap, CowQueue};
use crate::outcome::{Appended, OutcomeValue};
use crate::status::FileStatus;
use hadron_types::{CallId, ClientId, TimeMs};

/// Most entries; when full the oldest is dropped, whose client has had the longest time to hear its answer.
pub const RETRY_CACHE_MAX_ENTRIES: usize = 131_072;
/// Lifetime of an entry (`dfs.namenode.retrycache.expirytime.millis`).
pub const RETRY_CACHE_EXPIRY_MS: u64 = 600_000;

pub(crate) type RetryKey = (ClientId, CallId);

/// The answers that at-most-once operations give, small.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Answer {
    Done,
    Bool(bool),
    Created(Box<FileStatus>),
    Appended(Box<Appended>),
    CacheDirective(i64),
}

impl Answer {
    /// `None` for an answer that no at-most-once operation gives.
    fn of(outcome: &OutcomeValue) -> Option<Self> {
        Some(match outcome {
            OutcomeValue::Done => Self::Done,
            OutcomeValue::Bool(answer) => Self::Bool(*answer),
            OutcomeValue::Created(status) => Self::Created(status.clone()),
            OutcomeValue::Appended(appended) => Self::Appended(appended.clone()),
            OutcomeValue::CacheDirective(id) => Self::CacheDirective(*id),
            OutcomeValue::Allocated(_)
            | OutcomeValue::Stamp(_)
            | OutcomeValue::Lease(_)
            | OutcomeValue::Reclaimed { .. } => return None,
        })
    }

    fn outcome(&self) -> OutcomeValue {
        match self {
            Self::Done => OutcomeValue::Done,
            Self::Bool(answer) => OutcomeValue::Bool(*answer),
            Self::Created(status) => OutcomeValue::Created(status.clone()),
            Self::Appended(appended) => OutcomeValue::Appended(appended.clone()),
            Self::CacheDirective(id) => OutcomeValue::CacheDirective(*id),
        }
    }
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) struct RetryEntry {
    pub(crate) answer: Answer,
    pub(crate) expires: TimeMs,
}

/// See the module's documentation.
#[derive(Clone)]
pub(crate) struct RetryCache {
    entries: CowMap<RetryKey, RetryEntry>,
    /// Keys by time of insertion, which is the order of expiry. A key may stand twice if it expired and came again.
    order: CowQueue<(RetryKey, TimeMs)>,
}

impl RetryCache {
    pub(crate) fn new() -> Self {
        Self {
            entries: CowMap::new(),
            order: CowQueue::new(),
        }
    }

    /// The outcome recorded for `key`, unless it has expired at `now`.
    pub(crate) fn get(&self, key: &RetryKey, now: TimeMs) -> Option<OutcomeValue> {
        let entry = self.entries.get(key)?;
        (entry.expires > now).then(|| entry.answer.outcome())
    }

    /// Records an outcome and drops what is too old or too much.
    pub(crate) fn insert(&mut self, key: RetryKey, outcome: &OutcomeValue, now: TimeMs) {
        let Some(answer) = Answer::of(outcome) else { return };
        let expires = now.plus(RETRY_CACHE_EXPIRY_MS);
        self.restore(key, RetryEntry { answer, expires });
        while let Some(&(oldest, expires)) = self.order.front() {
            if expires > now && self.order.len() <= RETRY_CACHE_MAX_ENTRIES {
                break;
            }
            if self.entries.get(&oldest).is_some_and(|entry| entry.expires <= expires) {
                self.entries.remove(&oldest);
            }
            self.order.pop_front();
        }
    }

    /// Enters an entry of an image; entries come in order of expiry.
    pub(crate) fn restore(&mut self, key: RetryKey, entry: RetryEntry) {
        self.order.push_back((key, entry.expires));
        self.entries.insert(key, entry);
    }

    /// Entries in order of expiry.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&RetryKey, &RetryEntry)> {
        self.order.iter().filter_map(|(key, expires)| {
            let entry = self.entries.get(key)?;
            (entry.expires == *expires).then_some((key, entry))
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.entries.memory_bytes() + self.order.memory_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: i32) -> RetryKey {
        (ClientId([7; 16]), CallId(number))
    }

    #[test]
    fn entries_expire_by_command_time_and_are_bounded() {
        let mut cache = RetryCache::new();
        cache.insert(key(1), &OutcomeValue::Done, TimeMs(0));
        assert_eq!(
            cache.get(&key(1), TimeMs(RETRY_CACHE_EXPIRY_MS - 1)),
            Some(OutcomeValue::Done)
        );
        assert_eq!(cache.get(&key(1), TimeMs(RETRY_CACHE_EXPIRY_MS)), None);
        cache.insert(key(1), &OutcomeValue::Bool(false), TimeMs(RETRY_CACHE_EXPIRY_MS));
        assert_eq!(cache.len(), 1);
        assert_eq!(
            cache.get(&key(1), TimeMs(RETRY_CACHE_EXPIRY_MS + 1)),
            Some(OutcomeValue::Bool(false)),
            "the older queue entry must not take the newer one along"
        );
        for number in 0..RETRY_CACHE_MAX_ENTRIES as i32 + 10 {
            cache.insert(key(number + 10), &OutcomeValue::Done, TimeMs(RETRY_CACHE_EXPIRY_MS));
        }
        assert_eq!(cache.len(), RETRY_CACHE_MAX_ENTRIES);
        assert_eq!(cache.iter().count(), RETRY_CACHE_MAX_ENTRIES);
    }
}
