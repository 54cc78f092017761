//! What one volume's failing calls leave behind: an order to have it checked, made at most once at a time.
//!
//! Does not check anything itself: failures come from data threads, which must not wait for a sick disk.

use parking_lot::Mutex;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;

/// What the checker is told.
#[derive(Debug)]
pub(crate) enum Message {
    /// Check this volume.
    Order(usize),
    /// The check of this volume ended; an error says what is wrong with it.
    Done(usize, Result<(), String>),
    /// The store is gone.
    Stop,
}

/// The volume's letter box to the checker.
#[derive(Debug)]
pub(crate) struct Trouble {
    volume: usize,
    /// Holds at most one order per volume: see `ordered`.
    orders: Sender<Message>,
    ordered: AtomicBool,
    /// Errors since start.
    count: AtomicU64,
    /// What the last one said.
    last: Mutex<Option<String>>,
    /// The disk said that it is full since somebody last asked for its room.
    full: AtomicBool,
}

impl Trouble {
    pub(crate) fn new(volume: usize, orders: Sender<Message>) -> Self {
        Self {
            volume,
            orders,
            ordered: AtomicBool::new(false),
            count: AtomicU64::new(0),
            last: Mutex::new(None),
            full: AtomicBool::new(false),
        }
    }

    /// A call failed: the volume is to be checked.
    pub(crate) fn note(&self, error: &io::Error) {
        self.count.fetch_add(1, Ordering::Relaxed);
        *self.last.lock() = Some(error.to_string());
        self.order();
    }

    /// Orders a check without an error of the volume's own.
    pub(crate) fn order(&self) {
        if !self.ordered.swap(true, Ordering::AcqRel) {
            // No checker left: the store is being dropped.
            let _ = self.orders.send(Message::Order(self.volume));
        }
    }

    /// The checker has taken the order; later errors make another one.
    pub(crate) fn taken(&self) {
        self.ordered.store(false, Ordering::Release);
    }

    pub(crate) fn note_full(&self) {
        self.full.store(true, Ordering::Relaxed);
    }

    /// Whether the disk was full since the last call.
    pub(crate) fn take_full(&self) -> bool {
        self.full.swap(false, Ordering::Relaxed)
    }

    /// Errors since start.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// What the last error said; empty without one.
    pub(crate) fn last(&self) -> String {
        self.last.lock().clone().unwrap_or_default()
    }
}
