//! Lifelines: while heartbeats do not get through, a NameNode is told on another port that this DataNode lives.
//!
//! A lifeline says what a heartbeat says but brings no commands. Sent only once the last answered heartbeat is older
//! than the interval, over a connection and a NameNode port of its own. Source: Hadoop `BPServiceActor.LifelineSender`.

use super::actor::{CALL_TIMEOUT, heartbeat_of, resolve};
use super::link::NameNodeLink;
use crate::shared::Shared;
use hadron_env::config::HostPort;
use hadron_net::{RpcClient, RpcClientOptions};
use hadron_proto::lifeline::LifelineResponseProto;
use hadron_proto::protocol::DATANODE_LIFELINE_PROTOCOL;
use std::sync::Arc;
use std::time::Duration;

/// Sends lifelines to one NameNode until the DataNode stops; ends at once without an address for them.
pub(crate) async fn run(shared: Arc<Shared>, link: Arc<NameNodeLink>) {
    let Some(address) = link.lifeline.clone() else { return };
    let interval = shared.settings.lifeline_interval;
    let mut client: Option<RpcClient> = None;
    let mut wait = interval;
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        let age = link.last_beat().map(|at| at.elapsed());
        wait = interval;
        match age {
            // Never registered: the NameNode does not know us.
            None => {}
            Some(age) if age < interval => wait = interval - age,
            Some(_) => {
                let sent = tokio::select! {
                    () = shared.stop.cancelled() => return,
                    sent = send(&shared, &link, &address, client.take()) => sent,
                };
                match sent {
                    Ok(open) => {
                        shared.metrics.lifelines.inc();
                        client = open;
                    }
                    Err(reason) => tracing::warn!(namenode = %address, %reason, "cannot send a lifeline"),
                }
                wait = wait.max(Duration::from_millis(1));
            }
        }
    }
}

async fn send(
    shared: &Arc<Shared>,
    link: &NameNodeLink,
    address: &HostPort,
    open: Option<RpcClient>,
) -> Result<Option<RpcClient>, String> {
    let (Some(registration), Some(pool)) = (link.registration(), link.pool()) else {
        return Ok(open);
    };
    let client = match open.filter(RpcClient::is_open) {
        Some(client) => client,
        None => {
            let mut options = RpcClientOptions::new(shared.settings.user.clone(), DATANODE_LIFELINE_PROTOCOL);
            options.call_timeout = Some(CALL_TIMEOUT);
            let at = resolve(address).await.map_err(|error| error.to_string())?;
            RpcClient::connect(at, options)
                .await
                .map_err(|error| error.to_string())?
        }
    };
    let beat = heartbeat_of(shared, registration, &pool).await;
    let sent: Result<LifelineResponseProto, _> = client.call("sendLifeline", &beat).await;
    sent.map(|_| Some(client)).map_err(|error| error.to_string())
}
