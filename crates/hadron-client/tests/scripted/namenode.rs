//! A NameNode that keeps files in a map and does as scripted.

use crate::datanode::DataNode;
use bytes::Bytes;
use hadron_net::{CallContext, Reply, RpcProtocol, RpcServer, RpcServerOptions};
use hadron_proto::hdfs as proto;
use hadron_proto::protocol::CLIENT_PROTOCOL;
use hadron_types::{ErrorKind, HadoopError};
use parking_lot::Mutex;
use prost::Message;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

pub(crate) const POOL: &str = "BP-1-127.0.0.1-1";

#[derive(Default)]
pub(crate) struct State {
    pub(crate) files: BTreeMap<String, File>,
    pub(crate) nodes: Vec<proto::DatanodeInfoProto>,
    pub(crate) calls: Vec<String>,
    /// Answers to give before the real ones, by method.
    pub(crate) scripted_errors: BTreeMap<String, VecDeque<HadoopError>>,
    /// How often `complete` still says "not yet".
    pub(crate) complete_not_yet: usize,
    pub(crate) replication: usize,
    pub(crate) bad_replicas: Vec<(u64, String)>,
    /// The last of each.
    pub(crate) create: proto::CreateRequestProto,
    pub(crate) add_block: proto::AddBlockRequestProto,
    pub(crate) fsync: proto::FsyncRequestProto,
    /// Storage policy of new files.
    pub(crate) storage_policy: u32,
    next_id: u64,
    next_stamp: u64,
}

#[derive(Clone, Default)]
pub(crate) struct File {
    pub(crate) id: u64,
    pub(crate) block_size: u64,
    pub(crate) permission: u32,
    pub(crate) blocks: Vec<(proto::ExtendedBlockProto, Vec<String>)>,
    pub(crate) closed: bool,
}

pub(crate) struct NameNode {
    pub(crate) state: Arc<Mutex<State>>,
    server: RpcServer,
}

struct Protocol(Arc<Mutex<State>>);

impl NameNode {
    pub(crate) async fn start(nodes: &[DataNode]) -> Self {
        let state = State {
            nodes: nodes.iter().map(DataNode::info).collect(),
            replication: nodes.len(),
            next_id: 1 << 30,
            next_stamp: 1000,
            ..State::default()
        };
        let state = Arc::new(Mutex::new(state));
        let protocol: Arc<dyn RpcProtocol> = Arc::new(Protocol(Arc::clone(&state)));
        let addr = "127.0.0.1:0".parse().unwrap();
        let server = RpcServer::bind(addr, RpcServerOptions::default(), vec![protocol])
            .await
            .unwrap();
        Self { state, server }
    }

    pub(crate) fn url(&self) -> String {
        format!("hdfs://{}", self.server.local_addr())
    }

    pub(crate) fn count(&self, method: &str) -> usize {
        self.state.lock().calls.iter().filter(|call| *call == method).count()
    }

    pub(crate) fn script(&self, method: &str, errors: impl IntoIterator<Item = HadoopError>) {
        self.state
            .lock()
            .scripted_errors
            .insert(method.to_owned(), errors.into_iter().collect());
    }
}

impl RpcProtocol for Protocol {
    fn name(&self) -> &'static str {
        CLIENT_PROTOCOL
    }

    fn call(&self, _context: &CallContext, method: &str, body: Bytes) -> Option<Reply> {
        let mut state = self.0.lock();
        state.calls.push(method.to_owned());
        if let Some(error) = state.scripted_errors.get_mut(method).and_then(VecDeque::pop_front) {
            return Some(Reply::error(error));
        }
        Some(Reply::Ready(state.answer(method, body)?))
    }
}

fn decode<M: Message + Default>(body: Bytes) -> M {
    M::decode(body).expect("a valid request")
}

fn ok(message: impl Message) -> Result<Bytes, HadoopError> {
    Ok(message.encode_to_vec().into())
}

impl State {
    fn answer(&mut self, method: &str, body: Bytes) -> Option<Result<Bytes, HadoopError>> {
        Some(match method {
            "create" => self.create(decode(body)),
            "addBlock" => self.add_block(decode(body)),
            "abandonBlock" => self.abandon_block(decode(body)),
            "complete" => self.complete(decode(body)),
            "append" => self.append(decode(body)),
            "getAdditionalDatanode" => self.additional_datanode(decode(body)),
            "fsync" => {
                self.fsync = decode(body);
                ok(proto::FsyncResponseProto {})
            }
            "renewLease" => ok(proto::RenewLeaseResponseProto {}),
            "getFileInfo" => self.file_info(decode(body)),
            "getBlockLocations" => self.block_locations(decode(body)),
            "updateBlockForPipeline" => self.update_block_for_pipeline(decode(body)),
            "updatePipeline" => self.update_pipeline(decode(body)),
            "reportBadBlocks" => self.report_bad_blocks(decode(body)),
            "getListing" => self.listing(decode(body)),
            _ => return None,
        })
    }

    fn status(&self, path: &str, name: &str) -> Option<proto::HdfsFileStatusProto> {
        let file = self.files.get(path)?;
        Some(proto::HdfsFileStatusProto {
            file_type: proto::hdfs_file_status_proto::FileType::IsFile as i32,
            path: Bytes::copy_from_slice(name.as_bytes()),
            length: file.blocks.iter().map(|(block, _)| block.num_bytes()).sum(),
            permission: proto::FsPermissionProto { perm: file.permission },
            block_replication: Some(self.replication as u32),
            blocksize: Some(file.block_size),
            file_id: Some(file.id),
            storage_policy: Some(self.storage_policy),
            ..Default::default()
        })
    }

    fn create(&mut self, request: proto::CreateRequestProto) -> Result<Bytes, HadoopError> {
        if self.files.contains_key(&request.src) && request.create_flag & 2 == 0 {
            let text = format!("{} for client 127.0.0.1 already exists", request.src);
            return Err(HadoopError::new(ErrorKind::FileAlreadyExists, text));
        }
        self.create = request.clone();
        self.next_id += 1;
        let file = File {
            id: self.next_id,
            block_size: request.block_size,
            permission: request.masked.perm,
            ..File::default()
        };
        self.files.insert(request.src.clone(), file);
        let fs = self.status(&request.src, "");
        ok(proto::CreateResponseProto { fs })
    }

    fn located(&self, block: &proto::ExtendedBlockProto, uuids: &[String], offset: u64) -> proto::LocatedBlockProto {
        let node = |uuid: &String| self.nodes.iter().find(|node| node.id.datanode_uuid == *uuid).cloned();
        proto::LocatedBlockProto {
            b: block.clone(),
            offset,
            locs: uuids.iter().filter_map(node).collect(),
            storage_types: vec![1; uuids.len()],
            storage_i_ds: uuids.iter().map(|uuid| format!("DS-{uuid}")).collect(),
            ..Default::default()
        }
    }

    fn append(&mut self, request: proto::AppendRequestProto) -> Result<Bytes, HadoopError> {
        const NEW_BLOCK: u32 = 0x20;
        let stat = self.status(&request.src, "");
        let file = self.files.get_mut(&request.src).expect("file exists");
        file.closed = false;
        let block_size = file.block_size;
        let last = file.blocks.last().cloned();
        let block = last.and_then(|(block, uuids)| match request.flag() & NEW_BLOCK {
            0 if block.num_bytes() >= block_size => None,
            0 => Some(self.located(&block, &uuids, 0)),
            _ => Some(self.located(&block, &[], 0)),
        });
        ok(proto::AppendResponseProto { block, stat })
    }

    fn additional_datanode(&mut self, request: proto::GetAdditionalDatanodeRequestProto) -> Result<Bytes, HadoopError> {
        let known = |uuid: &String| {
            let mut all = request.existings.iter().chain(&request.excludes);
            all.any(|node| node.id.datanode_uuid == *uuid)
        };
        let mut uuids: Vec<String> = request
            .existings
            .iter()
            .map(|node| node.id.datanode_uuid.clone())
            .collect();
        let more = self.nodes.iter().map(|node| node.id.datanode_uuid.clone());
        uuids.extend(more.filter(|uuid| !known(uuid)).take(1).collect::<Vec<_>>());
        let block = self.located(&request.blk, &uuids, 0);
        ok(proto::GetAdditionalDatanodeResponseProto { block })
    }

    fn add_block(&mut self, request: proto::AddBlockRequestProto) -> Result<Bytes, HadoopError> {
        self.add_block = request.clone();
        let excluded: Vec<_> = request
            .exclude_nodes
            .iter()
            .map(|node| node.id.datanode_uuid.clone())
            .collect();
        let uuids: Vec<String> = self
            .nodes
            .iter()
            .map(|node| node.id.datanode_uuid.clone())
            .filter(|uuid| !excluded.contains(uuid))
            .take(self.replication)
            .collect();
        if uuids.is_empty() {
            return Err(HadoopError::io(
                "File could only be written to 0 of the 1 minReplication nodes.",
            ));
        }
        self.next_id += 1;
        self.next_stamp += 1;
        let block = proto::ExtendedBlockProto {
            pool_id: POOL.to_owned(),
            block_id: self.next_id,
            generation_stamp: self.next_stamp,
            num_bytes: Some(0),
        };
        let file = self.files.get_mut(&request.src).expect("file exists");
        match (&request.previous, file.blocks.last_mut()) {
            (None, None) => {}
            (Some(previous), Some((last, _))) if previous.block_id == last.block_id => {
                assert_eq!(previous.generation_stamp, last.generation_stamp);
                last.num_bytes = previous.num_bytes;
            }
            (previous, last) => panic!("previous {previous:?} where the last is {last:?}"),
        }
        file.blocks.push((block.clone(), uuids.clone()));
        let block = self.located(&block, &uuids, 0);
        ok(proto::AddBlockResponseProto { block })
    }

    fn abandon_block(&mut self, request: proto::AbandonBlockRequestProto) -> Result<Bytes, HadoopError> {
        let file = self.files.get_mut(&request.src).expect("file exists");
        file.blocks.retain(|(block, _)| block.block_id != request.b.block_id);
        ok(proto::AbandonBlockResponseProto {})
    }

    fn complete(&mut self, request: proto::CompleteRequestProto) -> Result<Bytes, HadoopError> {
        if self.complete_not_yet > 0 {
            self.complete_not_yet -= 1;
            return ok(proto::CompleteResponseProto { result: false });
        }
        let file = self.files.get_mut(&request.src).expect("file exists");
        assert_eq!(request.last.is_some(), !file.blocks.is_empty());
        if let (Some(last), Some((stored, _))) = (&request.last, file.blocks.last_mut()) {
            assert_eq!(
                (last.block_id, last.generation_stamp),
                (stored.block_id, stored.generation_stamp)
            );
            stored.num_bytes = last.num_bytes;
        }
        file.closed = true;
        ok(proto::CompleteResponseProto { result: true })
    }

    fn file_info(&mut self, request: proto::GetFileInfoRequestProto) -> Result<Bytes, HadoopError> {
        let fs = self.status(&request.src, "");
        ok(proto::GetFileInfoResponseProto { fs })
    }

    fn listing(&mut self, request: proto::GetListingRequestProto) -> Result<Bytes, HadoopError> {
        const PAGE: usize = 2;
        let after = String::from_utf8_lossy(&request.start_after).into_owned();
        let names: Vec<String> = self
            .files
            .keys()
            .map(|path| path.trim_start_matches('/').to_owned())
            .collect();
        let names: Vec<String> = names.into_iter().filter(|name| *name > after).collect();
        let page = names
            .iter()
            .take(PAGE)
            .filter_map(|name| self.status(&format!("/{name}"), name));
        let dir_list = proto::DirectoryListingProto {
            partial_listing: page.collect(),
            remaining_entries: names.len().saturating_sub(PAGE) as u32,
        };
        ok(proto::GetListingResponseProto {
            dir_list: (request.src == "/").then_some(dir_list),
        })
    }

    fn block_locations(&mut self, request: proto::GetBlockLocationsRequestProto) -> Result<Bytes, HadoopError> {
        let Some(file) = self.files.get(&request.src) else {
            let text = format!("File does not exist: {}", request.src);
            return Err(HadoopError::new(ErrorKind::FileNotFound, text));
        };
        let mut offset = 0;
        let mut blocks = Vec::new();
        for (block, uuids) in &file.blocks {
            let end = offset + block.num_bytes();
            if end > request.offset && offset < request.offset.saturating_add(request.length) {
                blocks.push(self.located(block, uuids, offset));
            }
            offset = end;
        }
        let locations = proto::LocatedBlocksProto {
            file_length: offset,
            last_block: blocks.last().cloned(),
            blocks,
            is_last_block_complete: true,
            ..Default::default()
        };
        ok(proto::GetBlockLocationsResponseProto {
            locations: Some(locations),
        })
    }

    fn update_block_for_pipeline(
        &mut self,
        request: proto::UpdateBlockForPipelineRequestProto,
    ) -> Result<Bytes, HadoopError> {
        self.next_stamp += 1;
        let block = proto::ExtendedBlockProto {
            generation_stamp: self.next_stamp,
            ..request.block
        };
        let block = self.located(&block, &[], 0);
        ok(proto::UpdateBlockForPipelineResponseProto { block })
    }

    fn update_pipeline(&mut self, request: proto::UpdatePipelineRequestProto) -> Result<Bytes, HadoopError> {
        let old = request.old_block;
        let stored = self.files.values_mut().flat_map(|file| &mut file.blocks);
        let stored = stored
            .into_iter()
            .find(|(block, _)| block.block_id == old.block_id)
            .expect("known block");
        assert_eq!(stored.0.generation_stamp, old.generation_stamp);
        assert!(request.new_block.generation_stamp > old.generation_stamp);
        stored.0 = request.new_block;
        stored.1 = request.new_nodes.into_iter().map(|node| node.datanode_uuid).collect();
        ok(proto::UpdatePipelineResponseProto {})
    }

    fn report_bad_blocks(&mut self, request: proto::ReportBadBlocksRequestProto) -> Result<Bytes, HadoopError> {
        for block in request.blocks {
            let nodes = block
                .locs
                .into_iter()
                .map(|node| (block.b.block_id, node.id.datanode_uuid));
            self.bad_replicas.extend(nodes);
        }
        ok(proto::ReportBadBlocksResponseProto {})
    }
}
