//! The service on a file that stops, fails, forgets its handle and counts.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, ThreadId};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::*;
use crate::backing::{BackingStore, Placed};
use crate::config::Layout;
use crate::sealed::Sealed;

/// A file in memory whose reads and writes can be stopped and made to fail.
#[derive(Debug, Default)]
struct TestFile {
    bytes: Mutex<Vec<u8>>,
    stopped: Mutex<bool>,
    go: Condvar,
    failures: AtomicUsize,
    sync_fails: AtomicBool,
    opened: AtomicUsize,
    writes: AtomicUsize,
    reads: AtomicUsize,
    writers: Mutex<HashSet<ThreadId>>,
}

#[derive(Clone, Debug, Default)]
struct Handle(Arc<TestFile>);

impl Handle {
    fn stop(&self) {
        *self.0.stopped.lock() = true;
    }

    fn go(&self) {
        *self.0.stopped.lock() = false;
        self.0.go.notify_all();
    }

    fn pass(&self) {
        let mut stopped = self.0.stopped.lock();
        while *stopped {
            self.0.go.wait(&mut stopped);
        }
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.bytes.lock().clone()
    }
}

impl BackingStore for Handle {
    fn write_gathered(&self, parts: &[Placed<'_>]) -> io::Result<()> {
        self.0.writes.fetch_add(1, Ordering::SeqCst);
        self.0.writers.lock().insert(thread::current().id());
        self.pass();
        let fails = self
            .0
            .failures
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if fails.is_ok() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut bytes = self.0.bytes.lock();
        for part in parts {
            let start = part.offset as usize;
            let end = start + part.bytes.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[start..end].copy_from_slice(part.bytes);
        }
        Ok(())
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.reads.fetch_add(1, Ordering::SeqCst);
        self.pass();
        let bytes = self.0.bytes.lock();
        let start = offset as usize;
        let found = bytes
            .get(start..start + buffer.len())
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(found);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        if self.0.sync_fails.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::Other.into());
        }
        Ok(())
    }

    fn set_extent(&self, extent: u64) -> io::Result<()> {
        self.0.bytes.lock().resize(extent as usize, 0);
        Ok(())
    }

    fn extent(&self) -> io::Result<u64> {
        Ok(self.0.bytes.lock().len() as u64)
    }
}

impl Opener for Handle {
    fn open(&self) -> io::Result<Arc<dyn BackingStore>> {
        self.0.opened.fetch_add(1, Ordering::SeqCst);
        Ok(Arc::new(self.clone()))
    }
}

/// Keeps what it is offered.
#[derive(Debug, Default)]
struct Keeper {
    sealed: Mutex<Vec<Sealed>>,
}

impl Replicator for Keeper {
    fn epoch(&self) -> u64 {
        7
    }

    fn offer(&self, sealed: Sealed) -> Result<(), ReplicatorError> {
        self.sealed.lock().push(sealed);
        Ok(())
    }

    fn local_durable(&self, _sequence: u64) {}

    fn wait(&self, _sequence: u64, _timeout: Option<Duration>) -> Result<(), ReplicatorError> {
        Ok(())
    }

    fn reset_sequence(&self) {}

    fn send_count(&self) -> u64 {
        self.sealed.lock().len() as u64
    }

    fn close(&self) {}
}

fn small(layout: Layout) -> Config {
    let base = match layout {
        Layout::Worm => Config::worm(),
        Layout::Rw => Config::rw(),
    };
    Config {
        buffer_len: 64,
        write_buffers: 5,
        read_buffers: 2,
        hot_buffers: 0,
        checksums: true,
        ..base
    }
}

fn cache(config: Config, file: &Handle) -> WriteCache {
    WriteCache::open(config, 0, Arc::new(file.clone())).unwrap()
}

fn rw(file: &Handle) -> WriteCache {
    cache(small(Layout::Rw), file)
}

/// Lets other threads run until it holds.
fn until(condition: impl Fn() -> bool) {
    while !condition() {
        thread::yield_now();
    }
}

// covers: WC-05, WC-08, WC-09, WC-25, WC-48
#[test]
fn a_record_is_the_callers_bytes_before_and_after_the_flush() {
    let file = Handle::default();
    let cache = rw(&file);
    let mut data = *b"record";
    cache.write(100, &data).unwrap();
    data.fill(0);
    assert!(cache.is_present(100) && !cache.is_present(99));
    assert_eq!(cache.read(100, 6).unwrap().unwrap(), &b"record"[..]);
    cache.flush(None).unwrap();
    cache.sync().unwrap();
    assert_eq!(cache.read(100, 6).unwrap().unwrap(), &b"record"[..]);
    assert_eq!(cache.read(99, 6).unwrap(), None);
    assert_eq!(&file.bytes()[100..106], b"record");
    assert_eq!(file.bytes().len(), 110, "the checksum is behind the record");
    assert_eq!(file.0.reads.load(Ordering::SeqCst), 0);
    assert!(matches!(cache.read(100, 7), Err(ReadError::Length { held: 6, .. })));
    cache.close();
    assert_eq!(cache.read(100, 6).unwrap(), None, "closed is a miss");
    assert!(matches!(cache.read_through(100, 6), Err(ReadError::Closed)));
}

// covers: WC-10, WC-11
#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let file = Handle::default();
    let plain = cache(
        Config {
            checksums: false,
            ..small(Layout::Rw)
        },
        &file,
    );
    assert!(matches!(
        plain.write_with_checksum(0, b"x", 5),
        Err(WriteError::NoChecksums { checksum: 5, .. })
    ));
    assert!(matches!(plain.write(0, &[0; 49]), Err(WriteError::Refused(_))));
    assert!(matches!(
        plain.write_large(0, &[0; 49], None),
        Err(WriteError::Refused(_))
    ));
    assert!(matches!(plain.write(u64::MAX, b"xy"), Err(WriteError::Refused(_))));
    plain.write(0, &[1; 48]).unwrap();
    plain.flush(None).unwrap();
    assert_eq!(file.bytes(), [1; 48]);
    plain.close();
    assert!(matches!(plain.write(0, b"x"), Err(WriteError::Closed)));
    assert!(matches!(plain.flush(None), Err(WriteError::Closed)));
    let pool = Arc::new(BufferPool::new(65));
    let opened = WriteCache::open_with(small(Layout::Rw), 0, Arc::new(file), pool, Arc::new(Alone));
    assert!(matches!(opened, Err(OpenError::PoolLength { pool: 65, config: 64 })));
}

// covers: WC-12, WC-46
#[test]
fn a_flipped_byte_is_an_error_with_the_history_of_the_record() {
    let file = Handle::default();
    let cache = rw(&file);
    cache.write(0, b"record").unwrap();
    cache.flush(None).unwrap();
    cache.reset_and_clear().unwrap();
    file.0.bytes.lock()[3] ^= 1;
    let error = cache.read_through(0, 6).unwrap_err();
    let ReadError::Checksum { offset: 0, history, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(history, "written 10, saved 10, removed 0");
    assert!(!cache.is_present(0));
    cache.write_with_checksum(50, b"record", 1).unwrap();
    assert!(
        matches!(cache.read(50, 6), Err(ReadError::Checksum { .. })),
        "in memory too"
    );
}

// covers: WC-01, WC-13
#[test]
fn one_thread_writes_each_append_only_buffer_at_once() {
    let file = Handle::default();
    let cache = cache(
        Config {
            checksums: false,
            ..small(Layout::Worm)
        },
        &file,
    );
    for number in 0..16_u8 {
        cache.write(u64::from(number) * 16, &[number; 16]).unwrap();
    }
    cache.flush(None).unwrap();
    assert_eq!(file.0.writes.load(Ordering::SeqCst), 4, "256 bytes in buffers of 64");
    assert_eq!(file.0.writers.lock().len(), 1);
    assert!(
        file.bytes()
            .chunks(16)
            .zip(0..)
            .all(|(chunk, number)| chunk == [number; 16])
    );
    assert!(matches!(cache.write(10, b"x"), Err(WriteError::Refused(_))));
}

// covers: WC-02
#[test]
fn buffers_go_back_on_close_and_on_drop() {
    let file = Handle::default();
    let pool = Arc::new(BufferPool::new(64));
    for close in [true, false] {
        let cache = WriteCache::open_with(
            small(Layout::Rw),
            0,
            Arc::new(file.clone()),
            Arc::clone(&pool),
            Arc::new(Alone),
        )
        .unwrap();
        cache.write(0, b"x").unwrap();
        cache.flush(None).unwrap();
        cache.write(100, b"y").unwrap();
        assert!(pool.outstanding() > 0);
        if close {
            cache.close();
            assert_eq!(pool.outstanding(), 0);
        }
        drop(cache);
        assert_eq!(pool.outstanding(), 0);
    }
}

// covers: WC-23, WC-24
#[test]
fn many_readers_of_a_record_read_the_file_once() {
    let file = Handle::default();
    let cache = rw(&file);
    cache.write(0, b"record").unwrap();
    cache.flush(None).unwrap();
    cache.reset_and_clear().unwrap();
    file.stop();
    thread::scope(|scope| {
        let readers: Vec<_> = (0..64)
            .map(|_| scope.spawn(|| cache.read_through(0, 6).unwrap()))
            .collect();
        until(|| cache.counters().coalesced_reads == 63);
        file.go();
        for reader in readers {
            assert_eq!(reader.join().unwrap(), &b"record"[..]);
        }
    });
    assert_eq!(cache.read_through(0, 6).unwrap(), &b"record"[..]);
    assert_eq!(file.0.reads.load(Ordering::SeqCst), 1);
    assert!(matches!(cache.read_through(5000, 6), Err(ReadError::Io { .. })));
}

// covers: WC-27
#[test]
fn a_read_of_the_file_does_not_hide_a_newer_write() {
    let file = Handle::default();
    let cache = rw(&file);
    cache.write(0, b"older!").unwrap();
    cache.flush(None).unwrap();
    cache.reset_and_clear().unwrap();
    file.stop();
    thread::scope(|scope| {
        let reader = scope.spawn(|| cache.read_through(0, 6).unwrap());
        until(|| file.0.reads.load(Ordering::SeqCst) == 1);
        cache.write(0, b"newer!").unwrap();
        file.go();
        reader.join().unwrap();
    });
    assert_eq!(cache.read(0, 6).unwrap().unwrap(), &b"newer!"[..]);
    assert_eq!(cache.counters().reads_not_installed, 1);
}

// covers: WC-28, WC-30
#[test]
fn writes_go_on_during_a_flush_and_a_timed_out_flush_can_be_reset() {
    let file = Handle::default();
    let cache = rw(&file);
    cache.write(0, b"one").unwrap();
    file.stop();
    assert!(matches!(cache.flush(Some(Duration::ZERO)), Err(WriteError::TimedOut)));
    until(|| file.0.writes.load(Ordering::SeqCst) == 1);
    thread::scope(|scope| {
        let flush = scope.spawn(|| cache.flush(None));
        until(|| cache.shared.core.lock().machine.set() == 3);
        // The writer thread stands still, and yet:
        cache.write(0, b"two").unwrap();
        cache.write(100, b"six").unwrap();
        assert_eq!(cache.read(0, 3).unwrap().unwrap(), &b"two"[..]);
        file.go();
        flush.join().unwrap().unwrap();
    });
    cache.reset().unwrap();
    assert_eq!(&file.bytes()[..3], b"one");
    assert_eq!(cache.read_through(0, 3).unwrap(), &b"one"[..]);
    cache.write(0, b"three").unwrap();
    cache.flush(Some(Duration::from_secs(600))).unwrap();
    assert_eq!(&file.bytes()[..5], b"three");
}

// covers: WC-29, WC-45
#[test]
fn an_error_sticks_until_the_reset() {
    let file = Handle::default();
    let cache = rw(&file);
    file.0.failures.store(2, Ordering::SeqCst);
    cache.write(0, b"one").unwrap();
    for _ in 0..2 {
        let error = cache.flush(None).unwrap_err();
        assert!(
            matches!(error, WriteError::Failed(Failure::Write { sequence: 1, .. })),
            "{error}"
        );
        assert!(matches!(cache.write(9, b"x"), Err(WriteError::Failed(_))));
    }
    cache.reset().unwrap();
    assert_eq!(cache.read(0, 3).unwrap(), None);
    cache.write(0, b"two").unwrap();
    cache.flush(None).unwrap();
    assert_eq!(&file.bytes()[..3], b"two");
    file.0.sync_fails.store(true, Ordering::SeqCst);
    assert!(matches!(cache.sync(), Err(WriteError::Failed(Failure::Sync { .. }))));
    file.0.sync_fails.store(false, Ordering::SeqCst);
    assert!(cache.sync().is_err(), "what a failed sync lost does not come back");
}

// covers: WC-44
#[test]
fn a_stale_handle_is_opened_again() {
    let file = Handle::default();
    let cache = rw(&file);
    file.0.failures.store(1, Ordering::SeqCst);
    cache.write(0, b"one").unwrap();
    cache.flush(None).unwrap();
    assert_eq!(&file.bytes()[..3], b"one");
    assert_eq!((file.0.opened.load(Ordering::SeqCst), cache.counters().reopens), (2, 1));
}

// covers: WC-32, WC-33
#[test]
fn a_reset_keeps_what_is_in_the_file_and_a_clear_does_not() {
    let file = Handle::default();
    let cache = rw(&file);
    cache.write(0, b"kept").unwrap();
    cache.flush(None).unwrap();
    cache.write(50, b"gone").unwrap();
    cache.reset().unwrap();
    cache.set_extent(8).unwrap();
    assert!(cache.is_present(0) && !cache.is_present(50));
    cache.flush(None).unwrap();
    assert_eq!(file.bytes().len(), 8);
    cache.reset_and_clear().unwrap();
    assert!(!cache.is_present(0));
    assert_eq!(cache.counters().records, 0);
    assert_eq!(cache.read_through(0, 4).unwrap(), &b"kept"[..]);
}

// covers: WC-34, WC-35
#[test]
fn the_close_wakes_whoever_waits_and_discards() {
    let file = Handle::default();
    let cache = rw(&file);
    cache.write(1 << 20, b"x").unwrap();
    file.stop();
    thread::scope(|scope| {
        let flush = scope.spawn(|| cache.flush(None));
        let writer = scope.spawn(|| (0..64_u64).find_map(|number| cache.write(number * 100, &[1; 40]).err()));
        until(|| cache.counters().write_waits == 1 && file.0.writes.load(Ordering::SeqCst) == 1);
        let close = scope.spawn(|| cache.close());
        assert!(matches!(flush.join().unwrap(), Err(WriteError::Closed)));
        assert!(matches!(writer.join().unwrap(), Some(WriteError::Closed)));
        file.go();
        close.join().unwrap();
    });
    assert_eq!(file.0.writes.load(Ordering::SeqCst), 1, "dirty buffers are not written");
    assert_eq!((cache.pool().outstanding(), cache.read(0, 40).unwrap()), (0, None));
}

// covers: WC-38
#[test]
fn large_records_are_whole_and_nobody_writes_in_between() {
    for len in [61, 640] {
        let file = Handle::default();
        let cache = cache(small(Layout::Worm), &file);
        let large: Vec<_> = (0..len).map(|number| number as u8).collect();
        cache.write(0, &[9; 16]).unwrap();
        let end = 20 + len as u64 + 4;
        thread::scope(|scope| {
            let token = cache.begin_large(20, len + 4).unwrap();
            let small = scope.spawn(|| cache.write(end, b"small"));
            until(|| cache.counters().write_waits == 1);
            cache.shared.core.lock().machine.end_large(token);
            // The small one may come first now and is then refused nothing; the large one has lost its place.
            cache.shared.progress.notify_all();
            small.join().unwrap().unwrap();
            assert!(matches!(
                cache.write_large(20, &large, None),
                Err(WriteError::Refused(_))
            ));
        });
        cache.reset().unwrap();
        cache.write(0, &[9; 16]).unwrap();
        cache.write_large(20, &large, None).unwrap();
        assert!(!cache.is_present(20));
        assert_eq!(file.bytes()[20..20 + len], large, "written when it returns");
        cache.write(end, b"small").unwrap();
        cache.flush(None).unwrap();
        assert_eq!(cache.read_through(20, len).unwrap(), large);
        assert_eq!(&file.bytes()[end as usize..][..5], b"small");
    }
}

// covers: WC-15, WC-36, WC-42, WC-43
#[test]
fn a_replica_follows_by_the_sealed_buffers_alone() {
    for layout in [Layout::Worm, Layout::Rw] {
        let file = Handle::default();
        let keeper = Arc::new(Keeper::default());
        let pool = Arc::new(BufferPool::new(64));
        let cache =
            WriteCache::open_with(small(layout), 0, Arc::new(file.clone()), pool, Arc::clone(&keeper) as _).unwrap();
        cache.set_extent(4096).unwrap();
        for number in 0..40_u8 {
            cache.write(u64::from(number) * 24, &[number; 20]).unwrap();
        }
        if layout == Layout::Rw {
            cache.write(0, &[77; 20]).unwrap();
            cache.write(8, &[88; 4]).unwrap();
            cache.clear_write(8);
        }
        cache.flush(None).unwrap();
        let follower = Handle::default();
        let sealed = keeper.sealed.lock().clone();
        for (buffer, sequence) in sealed.iter().zip(1..) {
            assert_eq!((buffer.epoch, buffer.sequence, buffer.extent), (7, sequence, 4096));
            buffer.verify().unwrap();
            follower.set_extent(buffer.extent).unwrap();
            for record in buffer.records().unwrap() {
                let (offset, bytes) = (record.offset, &record.bytes[..]);
                follower.write_gathered(&[Placed { offset, bytes }]).unwrap();
            }
        }
        assert_eq!(follower.bytes(), file.bytes());
        assert_eq!(cache.counters().sends, sealed.len() as u64);
    }
}

// covers: WC-26, WC-47
#[test]
fn counters_tell_what_happened() {
    let file = Handle::default();
    let cache = rw(&file);
    cache.write(0, b"one").unwrap();
    cache.write(50, b"two").unwrap();
    assert!(cache.clear_write(50) && !cache.clear_write(50));
    cache.flush(None).unwrap();
    assert!(!cache.clear_write(0), "it is in the file");
    assert_eq!(file.bytes().len(), 7);
    let counters = cache.counters();
    let found = (
        counters.writes,
        counters.evicted_buffers,
        counters.evicted_records,
        counters.evicted_bytes,
    );
    assert_eq!(found, (2, 1, 1, 7));
    assert_eq!(
        (
            counters.clears,
            counters.clears_found,
            counters.flushes,
            counters.buffers
        ),
        (3, 1, 1, 7)
    );
    assert!(counters.to_string().starts_with("writes=2 write_bytes=14 "));
}

/// A record that tells its place and version in every byte but the first eight.
fn stamped(offset: u64, version: u64) -> [u8; 24] {
    let mut record = [(offset / 64) as u8 ^ version as u8; 24];
    record[..8].copy_from_slice(&version.to_le_bytes());
    record
}

// covers: WC-07, WC-14, WC-34
#[test]
fn writers_readers_flushes_and_the_close_get_along() {
    const WRITERS: u64 = 3;
    const ROUNDS: u64 = 4000;
    let file = Handle::default();
    let cache = cache(
        Config {
            buffer_len: 256,
            hot_buffers: 2,
            ..small(Layout::Rw)
        },
        &file,
    );
    let done = AtomicBool::new(false);
    let check = |offset: u64, bytes: &[u8]| {
        let version = u64::from_le_bytes(bytes[..8].try_into().unwrap());
        assert_eq!(bytes, stamped(offset, version), "record at {offset}");
        version
    };
    thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let cache = &cache;
                scope.spawn(move || {
                    for version in 1..=ROUNDS {
                        let offset = (writer + WRITERS * (version % 8)) * 64;
                        cache.write(offset, &stamped(offset, version)).unwrap();
                        let newest = cache.read_through(offset, 24).unwrap();
                        assert_eq!(check(offset, &newest), version, "own write");
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                cache.flush(None).unwrap();
                thread::yield_now();
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                let mut seen = [0; 24];
                while !done.load(Ordering::SeqCst) {
                    for record in 0..WRITERS * 8 {
                        if let Ok(bytes) = cache.read_through(record * 64, 24) {
                            let version = check(record * 64, &bytes);
                            assert!(seen[record as usize] <= version, "went back in time");
                            seen[record as usize] = version;
                        }
                    }
                }
            });
        }
        for writer in writers {
            writer.join().unwrap();
        }
        done.store(true, Ordering::SeqCst);
    });
    cache.flush(None).unwrap();
    for record in 0..WRITERS * 8 {
        let bytes = &file.bytes()[record as usize * 64..][..24];
        assert!(check(record * 64, bytes) > ROUNDS - 8);
    }
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while let Ok(Some(bytes)) = cache.read(0, 24) {
                check(0, &bytes);
            }
        });
        cache.write(0, &stamped(0, 1)).unwrap();
        cache.close();
        reader.join().unwrap();
    });
}
