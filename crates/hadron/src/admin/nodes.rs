//! Balancing bandwidth and the list of open files.

use hadron_proto::hdfs::{
    ListOpenFilesRequestProto, ListOpenFilesResponseProto, OpenFilesTypeProto, SetBalancerBandwidthRequestProto,
    SetBalancerBandwidthResponseProto,
};

use super::link::{Failure, Link};
use super::{FAILED, Outcome, want_one};

/// `-setBalancerBandwidth BYTES_PER_SECOND`, with Hadoop's suffixes (`10m`).
pub(super) async fn set_bandwidth(link: &Link, args: &[String]) -> Outcome {
    let word = want_one(args)?;
    let bandwidth = match word.parse::<i64>() {
        Ok(number) => number,
        Err(_) => match hadron_env::config::parse_size(word) {
            Ok(size) => i64::try_from(size).unwrap_or(i64::MAX),
            Err(_) => {
                eprintln!("NumberFormatException: For input string: \"{word}\"");
                return Err(Failure::Usage);
            }
        },
    };
    if bandwidth < 0 {
        eprintln!("Bandwidth should be a non-negative integer");
        return Ok(FAILED);
    }
    let request = SetBalancerBandwidthRequestProto { bandwidth };
    let _: SetBalancerBandwidthResponseProto = link.call("setBalancerBandwidth", &request).await?;
    println!("Balancer bandwidth is set to {bandwidth}");
    Ok(0)
}

/// `-listOpenFiles [-blockingDecommission] [-path PATH]`.
pub(super) async fn list_open_files(link: &Link, args: &[String]) -> Outcome {
    let (mut kind, mut path) = (OpenFilesTypeProto::AllOpenFiles, "/".to_owned());
    let mut words = args.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-blockingDecommission" => kind = OpenFilesTypeProto::BlockingDecommission,
            "-path" => path.clone_from(words.next().ok_or(Failure::Usage)?),
            _ => return Err(Failure::Usage),
        }
    }
    println!("{:<20}\t{:<20}\tOpen File Path", "Client Host", "Client Name");
    let mut id = 0;
    loop {
        let request = ListOpenFilesRequestProto {
            id,
            types: vec![kind as i32],
            path: Some(path.clone()),
        };
        let page: ListOpenFilesResponseProto = link.call("listOpenFiles", &request).await?;
        for entry in &page.entries {
            println!(
                "{:<20}\t{:<20}\t{:>20}",
                entry.client_machine, entry.client_name, entry.path
            );
        }
        match page.entries.last() {
            Some(last) if page.has_more => id = last.id,
            _ => return Ok(0),
        }
    }
}
