//! How long a block that is being written is: what its DataNodes say that every node of the pipeline acked.
//!
//! The NameNode's count leaves such a block out. DataNodes are asked in order until one answers; when none has a replica
//! the pipeline is only being set up, and the block is empty so far.
//!
//! Source: Hadoop `DFSInputStream.readBlockLength`.

use crate::datanode;
use crate::error::{FsError, Result};
use crate::fs::Shared;
use hadron_net::{RpcClient, RpcClientOptions};
use hadron_proto::hdfs as proto;
use hadron_proto::protocol::CLIENT_DATANODE_PROTOCOL;
use hadron_types::ErrorKind;
use std::time::Duration;
use tokio::time::Instant;

/// Wait before DataNodes that said "later" are asked again.
const LATER_DELAY: Duration = Duration::from_millis(500);

/// Asks the DataNodes of `last`; the error is why none could tell.
pub(super) async fn visible_length(
    shared: &Shared,
    last: &proto::LocatedBlockProto,
) -> std::result::Result<u64, String> {
    let started = Instant::now();
    let mut answers = LengthAnswers::default();
    let mut to_ask: Vec<_> = last.locs.iter().collect();
    loop {
        let mut later = Vec::new();
        for info in to_ask {
            let answer = ask(shared, info, last).await;
            if let Err(error) = &answer {
                let (block, addr) = (last.b.block_id, datanode::transfer_addr(info));
                tracing::debug!(block, addr, %error, "cannot learn the visible length");
                if error.kind() == Some(ErrorKind::Retriable) && started.elapsed() < shared.settings.socket_timeout {
                    later.push(info);
                    continue;
                }
            }
            if let Some(len) = answers.take(answer) {
                return Ok(len);
            }
        }
        if later.is_empty() {
            break;
        }
        to_ask = later;
        tokio::time::sleep(LATER_DELAY).await;
    }
    match answers.all_without() {
        true => Ok(0),
        false => Err(answers.cause),
    }
}

async fn ask(shared: &Shared, info: &proto::DatanodeInfoProto, located: &proto::LocatedBlockProto) -> Result<i64> {
    let port = u16::try_from(info.id.ipc_port).map_err(|_| FsError::Config("IPC port above 65535".to_owned()))?;
    let host = match shared.settings.use_datanode_hostname {
        true => &info.id.host_name,
        false => &info.id.ip_addr,
    };
    let unresolved = |error: std::io::Error| FsError::Config(format!("resolve {host}: {error}"));
    let addr = tokio::net::lookup_host((host.as_str(), port))
        .await
        .map_err(unresolved)?
        .next()
        .ok_or_else(|| unresolved(std::io::Error::other("the name has no address")))?;
    let mut options = RpcClientOptions::new(&shared.user, CLIENT_DATANODE_PROTOCOL);
    options.connect_timeout = shared.settings.connect_timeout.min(shared.settings.socket_timeout);
    options.call_timeout = Some(shared.settings.socket_timeout);
    options.token = Some(located.block_token.clone());
    let client = RpcClient::connect(addr, options).await?;
    let request = proto::GetReplicaVisibleLengthRequestProto {
        block: located.b.clone(),
    };
    let response: proto::GetReplicaVisibleLengthResponseProto =
        client.call("getReplicaVisibleLength", &request).await?;
    Ok(response.length as i64)
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
                self.without += usize::from(error.kind() == Some(ErrorKind::ReplicaNotFound));
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

#[cfg(test)]
mod tests {
    use super::*;
    use hadron_types::HadoopError;

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
