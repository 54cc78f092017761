//! Sans-io codecs for Hadoop RPC v9 ([`rpc`]) and the data transfer protocol ([`transfer`]), for both ends of each, and
//! the block access tokens that travel in both ([`token`]).
//!
//! What it is for: bytes in, typed values out, and back. Callers own sockets, time-outs and threads; "not enough bytes
//! yet" is an outcome (`Ok(None)`), not an error. Blocking callers get functions over [`std::io::Read`] where a length
//! must be known before the next read.
//! What it does not do: no sockets, no dispatch, no retries, no SASL mechanisms beyond SIMPLE and DIGEST-MD5.
//! Invariants: every length has a named limit; no buffer is sized by a length field alone, it grows as bytes arrive;
//! malformed input is a [`WireError`], never a panic. Byte maps: docs/formats/rpc.md, docs/formats/data-transfer.md.

pub mod delimited;
mod error;
pub mod rpc;
pub mod token;
pub mod transfer;

pub use error::WireError;
