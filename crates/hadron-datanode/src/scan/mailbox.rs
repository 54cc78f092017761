//! What others tell a scanner's thread, and how it waits.
//!
//! Invariants: its lock is held for look-ups only; orders are bounded; a thread that waits is woken by each order, by the
//! clock, and by the end.

use super::schedule::{Figures, MAX_SUSPECTS};
use hadron_env::Clock;
use hadron_types::{BlockId, BlockPoolId};
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The letter box of one scanner.
#[derive(Default)]
pub(super) struct Mailbox {
    mail: Mutex<Mail>,
    changed: Condvar,
}

#[derive(Default)]
struct Mail {
    stopping: bool,
    ended: bool,
    /// Pools may have come.
    look: bool,
    suspects: Vec<(BlockPoolId, BlockId)>,
    /// Scans asked for, taken and finished since the start.
    asked: u64,
    taken: u64,
    done: u64,
    figures: Figures,
    /// The alarm set last: waits for the same time share it.
    alarm: Option<Duration>,
}

/// What came since the last look.
#[derive(Default)]
pub(super) struct Orders {
    pub(super) stopping: bool,
    pub(super) look: bool,
    pub(super) suspects: Vec<(BlockPoolId, BlockId)>,
    pub(super) scan: bool,
}

impl Mail {
    fn has_orders(&self) -> bool {
        self.stopping || self.look || !self.suspects.is_empty() || self.asked > self.taken
    }
}

impl Mailbox {
    /// Takes what came.
    pub(super) fn take(&self) -> Orders {
        let mut mail = self.mail.lock();
        let scan = mail.asked > mail.taken;
        mail.taken = mail.asked;
        Orders {
            stopping: mail.stopping,
            look: std::mem::take(&mut mail.look),
            suspects: std::mem::take(&mut mail.suspects),
            scan,
        }
    }

    /// Waits for an order or, by monotonic time, `until`.
    pub(super) fn wait(self: &Arc<Self>, clock: &dyn Clock, until: Option<Duration>) {
        self.wait_for(clock, until, Mail::has_orders);
    }

    /// Waits until then or for the end; true unless it is the end.
    pub(super) fn pause(self: &Arc<Self>, clock: &dyn Clock, until: Duration) -> bool {
        self.wait_for(clock, Some(until), |mail| mail.stopping);
        !self.is_stopping()
    }

    fn wait_for(self: &Arc<Self>, clock: &dyn Clock, until: Option<Duration>, over: impl Fn(&Mail) -> bool) {
        if let Some(until) = until {
            self.set_alarm(clock, until);
        }
        let mut mail = self.mail.lock();
        while !over(&mail) && until.is_none_or(|until| clock.monotonic() < until) {
            self.changed.wait(&mut mail);
        }
    }

    /// Has the clock wake the thread, unless it does so then anyway.
    fn set_alarm(self: &Arc<Self>, clock: &dyn Clock, at: Duration) {
        {
            let mut mail = self.mail.lock();
            let now = clock.monotonic();
            if mail.alarm == Some(at) && now < at {
                return;
            }
            mail.alarm = Some(at);
        }
        let weak = Arc::downgrade(self);
        let wake = move || {
            if let Some(mailbox) = weak.upgrade() {
                let _order = mailbox.mail.lock();
                mailbox.changed.notify_all();
            }
        };
        clock.alarm(at, Box::new(wake));
    }

    /// Has the thread look for new pools.
    pub(super) fn look(&self) {
        self.mail.lock().look = true;
        self.changed.notify_all();
    }

    /// Tells of a suspect; beyond [`MAX_SUSPECTS`] it is dropped.
    pub(super) fn suspect(&self, pool: &BlockPoolId, id: BlockId) {
        let mut mail = self.mail.lock();
        if mail.suspects.len() < MAX_SUSPECTS && !mail.suspects.iter().any(|(of, other)| (of, *other) == (pool, id)) {
            mail.suspects.push((pool.clone(), id));
            self.changed.notify_all();
        }
    }

    /// Orders a scan of everything; the number is for [`Self::wait_done`].
    pub(super) fn order_scan(&self) -> u64 {
        let mut mail = self.mail.lock();
        mail.asked += 1;
        self.changed.notify_all();
        mail.asked
    }

    /// The scans taken so far are done.
    pub(super) fn note_done(&self) {
        let mut mail = self.mail.lock();
        mail.done = mail.taken;
        self.changed.notify_all();
    }

    /// Waits for a scan that was ordered, or for the end of the thread; true in the first case.
    pub(super) fn wait_done(&self, number: u64) -> bool {
        let mut mail = self.mail.lock();
        while mail.done < number && !mail.ended {
            self.changed.wait(&mut mail);
        }
        mail.done >= number
    }

    pub(super) fn stop(&self) {
        self.mail.lock().stopping = true;
        self.changed.notify_all();
    }
    pub(super) fn is_stopping(&self) -> bool {
        self.mail.lock().stopping
    }
    pub(super) fn note_ended(&self) {
        self.mail.lock().ended = true;
        self.changed.notify_all();
    }

    /// Waits for the end of the thread; false when it does not come in time.
    pub(super) fn wait_ended(&self, deadline: Instant) -> bool {
        let mut mail = self.mail.lock();
        while !mail.ended {
            if self.changed.wait_until(&mut mail, deadline).timed_out() {
                break;
            }
        }
        mail.ended
    }

    pub(super) fn set_figures(&self, figures: Figures) {
        self.mail.lock().figures = figures;
    }
    pub(super) fn figures(&self) -> Figures {
        self.mail.lock().figures.clone()
    }
}
