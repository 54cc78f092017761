//! Which methods of `ClientProtocol` an observer may answer.
//!
//! Source: the `@ReadOnly` annotations of Hadoop 3.3's `ClientProtocol`, without those that only the active answers.

/// Methods this client calls that change nothing and that an observer serves. Sorted.
const OBSERVER_READS: &[&str] = &[
    "checkAccess",
    "getBlockLocations",
    "getContentSummary",
    "getDatanodeReport",
    "getFileInfo",
    "getFsStats",
    "getListing",
    "getServerDefaults",
    "getStoragePolicies",
    "isFileClosed",
];

/// Whether `method` may go to an observer. `getQuotaUsage` and `msync` may not: only the active knows.
pub(super) fn is_observer_read(method: &str) -> bool {
    OBSERVER_READS.binary_search(&method).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_holds_no_writes() {
        assert!(OBSERVER_READS.is_sorted());
        for method in OBSERVER_READS {
            assert!(is_observer_read(method));
        }
        for method in [
            "create",
            "delete",
            "renewLease",
            "msync",
            "getQuotaUsage",
            "recoverLease",
            "",
        ] {
            assert!(!is_observer_read(method), "{method}");
        }
    }
}
