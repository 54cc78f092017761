//! What a check counts, and the summary it ends with.

use std::fmt::Write as _;

/// Sums over all files checked.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Figures {
    pub(super) dirs: u64,
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) blocks: u64,
    pub(super) open_files: u64,
    pub(super) open_bytes: u64,
    pub(super) open_blocks: u64,
    pub(super) corrupt_files: u64,
    pub(super) corrupt_blocks: u64,
    pub(super) corrupt_bytes: u64,
    pub(super) missing_blocks: u64,
    pub(super) missing_bytes: u64,
    pub(super) missing_replicas: u64,
    pub(super) expected_replicas: u64,
    pub(super) replicas: u64,
    pub(super) min_replicated: u64,
    pub(super) under_min: u64,
    pub(super) over_replicated: u64,
    pub(super) under_replicated: u64,
    pub(super) misplaced: u64,
    pub(super) decommissioned: u64,
    pub(super) decommissioning: u64,
    pub(super) entering_maintenance: u64,
    pub(super) in_maintenance: u64,
}

impl Figures {
    pub(super) fn is_healthy(&self) -> bool {
        self.missing_blocks == 0 && self.corrupt_blocks == 0
    }

    /// The lines about replicated blocks.
    pub(super) fn replicated(&self, default_replication: u32, min_replication: u16) -> String {
        let mut text = format!(" Total size:\t{} B", self.bytes);
        // Writing to a String cannot fail.
        if self.open_bytes > 0 {
            let _ = write!(text, " (Total open files size: {} B)", self.open_bytes);
        }
        let _ = write!(text, "\n Total files:\t{}", self.files);
        if self.open_files > 0 {
            let _ = write!(text, " (Files currently being written: {})", self.open_files);
        }
        let _ = write!(text, "\n Total blocks (validated):\t{}", self.blocks);
        if let Some(average) = self.bytes.checked_div(self.blocks) {
            let _ = write!(text, " (avg. block size {average} B)");
        }
        if self.open_blocks > 0 {
            let _ = write!(text, " (Total open file blocks (not validated): {})", self.open_blocks);
        }
        self.trouble(&mut text, min_replication);
        for (name, value) in [
            ("Minimally replicated blocks:\t", self.min_replicated),
            ("Over-replicated blocks:\t", self.over_replicated),
            ("Under-replicated blocks:\t", self.under_replicated),
            ("Mis-replicated blocks:\t\t", self.misplaced),
        ] {
            let _ = write!(text, "\n {name}{value}{}", share(value, self.blocks));
        }
        let average = match self.blocks {
            0 => 0.0,
            blocks => self.replicas as f32 / blocks as f32,
        };
        let _ = write!(
            text,
            "\n Default replication factor:\t{default_replication}\n Average block replication:\t{}\n Missing \
             blocks:\t\t{}\n Corrupt blocks:\t\t{}\n Missing replicas:\t\t{}",
            float(average),
            self.missing_blocks,
            self.corrupt_blocks,
            self.missing_replicas
        );
        if self.replicas > 0 {
            text += &share(self.missing_replicas, self.expected_replicas);
        }
        for (name, value) in [
            ("DecommissionedReplicas", self.decommissioned),
            ("DecommissioningReplicas", self.decommissioning),
            ("EnteringMaintenanceReplicas", self.entering_maintenance),
            ("InMaintenanceReplicas", self.in_maintenance),
        ] {
            if value > 0 {
                let _ = write!(text, "\n {name}:\t{value}");
            }
        }
        text + "\n Blocks queued for replication:\t0"
    }

    fn trouble(&self, text: &mut String, min_replication: u16) {
        if self.corrupt_files == 0 && self.under_min == 0 {
            return;
        }
        *text += "\n  ********************************";
        if self.under_min > 0 {
            let _ = write!(
                text,
                "\n  UNDER MIN REPL'D BLOCKS:\t{}{}\n  MINIMAL BLOCK REPLICATION:\t{min_replication}",
                self.under_min,
                share(self.under_min, self.blocks)
            );
        }
        if self.corrupt_files > 0 {
            let _ = write!(text, "\n  CORRUPT FILES:\t{}", self.corrupt_files);
            if self.missing_bytes > 0 {
                let (count, bytes) = (self.missing_blocks, self.missing_bytes);
                let _ = write!(text, "\n  MISSING BLOCKS:\t{count}\n  MISSING SIZE:\t\t{bytes} B");
            }
            if self.corrupt_blocks > 0 {
                let (count, bytes) = (self.corrupt_blocks, self.corrupt_bytes);
                let _ = write!(text, "\n  CORRUPT BLOCKS: \t{count}\n  CORRUPT SIZE:\t\t{bytes} B");
            }
        }
        *text += "\n  ********************************";
    }
}

/// The lines about erasure-coded block groups, of which there are none.
pub(super) const NO_GROUPS: &str = " Total size:\t0 B\n Total files:\t0\n Total block groups (validated):\t0\n \
    Minimally erasure-coded block groups:\t0\n Over-erasure-coded block groups:\t0\n Under-erasure-coded block \
    groups:\t0\n Unsatisfactory placement block groups:\t0\n Average block group size:\t0.0\n Missing block \
    groups:\t\t0\n Corrupt block groups:\t\t0\n Missing internal blocks:\t0\n Blocks queued for replication:\t0";

/// ` (12.5 %)`; nothing of nothing.
fn share(part: u64, whole: u64) -> String {
    match whole {
        0 => String::new(),
        _ => format!(" ({} %)", float(part as f32 * 100.0 / whole as f32)),
    }
}

/// A number as Java prints a `float`: at least one digit behind the point.
fn float(value: f32) -> String {
    format!("{value:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_reads_as_hadoops() {
        let healthy = Figures {
            files: 2,
            bytes: 300,
            blocks: 2,
            replicas: 6,
            expected_replicas: 6,
            min_replicated: 2,
            ..Figures::default()
        };
        assert_eq!(
            healthy.replicated(3, 1),
            " Total size:\t300 B\n Total files:\t2\n Total blocks (validated):\t2 (avg. block size 150 B)\n \
             Minimally replicated blocks:\t2 (100.0 %)\n Over-replicated blocks:\t0 (0.0 %)\n Under-replicated \
             blocks:\t0 (0.0 %)\n Mis-replicated blocks:\t\t0 (0.0 %)\n Default replication factor:\t3\n Average block \
             replication:\t3.0\n Missing blocks:\t\t0\n Corrupt blocks:\t\t0\n Missing replicas:\t\t0 (0.0 %)\n Blocks \
             queued for replication:\t0"
        );
        let broken = Figures {
            corrupt_files: 1,
            missing_blocks: 1,
            missing_bytes: 100,
            under_min: 1,
            ..healthy
        };
        assert!(!broken.is_healthy());
        assert!(broken.replicated(3, 1).contains(
            "\n  ********************************\n  UNDER MIN REPL'D BLOCKS:\t1 (50.0 %)\n  MINIMAL BLOCK \
             REPLICATION:\t1\n  CORRUPT FILES:\t1\n  MISSING BLOCKS:\t1\n  MISSING SIZE:\t\t100 B\n  \
             ********************************"
        ));
        assert!(
            Figures::default()
                .replicated(3, 1)
                .contains("Average block replication:\t0.0\n")
        );
    }
}
