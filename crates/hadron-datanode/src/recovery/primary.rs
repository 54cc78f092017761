//! One recovery from order to report: ask all holders at once, choose, tell the participants, report to the NameNode.

use super::holder::{Holder, patience};
use super::plan::{Answer, Plan, plan};
use crate::namenode::link::NameNodeLink;
use crate::shared::Shared;
use hadron_net::{RpcClient, RpcClientOptions};
use hadron_proto::datanode::{CommitBlockSynchronizationRequestProto, CommitBlockSynchronizationResponseProto};
use hadron_proto::hdfs::{DatanodeIdProto, RecoveringBlockProto};
use hadron_proto::protocol::DATANODE_PROTOCOL;
use hadron_replica::{OUTDATED_REPLICA, RecoveryInfo};
use hadron_types::{Block, BlockId, ErrorKind, ExtendedBlock, GenerationStamp, HadoopError, HadoopResult, StorageId};
use std::sync::Arc;
use std::time::Duration;

/// Limit for the NameNode's answer to the report.
const REPORT_TIMEOUT: Duration = Duration::from_secs(60);

/// Why an attempt ended without result.
enum Ended {
    /// Another recovery of the block is ahead; nothing is wrong.
    Superseded(String),
    Failed(String),
}

impl From<HadoopError> for Ended {
    fn from(error: HadoopError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// A holder and what it said.
struct Asked {
    holder: Result<Holder, DatanodeIdProto>,
    answer: HadoopResult<Option<RecoveryInfo>>,
}

/// Runs one recovery; its end is logged.
pub(super) async fn recover(shared: &Arc<Shared>, link: &NameNodeLink, order: &RecoveringBlockProto) {
    let block = ExtendedBlock::from(&order.block.b);
    let recovery_id = GenerationStamp(order.new_gen_stamp);
    let nodes: Vec<String> = order.block.locs.iter().map(|node| name(&node.id)).collect();
    tracing::info!(%block, %recovery_id, ?nodes, truncate = order.truncate_block.is_some(), "block recovery begins");
    match attempt(shared, link, order, &block).await {
        Ok(result) => tracing::info!(%block, %recovery_id, %result, "block recovered"),
        Err(Ended::Superseded(reason)) => tracing::warn!(%block, %recovery_id, %reason, "block recovery is aborted"),
        Err(Ended::Failed(reason)) => {
            tracing::error!(%block, %recovery_id, ?nodes, %reason, "block recovery failed; the NameNode will order it again");
        }
    }
}

async fn attempt(
    shared: &Arc<Shared>,
    link: &NameNodeLink,
    order: &RecoveringBlockProto,
    block: &ExtendedBlock,
) -> Result<String, Ended> {
    let asked = ask_all(shared, order).await;
    let mut answers = Vec::with_capacity(asked.len());
    for asked in &asked {
        if let Err(error) = &asked.answer {
            if error.kind == ErrorKind::RecoveryInProgress {
                return Err(Ended::Superseded(error.first_line().to_owned()));
            }
            let node = match &asked.holder {
                Ok(holder) => name(&holder.id),
                Err(id) => name(id),
            };
            tracing::warn!(%block, %node, %error, "cannot ask a datanode for its replica");
        }
        answers.push(answer(&asked.answer));
    }
    let truncated = order.truncate_block.as_ref().map(Block::from);
    let planned = plan(&block.block, &answers, truncated.map(|block| block.len)).map_err(Ended::Failed)?;
    let new_id = truncated.map_or(block.block.id, |truncated| truncated.id);
    match planned {
        Plan::Delete => {
            report(shared, link, order, 0, Vec::new()).await?;
            Ok("no datanode has data of it: removed".to_owned())
        }
        Plan::Synchronize { len, participants } => {
            let done = tell_all(shared, order, &asked, &participants, new_id, len).await?;
            let count = done.len();
            report(shared, link, order, len, done).await?;
            Ok(format!("{len} bytes on {count} datanodes"))
        }
    }
}

/// What a holder's answer means, be it one of ours or Apache's.
fn answer(told: &HadoopResult<Option<RecoveryInfo>>) -> Answer {
    match told {
        Ok(Some(info)) => Answer::Replica(*info),
        Ok(None) => Answer::Nothing,
        // The protocol has no other sign.
        Err(error) if error.kind == ErrorKind::Io && error.first_line().contains(OUTDATED_REPLICA) => Answer::Outdated,
        Err(_) => Answer::Silent,
    }
}

async fn ask_all(shared: &Arc<Shared>, order: &RecoveringBlockProto) -> Vec<Asked> {
    let ask = |node: DatanodeIdProto| async move {
        let asking = async {
            let holder = Holder::reach(shared, node.clone()).await?;
            let answer = holder.init(shared, order).await?;
            Ok((holder, answer))
        };
        match in_time(patience(shared), asking).await {
            Ok((holder, answer)) => Asked {
                holder: Ok(holder),
                answer: Ok(answer),
            },
            Err(error) => Asked {
                holder: Err(node.clone()),
                answer: Err(error),
            },
        }
    };
    futures::future::join_all(order.block.locs.iter().map(|node| ask(node.id.clone()))).await
}

/// Bounds what may hang: a connection, a disk, a writer that does not leave. It may come to its end later, unheard.
async fn in_time<T>(limit: Duration, work: impl Future<Output = HadoopResult<T>>) -> HadoopResult<T> {
    let late = |_| Err(HadoopError::io(format!("no answer within {limit:?}")));
    tokio::time::timeout(limit, work).await.unwrap_or_else(late)
}

/// Tells the participants; one success is enough.
async fn tell_all(
    shared: &Arc<Shared>,
    order: &RecoveringBlockProto,
    asked: &[Asked],
    participants: &[usize],
    new_id: BlockId,
    len: u64,
) -> Result<Vec<(DatanodeIdProto, StorageId)>, Ended> {
    let pool = ExtendedBlock::from(&order.block.b).pool;
    let recovery_id = GenerationStamp(order.new_gen_stamp);
    let tell = |number: usize| {
        let (pool, asked) = (pool.clone(), asked.get(number));
        async move {
            let Some(Asked {
                holder: Ok(holder),
                answer: Ok(Some(info)),
            }) = asked
            else {
                return None;
            };
            let block = info.block;
            let updating = holder.update(shared, ExtendedBlock { pool, block }, recovery_id, new_id, len);
            match in_time(patience(shared), updating).await {
                Ok(storage) => Some((holder.id.clone(), storage)),
                Err(error) => {
                    tracing::warn!(%block, node = name(&holder.id), %error, "a datanode cannot update its replica");
                    None
                }
            }
        }
    };
    let done: Vec<_> = futures::future::join_all(participants.iter().map(|&number| tell(number)))
        .await
        .into_iter()
        .flatten()
        .collect();
    if done.is_empty() {
        return Err(Ended::Failed(
            "none of the participating datanodes could update its replica".to_owned(),
        ));
    }
    Ok(done)
}

/// Reports to the NameNode that gave the order.
async fn report(
    shared: &Arc<Shared>,
    link: &NameNodeLink,
    order: &RecoveringBlockProto,
    len: u64,
    done: Vec<(DatanodeIdProto, StorageId)>,
) -> Result<(), Ended> {
    let request = CommitBlockSynchronizationRequestProto {
        block: order.block.b.clone(),
        new_gen_stamp: order.new_gen_stamp,
        new_length: len,
        close_file: true,
        delete_block: done.is_empty(),
        new_target_storages: done.iter().map(|(_, storage)| storage.as_str().to_owned()).collect(),
        new_taragets: done.into_iter().map(|(node, _)| node).collect(),
    };
    let failed = |error: String| Ended::Failed(format!("report to {}: {error}", link.address));
    let mut found = tokio::net::lookup_host((link.address.host.as_str(), link.address.port))
        .await
        .map_err(|error| failed(error.to_string()))?;
    let address = found
        .next()
        .ok_or_else(|| failed("its name has no address".to_owned()))?;
    let mut options = RpcClientOptions::new(shared.settings.user.clone(), DATANODE_PROTOCOL);
    options.call_timeout = Some(REPORT_TIMEOUT);
    let client = RpcClient::connect(address, options)
        .await
        .map_err(|error| failed(error.to_string()))?;
    let answer: Result<CommitBlockSynchronizationResponseProto, _> =
        client.call("commitBlockSynchronization", &request).await;
    answer.map(drop).map_err(|error| failed(error.to_string()))
}

fn name(node: &DatanodeIdProto) -> String {
    format!("{}:{}", node.ip_addr, node.xfer_port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hadron_replica::ReplicaError;
    use hadron_types::ReplicaState;

    #[test]
    fn refusals_for_good_are_told_from_others() {
        let block = Block {
            id: BlockId(1),
            generation_stamp: GenerationStamp(10),
            len: 0,
        };
        let info = RecoveryInfo {
            block,
            state: ReplicaState::Rwr,
        };
        let ours = ReplicaError::Unrecoverable {
            block: block.id,
            problem: format!("{OUTDATED_REPLICA}, block=blk_1_10, replica=blk_1_9"),
        };
        let apaches = "replica.getGenerationStamp() < block.getGenerationStamp(), block=blk_1_10, \
                       replica=ReplicaWaitingToBeRecovered, blk_1_9, RWR\n  getNumBytes()     = 5\n\
                       \tat org.apache.hadoop.hdfs.server.datanode.fsdataset.impl.FsDatasetImpl";
        for (told, expected) in [
            (Ok(Some(info)), Answer::Replica(info)),
            (Ok(None), Answer::Nothing),
            (Err(HadoopError::from(&ours)), Answer::Outdated),
            (Err(HadoopError::io(apaches)), Answer::Outdated),
            (
                Err(HadoopError::io("replica.getGenerationStamp() >= recoveryId = 9")),
                Answer::Silent,
            ),
            (
                Err(HadoopError::io("replica has lost its meta file, block=blk_1_10")),
                Answer::Silent,
            ),
            (
                Err(HadoopError::from(&ReplicaError::WriterBusy(block.id))),
                Answer::Silent,
            ),
            (Err(HadoopError::io("talk to 127.0.0.1:1: refused")), Answer::Silent),
        ] {
            assert_eq!(answer(&told), expected, "{told:?}");
        }
    }
}
