//! Where a file's blocks are, and which DataNodes failed.
//!
//! Locations are fetched in stretches of the prefetch size and kept; they are fetched again when every replica of a
//! block failed, or a block token was refused. The file keeps the length it had when it was opened, and its blocks: a
//! path that has come to mean another file is noticed, so that two files are never read as one.
//! Invariant: no lock is held while anything waits.

use super::attempt::{Attempt, round_wait};
use super::block::{BlockRange, ReadFault};
use super::local::{Anchor, LocalBlock};
use super::source::Served;
use super::visible_length::visible_length;
use super::zero_copy::ZeroCopy;
use crate::datanode;
use crate::error::{FsError, Result};
use crate::fs::{Shared, text};
use crate::short_circuit::{Opened, ShortCircuit};
use bytes::Bytes;
use hadron_proto::hdfs as proto;
use hadron_types::{ExtendedBlock, FsPath, StorageType};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// Located blocks that are kept for one open file; beyond it those first in the file are forgotten.
const MAX_KEPT_BLOCKS: usize = 10_000;
/// Local replicas whose descriptors one open file keeps at hand; beyond it the oldest goes back to the cache.
const MAX_LOCAL_BLOCKS: usize = 8;
/// Bytes read at once from local replicas at most where short-circuit reads are not configured, which is never asked.
const DEFAULT_LOCAL_STEP: usize = 1024 * 1024;

/// The map of one open file.
pub(super) struct Locations {
    shared: Arc<Shared>,
    path: FsPath,
    file_len: u64,
    /// The block that was being written when the file was opened.
    open_block: Option<u64>,
    known: Mutex<Known>,
    /// Local replicas in use. Oldest first.
    local: Mutex<Vec<Kept>>,
    served: Served,
}

/// Files of a replica that are kept at hand.
struct Kept {
    block: u64,
    node: String,
    /// Where the block is in the file.
    range: Range<u64>,
    files: Arc<LocalBlock>,
}

#[derive(Default)]
struct Known {
    /// By position in the file.
    blocks: BTreeMap<u64, Arc<proto::LocatedBlockProto>>,
    /// Position and id of the last block when the file was opened.
    last: Option<(u64, u64)>,
    /// DataNodes that failed, by their permanent name, as they are shown to people.
    dead: BTreeMap<String, String>,
    /// What the last one said.
    last_fault: String,
    /// The block that somebody appends to behind this reader's back: DataNodes read it, who know how far it is settled.
    /// Only a file's last block grows.
    growing: Option<u64>,
}

impl Locations {
    /// Asks the NameNode for the first stretch, and DataNodes for the length of a last block being written.
    ///
    /// Errors: BlockLengthUnknown when that cannot be learned; NameNode errors.
    pub(super) async fn open(shared: Arc<Shared>, path: &FsPath) -> Result<Self> {
        let mut tries = 0;
        loop {
            let found = ask(&shared, path, 0).await?;
            let (last, cause) = match being_written(&found) {
                None => return Ok(Self::new(shared, path, found, 0)),
                Some(last) => match visible_length(&shared, last).await {
                    Ok(visible) => return Ok(Self::new(shared, path, found, visible)),
                    Err(cause) => (last, cause),
                },
            };
            // DataNodes may be restarting, or have not reported yet: the NameNode knows more in a while.
            if tries >= shared.settings.last_block_length_retries {
                return Err(match last.locs.is_empty() {
                    true => FsError::BlockLengthUnknown("Could not obtain the last block locations.".to_owned()),
                    false => FsError::BlockLengthUnknown(format!(
                        "Cannot obtain block length for {}: {cause}",
                        describe(last)
                    )),
                });
            }
            tries += 1;
            tracing::warn!(%path, block = last.b.block_id, cause, tries, "cannot learn the length of the last block yet");
            tokio::time::sleep(shared.settings.last_block_length_interval).await;
        }
    }

    /// `visible`: length of the block being written, if there is one.
    fn new(shared: Arc<Shared>, path: &FsPath, found: proto::LocatedBlocksProto, visible: u64) -> Self {
        let mut known = Known::default();
        let complete_len = found.file_length;
        let mut file_len = complete_len;
        let mut open_block = None;
        if let Some(mut last) = found.last_block {
            if !found.is_last_block_complete {
                open_block = Some(last.b.block_id);
                file_len += visible;
                last.b.num_bytes = Some(visible);
                last.offset = complete_len;
            }
            // A block nobody has written to may yet be abandoned for another one.
            if last.b.num_bytes() > 0 {
                known.last = Some((last.offset, last.b.block_id));
                known.insert(last);
            }
        }
        for block in found.blocks {
            if block.offset < complete_len {
                known.insert(block);
            }
        }
        Self {
            shared,
            path: path.clone(),
            file_len,
            open_block,
            known: Mutex::new(known),
            local: Mutex::default(),
            served: Served::default(),
        }
    }

    pub(super) fn file_len(&self) -> u64 {
        self.file_len
    }
    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// How the bytes of this file were read.
    pub(super) fn served(&self) -> &Served {
        &self.served
    }
    /// Counts bytes that a DataNode sent.
    pub(super) fn count_from_node(&self, asked: &BlockRange, bytes: usize) {
        let ip = asked.info().id.ip_addr.as_str();
        let is_local = self.shared.addresses.has(ip);
        self.served.add_from_node(bytes, is_local);
    }

    /// Bytes read at once from local replicas.
    pub(super) fn local_step(&self) -> usize {
        let settings = self.shared.short_circuit.as_ref().map(ShortCircuit::settings);
        settings.map_or(DEFAULT_LOCAL_STEP, |settings| settings.buffer_size)
    }

    /// The files of the replica `asked`, if they can be had: the block is not being written, and its DataNode is on this
    /// machine and passes them. Errors: the block token was refused, or the files cannot be looked at.
    pub(super) async fn open_local(
        &self,
        asked: &BlockRange,
    ) -> std::result::Result<Option<Arc<LocalBlock>>, ReadFault> {
        let Some(short_circuit) = self.shared.short_circuit.as_ref().filter(|_| !asked.is_open) else {
            return Ok(None);
        };
        let (block, node) = (asked.located.b.block_id, asked.info().id.datanode_uuid.as_str());
        if self.known.lock().growing == Some(block) {
            return Ok(None);
        }
        let at_hand = {
            let local = self.local.lock();
            let found = local.iter().find(|kept| kept.block == block && kept.node == node);
            found.map(|kept| Arc::clone(&kept.files))
        };
        if let Some(opened) = at_hand {
            if !opened.replica().is_stale() && opened.replica().serves(&asked.located) {
                return Ok(Some(opened));
            }
            // `opened` outlives the lock, so that nothing is closed under it.
            self.local.lock().retain(|kept| !Arc::ptr_eq(&kept.files, &opened));
        }
        let replica = match short_circuit.open(&asked.located, asked.info()).await {
            Opened::Local(replica) => replica,
            Opened::Token(text) => return Err(ReadFault::Token(text)),
            Opened::Elsewhere => return Ok(None),
        };
        let skip = short_circuit.settings().skip_checksum;
        let opened = Arc::new(LocalBlock::new(
            replica,
            short_circuit.buffers(),
            skip,
            asked.located.b.num_bytes(),
        )?);
        // Goes back to the cache outside the lock.
        let _oldest;
        let mut local = self.local.lock();
        if local.len() >= MAX_LOCAL_BLOCKS {
            _oldest = local.remove(0);
        }
        let start = asked.located.offset;
        local.push(Kept {
            block,
            node: node.to_owned(),
            range: start..start + asked.located.b.num_bytes(),
            files: Arc::clone(&opened),
        });
        Ok(Some(opened))
    }

    /// Reads `pos..end` if all of it is in one block whose files are at hand: the short way for short reads. `None`
    /// otherwise, and when it failed; who reads the long way finds out why.
    pub(super) fn read_at_hand(&self, pos: u64, end: u64) -> Option<Bytes> {
        let (files, range) = self.files_at_hand(pos, end)?;
        let bytes = files.read_now(&range)?;
        self.served.add_short_circuit(bytes.len());
        Some(bytes)
    }

    /// The same, into the caller's buffer.
    pub(super) fn read_at_hand_into(&self, pos: u64, buffer: &mut [u8]) -> Option<()> {
        let (files, range) = self.files_at_hand(pos, pos + buffer.len() as u64)?;
        files.read_now_into(&range, buffer)?;
        self.served.add_short_circuit(buffer.len());
        Some(())
    }

    /// The files of the block in which all of `pos..end` is, and where in the block that is.
    fn files_at_hand(&self, pos: u64, end: u64) -> Option<(Arc<LocalBlock>, Range<u64>)> {
        let local = self.local.lock();
        let in_block = |kept: &&Kept| kept.range.start <= pos && end <= kept.range.end;
        let kept = local.iter().find(in_block)?;
        let (files, start) = (Arc::clone(&kept.files), kept.range.start);
        drop(local);
        (!files.replica().is_stale()).then(|| (files, pos - start..end - start))
    }

    /// The stretch of `pos..end` that is in the block at `pos`, mapped; `None` if that cannot be done, see
    /// [`super::FileReader::read_zero_copy`].
    pub(super) async fn map_local(&self, pos: u64, end: u64, skip_checksums: bool) -> Result<Option<ZeroCopy>> {
        let short_circuit = self.shared.short_circuit.as_ref();
        if !short_circuit.is_some_and(|short_circuit| short_circuit.settings().mmap_enabled) {
            return Ok(None);
        }
        let mut attempt = Attempt::default();
        let Some(asked) = self.choose(pos, end, &mut attempt).await? else {
            return Ok(None);
        };
        let opened = match self.open_local(&asked).await {
            Ok(Some(opened)) => opened,
            Ok(None) => return Ok(None),
            Err(fault) => {
                // The copying read that follows meets it too, and knows what to do.
                tracing::debug!(path = %self.path, %fault, "no zero-copy read");
                return Ok(None);
            }
        };
        let needs_anchor = opened.verifies() && !skip_checksums;
        if needs_anchor && !opened.replica().add_anchor() {
            return Ok(None);
        }
        let anchor = needs_anchor.then(|| Anchor(opened.replica()));
        let Ok(len) = usize::try_from(asked.located.b.num_bytes()) else {
            return Ok(None);
        };
        let Some(mapped) = opened.replica().mapped(len).await else {
            return Ok(None);
        };
        anchor.into_iter().for_each(std::mem::forget);
        let range = asked.range.start as usize..asked.range.end as usize;
        Ok(Some(ZeroCopy::new(
            mapped,
            range,
            Arc::clone(opened.replica()),
            needs_anchor,
        )))
    }

    /// Chooses the replica from which to read what is at `pos`, up to `end` or the end of its block. When every one
    /// failed: waits, asks the NameNode again and gives each another chance. `None` at the end of the file.
    ///
    /// Errors: BlockMissing when the settings' number of rounds is exceeded; NameNode errors.
    pub(super) async fn choose(&self, pos: u64, end: u64, attempt: &mut Attempt) -> Result<Option<BlockRange>> {
        if pos >= self.file_len {
            return Ok(None);
        }
        loop {
            let located = self.block_at(pos, attempt.stale).await?;
            attempt.stale = false;
            match self.pick(&located, pos, end, &[]) {
                Some(asked) => return Ok(Some(asked)),
                None => self.next_round(&located, attempt).await?,
            }
        }
    }

    /// Another live replica of the block of `asked` than those `ignored`, for the same range; does not wait.
    pub(super) fn choose_another(&self, asked: &BlockRange, ignored: &[String]) -> Option<BlockRange> {
        let (offset, range) = (asked.located.offset, &asked.range);
        self.pick(&asked.located, offset + range.start, offset + range.end, ignored)
    }

    fn pick(
        &self,
        located: &Arc<proto::LocatedBlockProto>,
        pos: u64,
        end: u64,
        ignored: &[String],
    ) -> Option<BlockRange> {
        let known = self.known.lock();
        let node = located.locs.iter().position(|info| {
            let name = &info.id.datanode_uuid;
            !known.dead.contains_key(name) && !ignored.contains(name)
        })?;
        let block_end = located.b.num_bytes();
        Some(BlockRange {
            range: pos - located.offset..block_end.min(end.saturating_sub(located.offset)),
            node,
            is_open: self.open_block == Some(located.b.block_id),
            located: Arc::clone(located),
        })
    }

    /// A replica could not be read: remembers its node as dead, a corrupt one for the report, a refused token as a
    /// reason to ask the NameNode, once, and a block that grows as one to be read over the network.
    pub(super) fn note_fault(&self, asked: &BlockRange, fault: &ReadFault, attempt: &mut Attempt) {
        let info = asked.info();
        let addr = datanode::transfer_addr(info);
        if let ReadFault::Token(refusal) = fault
            && !attempt.token_refetched
        {
            tracing::info!(path = %self.path, block = asked.located.b.block_id, addr, refusal, "fetching a new block token");
            attempt.token_refetched = true;
            attempt.stale = true;
            return;
        }
        if let ReadFault::Unsettled(mismatch) = fault {
            let block = asked.located.b.block_id;
            tracing::debug!(path = %self.path, block, addr, %mismatch, "a block grows while it is read; reading over TCP");
            self.known.lock().growing = Some(block);
            return;
        }
        tracing::warn!(path = %self.path, block = asked.located.b.block_id, addr, %fault, "cannot read replica");
        if matches!(fault, ReadFault::Corrupt(_)) {
            attempt.note_corrupt(asked);
        }
        let mut known = self.known.lock();
        known
            .dead
            .insert(info.id.datanode_uuid.clone(), describe_node(&asked.located, asked.node));
        known.last_fault = format!("{addr}: {fault}");
    }

    /// Tells the NameNode of the corrupt replicas that a finished read met.
    pub(super) async fn report_corrupt(&self, attempt: &mut Attempt) {
        let blocks = attempt.take_reports();
        if blocks.is_empty() {
            return;
        }
        let request = proto::ReportBadBlocksRequestProto { blocks };
        if let Err(error) = self.shared.namenode.report_bad_blocks(&request).await {
            tracing::warn!(path = %self.path, %error, "cannot report corrupt replicas");
        }
    }

    /// Every replica failed: waits, forgets who is dead, and has the block located anew.
    async fn next_round(&self, located: &proto::LocatedBlockProto, attempt: &mut Attempt) -> Result<()> {
        let settings = &self.shared.settings;
        if attempt.rounds >= settings.max_block_acquire_failures {
            return Err(self.missing(located));
        }
        let wait = round_wait(
            settings.retry_window_base,
            attempt.rounds,
            self.shared.random_fraction(),
        );
        tracing::info!(
            path = %self.path,
            block = located.b.block_id,
            rounds = attempt.rounds,
            ?wait,
            "no replica can be read; asking for new locations after a wait"
        );
        tokio::time::sleep(wait).await;
        attempt.rounds += 1;
        attempt.stale = true;
        self.known.lock().dead.clear();
        Ok(())
    }

    fn missing(&self, located: &proto::LocatedBlockProto) -> FsError {
        let known = self.known.lock();
        let nodes: String = (0..located.locs.len())
            .map(|node| format!(" {}", describe_node(located, node)))
            .collect();
        let dead: String = known.dead.values().map(|node| format!(" {node}")).collect();
        let mut cause = format!("No live nodes contain current block Block locations:{nodes} Dead nodes: {dead}");
        if !known.last_fault.is_empty() {
            cause += &format!("; the last one failed with: {}", known.last_fault);
        }
        FsError::BlockMissing {
            path: text(&self.path),
            block: ExtendedBlock::from(&located.b).to_string(),
            cause,
        }
    }

    /// The block at `pos`, which is inside the file; from the NameNode if it is not known or `stale`.
    async fn block_at(&self, pos: u64, stale: bool) -> Result<Arc<proto::LocatedBlockProto>> {
        if !stale && let Some(found) = self.known.lock().find(pos) {
            return Ok(found);
        }
        let stretch = ask(&self.shared, &self.path, pos).await?;
        let mut known = self.known.lock();
        if !known.agrees_with(&stretch) {
            return Err(FsError::BlocksChanged(text(&self.path)));
        }
        let complete_len = stretch.file_length;
        let is_open = !stretch.is_last_block_complete;
        let last = stretch.last_block.filter(|last| is_open && last.offset <= pos);
        let mut found = None;
        for mut block in stretch.blocks.into_iter().chain(last) {
            if block.offset >= self.file_len {
                continue;
            }
            let end = block.offset + block.b.num_bytes();
            let is_unfinished = is_open && block.offset >= complete_len;
            if end > self.file_len || (is_unfinished && end < self.file_len) {
                // Readers keep the length they saw: the block grew since, or is being written, and then only DataNodes
                // know how long it is.
                block.b.num_bytes = Some(self.file_len - block.offset);
            }
            let block = known.insert(block);
            if block.offset <= pos && pos < block.offset + block.b.num_bytes() {
                found = Some(block);
            }
        }
        found.ok_or_else(|| FsError::BlockMissing {
            path: text(&self.path),
            block: format!("at offset {pos}"),
            cause: "the name node knows no block there any more".to_owned(),
        })
    }
}

impl Known {
    fn insert(&mut self, block: proto::LocatedBlockProto) -> Arc<proto::LocatedBlockProto> {
        if self.blocks.len() >= MAX_KEPT_BLOCKS {
            self.blocks.pop_first();
        }
        let block = Arc::new(block);
        self.blocks.insert(block.offset, Arc::clone(&block));
        block
    }

    fn find(&self, pos: u64) -> Option<Arc<proto::LocatedBlockProto>> {
        let (offset, block) = self.blocks.range(..=pos).next_back()?;
        (pos < offset + block.b.num_bytes()).then(|| Arc::clone(block))
    }

    /// Whether `stretch` is of the file that was opened: the same blocks at the same places.
    fn agrees_with(&self, stretch: &proto::LocatedBlocksProto) -> bool {
        stretch.blocks.iter().chain(&stretch.last_block).all(|block| {
            let known = self.blocks.get(&block.offset).map(|known| known.b.block_id);
            let last = self
                .last
                .filter(|(offset, _)| *offset == block.offset)
                .map(|(_, id)| id);
            known.or(last).is_none_or(|id| id == block.b.block_id)
        })
    }
}

/// The last block, when its length is only known to DataNodes.
fn being_written(found: &proto::LocatedBlocksProto) -> Option<&proto::LocatedBlockProto> {
    let last = found.last_block.as_ref().filter(|_| !found.is_last_block_complete)?;
    // Without nodes and without length it was never written to.
    let is_untouched = last.locs.is_empty() && last.b.num_bytes() == 0;
    (!is_untouched).then_some(last)
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

/// Hadoop's words for a located block.
fn describe(located: &proto::LocatedBlockProto) -> String {
    let nodes: Vec<String> = (0..located.locs.len())
        .map(|node| describe_node(located, node))
        .collect();
    format!(
        "LocatedBlock{{{}; getBlockSize()={}; corrupt={}; offset={}; locs=[{}]}}",
        ExtendedBlock::from(&located.b),
        located.b.num_bytes(),
        located.corrupt,
        located.offset,
        nodes.join(", ")
    )
}

/// Hadoop's words for a replica's place.
fn describe_node(located: &proto::LocatedBlockProto, node: usize) -> String {
    let addr = located.locs.get(node).map(datanode::transfer_addr).unwrap_or_default();
    let storage = located.storage_i_ds.get(node).map_or("", String::as_str);
    let kind = located.storage_types.get(node).copied();
    let kind = kind.and_then(|kind| proto::StorageTypeProto::try_from(kind).ok());
    let kind = kind.map_or(StorageType::Disk.name(), |kind| kind.as_str_name());
    format!("DatanodeInfoWithStorage[{addr},{storage},{kind}]")
}
