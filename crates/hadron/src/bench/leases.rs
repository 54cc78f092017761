//! `hadron bench leases`: what open files cost the NameNode: the lease index alone, and the namespace with it.
//!
//! The index is filled, renewed, looked through and emptied, once with one holder for all files and once with a holder for
//! each; every step runs in this process through the calls that the NameNode makes. What it does not do: RPC or journal.

use super::memory::resident_bytes;
use anyhow::{Context, Result, bail};
use clap::Args;
use hadron_namespace::command::{Create, Mkdirs, create_flag};
use hadron_namespace::{
    Caller, Command, EXPIRED_LEASES_PER_SLICE, Identity, LEASE_HARD_LIMIT_MS, LEASE_SOFT_LIMIT_MS, LeaseManager,
    Namespace, Op, RULES_VERSION,
};
use hadron_types::{BlockPoolId, InodeId, TimeMs};
use serde_json::{Map, json};
use std::sync::Arc;
use std::time::Instant;

const NOW: TimeMs = TimeMs(1_700_000_000_000);
const FILES_PER_DIRECTORY: u64 = 1000;
/// Entries of one page of listOpenFiles.
const PAGE: usize = 1000;

/// `hadron bench leases`.
#[derive(Args)]
pub(crate) struct LeasesArgs {
    /// How many files are open at a time.
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=50_000_000))]
    files: u64,
    /// How many clients hold them; may be repeated.
    #[arg(long, value_name = "N", default_values_t = [1, 1000, 1_000_000])]
    holders: Vec<u64>,
}

pub(crate) fn run(args: &LeasesArgs) -> Result<()> {
    for &holders in &args.holders {
        let line = index(args.files, holders.clamp(1, args.files))?;
        super::print(&[("bench", json!("leases"))], line);
    }
    super::print(&[("bench", json!("open-files"))], namespace(args.files)?);
    Ok(())
}

/// Nanoseconds of each of `count` calls.
fn each(count: u64, mut call: impl FnMut(u64)) -> u64 {
    let began = Instant::now();
    (0..count).for_each(&mut call);
    began.elapsed().as_nanos() as u64 / count.max(1)
}

fn index(files: u64, holders: u64) -> Result<Map<String, serde_json::Value>> {
    let names: Vec<Arc<str>> = (0..holders)
        .map(|number| Arc::from(format!("DFSClient_NONMAPREDUCE_{number}_1")))
        .collect();
    let holder = |number: u64| &names[(number % holders) as usize];
    let later = |number: u64| NOW.plus(1 + number / 100);
    let before = resident_bytes()?;
    let mut leases = LeaseManager::new();
    let add_ns = each(files, |number| leases.grant(InodeId(number), holder(number), NOW));
    let grown = resident_bytes()?.saturating_sub(before);
    let renew_ns = each(files, |number| {
        leases.renew(holder(number.wrapping_mul(2_654_435_761)), later(number));
    });
    let end = later(files);
    let mut soft = 0_u64;
    let soft_check_ns = each(files, |number| {
        soft += u64::from(leases.is_soft_expired(holder(number), end, LEASE_SOFT_LIMIT_MS));
    });
    let mut found = 0;
    let monitor_look_ns = each(1000, |_| {
        found += leases.expired(end, LEASE_HARD_LIMIT_MS, EXPIRED_LEASES_PER_SLICE).len();
    });
    let mut listed = 0;
    let mut after = InodeId(0);
    let list_page_ns = each(files.div_ceil(PAGE as u64), |_| {
        let page: Vec<InodeId> = leases.files_after(after).take(PAGE).collect();
        listed += page.len();
        after = page.last().copied().unwrap_or(after);
    });
    let remove_ns = each(files, |number| leases.release(InodeId(number)));
    if soft + found as u64 != 0 || leases.file_count() != 0 || listed as u64 + 1 < files {
        bail!("the lease index lost count: {soft} soft, {found} hard expired, {listed} listed");
    }
    let mut line = Map::new();
    for (name, value) in [
        ("files", files),
        ("holders", holders),
        ("add_ns", add_ns),
        ("renew_ns", renew_ns),
        ("soft_check_ns", soft_check_ns),
        ("monitor_look_ns", monitor_look_ns),
        ("list_page_ns", list_page_ns),
        ("remove_ns", remove_ns),
        ("bytes_per_open_file", grown / files.max(1)),
    ] {
        line.insert(name.to_owned(), json!(value));
    }
    Ok(line)
}

/// The namespace with `files` open empty files of a thousand clients.
fn namespace(files: u64) -> Result<Map<String, serde_json::Value>> {
    let identity = Identity {
        namespace_id: 1,
        cluster_id: "CID-bench".to_owned(),
        block_pool: BlockPoolId::from("BP-bench"),
        created: NOW,
    };
    let mut namespace = Namespace::new(identity, "hdfs", "supergroup", NOW);
    let caller = Caller::superuser("hdfs");
    let mut leases = LeaseManager::new();
    let mut apply = |namespace: &mut Namespace, op: Op| {
        let applied = namespace.apply(&Command::new(caller.clone(), NOW, op), RULES_VERSION);
        leases.follow(&applied.effects, NOW);
        applied.outcome.context("build the namespace")
    };
    let before = resident_bytes()?;
    let began = Instant::now();
    for number in 0..files {
        let directory = format!("/d{}", number / FILES_PER_DIRECTORY);
        if number % FILES_PER_DIRECTORY == 0 {
            let op = Mkdirs {
                path: directory.clone(),
                masked_permission: 0o755,
                create_parent: true,
                unmasked_permission: None,
            };
            apply(&mut namespace, op.into())?;
        }
        let op = Create {
            path: format!("{directory}/part-{:05}", number % FILES_PER_DIRECTORY),
            masked_permission: 0o644,
            holder: format!("DFSClient_NONMAPREDUCE_{}_1", number % 1000),
            client_machine: "10.0.0.1".to_owned(),
            flags: create_flag::CREATE,
            create_parent: true,
            replication: 3,
            block_size: 128 << 20,
            unmasked_permission: None,
            storage_policy: None,
        };
        apply(&mut namespace, op.into())?;
    }
    let create_ns = began.elapsed().as_nanos() as u64 / files.max(1);
    let grown = resident_bytes()?.saturating_sub(before);
    let mut line = Map::new();
    line.insert("files".to_owned(), json!(files));
    line.insert("create_ns".to_owned(), json!(create_ns));
    line.insert("bytes_per_open_file".to_owned(), json!(grown / files.max(1)));
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// covers: LM-34
    #[test]
    fn every_step_is_measured_and_nothing_is_lost() {
        for holders in [1, 7, 2000] {
            let line = index(2000, holders).expect("measured");
            assert_eq!((&line["files"], &line["holders"]), (&json!(2000), &json!(holders)));
            assert!(line.contains_key("renew_ns") && line.contains_key("remove_ns"));
        }
        assert_eq!(namespace(2000).expect("measured")["files"], json!(2000));
    }
}
