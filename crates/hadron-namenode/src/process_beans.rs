//! Beans about the process, under the names that scrapers of a JVM look for.
//!
//! What it does not do: pretend to have a garbage collector; those figures are 0. Memory is the process's resident set.

use hadron_types::TimeMs;
use serde_json::{Value, json};

/// Resident bytes of this process; 0 where the system does not tell.
fn resident_bytes() -> u64 {
    status("VmRSS:") * 1024
}

/// Threads of this process; 0 where the system does not tell.
pub(crate) fn threads() -> u64 {
    status("Threads:")
}

/// A number of `/proc/self/status`.
fn status(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

/// `JvmMetrics`.
pub(crate) fn jvm_metrics() -> Value {
    let resident = resident_bytes() as f64 / f64::from(1 << 20);
    json!({
        "name": "Hadoop:service=NameNode,name=JvmMetrics",
        "modelerType": "JvmMetrics",
        "tag.ProcessName": "NameNode",
        "MemHeapUsedM": resident,
        "MemHeapCommittedM": resident,
        "MemHeapMaxM": 0.0,
        "MemMaxM": 0.0,
        "MemNonHeapUsedM": 0.0,
        "MemNonHeapCommittedM": 0.0,
        "MemNonHeapMaxM": -1.0,
        "GcCount": 0,
        "GcTimeMillis": 0,
        "GcNumWarnThresholdExceeded": 0,
        "GcNumInfoThresholdExceeded": 0,
        "GcTotalExtraSleepTime": 0,
        "ThreadsNew": 0,
        "ThreadsRunnable": threads(),
        "ThreadsBlocked": 0,
        "ThreadsWaiting": 0,
        "ThreadsTimedWaiting": 0,
        "ThreadsTerminated": 0,
        "LogFatal": 0,
        "LogError": 0,
        "LogWarn": 0,
        "LogInfo": 0,
    })
}

/// `java.lang:type=Memory`, from which dashboards read the heap.
pub(crate) fn memory() -> Value {
    let used = resident_bytes();
    let usage = json!({ "committed": used, "init": 0, "max": -1, "used": used });
    json!({
        "name": "java.lang:type=Memory",
        "modelerType": "sun.management.MemoryImpl",
        "HeapMemoryUsage": usage,
        "NonHeapMemoryUsage": { "committed": 0, "init": 0, "max": -1, "used": 0 },
    })
}

/// `java.lang:type=Runtime`, for start and up time.
pub(crate) fn runtime(started: TimeMs, now: TimeMs) -> Value {
    json!({
        "name": "java.lang:type=Runtime",
        "modelerType": "sun.management.RuntimeImpl",
        "VmName": "hadron",
        "StartTime": started.0,
        "Uptime": now.since(started),
    })
}
