//! What is asked of one DataNode, at its `HOST:IPC_PORT`.

use hadron_proto::hdfs::{
    GetBalancerBandwidthRequestProto, GetBalancerBandwidthResponseProto, GetDatanodeInfoRequestProto,
    GetDatanodeInfoResponseProto, ShutdownDatanodeRequestProto, ShutdownDatanodeResponseProto,
    TriggerBlockReportRequestProto, TriggerBlockReportResponseProto,
};
use hadron_proto::protocol::CLIENT_DATANODE_PROTOCOL;

use super::link::{Failure, Link};
use super::{FAILED, Outcome, want_one};

/// `-getDatanodeInfo HOST:IPC_PORT`.
pub(super) async fn info(link: &Link, args: &[String]) -> Outcome {
    let address = want_one(args)?;
    let request = GetDatanodeInfoRequestProto {};
    let asked: Result<GetDatanodeInfoResponseProto, _> = link
        .call_at(address, CLIENT_DATANODE_PROTOCOL, "getDatanodeInfo", &request)
        .await;
    match asked {
        Ok(answer) => {
            let info = answer.local_info;
            println!(
                "Uptime: {}, Software version: {}, Config version: {}",
                info.uptime, info.software_version, info.config_version
            );
            Ok(0)
        }
        Err(error) => {
            eprintln!("Datanode unreachable. {}", error.first_line());
            Ok(FAILED)
        }
    }
}

/// `-getBalancerBandwidth HOST:IPC_PORT`.
pub(super) async fn bandwidth(link: &Link, args: &[String]) -> Outcome {
    let address = want_one(args)?;
    let request = GetBalancerBandwidthRequestProto {};
    let asked: Result<GetBalancerBandwidthResponseProto, _> = link
        .call_at(address, CLIENT_DATANODE_PROTOCOL, "getBalancerBandwidth", &request)
        .await;
    match asked {
        Ok(answer) => {
            println!("Balancer bandwidth is {} bytes per second.", answer.bandwidth);
            Ok(0)
        }
        Err(error) => {
            eprintln!("Datanode unreachable. {}", error.first_line());
            Ok(FAILED)
        }
    }
}

/// `-shutdownDatanode HOST:IPC_PORT [upgrade]`.
pub(super) async fn shutdown(link: &Link, args: &[String]) -> Outcome {
    let (address, for_upgrade) = match args {
        [address] => (address, false),
        [address, word] if word.eq_ignore_ascii_case("upgrade") => (address, true),
        _ => return Err(Failure::Usage),
    };
    let request = ShutdownDatanodeRequestProto { for_upgrade };
    let _: ShutdownDatanodeResponseProto = link
        .call_at(address, CLIENT_DATANODE_PROTOCOL, "shutdownDatanode", &request)
        .await?;
    println!("Submitted a shutdown request to datanode {address}");
    Ok(0)
}

/// `-triggerBlockReport [-incremental] HOST:IPC_PORT [-namenode HOST:PORT]`.
pub(super) async fn trigger_block_report(link: &Link, args: &[String]) -> Outcome {
    let (mut incremental, mut namenode, mut address) = (false, None, None);
    let mut words = args.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-incremental" => incremental = true,
            "-namenode" => namenode = Some(words.next().ok_or(Failure::Usage)?.clone()),
            _ if address.is_none() && !word.starts_with('-') => address = Some(word.clone()),
            _ => {
                eprintln!("Can't understand arguments: {word}");
                return Ok(1);
            }
        }
    }
    let Some(address) = address else {
        eprintln!("You must specify a host:port pair.");
        return Ok(1);
    };
    let request = TriggerBlockReportRequestProto {
        incremental,
        nn_address: namenode.clone(),
    };
    let asked: Result<TriggerBlockReportResponseProto, _> = link
        .call_at(&address, CLIENT_DATANODE_PROTOCOL, "triggerBlockReport", &request)
        .await;
    if let Err(error) = asked {
        eprintln!("triggerBlockReport error: {}", error.first_line());
        return Ok(1);
    }
    let kind = if incremental { "an incremental" } else { "a full" };
    let to = namenode.map_or_else(String::new, |namenode| format!(" to namenode {namenode}"));
    println!("Triggering {kind} block report on {address}{to}.");
    Ok(0)
}
