//! The write pipeline as pure state machines: sender window, relay, recovery planner.
//!
//! What it is for: everything that the client's writer and the DataNode's receiver must decide about packets,
//! acks, lengths and failures, in one place, testable as tables of event -> command. [`window::SendWindow`] is the
//! client's side (data queue, ack queue), [`relay::Relay`] one DataNode's side (store, forward, merge acks),
//! [`recovery::Recovery`] what the client does after a node of the pipeline fails.
//! What it does not do: no sockets, files, checksums, clock, randomness or protobuf. `now` is an argument, results of
//! I/O come back as events, and the packet types here are plain values that the shells convert to the wire's.
//! Invariants: `acked <= on disk <= received` at every node; a packet leaves the client's ack queue only when every
//! node of the pipeline acked it; acks travel upstream in the order of the packets.

pub mod packet;
pub mod recovery;
pub mod relay;
pub mod window;
