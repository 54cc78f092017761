//! Quotas and storage policies of paths.

use crate::error::Result;
use crate::fs::HadronFs;
use hadron_proto::hdfs as proto;
use hadron_types::{ErrorKind, FsPath, StorageType};

/// Java's `QUOTA_DONT_SET`.
const KEEP: u64 = i64::MAX as u64;
/// Java's `QUOTA_RESET`.
const CLEAR: u64 = u64::MAX;

/// What a directory may take and takes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct QuotaUsage {
    /// Files and directories, the top included.
    pub names: u64,
    /// Limit on them; negative: none.
    pub name_quota: i64,
    /// Bytes with all replicas.
    pub space: u64,
    /// Limit on them; negative: none.
    pub space_quota: i64,
    /// Limits, negative for none, and bytes by storage type; empty if no type is limited or known to be used.
    pub types: Vec<(StorageType, i64, u64)>,
}

/// How a limit changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum QuotaChange {
    /// Not at all.
    #[default]
    Keep,
    /// It goes.
    Clear,
    /// To this number, at most `i64::MAX - 1`.
    Set(u64),
}

impl QuotaChange {
    fn to_wire(self) -> u64 {
        match self {
            Self::Keep => KEEP,
            Self::Clear => CLEAR,
            Self::Set(limit) => limit,
        }
    }
}

/// A storage policy as the server knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoragePolicyInfo {
    /// Its number, as statuses tell it.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Types for the first replicas in turn; the last one serves all others.
    pub types: Vec<StorageType>,
    /// Instead of a type that is not to be had for a new block.
    pub creation_fallbacks: Vec<StorageType>,
    /// Instead of a type that is not to be had for another replica.
    pub replication_fallbacks: Vec<StorageType>,
}

impl From<&proto::BlockStoragePolicyProto> for StoragePolicyInfo {
    fn from(policy: &proto::BlockStoragePolicyProto) -> Self {
        let kinds = |list: Option<&proto::StorageTypesProto>| -> Vec<StorageType> {
            let numbers = list.map_or(&[][..], |list| list.storage_types.as_slice());
            numbers.iter().copied().filter_map(StorageType::from_wire).collect()
        };
        Self {
            id: policy.policy_id,
            name: policy.name.clone(),
            types: kinds(Some(&policy.creation_policy)),
            creation_fallbacks: kinds(policy.creation_fallback_policy.as_ref()),
            replication_fallbacks: kinds(policy.replication_fallback_policy.as_ref()),
        }
    }
}

impl HadronFs {
    /// The quota of `path` and what counts against it. Servers before 2.8 count the tree for it.
    pub async fn quota_usage(&self, path: &FsPath) -> Result<QuotaUsage> {
        let request = proto::GetQuotaUsageRequestProto { path: path.to_string() };
        match self.namenode().get_quota_usage(&request).await {
            Ok(response) => {
                let usage = response.usage;
                Ok(QuotaUsage {
                    names: usage.file_and_directory_count,
                    name_quota: usage.quota as i64,
                    space: usage.space_consumed,
                    space_quota: usage.space_quota as i64,
                    types: types(usage.type_quota_infos.as_ref()),
                })
            }
            Err(error) if error.kind() == Some(ErrorKind::NoSuchMethod) => self.counted_usage(path).await,
            Err(error) => Err(error),
        }
    }

    async fn counted_usage(&self, path: &FsPath) -> Result<QuotaUsage> {
        let request = proto::GetContentSummaryRequestProto { path: path.to_string() };
        let summary = self.namenode().get_content_summary(&request).await?.summary;
        Ok(QuotaUsage {
            names: summary.file_count + summary.directory_count,
            name_quota: summary.quota as i64,
            space: summary.space_consumed,
            space_quota: summary.space_quota as i64,
            types: types(summary.type_quota_infos.as_ref()),
        })
    }

    /// Changes what a directory may take. `kind`: `space` is about this storage type, and `names` must be
    /// [`QuotaChange::Keep`].
    pub async fn set_quota(
        &self,
        path: &FsPath,
        names: QuotaChange,
        space: QuotaChange,
        kind: Option<StorageType>,
    ) -> Result<()> {
        let request = proto::SetQuotaRequestProto {
            path: path.to_string(),
            namespace_quota: names.to_wire(),
            storagespace_quota: space.to_wire(),
            storage_type: kind.map(|kind| kind as i32),
        };
        self.namenode().set_quota(&request).await.map(|_| ())
    }

    /// All storage policies, by number.
    pub async fn storage_policies(&self) -> Result<Vec<StoragePolicyInfo>> {
        let request = proto::GetStoragePoliciesRequestProto {};
        let response = self.namenode().get_storage_policies(&request).await?;
        Ok(response.policies.iter().map(StoragePolicyInfo::from).collect())
    }

    /// Sets the storage policy called `name`, or with `None` takes the path's own one away.
    pub async fn set_storage_policy(&self, path: &FsPath, name: Option<&str>) -> Result<()> {
        let src = path.to_string();
        match name {
            Some(name) => {
                let policy_name = name.to_owned();
                let request = proto::SetStoragePolicyRequestProto { src, policy_name };
                self.namenode().set_storage_policy(&request).await.map(|_| ())
            }
            None => {
                let request = proto::UnsetStoragePolicyRequestProto { src };
                self.namenode().unset_storage_policy(&request).await.map(|_| ())
            }
        }
    }

    /// Asks the server to move replicas to where the policy of `path` wants them.
    pub async fn satisfy_storage_policy(&self, path: &FsPath) -> Result<()> {
        let request = proto::SatisfyStoragePolicyRequestProto { src: path.to_string() };
        self.namenode().satisfy_storage_policy(&request).await.map(|_| ())
    }

    /// Moves the blocks of `sources`, files of the same directory, to the end of `target` and removes them.
    pub async fn concat(&self, target: &FsPath, sources: &[FsPath]) -> Result<()> {
        let request = proto::ConcatRequestProto {
            trg: target.to_string(),
            srcs: sources.iter().map(FsPath::to_string).collect(),
        };
        self.namenode().concat(&request).await.map(|_| ())
    }
}

fn types(infos: Option<&proto::StorageTypeQuotaInfosProto>) -> Vec<(StorageType, i64, u64)> {
    let infos = infos.map_or(&[][..], |infos| infos.type_quota_info.as_slice());
    infos
        .iter()
        .filter_map(|info| {
            Some((
                StorageType::from_wire(info.r#type() as i32)?,
                info.quota as i64,
                info.consumed,
            ))
        })
        .collect()
}
