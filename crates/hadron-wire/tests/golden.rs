//! Bytes recorded from real Hadoop: decoded, checked for their meaning, encoded again to the same bytes.
//!
//! The recordings lie in `golden/`; their first lines say which version and command they come from. Each line is a name
//! and the bytes in hex. Java writes fields in order of their numbers, as prost does, so equality is exact.

mod golden {
    pub(crate) mod file;
    mod rpc;
    mod transfer;
}
