//! `-reconfig namenode|datanode HOST:IPC_PORT start|status|properties`.

use hadron_env::zone::java_date;
use hadron_proto::hdfs::{
    GetReconfigurationStatusRequestProto, GetReconfigurationStatusResponseProto,
    ListReconfigurablePropertiesRequestProto, ListReconfigurablePropertiesResponseProto,
    StartReconfigurationRequestProto, StartReconfigurationResponseProto,
};
use hadron_proto::protocol::{CLIENT_DATANODE_PROTOCOL, RECONFIGURATION_PROTOCOL};
use hadron_types::TimeMs;

use super::link::{Failure, Link};
use super::{FAILED, Outcome};

pub(super) async fn run(link: &Link, args: &[String]) -> Outcome {
    let [kind, address, operation] = args else {
        return Err(Failure::Usage);
    };
    let protocol = match kind.as_str() {
        "namenode" => RECONFIGURATION_PROTOCOL,
        "datanode" => CLIENT_DATANODE_PROTOCOL,
        _ => {
            eprintln!("Node type {kind} does not support reconfiguration.");
            return Ok(1);
        }
    };
    match operation.as_str() {
        "start" => start(link, address, protocol).await,
        "status" => status(link, address, protocol).await,
        "properties" => properties(link, address, protocol).await,
        _ => {
            eprintln!("Unknown operation: {operation}");
            Ok(FAILED)
        }
    }
}

async fn start(link: &Link, address: &str, protocol: &'static str) -> Outcome {
    let request = StartReconfigurationRequestProto {};
    let asked: Result<StartReconfigurationResponseProto, _> =
        link.call_at(address, protocol, "startReconfiguration", &request).await;
    match asked {
        Ok(_) => {
            println!("Started reconfiguration task on node [{address}].");
            Ok(0)
        }
        Err(error) => {
            eprintln!("Node [{address}] reconfiguring: {}.", error.first_line());
            Ok(1)
        }
    }
}

async fn status(link: &Link, address: &str, protocol: &'static str) -> Outcome {
    let request = GetReconfigurationStatusRequestProto {};
    let asked: Result<GetReconfigurationStatusResponseProto, _> = link
        .call_at(address, protocol, "getReconfigurationStatus", &request)
        .await;
    let answer = match asked {
        Ok(answer) => answer,
        Err(error) => {
            eprintln!("Node [{address}] reloading configuration: {}.", error.first_line());
            return Ok(1);
        }
    };
    let date = |time: i64| java_date(TimeMs(u64::try_from(time).unwrap_or(0)));
    print!("Reconfiguring status for node [{address}]: ");
    if answer.start_time <= 0 {
        println!("no task was found.");
        return Ok(0);
    }
    print!("started at {}", date(answer.start_time));
    let Some(end) = answer.end_time.filter(|end| *end > 0) else {
        println!(" and is still running.");
        return Ok(0);
    };
    println!(" and finished at {}.", date(end));
    for change in &answer.changes {
        let result = match change.error_message {
            None => "SUCCESS: Changed",
            Some(_) => "FAILED: Change",
        };
        let new = change.new_value.as_deref().unwrap_or("null");
        println!(
            "{result} property {}\n\tFrom: \"{}\"\n\tTo: \"{new}\"",
            change.name, change.old_value
        );
        if let Some(error) = &change.error_message {
            println!("\tError: {error}.");
        }
    }
    Ok(0)
}

async fn properties(link: &Link, address: &str, protocol: &'static str) -> Outcome {
    let request = ListReconfigurablePropertiesRequestProto {};
    let asked: Result<ListReconfigurablePropertiesResponseProto, _> = link
        .call_at(address, protocol, "listReconfigurableProperties", &request)
        .await;
    match asked {
        Ok(answer) => {
            println!("Node [{address}] Reconfigurable properties:");
            for name in &answer.name {
                println!("{name}");
            }
            Ok(0)
        }
        Err(error) => {
            eprintln!("Node [{address}] reconfigurable properties: {}.", error.first_line());
            Ok(1)
        }
    }
}
