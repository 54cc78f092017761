//! What an operation wants to do with a block, and whether a token's content allows it.
//!
//! The order of the questions and the words of refusals are those of Java's `BlockTokenSecretManager.checkAccess`.

use super::identifier::{AccessMode, BlockTokenIdentifier, JavaList};
use hadron_types::{ErrorKind, ExtendedBlock, HadoopError, HadoopResult, StorageType};
use std::fmt::Display;

/// An operation on a block as its token is checked.
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    /// The block.
    pub block: &'a ExtendedBlock,
    /// What is to be done with it.
    pub mode: AccessMode,
    /// Media it will use; empty: not checked.
    pub storage_types: &'a [StorageType],
    /// Storages it will use; empty: not checked.
    pub storage_ids: &'a [String],
}

impl<'a> Access<'a> {
    /// An operation that does not name storages.
    pub fn new(block: &'a ExtendedBlock, mode: AccessMode) -> Self {
        Self {
            block,
            mode,
            storage_types: &[],
            storage_ids: &[],
        }
    }

    /// Checks what a token says; its password is somebody else's matter.
    ///
    /// Errors: [`ErrorKind::InvalidToken`] with Java's text.
    pub fn check(&self, token: &BlockTokenIdentifier, now: i64) -> HadoopResult<()> {
        let same_pool = token.pool.as_deref() == Some(self.block.pool.as_str());
        if !same_pool || token.block != self.block.block.id {
            return Err(refusal(format_args!(
                "Block token with {token} doesn't apply to block {}",
                self.block
            )));
        }
        if now > token.expiry {
            return Err(expired(token));
        }
        if !token.modes.contains(&self.mode) {
            return Err(refusal(format_args!(
                "Block token with {token} doesn't have {} permission",
                self.mode
            )));
        }
        check_subset("StorageTypes", &token.storage_types, self.storage_types, |kind| {
            kind.name()
        })?;
        check_subset("StorageIDs", &token.storage_ids, self.storage_ids, |id| id.as_str())
    }
}

/// Each wanted item must be among the allowed ones, as often as it is wanted. Tokens of older NameNodes allow all.
fn check_subset<T: PartialEq>(what: &str, allowed: &[T], wanted: &[T], name: fn(&T) -> &str) -> HadoopResult<()> {
    if wanted.is_empty() || allowed.is_empty() {
        return Ok(());
    }
    let mut left: Vec<&T> = allowed.iter().collect();
    for item in wanted {
        match left.iter().position(|one| *one == item) {
            Some(at) => {
                left.swap_remove(at);
            }
            None => {
                return Err(refusal(format_args!(
                    "Block token with {what} {} not valid for access with {what} {}",
                    JavaList(allowed, name),
                    JavaList(wanted, name)
                )));
            }
        }
    }
    Ok(())
}

pub(super) fn expired(token: &BlockTokenIdentifier) -> HadoopError {
    refusal(format_args!("Block token with {token} is expired."))
}

pub(super) fn refusal(text: impl Display) -> HadoopError {
    HadoopError::new(ErrorKind::InvalidToken, text.to_string())
}
