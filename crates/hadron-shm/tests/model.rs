//! Every interleaving of the two sides of a slot's word, by a model checker.

#![allow(clippy::unwrap_used)]

use hadron_shm::{ANCHORABLE, Cell, VALID, Word};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;

/// The checker's atomic.
struct Modelled(AtomicU64);

impl Cell for Modelled {
    fn load(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    fn replace(&self, old: u64, new: u64) -> Result<(), u64> {
        self.0
            .compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire)
            .map(|_| ())
    }
}

/// Times a thread may be interrupted in one history: with more, histories
/// become too many to count.
const INTERRUPTIONS: usize = 3;

fn checked(history: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(INTERRUPTIONS);
    model.check(history);
}

fn cell(word: u64) -> Arc<Modelled> {
    Arc::new(Modelled(AtomicU64::new(word)))
}

// covers: SC-16
#[test]
fn no_anchor_is_lost_or_made_up() {
    checked(|| {
        let shared = cell(VALID | ANCHORABLE);
        let passing = {
            let shared = shared.clone();
            thread::spawn(move || {
                let word = Word::new(&*shared);
                if word.add_anchor() {
                    word.remove_anchor().unwrap();
                }
            })
        };
        let staying = {
            let shared = shared.clone();
            thread::spawn(move || Word::new(&*shared).add_anchor())
        };
        Word::new(&*shared).make_unanchorable();
        passing.join().unwrap();
        let kept = staying.join().unwrap();
        let word = Word::new(&*shared);
        assert_eq!(word.anchors(), u32::from(kept));
        assert!(word.is_valid() && !word.is_anchorable());
    });
}

// covers: SC-15, SC-16
#[test]
fn who_unlocks_after_unanchoring_has_no_reader_that_relies_on_it() {
    checked(|| {
        let shared = cell(VALID | ANCHORABLE);
        let locked = Arc::new(AtomicU64::new(1));
        let reader = {
            let (shared, locked) = (shared.clone(), locked.clone());
            thread::spawn(move || {
                let word = Word::new(&*shared);
                if word.add_anchor() {
                    assert_eq!(
                        locked.load(Ordering::Acquire),
                        1,
                        "read without checksums while unlocked"
                    );
                    word.remove_anchor().unwrap();
                }
            })
        };
        let word = Word::new(&*shared);
        word.make_unanchorable();
        if !word.is_anchored() {
            locked.store(0, Ordering::Release);
        }
        reader.join().unwrap();
    });
}

// covers: SC-11
#[test]
fn invalid_stays_invalid_whatever_else_changes() {
    checked(|| {
        let shared = cell(VALID | ANCHORABLE);
        let client = {
            let shared = shared.clone();
            thread::spawn(move || Word::new(&*shared).add_anchor())
        };
        let cache = {
            let shared = shared.clone();
            thread::spawn(move || Word::new(&*shared).make_anchorable())
        };
        Word::new(&*shared).make_invalid();
        let anchored = client.join().unwrap();
        cache.join().unwrap();
        let word = Word::new(&*shared);
        assert!(!word.is_valid() && !word.add_anchor() && !word.is_anchored());
        assert_eq!(word.anchors(), u32::from(anchored));
    });
}
