//! `hadron bench nn --memory`: builds the namespace and the block map of F files with one block and three replicas each,
//! through the same commands and reports as in service, and says what a file costs.
//!
//! Two answers: what the process grew by (the allocator's truth), and what the maps say of themselves.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result, bail};
use hadron_blockmap::{
    BlockMap, DatanodeId, Increment, IncrementKind, Registration, Settings, StorageDescription, StorageIncrements,
    StorageState,
};
use hadron_namespace::command::{AddBlock, BlockRef, Complete, Create, Mkdirs, create_flag};
use hadron_namespace::{Caller, Command, Identity, Namespace, Op, OutcomeValue, RULES_VERSION};
use hadron_types::{Block, BlockId, BlockPoolId, DatanodeUuid, StorageId, StorageType, TimeMs};
use serde_json::{Map, json};

const DATANODES: usize = 3;
const FILES_PER_DIRECTORY: u64 = 1000;
const FILE_BYTES: u64 = 100 << 20;
const NOW: TimeMs = TimeMs(1_700_000_000_000);
const HOLDER: &str = "DFSClient_NONMAPREDUCE_1_1";

struct Maps {
    namespace: Namespace,
    blocks: BlockMap,
    nodes: Vec<(DatanodeUuid, StorageDescription)>,
    caller: Caller,
}

pub(crate) fn run(files: u64) -> Result<()> {
    let mut maps = Maps::new()?;
    // Page tables, pools and the like exist before the first file; they are no cost of a file.
    let before = resident_bytes()?;
    for number in 0..files {
        if number % FILES_PER_DIRECTORY == 0 {
            maps.directory(number / FILES_PER_DIRECTORY)?;
        }
        maps.file(number)?;
    }
    let grown = resident_bytes()?.saturating_sub(before);
    let block_map = maps.blocks.memory_usage().total() as u64;
    let namespace = maps.namespace.memory_usage();
    tracing::debug!(?namespace, blocks = ?maps.blocks.memory_usage(), "memory by table");
    let mut line = Map::new();
    line.insert("files".into(), json!(files));
    line.insert("bytes_per_file".into(), json!(grown / files.max(1)));
    line.insert(
        "namespace_bytes_per_file".into(),
        json!(namespace.files_total() as u64 / files.max(1)),
    );
    line.insert("block_map_bytes_per_file".into(), json!(block_map / files.max(1)));
    super::print(&[("bench", json!("nn-memory"))], line);
    Ok(())
}

impl Maps {
    fn new() -> Result<Self> {
        let identity = Identity {
            namespace_id: 1,
            cluster_id: "CID-bench".to_owned(),
            block_pool: BlockPoolId::from("BP-bench"),
            created: NOW,
        };
        let mut blocks = BlockMap::new(Settings::default());
        let mut nodes = Vec::new();
        for number in 0..DATANODES {
            let uuid = DatanodeUuid::from(format!("datanode-{number}"));
            let id = DatanodeId {
                ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
                host_name: "localhost".into(),
                uuid: uuid.clone(),
                xfer_port: u16::try_from(1000 + number)?,
                info_port: 0,
                info_secure_port: 0,
                ipc_port: 0,
            };
            let registration = Registration {
                id,
                software_version: "3.3.6".to_owned(),
                rack: None,
            };
            blocks
                .register(registration, &|_: BlockId| None, NOW)
                .context("register a datanode")?;
            let storage = StorageDescription {
                id: StorageId::from(format!("DS-{number}")),
                kind: StorageType::Disk,
                state: StorageState::Normal,
            };
            nodes.push((uuid, storage));
        }
        blocks.leave_safe_mode();
        Ok(Self {
            namespace: Namespace::new(identity, "hadoop", "supergroup", NOW),
            blocks,
            nodes,
            caller: Caller::superuser("hadoop"),
        })
    }

    fn apply(&mut self, op: impl Into<Op>) -> Result<OutcomeValue> {
        let command = Command::new(self.caller.clone(), NOW, op);
        Ok(self.namespace.apply(&command, RULES_VERSION).outcome?)
    }

    fn directory(&mut self, number: u64) -> Result<()> {
        self.apply(Mkdirs {
            path: format!("/bench/directory-{number:06}"),
            masked_permission: 0o755,
            create_parent: true,
            unmasked_permission: None,
        })
        .map(|_| ())
    }

    /// A file as a job would name it, with one complete block on three nodes.
    fn file(&mut self, number: u64) -> Result<()> {
        let path = format!(
            "/bench/directory-{:06}/part-{:05}",
            number / FILES_PER_DIRECTORY,
            number % FILES_PER_DIRECTORY
        );
        self.apply(Create {
            path: path.clone(),
            masked_permission: 0o644,
            holder: HOLDER.to_owned(),
            client_machine: "127.0.0.1".to_owned(),
            flags: create_flag::CREATE,
            create_parent: false,
            replication: 3,
            block_size: 128 << 20,
            unmasked_permission: None,
            storage_policy: None,
        })?;
        let outcome = self.apply(AddBlock {
            path: path.clone(),
            file_id: 0,
            holder: HOLDER.to_owned(),
            previous: None,
            replicated: Vec::new(),
        })?;
        let OutcomeValue::Allocated(allocated) = outcome else {
            bail!("adding a block answers {outcome:?}")
        };
        self.blocks.block_opened(allocated.block.id, &[], NOW);
        let block = Block {
            len: FILE_BYTES,
            ..allocated.block
        };
        for (node, storage) in self.nodes.clone() {
            let report = StorageIncrements {
                storage,
                increments: vec![Increment {
                    block,
                    kind: IncrementKind::Received,
                    delete_hint: None,
                }],
            };
            let source = |id: BlockId| stored(&self.namespace, id);
            self.blocks
                .incremental_report(&node, &[report], &source, NOW)
                .context("report a replica")?;
        }
        self.apply(Complete {
            path,
            file_id: 0,
            holder: HOLDER.to_owned(),
            last: Some(BlockRef::from(block)),
            replicated: vec![block.id.0],
        })?;
        let completed = stored(&self.namespace, block.id).context("the block is gone")?;
        self.blocks.block_completed(&completed, &|_: BlockId| None, NOW);
        let _ = self.blocks.take_events();
        Ok(())
    }
}

/// A block as the block map wants to hear of it.
fn stored(namespace: &Namespace, id: BlockId) -> Option<hadron_blockmap::StoredBlock> {
    use hadron_blockmap::BlockState as Soft;
    use hadron_namespace::BlockState as Hard;
    let block = namespace.stored_block(id)?;
    Some(hadron_blockmap::StoredBlock {
        block: block.block,
        state: match block.state {
            Hard::UnderConstruction => Soft::UnderConstruction,
            Hard::UnderRecovery => Soft::UnderRecovery,
            Hard::Committed => Soft::Committed,
            Hard::Complete => Soft::Complete,
        },
        replication: block.replication,
        file: block.file,
        block_size: block.block_size,
    })
}

/// Resident memory of this process.
pub(super) fn resident_bytes() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").context("read /proc/self/status")?;
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .context("no VmRSS in /proc/self/status")?;
    let kib: u64 = line.split_whitespace().nth(1).context("VmRSS has no value")?.parse()?;
    Ok(kib * 1024)
}
