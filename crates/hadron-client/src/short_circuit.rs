//! Short-circuit reads: this process reads the block files of DataNodes on its machine, through passed descriptors.
//!
//! ```text
//! reader --block--> ShortCircuit --key--> cache --miss--> load: slot (manager), descriptors (exchange) over a Unix socket
//!                     paths: where, and whether at all     release: slots go back in the background
//! ```
//!
//! What it does not do: read blocks. Everything that goes wrong here ends in a read over TCP, with a line in the log.
//! Invariants: one client has one cache, which all its clones share; dropping the client closes every socket, segment and
//! descriptor that no reader holds. Wire and memory: docs/formats/short-circuit.md.
//!
//! Source: Hadoop `BlockReaderFactory`, `ShortCircuitCache`, `DfsClientShmManager`, `DomainSocketFactory`.

mod book;
mod buffers;
mod cache;
mod exchange;
mod manager;
mod paths;
mod release;
mod replica;
#[cfg(test)]
mod scripted;
mod settings;
mod slots;
#[cfg(test)]
mod tests;

pub(crate) use buffers::{ReadBuffer, ReadBuffers};
pub(crate) use cache::ReplicaRef;
pub use manager::ShmCounts;
pub use settings::ShortCircuitSettings;

use crate::datanode::within;
use crate::local_addresses::LocalAddresses;
use crate::peers::PeerCache;
use crate::settings::ClientSettings;
use book::Limits;
use cache::{Cache, CacheConfig, Fetched, Load};
use exchange::{FdsAnswer, request_files};
use hadron_env::Clock;
use hadron_proto::hdfs as proto;
use hadron_shm::{MappedFile, SlotId};
use hadron_wire::transfer::Checksum;
use hadron_wire::transfer::meta::{META_HEADER_LEN, decode_meta_header};
use manager::{ShmManager, ShmSlot};
use paths::{PathState, Paths};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixStream;

/// A block, whatever its generation stamp: a replica keeps its slot when it is appended to. Whether one that is cached still
/// is the block's, [`replica::Replica::serves`] tells.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct BlockKey {
    /// The block's id.
    pub(crate) block: u64,
    /// Its pool: ids are only unique in one.
    pub(crate) pool: Arc<str>,
}

impl fmt::Display for BlockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", self.block, self.pool)
    }
}

/// What a client holds for short-circuit reads.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ShortCircuitCounts {
    /// Replicas whose descriptors are held.
    pub replicas: usize,
    /// Of these, those that nobody reads and that are not mapped.
    pub evictable: usize,
    /// Of these, those that nobody reads and that are mapped.
    pub evictable_mapped: usize,
    /// Mappings.
    pub mappings: usize,
    /// Shared memory.
    pub shm: ShmCounts,
}

/// Whether a block can be read here.
#[derive(Debug)]
pub(crate) enum Opened {
    /// From these files.
    Local(ReplicaRef),
    /// The block token was refused.
    Token(String),
    /// Over the network.
    Elsewhere,
}

/// The short-circuit reads of one client.
pub(crate) struct ShortCircuit {
    settings: ShortCircuitSettings,
    client_name: String,
    timeout: Duration,
    paths: Paths,
    peers: Arc<PeerCache<UnixStream>>,
    manager: Option<Arc<ShmManager>>,
    cache: Arc<Cache>,
    buffers: Arc<ReadBuffers>,
}

impl ShortCircuit {
    /// `None` where they are not configured.
    pub(crate) fn new(
        settings: &ClientSettings,
        client_name: &str,
        addresses: &Arc<LocalAddresses>,
        clock: Arc<dyn Clock>,
    ) -> Option<Self> {
        Self::with_mapper(settings, client_name, addresses, clock, MappedFile::new)
    }

    fn with_mapper(
        settings: &ClientSettings,
        client_name: &str,
        addresses: &Arc<LocalAddresses>,
        clock: Arc<dyn Clock>,
        mapper: cache::Mapper,
    ) -> Option<Self> {
        let (timeout, peers) = (
            settings.socket_timeout,
            PeerCache::new(settings.peer_cache_capacity, settings.peer_cache_expiry),
        );
        let settings = settings.short_circuit.clone();
        if !settings.enabled {
            return None;
        }
        if settings.socket_path.is_none() {
            tracing::warn!(
                "dfs.client.read.shortcircuit is true but dfs.domain.socket.path is not set: short-circuit reads are off"
            );
            return None;
        }
        let manager = settings
            .shared_memory
            .then(|| ShmManager::new(client_name, Arc::clone(&clock)));
        let manager = manager.and_then(|manager| {
            manager
                .inspect_err(
                    |error| tracing::error!(%error, "no shared memory with data nodes; local reads go on without"),
                )
                .ok()
        });
        let config = CacheConfig {
            limits: Limits {
                total: settings.cache_size,
                mapped: settings.mmap_cache_size,
                age: settings.cache_expiry,
                mapped_age: settings.mmap_cache_timeout,
            },
            stale_threshold: settings.stale_threshold,
            map_retry: settings.mmap_retry_timeout,
            release_timeout: timeout,
            mapper,
        };
        Some(Self {
            paths: Paths::new(
                settings.socket_path.clone(),
                settings.disable_interval,
                Arc::clone(addresses),
                Arc::clone(&clock),
            ),
            cache: Cache::new(client_name, clock, config, manager.as_ref()),
            buffers: ReadBuffers::new(settings.buffer_size),
            client_name: client_name.to_owned(),
            timeout,
            peers,
            manager,
            settings,
        })
    }

    pub(crate) fn settings(&self) -> &ShortCircuitSettings {
        &self.settings
    }

    pub(crate) fn buffers(&self) -> &Arc<ReadBuffers> {
        &self.buffers
    }

    /// What is held now.
    pub(crate) fn counts(&self) -> ShortCircuitCounts {
        let (replicas, mappings, (evictable, evictable_mapped)) = self.cache.counts();
        ShortCircuitCounts {
            replicas,
            mappings,
            evictable,
            evictable_mapped,
            shm: self
                .manager
                .as_ref()
                .map(|manager| manager.counts())
                .unwrap_or_default(),
        }
    }

    /// The replica of a finished block at the DataNode `info`, if that one is on this machine and passes descriptors.
    pub(crate) async fn open(&self, located: &proto::LocatedBlockProto, info: &proto::DatanodeInfoProto) -> Opened {
        let Some((path, state)) = self.paths.of(&info.id.ip_addr, info.id.xfer_port) else {
            return Opened::Elsewhere;
        };
        if !state.is_usable_for_descriptors() {
            tracing::debug!(path = %path.display(), ?state, "the path is left alone for now");
            return Opened::Elsewhere;
        }
        let key = BlockKey {
            block: located.b.block_id,
            pool: located.b.pool_id.as_str().into(),
        };
        let load = async || self.load(&path, &info.id.datanode_uuid, located, &key).await;
        match self.cache.fetch_or_create(&key, located, load).await {
            Fetched::Replica(replica) => Opened::Local(replica),
            Fetched::Token(text) => Opened::Token(text),
            Fetched::Unavailable => Opened::Elsewhere,
        }
    }

    /// Asks for the descriptors, over a kept connection as long as there is one.
    async fn load(&self, path: &Path, node: &str, located: &proto::LocatedBlockProto, key: &BlockKey) -> Load {
        loop {
            let mut is_kept = true;
            let asked = within(self.timeout, self.ask(path, node, located, key, &mut is_kept)).await;
            let error = match asked {
                Ok(load) => return load,
                Err(error) => error,
            };
            if is_kept {
                tracing::debug!(path = %path.display(), %error, "kept connection is gone");
                continue;
            }
            self.paths.mark(path, PathState::Unusable);
            tracing::warn!(
                path = %path.display(),
                %error,
                left_alone_for = ?self.paths.interval(),
                "no short-circuit reads over this path; reading over TCP"
            );
            return Load::Unavailable;
        }
    }

    /// A kept connection, or else a new one, in which case `is_kept` becomes false.
    async fn connect(&self, path: &Path, is_kept: &mut bool) -> io::Result<UnixStream> {
        if let Some(stream) = self.peers.take(&path.to_string_lossy()) {
            return Ok(stream);
        }
        *is_kept = false;
        UnixStream::connect(path).await
    }

    async fn ask(
        &self,
        path: &Path,
        node: &str,
        located: &proto::LocatedBlockProto,
        key: &BlockKey,
        is_kept: &mut bool,
    ) -> io::Result<Load> {
        let mut peer = Some(self.connect(path, is_kept).await?);
        let mut slot = None;
        if let Some(manager) = &self.manager {
            let allocated = manager.alloc_slot(node, path, &mut peer, key).await?;
            if allocated.used_peer {
                tracing::trace!(client = self.client_name, path = %path.display(), "the connection belongs to a segment");
            }
            slot = allocated.slot.map(|slot| Taken {
                cache: &self.cache,
                manager,
                slot: Some(slot),
                asked: false,
            });
        }
        let mut stream = match peer {
            Some(stream) => stream,
            None => {
                *is_kept = true;
                self.connect(path, is_kept).await?
            }
        };
        let id = slot.as_mut().and_then(Taken::ask);
        let answer = request_files(&mut stream, located, id).await?;
        if !matches!(answer, FdsAnswer::Files(..))
            && let Some(slot) = &mut slot
        {
            slot.asked = false;
        }
        if matches!(answer, FdsAnswer::Files(..)) {
            self.paths.forget_refusals(path);
        }
        let load = self.judge(answer, path, (node, located.b.generation_stamp), key, slot);
        self.peers.put(path.to_string_lossy().into_owned(), stream);
        Ok(load)
    }

    /// Turns an answer into a replica, or remembers what the path is not good for.
    fn judge(
        &self,
        answer: FdsAnswer,
        path: &Path,
        (node, stamp): (&str, u64),
        key: &BlockKey,
        slot: Option<Taken<'_>>,
    ) -> Load {
        let shown = path.display();
        let left_alone_for = self.paths.interval();
        match answer {
            FdsAnswer::Files(data, meta) => match read_header(&meta) {
                Ok(checksum) => {
                    let slot = slot.and_then(Taken::keep);
                    return Load::Files {
                        node: node.to_owned(),
                        stamp,
                        data,
                        meta,
                        checksum,
                        slot,
                    };
                }
                Err(error) => {
                    tracing::warn!(%key, path = %shown, %error, "cannot read the meta file; reading over TCP");
                }
            },
            FdsAnswer::Unsupported {
                versioned: true,
                reason,
            } => {
                tracing::warn!(%key, path = %shown, reason, "no short-circuit reads of this block; reading over TCP");
            }
            FdsAnswer::Unsupported { reason, .. } => {
                self.paths.mark(path, PathState::ShortCircuitDisabled);
                tracing::warn!(
                    path = %shown,
                    reason,
                    ?left_alone_for,
                    "the data node does no short-circuit reads; reading over TCP"
                );
            }
            FdsAnswer::Refused(reason) if slot.is_some() && blames_slot(&reason) => {
                tracing::warn!(
                    %key,
                    path = %shown,
                    reason,
                    "the data node knows this client's slots otherwise; closing the segment and reading over TCP"
                );
                slot.into_iter().for_each(Taken::give_segment_up);
            }
            // Hadoop leaves the DataNode alone after the first of these, though most are about one replica: it is missing,
            // or of another stamp.
            FdsAnswer::Refused(reason) if self.paths.count_refusal(path) => {
                tracing::warn!(
                    %key,
                    path = %shown,
                    reason,
                    ?left_alone_for,
                    "the data node refuses descriptors again and again; reading over TCP"
                );
            }
            FdsAnswer::Refused(reason) => {
                tracing::warn!(%key, path = %shown, reason, "no descriptors of this replica; reading this block over TCP");
            }
            FdsAnswer::Token(reason) => {
                tracing::debug!(%key, path = %shown, reason, "block token refused");
                return Load::Token(format!(
                    "access control error while attempting to set up short-circuit access to {key}: {reason}"
                ));
            }
        }
        Load::Unavailable
    }
}

fn read_header(meta: &File) -> io::Result<Checksum> {
    let mut header = [0; META_HEADER_LEN];
    // A few bytes of a file that the DataNode just opened.
    meta.read_exact_at(&mut header, 0)?;
    Ok(decode_meta_header(header)?)
}

/// Whether a refusal is about the slot, and not about the block: by its words, which Hadoop's `ShortCircuitRegistry` chose.
fn blames_slot(reason: &str) -> bool {
    const WORDS: [&str; 4] = [
        "is already in use",
        "is not marked as valid",
        "slot index",
        "no shared memory segment registered",
    ];
    WORDS.iter().any(|words| reason.contains(words))
}

/// A slot taken for a replica, given back on every way out unless it is kept: at once while the DataNode does not know it,
/// or after it refused and so took it back; by a release when it may have registered the slot, or may yet.
struct Taken<'a> {
    cache: &'a Cache,
    manager: &'a ShmManager,
    slot: Option<ShmSlot>,
    /// The DataNode was asked to register it, and nothing it said since undoes that.
    asked: bool,
}

impl Taken<'_> {
    /// Its name, to be sent to the DataNode.
    fn ask(&mut self) -> Option<SlotId> {
        self.asked = true;
        self.slot.as_ref().map(ShmSlot::id)
    }

    fn keep(mut self) -> Option<ShmSlot> {
        self.slot.take()
    }

    /// The DataNode and this client do not agree on what is in the slot's segment.
    fn give_segment_up(self) {
        let manager = self.manager;
        if let Some(slot) = self.keep() {
            manager.shut_segment_down(slot);
        }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        match self.slot.take() {
            Some(slot) if self.asked => self.cache.release(slot),
            Some(slot) => self.manager.free_slot(slot),
            None => {}
        }
    }
}
