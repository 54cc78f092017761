//! Where a file's blocks are, and which replicas failed.
//!
//! Locations are fetched in stretches of the prefetch size and kept; they are fetched again when every replica of a
//! block failed. Invariant: no lock is held while anything waits.

use super::block::{BlockRange, BlockReader, ReadFault};
use crate::datanode;
use crate::error::{FsError, Result};
use crate::fs::{Shared, text};
use hadron_net::{RpcClient, RpcClientOptions};
use hadron_proto::hdfs as proto;
use hadron_proto::protocol::CLIENT_DATANODE_PROTOCOL;
use hadron_types::FsPath;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Located blocks that are kept for one open file; beyond it those first in the file are forgotten.
const MAX_KEPT_BLOCKS: usize = 10_000;

/// The map of one open file.
pub(super) struct Locations {
    shared: Arc<Shared>,
    path: FsPath,
    file_len: u64,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// By position in the file.
    blocks: BTreeMap<u64, Arc<proto::LocatedBlockProto>>,
    /// DataNodes that failed, by their permanent name, and what the last one said.
    dead: HashSet<String>,
    last_fault: String,
}

impl Locations {
    /// Asks the NameNode for the first stretch, and DataNodes for the length of a last block being written.
    pub(super) async fn open(shared: Arc<Shared>, path: &FsPath) -> Result<Self> {
        let first = ask(&shared, path, 0).await?;
        let mut known = Known::default();
        let mut file_len = first.file_length;
        if let Some(last) = first.last_block.as_ref().filter(|_| !first.is_last_block_complete) {
            let visible = visible_length(&shared, path, last).await?;
            file_len += visible;
            let mut last = last.clone();
            last.b.num_bytes = Some(visible);
            last.offset = first.file_length;
            known.insert(last);
        }
        for block in first.blocks {
            if block.offset < first.file_length {
                known.insert(block);
            }
        }
        Ok(Self {
            shared,
            path: path.clone(),
            file_len,
            known: Mutex::new(known),
        })
    }

    pub(super) fn file_len(&self) -> u64 {
        self.file_len
    }

    /// Opens a replica at `pos` for reading up to `end` or the end of its block. `rounds`: how often every replica of
    /// the block failed during this fetch. `None` at the end of the file.
    ///
    /// Errors: BlockMissing when the settings' number of rounds is exceeded; NameNode errors.
    pub(super) async fn open_block(&self, pos: u64, end: u64, rounds: &mut usize) -> Result<Option<BlockReader>> {
        if pos >= self.file_len {
            return Ok(None);
        }
        let mut may_refetch_token = true;
        loop {
            let located = self.block_at(pos).await?;
            let Some(node) = self.first_live(&located) else {
                self.next_round(pos, &located, rounds).await?;
                continue;
            };
            let block_end = located.b.num_bytes();
            let asked = BlockRange {
                range: pos - located.offset..block_end.min(end.saturating_sub(located.offset)),
                node,
                located,
            };
            match BlockReader::open(Arc::clone(&self.shared), asked.clone()).await {
                Ok(reader) => return Ok(Some(reader)),
                Err(ReadFault::Token(text)) if may_refetch_token => {
                    tracing::info!(path = %self.path, pos, refusal = text, "fetching a new block token");
                    may_refetch_token = false;
                    self.known.lock().blocks.remove(&asked.located.offset);
                }
                Err(fault) => self.note_fault(&asked, fault).await,
            }
        }
    }

    /// A read that was open failed.
    pub(super) async fn replica_failed(&self, reader: &BlockReader, fault: ReadFault) {
        self.note_fault(reader.asked(), fault).await;
    }

    async fn note_fault(&self, asked: &BlockRange, fault: ReadFault) {
        let info = asked.info();
        let addr = datanode::transfer_addr(info);
        tracing::warn!(path = %self.path, block = asked.located.b.block_id, addr, %fault, "cannot read replica");
        {
            let mut known = self.known.lock();
            known.dead.insert(info.id.datanode_uuid.clone());
            known.last_fault = format!("{addr}: {fault}");
        }
        if matches!(fault, ReadFault::Corrupt(_)) {
            self.report_bad(asked).await;
        }
    }

    async fn report_bad(&self, asked: &BlockRange) {
        let pick = |list: &[String]| list.get(asked.node).cloned().into_iter().collect();
        let block = proto::LocatedBlockProto {
            locs: vec![asked.info().clone()],
            storage_i_ds: pick(&asked.located.storage_i_ds),
            storage_types: asked
                .located
                .storage_types
                .get(asked.node)
                .copied()
                .into_iter()
                .collect(),
            is_cached: Vec::new(),
            corrupt: true,
            ..proto::LocatedBlockProto::clone(&asked.located)
        };
        let request = proto::ReportBadBlocksRequestProto { blocks: vec![block] };
        if let Err(error) = self.shared.namenode.report_bad_blocks(&request).await {
            tracing::warn!(path = %self.path, %error, "cannot report bad replica");
        }
    }

    fn first_live(&self, located: &proto::LocatedBlockProto) -> Option<usize> {
        let known = self.known.lock();
        located
            .locs
            .iter()
            .position(|info| !known.dead.contains(&info.id.datanode_uuid))
    }

    /// Every replica failed: waits, forgets what is known of the block and who is dead, and lets the caller try again.
    async fn next_round(&self, pos: u64, located: &proto::LocatedBlockProto, rounds: &mut usize) -> Result<()> {
        let settings = &self.shared.settings;
        if *rounds >= settings.max_block_acquire_failures {
            let last_fault = self.known.lock().last_fault.clone();
            return Err(FsError::BlockMissing {
                path: text(&self.path),
                block: hadron_types::ExtendedBlock::from(&located.b).to_string(),
                cause: if last_fault.is_empty() {
                    "no replica is known".to_owned()
                } else {
                    last_fault
                },
            });
        }
        // Grows with the rounds, as Hadoop's; the random half of its window is left out: two clients that met the same
        // failure ask different DataNodes anyway, since the NameNode shuffles.
        tokio::time::sleep(settings.retry_window_base * (2 * *rounds as u32 + 1) / 2).await;
        *rounds += 1;
        let mut known = self.known.lock();
        known.dead.clear();
        if located.offset <= pos {
            known.blocks.remove(&located.offset);
        }
        Ok(())
    }

    /// The block at `pos`, which is inside the file.
    async fn block_at(&self, pos: u64) -> Result<Arc<proto::LocatedBlockProto>> {
        if let Some(found) = self.known.lock().find(pos) {
            return Ok(found);
        }
        let stretch = ask(&self.shared, &self.path, pos).await?;
        let mut known = self.known.lock();
        let last = stretch
            .last_block
            .filter(|last| !stretch.is_last_block_complete && last.offset <= pos);
        for mut block in stretch.blocks.into_iter().chain(last) {
            if block.offset + block.b.num_bytes() > self.file_len {
                // It grew since the file was opened; readers keep the length they saw.
                block.b.num_bytes = Some(self.file_len.saturating_sub(block.offset));
            } else if block.offset + block.b.num_bytes() < self.file_len && block.offset >= stretch.file_length {
                // Still being written: the NameNode does not know the length that DataNodes told us.
                block.b.num_bytes = Some(self.file_len - block.offset);
            }
            known.insert(block);
        }
        known.find(pos).ok_or_else(|| FsError::BlockMissing {
            path: text(&self.path),
            block: format!("at offset {pos}"),
            cause: "the name node knows no block there any more".to_owned(),
        })
    }
}

impl Known {
    fn insert(&mut self, block: proto::LocatedBlockProto) {
        if self.blocks.len() >= MAX_KEPT_BLOCKS {
            self.blocks.pop_first();
        }
        self.blocks.insert(block.offset, Arc::new(block));
    }

    fn find(&self, pos: u64) -> Option<Arc<proto::LocatedBlockProto>> {
        let (offset, block) = self.blocks.range(..=pos).next_back()?;
        (pos < offset + block.b.num_bytes()).then(|| Arc::clone(block))
    }
}

async fn ask(shared: &Shared, path: &FsPath, offset: u64) -> Result<proto::LocatedBlocksProto> {
    let request = proto::GetBlockLocationsRequestProto {
        src: text(path),
        offset,
        length: shared.settings.prefetch_size,
    };
    let response = shared.namenode.get_block_locations(&request).await?;
    response.locations.ok_or_else(|| FsError::not_found(path.as_str()))
}

/// Asks the DataNodes of a block being written how much of it every node acked.
async fn visible_length(shared: &Shared, path: &FsPath, last: &proto::LocatedBlockProto) -> Result<u64> {
    if last.locs.is_empty() && last.b.num_bytes() == 0 {
        return Ok(0);
    }
    let mut cause = "no replica is known".to_owned();
    for round in 0..=shared.settings.last_block_length_retries {
        if round > 0 {
            tokio::time::sleep(shared.settings.last_block_length_interval).await;
        }
        let mut answers = LengthAnswers::default();
        for info in &last.locs {
            if let Some(len) = answers.take(replica_visible_length(shared, info, last).await) {
                return Ok(len);
            }
        }
        if answers.all_without() {
            return Ok(0);
        }
        if !answers.cause.is_empty() {
            cause = answers.cause;
        }
    }
    Err(FsError::BlockMissing {
        path: text(path),
        block: hadron_types::ExtendedBlock::from(&last.b).to_string(),
        cause: format!("Cannot obtain block length: {cause}"),
    })
}

/// What the nodes of an open block said about its length, none of which was one.
#[derive(Default)]
struct LengthAnswers {
    asked: usize,
    without: usize,
    cause: String,
}

impl LengthAnswers {
    /// Notes an answer; the length if it is one. A node that restarted says -1: its replica cannot be read.
    fn take(&mut self, answer: Result<i64>) -> Option<u64> {
        self.asked += 1;
        match answer.map(u64::try_from) {
            Ok(Ok(len)) => return Some(len),
            Ok(Err(_)) => self.cause = "its replica waits for recovery".to_owned(),
            Err(error) => {
                self.without += usize::from(error.kind() == Some(hadron_types::ErrorKind::ReplicaNotFound));
                self.cause = error.to_string();
            }
        }
        None
    }

    /// Whether every node has no replica: then the pipeline is only being set up.
    fn all_without(&self) -> bool {
        self.asked > 0 && self.without == self.asked
    }
}

async fn replica_visible_length(
    shared: &Shared,
    info: &proto::DatanodeInfoProto,
    located: &proto::LocatedBlockProto,
) -> Result<i64> {
    let ip: IpAddr = info
        .id
        .ip_addr
        .parse()
        .map_err(|_| FsError::Config(format!("bad address {}", info.id.ip_addr)))?;
    let port = u16::try_from(info.id.ipc_port).map_err(|_| FsError::Config("bad IPC port".to_owned()))?;
    let mut options = RpcClientOptions::new(&shared.user, CLIENT_DATANODE_PROTOCOL);
    options.connect_timeout = shared.settings.connect_timeout;
    options.call_timeout = Some(shared.settings.socket_timeout);
    options.token = Some(located.block_token.clone());
    let client = RpcClient::connect(SocketAddr::new(ip, port), options).await?;
    let request = proto::GetReplicaVisibleLengthRequestProto {
        block: located.b.clone(),
    };
    let response: proto::GetReplicaVisibleLengthResponseProto =
        client.call("getReplicaVisibleLength", &request).await?;
    Ok(response.length as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hadron_types::{ErrorKind, HadoopError};

    #[test]
    fn the_length_of_an_open_block_is_what_some_replica_shows() {
        let missing = || Err(FsError::Refused(HadoopError::new(ErrorKind::ReplicaNotFound, "none")));
        let broken = || Err(FsError::Config("broken".to_owned()));
        for (answers, expected) in [
            (vec![Ok(5), Ok(7)], Some(5)),
            (vec![missing(), Ok(7)], Some(7)),
            (vec![missing(), missing()], Some(0)),
            (vec![missing(), broken()], None),
            (vec![Ok(-1), Ok(7)], Some(7)),
            (vec![Ok(-1)], None),
            (vec![Ok(-1), missing()], None),
            (vec![], None),
        ] {
            let mut seen = LengthAnswers::default();
            let found = answers.iter().find_map(|answer| seen.take(answer.clone()));
            let known = found.or(seen.all_without().then_some(0));
            assert_eq!(known, expected, "{answers:?}");
        }
    }
}
