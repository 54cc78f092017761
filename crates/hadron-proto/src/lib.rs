//! Hadoop's protocol messages, written from the wire reference, with a generated required-field check.
//!
//! What it is for: every message of the client, DataNode, inter-DataNode, NameNode and common protocols as a Rust type,
//! under Hadoop's package names ([`common`], [`hdfs`], [`datanode`], [`namenode`], [`lifeline`]). Type names are Hadoop's in
//! Rust's case: `DatanodeIDProto` is [`hdfs::DatanodeIdProto`], `NNHAStatusHeartbeatProto` is
//! [`hdfs::NnhaStatusHeartbeatProto`]. `bytes` fields are [`bytes::Bytes`], slices of the frame they came in.
//! What it does not do: no framing (`hadron-wire`), no dispatch, no I/O.
//! Invariant: peers' bytes are decoded with [`decode_checked`], never with prost alone, which fills absent required
//! fields with defaults.

mod checked;
pub mod convert;
pub mod protocol;

#[allow(missing_docs, unreachable_pub, clippy::all, rustdoc::all)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/hadoop.rs"));
}

pub use checked::{
    DecodeError, FieldShape, MAX_MISSING_REPORTED, MAX_NESTING, Required, Shape, check_required, decode_checked,
};
#[doc(inline)]
pub use generated::hadoop::hdfs::{datanode, datanodelifeline as lifeline, namenode};
#[doc(inline)]
pub use generated::hadoop::{common, hdfs};
