//! Quotas by name, space and storage type.

use hadron_env::config::parse_size;
use hadron_proto::hdfs::{SetQuotaRequestProto, SetQuotaResponseProto, StorageTypeProto};

use super::link::{Failure, Link};
use super::{FAILED, Outcome};

/// "As it is", on the wire.
const KEEP: u64 = i64::MAX as u64;
/// "No quota", on the wire: -1.
const CLEAR: u64 = u64::MAX;

/// `-setQuota COUNT DIR…`.
pub(super) async fn set_names(link: &Link, args: &[String]) -> Outcome {
    let [count, paths @ ..] = args else {
        return Err(Failure::Usage);
    };
    let quota: u64 = count
        .parse()
        .ok()
        .filter(|quota| (1..KEEP).contains(quota))
        .ok_or_else(|| Failure::new(format!("Invalid values for quota : {count}")))?;
    apply(link, "setQuota", paths, quota, KEEP, None).await
}

/// `-clrQuota DIR…`.
pub(super) async fn clear_names(link: &Link, args: &[String]) -> Outcome {
    apply(link, "clrQuota", args, CLEAR, KEEP, None).await
}

/// `-setSpaceQuota BYTES [-storageType TYPE] DIR…`.
pub(super) async fn set_space(link: &Link, args: &[String]) -> Outcome {
    let (kind, rest) = take_type(args)?;
    let [size, paths @ ..] = rest.as_slice() else {
        return Err(Failure::Usage);
    };
    let quota = parse_size(size)
        .ok()
        .filter(|quota| (1..KEEP).contains(quota))
        .ok_or_else(|| Failure::new(format!("\"{size}\" is not a valid value for a quota.")))?;
    apply(link, "setSpaceQuota", paths, KEEP, quota, kind).await
}

/// `-clrSpaceQuota [-storageType TYPE] DIR…`.
pub(super) async fn clear_space(link: &Link, args: &[String]) -> Outcome {
    let (kind, paths) = take_type(args)?;
    apply(link, "clrSpaceQuota", &paths, KEEP, CLEAR, kind).await
}

/// Takes `-storageType TYPE` out of the words.
fn take_type(args: &[String]) -> Result<(Option<StorageTypeProto>, Vec<String>), Failure> {
    let mut rest = args.to_vec();
    let Some(at) = rest.iter().position(|arg| arg == "-storageType") else {
        return Ok((None, rest));
    };
    rest.remove(at);
    if at == rest.len() {
        return Err(Failure::Usage);
    }
    let name = rest.remove(at).to_ascii_uppercase();
    match StorageTypeProto::from_str_name(&name) {
        Some(kind) => Ok((Some(kind), rest)),
        None => Err(Failure::new(format!(
            "Storage type {name} is not available. Available storage types are [SSD, DISK, ARCHIVE, PROVIDED]"
        ))),
    }
}

async fn apply(
    link: &Link,
    command: &str,
    paths: &[String],
    names: u64,
    space: u64,
    kind: Option<StorageTypeProto>,
) -> Outcome {
    if paths.is_empty() {
        return Err(Failure::Usage);
    }
    let mut code = 0;
    for path in paths {
        let request = SetQuotaRequestProto {
            path: path.clone(),
            namespace_quota: names,
            storagespace_quota: space,
            storage_type: kind.map(|kind| kind as i32),
        };
        let set: Result<SetQuotaResponseProto, Failure> = link.call("setQuota", &request).await;
        match set {
            Ok(_) => {}
            Err(Failure::Refused(line)) => {
                eprintln!("{command}: {line}");
                code = FAILED;
            }
            Err(other) => return Err(other),
        }
    }
    Ok(code)
}
