//! Counters of an RPC server as plain atomics; a daemon exports them in its own formats.
//!
//! Invariant: updating costs a few relaxed atomic additions and never allocates.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Counters of one method.
#[derive(Debug, Default)]
pub struct MethodMetrics {
    /// Calls answered.
    pub calls: AtomicU64,
    /// Calls answered with an exception.
    pub errors: AtomicU64,
    /// Nanoseconds between a complete frame and the start of its handler, summed.
    pub queue_nanos: AtomicU64,
    /// Nanoseconds from the start of the handler to its answer, summed.
    pub processing_nanos: AtomicU64,
}

impl MethodMetrics {
    pub(crate) fn record(&self, queue_nanos: u64, processing_nanos: u64, is_error: bool) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.queue_nanos.fetch_add(queue_nanos, Ordering::Relaxed);
        self.processing_nanos.fetch_add(processing_nanos, Ordering::Relaxed);
        if is_error {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Counters of one protocol: one entry per method it lists, and one for all others.
#[derive(Debug)]
pub struct ProtocolMetrics {
    /// The protocol's name.
    pub protocol: &'static str,
    /// Method names, sorted, each with its counters.
    pub methods: Vec<(&'static str, MethodMetrics)>,
    /// Methods the protocol does not list.
    pub other: MethodMetrics,
}

impl ProtocolMetrics {
    pub(crate) fn new(protocol: &'static str, methods: &[&'static str]) -> Self {
        let mut methods: Vec<_> = methods.iter().map(|name| (*name, MethodMetrics::default())).collect();
        methods.sort_unstable_by_key(|(name, _)| *name);
        Self {
            protocol,
            methods,
            other: MethodMetrics::default(),
        }
    }

    /// Where the counters of `method` are in [`ProtocolMetrics::methods`].
    pub fn index_of(&self, method: &str) -> Option<usize> {
        self.methods.binary_search_by(|(name, _)| (*name).cmp(method)).ok()
    }

    /// The counters at an index of [`ProtocolMetrics::index_of`]; `None` gives those of methods not listed.
    pub fn method_at(&self, index: Option<usize>) -> &MethodMetrics {
        index
            .and_then(|index| self.methods.get(index))
            .map_or(&self.other, |(_, method)| method)
    }
}

/// Counters of one server.
#[derive(Debug, Default)]
pub struct RpcMetrics {
    /// Connections open now.
    pub open_connections: AtomicI64,
    /// Connections accepted since start.
    pub accepted_connections: AtomicU64,
    /// Connections refused by a limit.
    pub refused_connections: AtomicU64,
    /// Connections closed for a malformed preamble, header or frame.
    pub malformed_connections: AtomicU64,
    /// Proxy-user refusals.
    pub authorization_failures: AtomicU64,
    /// Proxy-user grants and plain users.
    pub authorization_successes: AtomicU64,
    /// Bytes read from peers.
    pub received_bytes: AtomicU64,
    /// Bytes written to peers.
    pub sent_bytes: AtomicU64,
    /// Calls whose answer is not ready yet.
    pub calls_in_flight: AtomicI64,
    /// Per protocol.
    pub protocols: Vec<ProtocolMetrics>,
}

impl RpcMetrics {
    /// Sums `f` over all methods of all protocols.
    pub fn total(&self, f: impl Fn(&MethodMetrics) -> &AtomicU64) -> u64 {
        self.protocols
            .iter()
            .flat_map(|protocol| {
                protocol
                    .methods
                    .iter()
                    .map(|(_, method)| method)
                    .chain([&protocol.other])
            })
            .map(|method| f(method).load(Ordering::Relaxed))
            .sum()
    }
}
