//! What the callers' threads and the writer thread share.
//!
//! Order of locks: core, then one shard of the map or one buffer's memory. None of them is held during I/O.

use std::io;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex, RwLock};

use super::counters::{Tally, count};
use super::error::{Failure, WriteError};
use super::map::SharedMap;
use super::memory::BufferMemory;
use super::pool::BufferPool;
use crate::backing::{BackingStore, Opener, Placed};
use crate::config::Config;
use crate::core::{BufferId, Machine, ReadLists};
use crate::replicator::Replicator;

/// Times the file is opened again for one buffer before the write counts as failed.
pub(crate) const MAX_REOPENS: usize = 1;

/// The machine and what stops it.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) machine: Machine,
    /// Sticks until a reset.
    pub(crate) failure: Option<Failure>,
    pub(crate) closed: bool,
    /// Resets so far: who waited over one starts anew.
    pub(crate) resets: u64,
    /// Sequence of the last buffer that is in the file.
    pub(crate) written_sequence: u64,
}

impl Core {
    /// Refuses to go on after a failure or the close.
    pub(crate) fn check(&self) -> Result<(), WriteError> {
        if self.closed {
            return Err(WriteError::Closed);
        }
        self.failure.clone().map_or(Ok(()), |failure| Err(failure.into()))
    }

    /// The same for one who began to wait before `resets`.
    pub(crate) fn check_since(&self, resets: u64) -> Result<(), WriteError> {
        self.check()?;
        if self.resets == resets {
            Ok(())
        } else {
            Err(WriteError::Reset)
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) core: Mutex<Core>,
    /// For the writer thread: there may be a job.
    pub(crate) work: Condvar,
    /// For everybody else: a buffer was written or emptied, a large record ended, a failure, a reset, the close.
    pub(crate) progress: Condvar,
    pub(crate) reads: Mutex<ReadLists>,
    pub(crate) map: SharedMap,
    memory: Vec<BufferMemory>,
    backing: RwLock<Arc<dyn BackingStore>>,
    opener: Arc<dyn Opener>,
    pub(crate) replicator: Arc<dyn Replicator>,
    pub(crate) tally: Tally,
}

impl Shared {
    pub(crate) fn new(
        config: Config,
        extent: u64,
        pool: &Arc<BufferPool>,
        opener: Arc<dyn Opener>,
        replicator: Arc<dyn Replicator>,
    ) -> io::Result<Self> {
        let backing = opener.open()?;
        let buffers = config.write_buffers + config.read_buffers + config.hot_buffers;
        Ok(Self {
            core: Mutex::new(Core {
                machine: Machine::new(config.clone(), extent),
                failure: None,
                closed: false,
                resets: 0,
                written_sequence: 0,
            }),
            work: Condvar::new(),
            progress: Condvar::new(),
            reads: Mutex::new(ReadLists::new(&config)),
            map: SharedMap::new(),
            memory: (0..buffers).map(|_| BufferMemory::new(Arc::clone(pool))).collect(),
            backing: RwLock::new(backing),
            opener,
            replicator,
            tally: Tally::default(),
            config,
        })
    }

    pub(crate) fn memory(&self, id: BufferId) -> &BufferMemory {
        &self.memory[id.index()]
    }

    pub(crate) fn all_memory(&self) -> &[BufferMemory] {
        &self.memory
    }

    pub(crate) fn backing(&self) -> Arc<dyn BackingStore> {
        Arc::clone(&self.backing.read())
    }

    /// Opens the file again, for everybody.
    pub(crate) fn reopen(&self) -> io::Result<Arc<dyn BackingStore>> {
        let fresh = self.opener.open()?;
        *self.backing.write() = Arc::clone(&fresh);
        count(&self.tally.reopens);
        Ok(fresh)
    }

    /// Writes, opening the file again when that may help.
    pub(crate) fn write_gathered(&self, parts: &[Placed<'_>]) -> io::Result<()> {
        let mut result = self.backing().write_gathered(parts);
        for _ in 0..MAX_REOPENS {
            let Err(error) = &result else { break };
            tracing::warn!(%error, "write to the file below the cache failed, open it again");
            result = self.reopen().and_then(|backing| backing.write_gathered(parts));
        }
        result
    }

    /// Stops everything until a reset; the first failure is kept.
    pub(crate) fn fail(&self, failure: Failure) -> WriteError {
        let mut core = self.core.lock();
        let kept = core.failure.get_or_insert(failure).clone();
        self.progress.notify_all();
        kept.into()
    }
}
