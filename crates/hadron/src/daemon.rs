//! `hadron namenode` and `hadron datanode`: one service in the foreground, ended cleanly by SIGINT or SIGTERM.

use anyhow::{Context, Result, bail};
use hadron_datanode::{DataNode, Ending};
use hadron_namenode::{Env, NameNode};

use crate::cli::{DatanodeArgs, NamenodeArgs};
use crate::lifetime::EndSignals;

pub(crate) fn namenode(args: &NamenodeArgs) -> Result<()> {
    let conf = crate::settings::load(&args.conf)?;
    if args.format {
        let made = hadron_namenode::format(&conf, &Env::system(), args.cluster_id.as_deref(), args.force)?;
        tracing::info!(cluster = %made.cluster_id, block_pool = %made.block_pool, dirs = ?conf.name_dirs(), "formatted");
        return Ok(());
    }
    crate::settings::runtime()?.block_on(async {
        let mut signals = EndSignals::listen()?;
        let namenode = NameNode::start(conf).await.context("start the NameNode")?;
        tokio::select! {
            () = signals.wait() => {}
            reason = namenode.failed() => bail!("the NameNode cannot go on: {reason}"),
        }
        tracing::info!("stopping");
        namenode.shutdown().await;
        Ok(())
    })
}

pub(crate) fn datanode(args: &DatanodeArgs) -> Result<()> {
    let conf = crate::settings::load(&args.conf)?;
    crate::settings::runtime()?.block_on(async {
        let mut signals = EndSignals::listen()?;
        let datanode = DataNode::start(&conf).await.context("start the DataNode")?;
        tracing::info!(
            uuid = %datanode.uuid(),
            transfer = %datanode.xfer_addr(),
            ipc = %datanode.ipc_addr(),
            http = %datanode.http_addr(),
            "the DataNode serves"
        );
        let again = args.conf.clone();
        datanode.set_reload(move || crate::settings::load(&again).map_err(|error| format!("{error:#}")));
        let ending = tokio::select! {
            () = signals.wait() => None,
            ending = datanode.ended() => Some(ending),
        };
        tracing::info!("stopping");
        match ending {
            // A signal says nothing about coming back; as in Hadoop only `-shutdownDatanode … upgrade` does.
            Some(Ending::Asked { for_upgrade: true }) => datanode.shutdown_for_restart().await,
            _ => datanode.shutdown().await,
        }
        match ending {
            Some(Ending::Failed(reason)) => bail!("the DataNode cannot go on: {reason}"),
            Some(Ending::Asked { .. }) | None => Ok(()),
        }
    })
}
