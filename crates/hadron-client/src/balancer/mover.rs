//! One move: REPLACE_BLOCK to the target, and its answers.

use crate::datanode::{self, Incoming, refusal};
use bytes::Bytes;
use hadron_blockmap::balancer::MoveOrder;
use hadron_proto::convert::no_token;
use hadron_proto::hdfs::{DatanodeInfoProto, Status};
use hadron_types::{BlockPoolId, ExtendedBlock};
use hadron_wire::token::{AccessMode, BlockKeys, BlockTokenIdentifier, IdentifierForm};
use hadron_wire::transfer::Op;
use hadron_wire::transfer::op::{BlockHeader, ReplaceBlock};
use std::io;
use std::time::Duration;

/// How long a target may be silent: it says that a move goes on every half of its own time-out, a minute by default.
const MAX_SILENCE: Duration = Duration::from_secs(300);

/// A move with everything that is needed to have it done.
pub(super) struct Mover {
    pub(super) order: MoveOrder,
    pub(super) op: ReplaceBlock,
    pub(super) target: DatanodeInfoProto,
    pub(super) use_hostname: bool,
    pub(super) connect_timeout: Duration,
}

impl Mover {
    /// Has the target fetch the block.
    pub(super) async fn run(&self) -> io::Result<()> {
        let mut stream = datanode::connect(&self.target, self.use_hostname, self.connect_timeout).await?;
        datanode::send_operation(&mut stream, &Op::ReplaceBlock(Box::new(self.op.clone()))).await?;
        let mut incoming = Incoming::default();
        loop {
            let answer = datanode::within(MAX_SILENCE, incoming.response(&mut stream)).await?;
            if answer.status == Status::InProgress as i32 {
                continue;
            }
            return match refusal(&answer) {
                None => Ok(()),
                Some(text) => Err(io::Error::other(format!("block move is failed: {text}"))),
            };
        }
    }
}

/// The operation of an order; the source's replica is the one to go.
pub(super) fn operation(
    order: &MoveOrder,
    pool: &BlockPoolId,
    source: &DatanodeInfoProto,
    proxy: &DatanodeInfoProto,
    tokens: &Tokens<'_>,
) -> ReplaceBlock {
    let block = ExtendedBlock {
        pool: pool.clone(),
        block: order.block,
    };
    ReplaceBlock {
        header: BlockHeader {
            token: tokens.mint(order, &block),
            block,
        },
        delete_hint: source.id.datanode_uuid.clone(),
        source: proxy.clone(),
        storage_type: order.target.kind,
        storage_id: None,
    }
}

/// What is needed for the tokens of moves.
pub(super) struct Tokens<'a> {
    pub(super) keys: Option<&'a BlockKeys>,
    pub(super) form: IdentifierForm,
    pub(super) user: &'a str,
    /// Unix time.
    pub(super) now_ms: i64,
}

impl Tokens<'_> {
    fn mint(&self, order: &MoveOrder, block: &ExtendedBlock) -> hadron_proto::common::TokenProto {
        let what = BlockTokenIdentifier {
            expiry: 0,
            key_id: 0,
            user: Some(self.user.to_owned()),
            pool: Some(block.pool.as_str().to_owned()),
            block: block.block.id,
            modes: vec![AccessMode::Copy, AccessMode::Replace],
            storage_types: vec![order.target.kind],
            storage_ids: Vec::new(),
            handshake: Bytes::new(),
        };
        let minted = self.keys.and_then(|keys| keys.mint(what, self.form, self.now_ms));
        minted.unwrap_or_else(no_token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hadron_blockmap::balancer::{
        Candidate, Group, Member, MovedBlocks, NodeNumber, Pair, Part, Racks, Rules, Schedule, Step,
    };
    use hadron_proto::hdfs::DatanodeIdProto;
    use hadron_types::{Block, BlockId, GenerationStamp, StorageType, TimeMs};

    fn node(uuid: &str) -> DatanodeInfoProto {
        DatanodeInfoProto {
            id: DatanodeIdProto {
                datanode_uuid: uuid.into(),
                ..Default::default()
            },
            ..Default::default()
        }
    }

    /// A move of block 7 from node 0 to node 1, sent by node 2.
    fn order() -> MoveOrder {
        let group = |node| Group {
            node: NodeNumber(node),
            kind: StorageType::Ssd,
        };
        let member = |rack: &str| Member {
            rack: rack.to_owned(),
            part: Part::Both,
            groups: Vec::new(),
        };
        let pairs = [Pair {
            source: group(0),
            target: group(1),
            bytes: 10,
        }];
        let rules = Rules {
            moves_per_node: 1,
            moves: 1,
            fetches: 1,
            fetch_bytes: 10,
            backoff_ms: 0,
            iteration_ms: 10,
        };
        let racks = Racks::new(&["/a", "/b", "/b", "/a"].map(member), false);
        let (mut schedule, mut moved) = (Schedule::new(&pairs, racks, rules, TimeMs(0)), MovedBlocks::new(1));
        assert!(matches!(schedule.next(&mut moved, TimeMs(0)), Step::Fetch { .. }));
        let block = Block {
            id: BlockId(7),
            generation_stamp: GenerationStamp(1001),
            len: 10,
        };
        let places = [0, 2, 3].map(group).to_vec();
        schedule.blocks_received(group(0), vec![Candidate { block, places }], &moved);
        match schedule.next(&mut moved, TimeMs(0)) {
            Step::Move(order) => order,
            other => panic!("{other:?}"),
        }
    }

    // covers: XC-14, XC-25
    #[test]
    fn the_source_is_the_hint_and_the_proxy_sends() {
        let order = order();
        let tokens = Tokens {
            keys: None,
            form: IdentifierForm::Short,
            user: "op",
            now_ms: 0,
        };
        let op = operation(&order, &"BP-1".into(), &node("source"), &node("proxy"), &tokens);
        assert_eq!(op.delete_hint, "source", "whose replica is to go");
        assert_eq!(op.source.id.datanode_uuid, "proxy", "who sends");
        assert_eq!((op.storage_type, op.storage_id), (StorageType::Ssd, None));
        assert_eq!(op.header.block.block.id, BlockId(7));
    }
}
