//! One member's copy: the file and the state file beside it.
//!
//! What it is for: doing what the follower's actions say. What it does not do: decide. Invariant: the file is durable before
//! a state that speaks of it is. After an error the copy must not be used further: what is durable is then unknown.

use std::io;
use std::sync::Arc;

use crate::backing::{BackingStore, Placed};
use crate::sealed::SealedError;

use super::state_file::{StateError, StateFile};
use super::types::{Parcel, ReplicaState};

/// Why a copy cannot be used further.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The file.
    #[error("the copy cannot be written: {0}; look at the disk, then start this member again")]
    Io(#[from] io::Error),
    /// The state file.
    #[error(transparent)]
    State(#[from] StateError),
    /// A buffer that has a good checksum but does not decode.
    #[error(transparent)]
    Sealed(#[from] SealedError),
}

/// A file and its state.
#[derive(Debug)]
pub struct Copy {
    store: Arc<dyn BackingStore>,
    state_file: StateFile,
}

impl Copy {
    /// Puts the two together.
    pub fn new(store: Arc<dyn BackingStore>, state_file: StateFile) -> Self {
        Self { store, state_file }
    }

    /// The file, to read from.
    pub fn store(&self) -> &Arc<dyn BackingStore> {
        &self.store
    }

    /// Makes the file and then `state` durable.
    pub fn save(&mut self, state: &ReplicaState) -> Result<(), CopyError> {
        self.store.sync()?;
        self.state_file.save(state)?;
        Ok(())
    }

    /// Makes `state` durable; the caller made the file so.
    pub fn save_state(&mut self, state: &ReplicaState) -> Result<(), CopyError> {
        self.state_file.save(state)?;
        Ok(())
    }

    /// Writes a buffer as it came, and gives the file the length it tells.
    pub fn write(&self, parcel: &Parcel) -> Result<(), CopyError> {
        let records = parcel.records()?;
        let placed = records.iter().map(|record| Placed {
            offset: record.offset,
            bytes: &record.bytes,
        });
        self.store.write_gathered(&placed.collect::<Vec<_>>())?;
        self.set_len(parcel.extent)
    }

    /// Writes a piece of the leader's file.
    pub fn fill(&self, offset: u64, bytes: &[u8]) -> Result<(), CopyError> {
        self.store.write_gathered(&[Placed { offset, bytes }])?;
        Ok(())
    }

    /// Makes the file this long, unless it is.
    pub fn set_len(&self, len: u64) -> Result<(), CopyError> {
        if self.store.extent()? != len {
            self.store.set_extent(len)?;
        }
        Ok(())
    }
}

/// Reads up to `len` bytes of `store` from `offset`; fewer where the file ends.
pub fn read_piece(store: &dyn BackingStore, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let there = store.extent()?.saturating_sub(offset);
    let mut bytes = vec![0; len.min(usize::try_from(there).unwrap_or(usize::MAX))];
    store.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}
