//! The NameNode service: one file per RPC protocol around the pure cores.

pub mod audit;
pub mod groups;
