//! A NameNode's keys: made at start, changed in turns, never stored. A restart makes new ones under new numbers; tokens
//! of before stay good, for DataNodes keep the old keys to their end.
//!
//! ```text
//! roll:   next ──becomes──▶ current ──retires──▶ kept for one interval and one token's life
//!           ▲ fresh secret, next serial number
//! ```
//! A DataNode learns the next key one interval before it is used, so that no token comes before its key.

use super::keys::BlockKeys;
use super::{BlockKey, BlockTokenIdentifier, IdentifierForm};
use bytes::Bytes;
use hadron_proto::common::TokenProto;
use hadron_proto::hdfs::ExportedBlockKeysProto;

/// Length of a secret: what RFC 2104 asks for with SHA-1. Java makes 8 bytes and takes any length.
pub const SECRET_LEN: usize = 20;

/// Durations in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyTimes {
    /// Between two changes of keys (`dfs.block.access.key.update.interval`).
    pub update_interval_ms: i64,
    /// A token's life (`dfs.block.access.token.lifetime`).
    pub lifetime_ms: i64,
}

impl KeyTimes {
    /// Longest duration believed, a hundred years: sums with the present time stay in range.
    const LONGEST: u64 = 100 * 366 * 24 * 3600 * 1000;

    /// From unsigned milliseconds, cut to a hundred years.
    pub fn new(update_interval_ms: u64, lifetime_ms: u64) -> Self {
        let cut = |ms: u64| ms.min(Self::LONGEST) as i64;
        Self {
            update_interval_ms: cut(update_interval_ms),
            lifetime_ms: cut(lifetime_ms),
        }
    }

    pub(super) fn of(exported: &ExportedBlockKeysProto) -> Self {
        Self::new(exported.key_update_interval, exported.token_life_time)
    }
}

/// The keys and their changes.
#[derive(Debug)]
pub struct KeyMaster {
    keys: BlockKeys,
    next: BlockKey,
    serial: i32,
    rolled_at: i64,
}

impl KeyMaster {
    /// Two keys, current and next, at millisecond `now`. `serial`: any number, best a random one, so that the numbers of
    /// two lives of a NameNode do not meet; `secrets` must be random.
    pub fn new(times: KeyTimes, serial: u32, secrets: [[u8; SECRET_LEN]; 2], now: i64) -> Self {
        let serial = next_serial((serial & i32::MAX as u32) as i32);
        let [first, second] = secrets;
        let ends = Ends { times, now };
        let current = BlockKey::new(serial, ends.current(), Bytes::copy_from_slice(&first));
        let serial = next_serial(serial);
        let next = BlockKey::new(serial, ends.next(), Bytes::copy_from_slice(&second));
        let mut keys = BlockKeys::new(times);
        keys.insert(current.clone());
        keys.insert(next.clone());
        keys.current = Some(current);
        Self {
            keys,
            next,
            serial,
            rolled_at: now,
        }
    }

    /// Milliseconds from `now` until the next change of keys; 0: it is due.
    pub fn due_in(&self, now: i64) -> u64 {
        let due = self.rolled_at.saturating_add(self.keys.times.update_interval_ms);
        u64::try_from(due.saturating_sub(now)).unwrap_or(0)
    }

    /// Changes keys: the next becomes current, a new next one has `secret`.
    pub fn roll(&mut self, secret: [u8; SECRET_LEN], now: i64) {
        let keys = &mut self.keys;
        let ends = Ends { times: keys.times, now };
        keys.forget_ended(now);
        if let Some(retiring) = &keys.current {
            let retired = retiring.until(ends.retired());
            keys.insert(retired);
        }
        let current = self.next.until(ends.current());
        keys.insert(current.clone());
        keys.current = Some(current);
        self.serial = next_serial(self.serial);
        self.next = BlockKey::new(self.serial, ends.next(), Bytes::copy_from_slice(&secret));
        keys.insert(self.next.clone());
        self.rolled_at = now;
    }

    /// See [`BlockKeys::mint`]; a NameNode always has a key.
    pub fn mint(&self, what: BlockTokenIdentifier, form: IdentifierForm, now: i64) -> TokenProto {
        self.keys.mint(what, form, now).unwrap_or_default()
    }

    /// The keys as a DataNode would hold them.
    pub fn keys(&self) -> &BlockKeys {
        &self.keys
    }

    /// See [`BlockKeys::export`].
    pub fn export(&self) -> ExportedBlockKeysProto {
        self.keys.export()
    }
}

/// When keys end, counted from `now`. A NameNode may be gone tomorrow, so even the current key has an end.
struct Ends {
    times: KeyTimes,
    now: i64,
}

impl Ends {
    fn after(&self, intervals: i64) -> i64 {
        let span = self.times.update_interval_ms * intervals + self.times.lifetime_ms;
        self.now.saturating_add(span)
    }
    fn retired(&self) -> i64 {
        self.after(1)
    }
    fn current(&self) -> i64 {
        self.after(2)
    }
    fn next(&self) -> i64 {
        self.after(3)
    }
}

/// Serial numbers stay in 0..i32::MAX, as with one NameNode in Java.
fn next_serial(serial: i32) -> i32 {
    (serial % i32::MAX + 1) % i32::MAX
}
