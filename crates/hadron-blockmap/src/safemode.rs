//! Safe mode: when the NameNode may change things, and what it tells those who must wait.
//!
//! Pending -> Extension -> Off, as Hadoop's `BlockManagerSafeMode`; beside it the manual and the low-resources switch,
//! as in `FSNamesystem`. Counts come from the block map; nothing here knows blocks.
//! Invariant: `is_on()` is `status != Off || manual || resources_low`.

use hadron_types::TimeMs;

/// Who switched safe mode on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SafeModeReason {
    /// Start-up, or an operator.
    Manual,
    /// A storage directory of the NameNode is nearly full.
    ResourcesLow,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Status {
    PendingThreshold,
    Extension { reached: TimeMs },
    Off,
}

/// The state machine.
#[derive(Clone, Debug)]
pub struct SafeMode {
    status: Status,
    manual: bool,
    resources_low: bool,
    threshold: f32,
    min_datanodes: usize,
    extension_ms: u64,
    started: TimeMs,
    total: u64,
    safe: u64,
    live_datanodes: usize,
}

const LEAVE_HINT: &str = "Use \"hdfs dfsadmin -safemode leave\" to turn safe mode off.";

impl SafeMode {
    /// Off, with the limits of `dfs.namenode.safemode.*`.
    pub fn new(threshold: f32, min_datanodes: usize, extension_ms: u64) -> Self {
        Self {
            status: Status::Off,
            manual: false,
            resources_low: false,
            threshold,
            min_datanodes,
            extension_ms,
            started: TimeMs(0),
            total: 0,
            safe: 0,
            live_datanodes: 0,
        }
    }

    /// Begins start-up: `total` complete blocks are expected. Stays off when nothing is to wait for.
    pub fn start(&mut self, total: u64, now: TimeMs) {
        self.total = total;
        self.started = now;
        self.status = if self.thresholds_met() {
            Status::Off
        } else {
            Status::PendingThreshold
        };
    }

    /// Whether mutations must be refused.
    pub fn is_on(&self) -> bool {
        self.status != Status::Off || self.manual || self.resources_low
    }
    /// Whether start-up's safe mode is still on.
    pub fn is_starting(&self) -> bool {
        self.status != Status::Off
    }
    /// Blocks with minimum replication, and blocks expected.
    pub fn progress(&self) -> (u64, u64) {
        (self.safe, self.total)
    }
    /// When start-up began.
    pub fn started(&self) -> TimeMs {
        self.started
    }

    /// Switches safe mode on for `reason`.
    pub fn enter(&mut self, reason: SafeModeReason) {
        match reason {
            SafeModeReason::Manual => self.manual = true,
            SafeModeReason::ResourcesLow => self.resources_low = true,
        }
    }

    /// Switches everything off, as `-safemode leave`.
    pub fn leave(&mut self) {
        self.manual = false;
        self.resources_low = false;
        self.status = Status::Off;
    }

    /// Takes over the counts, and moves on if they or the time allow. Returns whether start-up's part ended just now.
    pub fn update(&mut self, safe: u64, live_datanodes: usize, now: TimeMs) -> bool {
        self.safe = safe;
        self.live_datanodes = live_datanodes;
        self.status = match self.status {
            Status::Off => return false,
            Status::PendingThreshold if !self.thresholds_met() => Status::PendingThreshold,
            Status::PendingThreshold if self.extension_ms == 0 => Status::Off,
            Status::PendingThreshold => Status::Extension { reached: now },
            Status::Extension { reached } if now.since(reached) < self.extension_ms || !self.thresholds_met() => {
                Status::Extension { reached }
            }
            Status::Extension { .. } => Status::Off,
        };
        self.status == Status::Off
    }

    /// Corrects the number of expected blocks, when some are deleted or completed meanwhile.
    pub fn set_total(&mut self, total: u64) {
        self.total = total;
    }

    /// When [`SafeMode::update`] may have something to do by time alone.
    pub fn deadline(&self) -> Option<TimeMs> {
        match self.status {
            Status::Extension { reached } => Some(reached.plus(self.extension_ms)),
            _ => None,
        }
    }

    /// How safe mode will end, in Hadoop 3.3's words. Goes behind "Name node is in safe mode.\n" in exceptions.
    pub fn tip(&self, now: TimeMs) -> String {
        if self.resources_low {
            // Hadoop 3.3 has no blank between "resources" and "then".
            return format!(
                "Resources are low on NN. Please add or free up more resourcesthen turn off safe mode manually. NOTE:  \
                 If you turn off safe mode before adding resources, the NN will immediately return to safe mode. \
                 {LEAVE_HINT}"
            );
        }
        if self.manual {
            return format!("It was turned on manually. {LEAVE_HINT}");
        }
        format!("{}{}{}", self.blocks_tip(), self.datanodes_tip(), self.end_tip(now))
    }

    /// The whole message of a SafeModeException for `what` (e.g. `Cannot delete /a`) on the NameNode `host`.
    pub fn exception_message(&self, what: &str, host: &str, now: TimeMs) -> String {
        format!(
            "{what}. Name node is in safe mode.\n{} NamenodeHostName:{host}",
            self.tip(now)
        )
    }

    fn blocks_tip(&self) -> String {
        let (safe, total, threshold) = (self.safe, self.total, self.threshold);
        let needed = self.block_threshold();
        if safe < needed {
            format!(
                "The reported blocks {safe} needs additional {} blocks to reach the threshold {threshold:.4} of total \
                 blocks {total}.\n",
                needed - safe
            )
        } else {
            format!("The reported blocks {safe} has reached the threshold {threshold:.4} of total blocks {total}. ")
        }
    }

    fn datanodes_tip(&self) -> String {
        let (live, minimum) = (self.live_datanodes, self.min_datanodes);
        if live < minimum {
            format!(
                "The number of live datanodes {live} needs an additional {} live datanodes to reach the minimum \
                 number {minimum}.\n",
                minimum - live
            )
        } else {
            format!("The number of live datanodes {live} has reached the minimum number {minimum}. ")
        }
    }

    fn end_tip(&self, now: TimeMs) -> String {
        match self.status {
            Status::PendingThreshold => {
                "Safe mode will be turned off automatically once the thresholds have been reached.".to_owned()
            }
            Status::Extension { reached } => {
                let left = self.extension_ms.saturating_sub(now.since(reached)) / 1000;
                format!("In safe mode extension. Safe mode will be turned off automatically in {left} seconds.")
            }
            Status::Off => "Safe mode will be turned off automatically soon.".to_owned(),
        }
    }

    /// Hadoop multiplies by the float widened to a double and cuts.
    fn block_threshold(&self) -> u64 {
        (self.total as f64 * f64::from(self.threshold)) as u64
    }

    fn thresholds_met(&self) -> bool {
        self.safe >= self.block_threshold() && self.live_datanodes >= self.min_datanodes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_cluster_starts_outside() {
        let mut mode = SafeMode::new(0.999, 0, 30_000);
        mode.start(0, TimeMs(5));
        assert!(!mode.is_on());
        let mut mode = SafeMode::new(0.999, 1, 0);
        mode.start(0, TimeMs(5));
        assert!(mode.is_on(), "one datanode is wanted");
        assert!(mode.update(0, 1, TimeMs(6)));
        assert!(!mode.is_on());
    }

    #[test]
    fn the_threshold_then_the_extension() {
        let mut mode = SafeMode::new(0.999, 0, 30_000);
        mode.start(1000, TimeMs(0));
        assert!(!mode.update(998, 3, TimeMs(1)));
        assert_eq!(
            mode.tip(TimeMs(1)),
            "The reported blocks 998 needs additional 1 blocks to reach the threshold 0.9990 of total blocks 1000.\n\
             The number of live datanodes 3 has reached the minimum number 0. Safe mode will be turned off \
             automatically once the thresholds have been reached."
        );
        assert!(!mode.update(999, 3, TimeMs(100)));
        assert_eq!(
            mode.tip(TimeMs(1_100)),
            "The reported blocks 999 has reached the threshold 0.9990 of total blocks 1000. The number of live \
             datanodes 3 has reached the minimum number 0. In safe mode extension. Safe mode will be turned off \
             automatically in 29 seconds."
        );
        assert_eq!(mode.deadline(), Some(TimeMs(30_100)));
        assert!(!mode.update(999, 3, TimeMs(30_099)));
        assert!(!mode.update(900, 3, TimeMs(30_100)), "a node was lost meanwhile");
        assert!(mode.update(1000, 3, TimeMs(30_101)));
        assert!(!mode.is_on());
    }

    #[test]
    fn operators_overrule() {
        let mut mode = SafeMode::new(0.999, 0, 0);
        mode.start(10, TimeMs(0));
        mode.leave();
        assert!(!mode.is_on());
        mode.enter(SafeModeReason::Manual);
        assert_eq!(
            mode.exception_message("Cannot delete /a", "nn", TimeMs(1)),
            "Cannot delete /a. Name node is in safe mode.\nIt was turned on manually. Use \"hdfs dfsadmin -safemode \
             leave\" to turn safe mode off. NamenodeHostName:nn"
        );
        mode.enter(SafeModeReason::ResourcesLow);
        assert!(
            mode.tip(TimeMs(1))
                .starts_with("Resources are low on NN. Please add or free up more resourcesthen")
        );
    }

    #[test]
    fn too_few_datanodes_are_told() {
        let mut mode = SafeMode::new(1.5, 2, 0);
        mode.start(1, TimeMs(0));
        assert_eq!(
            mode.tip(TimeMs(0)).lines().nth(1),
            Some("The number of live datanodes 0 needs an additional 2 live datanodes to reach the minimum number 2.")
        );
        assert!(!mode.update(1, 1, TimeMs(1)));
    }
}
