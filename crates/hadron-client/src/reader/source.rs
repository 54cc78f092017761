//! Where the bytes of a block come from: files on this machine, or a connection; and how many came from where.

use super::block::{BlockRange, BlockReader, ReadFault};
use super::local::LocalReader;
use super::locations::Locations;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How the bytes of a file were read, as Hadoop's `ReadStatistics` counts them: each of these is part of the one before.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ReadStatistics {
    /// All bytes.
    pub total: u64,
    /// From DataNodes on this machine.
    pub local: u64,
    /// From files on this machine, without a DataNode.
    pub short_circuit: u64,
    /// Of these, mapped and not copied.
    pub zero_copy: u64,
}

impl ReadStatistics {
    /// Bytes from DataNodes on other machines.
    pub fn remote(&self) -> u64 {
        self.total - self.local
    }
    /// Bytes that DataNodes on this machine sent.
    pub fn local_over_network(&self) -> u64 {
        self.local - self.short_circuit
    }
}

/// What [`ReadStatistics`] is made of.
#[derive(Debug, Default)]
pub(super) struct Served {
    remote: AtomicU64,
    local: AtomicU64,
    short_circuit: AtomicU64,
    zero_copy: AtomicU64,
}

impl Served {
    pub(super) fn add_short_circuit(&self, bytes: usize) {
        self.short_circuit.fetch_add(bytes as u64, Ordering::Relaxed);
    }
    pub(super) fn add_zero_copy(&self, bytes: usize) {
        self.zero_copy.fetch_add(bytes as u64, Ordering::Relaxed);
    }
    pub(super) fn add_from_node(&self, bytes: usize, is_local: bool) {
        let counter = if is_local { &self.local } else { &self.remote };
        counter.fetch_add(bytes as u64, Ordering::Relaxed);
    }
    pub(super) fn read(&self) -> ReadStatistics {
        let zero_copy = self.zero_copy.load(Ordering::Relaxed);
        let short_circuit = zero_copy + self.short_circuit.load(Ordering::Relaxed);
        let local = short_circuit + self.local.load(Ordering::Relaxed);
        ReadStatistics {
            total: local + self.remote.load(Ordering::Relaxed),
            local,
            short_circuit,
            zero_copy,
        }
    }
}

/// A range of a block being read.
pub(super) enum Source {
    /// Over a connection.
    Remote(Box<BlockReader>),
    /// From a file.
    Local(Box<LocalReader>),
}

impl Source {
    /// Begins to read: from files if the DataNode passes them.
    pub(super) async fn open(locations: &Locations, asked: &BlockRange) -> Result<Self, ReadFault> {
        if let Some(local) = locations.open_local(asked).await? {
            let (asked, step) = (local.owner(asked), locations.local_step());
            return Ok(Self::Local(Box::new(LocalReader::new(local, asked, step))));
        }
        let reader = BlockReader::open(Arc::clone(locations.shared()), asked.clone()).await?;
        Ok(Self::Remote(Box::new(reader)))
    }

    /// Position in the file of the next byte.
    pub(super) fn file_position(&self) -> u64 {
        match self {
            Self::Remote(reader) => reader.file_position(),
            Self::Local(reader) => reader.asked().located.offset + reader.position(),
        }
    }
    /// Whether every byte of the range was given out.
    pub(super) fn is_at_end(&self) -> bool {
        match self {
            Self::Remote(reader) => reader.is_at_end(),
            Self::Local(reader) => reader.position() >= reader.asked().range.end,
        }
    }
    /// What was asked of whom.
    pub(super) fn asked(&self) -> &BlockRange {
        match self {
            Self::Remote(reader) => reader.asked(),
            Self::Local(reader) => reader.asked(),
        }
    }

    /// The next verified bytes of the range; `None` at its end.
    pub(super) async fn next_bytes(&mut self, locations: &Locations) -> Result<Option<Bytes>, ReadFault> {
        match self {
            Self::Remote(reader) => {
                let bytes = reader.next_bytes().await?;
                if let Some(bytes) = &bytes {
                    locations.count_from_node(reader.asked(), bytes.len());
                }
                Ok(bytes)
            }
            Self::Local(reader) => {
                let bytes = reader.next_bytes().await?;
                locations
                    .served()
                    .add_short_circuit(bytes.as_ref().map_or(0, Bytes::len));
                Ok(bytes)
            }
        }
    }

    /// Ends the read; after a whole range a connection is kept for the next one.
    pub(super) async fn finish(self) {
        if let Self::Remote(reader) = self {
            reader.finish().await;
        }
    }
}
