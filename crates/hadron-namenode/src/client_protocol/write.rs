//! The life of a file being written: addBlock, complete, abandonBlock, fsync, and pipelines that are rebuilt.

use super::Call;
use super::call::{Audit, decode};
use super::files::unexpected;
use crate::{Members, convert, state_change};
use bytes::Bytes;
use hadron_blockmap::{BlockSource, PlacementRequest, ReplicaLocation, Target};
use hadron_namespace::command::{
    AbandonBlock, AddBlock, BlockRef, Complete, Fsync, UpdateBlockForPipeline, UpdatePipeline,
};
use hadron_namespace::{AllocatedBlock, BlockState, Namespace, OutcomeValue};
use hadron_net::Reply;
use hadron_proto::convert::storage_type_to_wire;
use hadron_proto::hdfs::{
    AbandonBlockRequestProto, AbandonBlockResponseProto, AddBlockRequestProto, AddBlockResponseProto,
    CompleteRequestProto, CompleteResponseProto, ExtendedBlockProto, FsyncRequestProto, FsyncResponseProto,
    GetAdditionalDatanodeRequestProto, GetAdditionalDatanodeResponseProto, LocatedBlockProto,
    ReportBadBlocksRequestProto, ReportBadBlocksResponseProto, UpdateBlockForPipelineRequestProto,
    UpdateBlockForPipelineResponseProto, UpdatePipelineRequestProto, UpdatePipelineResponseProto,
};
use hadron_types::{
    Block, BlockId, DatanodeUuid, ErrorKind, ExtendedBlock, HadoopError, HadoopResult, InodeId, StorageId,
};
use hadron_wire::token::AccessMode;
use std::sync::Arc;
use std::time::Duration;

/// How long `complete` and `addBlock` wait for the previous block's minimum of replicas before they say "not yet".
const REPLICATION_WAIT: Duration = Duration::from_millis(200);
/// `AddBlockFlagProto.NO_LOCAL_WRITE`.
const NO_LOCAL_WRITE: i32 = 1;
/// `AddBlockFlagProto.IGNORE_CLIENT_LOCALITY`.
const IGNORE_CLIENT_LOCALITY: i32 = 2;

/// addBlock: commits the previous block, chooses targets, allocates the next block.
pub(super) fn add_block(call: &Call, body: Bytes) -> Reply {
    call.wait(body, |call, request: AddBlockRequestProto| async move {
        let shared = &call.shared;
        shared.require_no_safe_mode(|| format!("Cannot add block to {}", request.src))?;
        let previous = request
            .previous
            .as_ref()
            .map(|block| call.own_block(block))
            .transpose()?;
        let op = |replicated| AddBlock {
            path: request.src.clone(),
            file_id: request.file_id.unwrap_or(0),
            holder: request.client_name.clone(),
            previous: previous.map(BlockRef::from),
            replicated,
        };
        let file = call.file_of(&request.src, request.file_id)?;
        let mut command = call.command(op(call.replicated(file)));
        let checked = shared.state.ns.read().check(&command);
        if checked
            .as_ref()
            .is_err_and(|error| error.kind == ErrorKind::NotReplicatedYet)
        {
            call.wait_for_replicas(file).await;
            command = call.command(op(call.replicated(file)));
            shared.state.ns.read().check(&command)?;
        } else {
            checked?;
        }
        let targets = call.choose_targets(file, &request)?;
        match shared.propose(command).await? {
            OutcomeValue::Allocated(allocated) => call.allocated(&allocated, targets),
            other => Err(unexpected("addBlock", &other)),
        }
    })
}

/// complete: closes the file, or says "not yet" after a short wait for replicas.
pub(super) fn complete(call: &Call, body: Bytes) -> Reply {
    call.wait(body, |call, request: CompleteRequestProto| async move {
        let shared = &call.shared;
        shared.require_no_safe_mode(|| format!("Cannot complete file {}", request.src))?;
        let last = request.last.as_ref().map(|block| call.own_block(block)).transpose()?;
        let op = |replicated| Complete {
            path: request.src.clone(),
            file_id: request.file_id.unwrap_or(0),
            holder: request.client_name.clone(),
            last: last.map(BlockRef::from),
            replicated,
        };
        let file = call.file_of(&request.src, request.file_id)?;
        let command = call.command(op(call.replicated(file)));
        shared.state.ns.read().check(&command)?;
        // The DataNodes report a finished block at once, so that the replicas are mostly known or about to be: one
        // command then commits and closes. What it must not do is wait without having committed for good.
        if !call.is_replicated(file) {
            call.wait_for_replicas(file).await;
        }
        let result = shared.propose(call.command(op(call.replicated(file)))).await?.is_true();
        if result {
            state_change::completed(&request.src, &request.client_name);
        }
        Ok(CompleteResponseProto { result })
    })
}

/// abandonBlock.
pub(super) fn abandon_block(call: &Call, body: Bytes) -> Reply {
    let request: AbandonBlockRequestProto = match decode(body) {
        Ok(request) => request,
        Err(error) => return Reply::error(error),
    };
    let block = match call.own_block(&request.b) {
        Ok(block) => block,
        Err(error) => return Reply::error(error),
    };
    let shown = ExtendedBlock::from(&request.b);
    let what = format!("Cannot abandon block {shown} for file{}", request.src);
    state_change::abandon_block(&request.src, block);
    let op = AbandonBlock {
        path: request.src,
        file_id: request.file_id.unwrap_or(0),
        holder: request.holder,
        block: block.into(),
    };
    call.mutate(
        || what,
        Audit::default(),
        op,
        move |_, _| {
            state_change::abandoned(block);
            Ok(AbandonBlockResponseProto {})
        },
    )
}

/// fsync: the length of the block being written that readers may count on.
pub(super) fn fsync(call: &Call, body: Bytes) -> Reply {
    let request: FsyncRequestProto = match decode(body) {
        Ok(request) => request,
        Err(error) => return Reply::error(error),
    };
    let what = format!("Cannot fsync file {}", request.src);
    state_change::fsync(&request.src, &request.client);
    let op = Fsync {
        last_block_len: request.last_block_length(),
        path: request.src,
        file_id: request.file_id.unwrap_or(0),
        holder: request.client,
    };
    call.mutate(|| what, Audit::default(), op, |_, _| Ok(FsyncResponseProto {}))
}

/// getAdditionalDatanode: more targets for a pipeline that lost some; answers old and new ones together.
pub(super) fn get_additional_datanode(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, request: GetAdditionalDatanodeRequestProto| {
        let shared = &call.shared;
        if !shared.settings.replaces_datanodes {
            return Err(HadoopError::new(
                ErrorKind::UnsupportedOperation,
                "This feature is disabled.  Please refer to dfs.client.block.write.replace-datanode-on-failure.enable \
                 configuration property.",
            ));
        }
        let shown = ExtendedBlock::from(&request.blk);
        shared.require_no_safe_mode(|| format!("Cannot add datanode; src={}, blk={shown}", request.src))?;
        let block = call.own_block(&request.blk)?;
        let file = call.file_of(&request.src, request.file_id)?;
        // The same checks of lease and file as all write calls; a length of -1 changes nothing.
        shared.state.ns.read().check(&call.command(Fsync {
            path: request.src.clone(),
            file_id: request.file_id.unwrap_or(0),
            holder: request.client_name.clone(),
            last_block_len: -1,
        }))?;
        let uuids = |nodes: &[hadron_proto::hdfs::DatanodeInfoProto]| -> Vec<DatanodeUuid> {
            nodes.iter().map(|node| node.id.datanode_uuid.as_str().into()).collect()
        };
        let ns = shared.state.ns.read();
        let (_, block_size, policy) = file_figures(&ns, file);
        let blocks = shared.state.blocks.lock();
        let now = shared.state.now();
        let wanted = PlacementRequest {
            writer: Some(call.context.peer),
            count: request.num_additional_nodes.max(1) as usize,
            block_size,
            excluded: uuids(&request.excludes),
            existing: uuids(&request.existings),
            existing_kinds: request
                .existings
                .iter()
                .zip(&request.existing_storage_uuids)
                .filter_map(|(node, id)| {
                    blocks.storage_kind(&node.id.datanode_uuid.as_str().into(), &StorageId::from(id.as_str()))
                })
                .collect(),
            policy,
            ..PlacementRequest::default()
        };
        let added = blocks.place(&wanted, now, &mut shared.state.rng()).unwrap_or_default();
        let mut located = convert::located_block(
            &ns.identity().block_pool,
            block,
            0,
            &convert::uncorrupted(added.into_iter().map(replica).collect()),
        );
        let storages = &request.existing_storage_uuids;
        for (index, existing) in request.existings.iter().enumerate() {
            located.locs.insert(index, existing.clone());
            located
                .storage_i_ds
                .insert(index, storages.get(index).cloned().unwrap_or_default());
            let id = storages.get(index).map(|id| StorageId::from(id.as_str()));
            let kind = id.and_then(|id| blocks.storage_kind(&existing.id.datanode_uuid.as_str().into(), &id));
            located
                .storage_types
                .insert(index, storage_type_to_wire(kind.unwrap_or_default()));
            located.is_cached.insert(index, false);
        }
        drop(blocks);
        drop(ns);
        call.put_token(&mut located, AccessMode::Copy);
        Ok(GetAdditionalDatanodeResponseProto { block: located })
    })
}

/// updateBlockForPipeline: a new generation stamp; the stored block keeps its own until updatePipeline.
pub(super) fn update_block_for_pipeline(call: &Call, body: Bytes) -> Reply {
    let request: UpdateBlockForPipelineRequestProto = match decode(body) {
        Ok(request) => request,
        Err(error) => return Reply::error(error),
    };
    let block = match call.own_block(&request.block) {
        Ok(block) => block,
        Err(error) => return Reply::error(error),
    };
    let what = format!("Cannot get a new GS for block {}", ExtendedBlock::from(&request.block));
    let op = UpdateBlockForPipeline {
        block: block.into(),
        holder: request.client_name,
    };
    let given = request.block;
    let user = Arc::clone(&call.context.user.user);
    call.mutate(
        || what,
        Audit::default(),
        op,
        move |shared, value| match value {
            OutcomeValue::Stamp(stamp) => {
                // Without nodes, so that the token is good for whatever pipeline the client builds.
                let mut block = LocatedBlockProto {
                    b: ExtendedBlockProto {
                        generation_stamp: stamp.0,
                        ..given
                    },
                    ..LocatedBlockProto::default()
                };
                shared.put_token(&mut block, &user, AccessMode::Write);
                Ok(UpdateBlockForPipelineResponseProto { block })
            }
            other => Err(unexpected("updateBlockForPipeline", &other)),
        },
    )
}

/// updatePipeline: records stamp, length and nodes of a rebuilt pipeline.
pub(super) fn update_pipeline(call: &Call, body: Bytes) -> Reply {
    let request: UpdatePipelineRequestProto = match decode(body) {
        Ok(request) => request,
        Err(error) => return Reply::error(error),
    };
    let both = call
        .own_block(&request.old_block)
        .and_then(|old| Ok((old, call.own_block(&request.new_block)?)));
    let (old, new) = match both {
        Ok(both) => both,
        Err(error) => return Reply::error(error),
    };
    let op = UpdatePipeline {
        holder: request.client_name,
        old: old.into(),
        new: new.into(),
    };
    let storages = request.storage_i_ds;
    let nodes: Vec<(DatanodeUuid, Option<StorageId>)> = request
        .new_nodes
        .iter()
        .enumerate()
        .map(|(index, node)| {
            let storage = storages.get(index).map(|storage| StorageId::from(storage.as_str()));
            (node.datanode_uuid.as_str().into(), storage)
        })
        .collect();
    call.mutate(
        || "Pipeline not updated".to_owned(),
        Audit::default(),
        op,
        move |shared, _| {
            shared.state.with_blocks(|source, blocks, _| {
                if is_open(source, new) {
                    blocks.pipeline_changed(&new, &nodes);
                }
            });
            state_change::pipeline_updated(old, new);
            Ok(UpdatePipelineResponseProto {})
        },
    )
}

/// reportBadBlocks: a reader found replicas whose bytes are wrong.
pub(super) fn report_bad_blocks(call: &Call, body: Bytes) -> Reply {
    let (call, request) = match decode::<ReportBadBlocksRequestProto>(body) {
        Ok(request) => (call.clone(), request),
        Err(error) => return Reply::error(error),
    };
    Reply::spawned(async move {
        let by = format!("client {}", call.context.peer);
        crate::datanode_protocol::bad_blocks(&call.shared, &request.blocks, &by).await;
        Ok(ReportBadBlocksResponseProto {})
    })
}

/// Whether `block` is being written under its stamp. After a command was applied and before its answer is put together,
/// others may have deleted or closed the file: soft state of such a block would never be cleared away.
fn is_open(source: &dyn BlockSource, block: Block) -> bool {
    source.stored(block.id).is_some_and(|stored| {
        stored.state != hadron_blockmap::BlockState::Complete && stored.block.generation_stamp == block.generation_stamp
    })
}

fn replica(target: Target) -> ReplicaLocation {
    ReplicaLocation {
        node: target.node,
        storage: target.storage,
        kind: target.kind,
    }
}

/// Replication, block size and storage policy of a file; Hadoop's least values for one that is gone (the command then
/// says so).
fn file_figures(ns: &Namespace, file: InodeId) -> (u16, u64, u8) {
    ns.file_info_by_id(file).map_or((1, 0, 0), |status| {
        (status.replication, status.block_size, status.storage_policy)
    })
}

impl Call {
    /// The block a client names, if it is of this pool.
    fn own_block(&self, block: &ExtendedBlockProto) -> HadoopResult<Block> {
        let pool = self.shared.state.block_pool();
        if block.pool_id != pool.as_str() {
            return Err(HadoopError::io(format!(
                "Unexpected BlockPoolId {} - expected {pool}",
                block.pool_id
            )));
        }
        Ok(ExtendedBlock::from(block).block)
    }

    /// The file a write call is about; an unknown one gives 0, for the command's own checks to refuse.
    fn file_of(&self, path: &str, file_id: Option<u64>) -> HadoopResult<InodeId> {
        match file_id {
            Some(id) if id != 0 => Ok(InodeId(id)),
            _ => {
                let ns = self.shared.state.ns.read();
                Ok(ns.file_id_for_write(&self.caller, path, 0)?.unwrap_or_default())
            }
        }
    }

    /// The fact commands carry: which of the file's last blocks have the minimum of replicas.
    fn replicated(&self, file: InodeId) -> Vec<i64> {
        let state = &self.shared.state;
        let ns = state.ns.read();
        let last_blocks = ns.last_blocks(file);
        let blocks = state.blocks.lock();
        last_blocks
            .iter()
            .map(|last| last.block.id)
            .filter(|id| blocks.is_min_replicated(*id))
            .map(|id| id.0)
            .collect()
    }

    /// A block of the file that is not complete and short of replicas.
    fn short_of_replicas(&self, file: InodeId) -> Option<BlockId> {
        let state = &self.shared.state;
        let ns = state.ns.read();
        let last_blocks = ns.last_blocks(file);
        let blocks = state.blocks.lock();
        let short = |last: &&hadron_namespace::StoredBlock| {
            last.state != BlockState::Complete && !blocks.is_min_replicated(last.block.id)
        };
        last_blocks.iter().find(short).map(|last| last.block.id)
    }

    fn is_replicated(&self, file: InodeId) -> bool {
        self.short_of_replicas(file).is_none()
    }

    /// Waits, holding nothing, until the file's blocks have their minimum of replicas or the time is over.
    async fn wait_for_replicas(&self, file: InodeId) {
        let waiting = async {
            while let Some(block) = self.short_of_replicas(file) {
                let waiter = self.shared.state.waiters.wait(block);
                let woken = waiter.woken();
                if self.short_of_replicas(file) != Some(block) {
                    continue;
                }
                woken.await;
            }
        };
        // Out of time: the answer says "not yet", and the client asks again.
        let _ = tokio::time::timeout(REPLICATION_WAIT, waiting).await;
    }

    /// Targets for the file's next block.
    fn choose_targets(&self, file: InodeId, request: &AddBlockRequestProto) -> HadoopResult<Vec<Target>> {
        let state = &self.shared.state;
        let (replication, block_size, policy) = file_figures(&state.ns.read(), file);
        Members::note_client(&self.shared.members, state, self.context.peer);
        let wanted = PlacementRequest {
            writer: Some(self.context.peer),
            count: usize::from(replication),
            block_size,
            excluded: request
                .exclude_nodes
                .iter()
                .map(|node| node.id.datanode_uuid.as_str().into())
                .collect(),
            policy,
            favored: request.favored_nodes.clone(),
            no_local_write: request.flags.contains(&NO_LOCAL_WRITE),
            ignore_client_locality: request.flags.contains(&IGNORE_CLIENT_LOCALITY),
            ..PlacementRequest::default()
        };
        let blocks = state.blocks.lock();
        blocks
            .place(&wanted, state.now(), &mut state.rng())
            .map_err(|error| error.to_hadoop(&request.src))
    }

    /// Tells the block map of a new block's pipeline and the client of both. A block that an earlier try allocated
    /// keeps its pipeline, if that is still known.
    fn allocated(&self, allocated: &AllocatedBlock, targets: Vec<Target>) -> HadoopResult<AddBlockResponseProto> {
        let (block, state) = (allocated.block, &self.shared.state);
        let replicas = state.with_blocks(|source, blocks, now| {
            // Of two tries in flight either may come here first; both tell the client the same pipeline.
            let known = blocks.expected(block.id, now);
            if !known.is_empty() {
                return known;
            }
            if is_open(source, block) {
                blocks.block_opened(block.id, &targets, now);
            }
            targets.into_iter().map(replica).collect()
        });
        match allocated.retried {
            true => state_change::allocated_again(&allocated.path, block),
            false => state_change::allocated(&allocated.path, block, &replicas),
        }
        let pool = state.block_pool();
        let mut block = convert::located_block(&pool, block, allocated.offset, &convert::uncorrupted(replicas));
        self.put_token(&mut block, AccessMode::Write);
        Ok(AddBlockResponseProto { block })
    }
}
