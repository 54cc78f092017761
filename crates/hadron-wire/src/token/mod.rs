//! Block access tokens: what a NameNode gives a client, a client shows a DataNode, and the keys behind both.
//!
//! What it is for: the identifier in its two encodings ([`BlockTokenIdentifier`]), the keys of a NameNode that change
//! with time ([`KeyMaster`]) and those that DataNodes hold ([`BlockKeys`]), and the check of a token against an
//! operation. What it does not do: no clock and no randomness (both are arguments), no sockets, no configuration.
//! Invariants: a key's bytes leave only in [`BlockKeys::export`] and never appear in texts; passwords are compared in
//! constant time; a password is computed over the identifier's bytes as they came, so that fields of later versions
//! survive. Byte map and rules: docs/formats/block-token.md. Source: Hadoop `BlockTokenSecretManager`,
//! `BlockTokenIdentifier` (3.3.6).

mod access;
mod identifier;
mod key;
mod keys;
mod master;
mod writable;

pub use access::Access;
pub use identifier::{AccessMode, BlockTokenIdentifier, IdentifierForm};
pub use key::BlockKey;
pub use keys::{BlockKeys, MAX_BLOCK_KEYS};
pub use master::{KeyMaster, KeyTimes, SECRET_LEN};

/// `Token.kind` of every block token.
pub const BLOCK_TOKEN_KIND: &str = "HDFS_BLOCK_TOKEN";

#[cfg(test)]
mod tests;
