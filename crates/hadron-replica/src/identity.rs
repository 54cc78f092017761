//! Who a storage directory and a block pool on it belong to: the two kinds of VERSION file.
//!
//! Reading checks, writing goes through a temporary file, fsync and rename, so that a crash leaves the old or the
//! new file. Does not upgrade: a directory of another layout than -56 or -57 is refused and left untouched.

use crate::disk::VolumeDisk;
use crate::error::{ReplicaError, ReplicaResult};
use crate::layout;
use crate::properties::Properties;
use hadron_env::disk::Open;
use hadron_types::{BlockPoolId, DatanodeUuid, StorageId};
use std::path::Path;

/// Longest VERSION file read.
const MAX_VERSION_FILE_BYTES: u64 = 64 * 1024;

/// The NameNode's side of the handshake: whose blocks these are (`NamespaceInfo`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PoolIdentity {
    /// The block pool.
    pub pool: BlockPoolId,
    /// `CID-…`.
    pub cluster_id: String,
    /// The namespace's number.
    pub namespace_id: u32,
    /// Creation time of the namespace, 0 unless it was upgraded.
    pub ctime: u64,
}

/// `current/VERSION` of a storage directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StorageIdentity {
    /// The permanent name of this directory.
    pub storage_id: StorageId,
    /// The cluster it serves.
    pub cluster_id: String,
    /// The DataNode it is part of.
    pub datanode_uuid: DatanodeUuid,
    /// The layout it is in.
    pub layout_version: i32,
}

impl StorageIdentity {
    /// Reads `<dir>/current/VERSION`; `None` when the directory was never formatted.
    pub(crate) fn read(disk: &VolumeDisk, dir: &Path) -> ReplicaResult<Option<Self>> {
        let file = dir.join(layout::CURRENT).join(layout::VERSION);
        let Some(properties) = read_properties(disk, &file)? else {
            return Ok(None);
        };
        let get = |key: &str| require(&properties, key, dir);
        if get("storageType")? != "DATA_NODE" {
            return Err(incompatible(dir, "storageType is not DATA_NODE"));
        }
        Ok(Some(Self {
            storage_id: StorageId::from(get("storageID")?),
            cluster_id: get("clusterID")?.to_owned(),
            datanode_uuid: DatanodeUuid::from(get("datanodeUuid")?),
            layout_version: layout_version(get("layoutVersion")?, dir)?,
        }))
    }

    /// Writes `<dir>/current/VERSION` in the layout of this software.
    pub(crate) fn write(&self, disk: &VolumeDisk, dir: &Path) -> ReplicaResult<()> {
        let mut properties = Properties::default();
        properties
            .set("storageID", self.storage_id.as_str())
            .set("clusterID", &*self.cluster_id)
            .set("cTime", "0")
            .set("datanodeUuid", self.datanode_uuid.as_str())
            .set("storageType", "DATA_NODE")
            .set("layoutVersion", self.layout_version.to_string());
        write_properties(disk, &dir.join(layout::CURRENT), &properties)
    }
}

impl PoolIdentity {
    /// Reads `<pool dir>/current/VERSION`; `None` when this pool was never formatted here.
    pub(crate) fn read(disk: &VolumeDisk, pool_dir: &Path, cluster_id: &str) -> ReplicaResult<Option<Self>> {
        let Some(properties) = read_properties(disk, &pool_dir.join(layout::CURRENT).join(layout::VERSION))? else {
            return Ok(None);
        };
        let get = |key: &str| require(&properties, key, pool_dir);
        layout_version(get("layoutVersion")?, pool_dir)?;
        let number = |key: &str| -> ReplicaResult<i64> {
            get(key)?
                .parse()
                .map_err(|_| incompatible(pool_dir, format!("{key} is not a number")))
        };
        Ok(Some(Self {
            pool: BlockPoolId::from(get("blockpoolID")?),
            cluster_id: cluster_id.to_owned(),
            namespace_id: number("namespaceID")? as u32,
            ctime: number("cTime")? as u64,
        }))
    }

    /// Writes `<pool dir>/current/VERSION`.
    pub(crate) fn write(&self, disk: &VolumeDisk, pool_dir: &Path) -> ReplicaResult<()> {
        let mut properties = Properties::default();
        properties
            .set("namespaceID", (self.namespace_id as i32).to_string())
            .set("cTime", self.ctime.to_string())
            .set("blockpoolID", self.pool.as_str())
            .set("layoutVersion", layout::LAYOUT_VERSION.to_string());
        write_properties(disk, &pool_dir.join(layout::CURRENT), &properties)
    }

    /// Checks what a pool directory says (`self`) against what the NameNode says.
    pub fn check(&self, namenode: &Self, dir: &Path) -> ReplicaResult<()> {
        let problem = if self.pool != namenode.pool {
            format!("block pool {} is not the NameNode's {}", self.pool, namenode.pool)
        } else if self.namespace_id != namenode.namespace_id {
            format!(
                "namespaceID {} is not the NameNode's {}",
                self.namespace_id, namenode.namespace_id
            )
        } else if self.ctime > namenode.ctime {
            format!("cTime {} is newer than the NameNode's {}", self.ctime, namenode.ctime)
        } else if self.ctime < namenode.ctime {
            format!(
                "cTime {} is older than the NameNode's {}: upgrades are not supported",
                self.ctime, namenode.ctime
            )
        } else {
            return Ok(());
        };
        Err(incompatible(dir, problem))
    }
}

/// Shorthand for [`ReplicaError::Incompatible`].
pub(crate) fn incompatible(dir: &Path, problem: impl Into<String>) -> ReplicaError {
    ReplicaError::Incompatible {
        dir: dir.to_owned(),
        problem: problem.into(),
    }
}

fn require<'a>(properties: &'a Properties, key: &str, dir: &Path) -> ReplicaResult<&'a str> {
    properties
        .get(key)
        .filter(|value| !value.is_empty())
        .ok_or_else(|| incompatible(dir, format!("VERSION lacks {key}")))
}

fn layout_version(text: &str, dir: &Path) -> ReplicaResult<i32> {
    let version: i32 = text
        .parse()
        .map_err(|_| incompatible(dir, "layoutVersion is not a number"))?;
    if (layout::LAYOUT_VERSION..=layout::OLDEST_LAYOUT_VERSION).contains(&version) {
        return Ok(version);
    }
    Err(incompatible(
        dir,
        format!(
            "layoutVersion {version} is not between {} and {}",
            layout::OLDEST_LAYOUT_VERSION,
            layout::LAYOUT_VERSION
        ),
    ))
}

fn read_properties(disk: &VolumeDisk, file: &Path) -> ReplicaResult<Option<Properties>> {
    let opened = match disk.open(file, Open::READ) {
        Ok(opened) => opened,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ReplicaError::io("read", file)(error)),
    };
    let len = opened.len().map_err(ReplicaError::io("read", file))?;
    if len > MAX_VERSION_FILE_BYTES {
        return Err(incompatible(file, "VERSION file is too long"));
    }
    let mut text = vec![0; len as usize];
    opened
        .read_exact_at(&mut text, 0)
        .map_err(ReplicaError::io("read", file))?;
    Ok(Some(Properties::parse(&String::from_utf8_lossy(&text))))
}

fn write_properties(disk: &VolumeDisk, dir: &Path, properties: &Properties) -> ReplicaResult<()> {
    let target = dir.join(layout::VERSION);
    let fresh = dir.join("VERSION.new");
    disk.open(&fresh, Open::TRUNCATE)
        .and_then(|file| {
            file.write_all_at(properties.render().as_bytes(), 0)?;
            file.sync_data()
        })
        .map_err(ReplicaError::io("write", &fresh))?;
    disk.rename(&fresh, &target)
        .map_err(ReplicaError::io("rename", &fresh))?;
    disk.sync_dir(dir).map_err(ReplicaError::io("sync", dir))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trouble::Trouble;
    use hadron_env::disk::RealDisk;
    use std::fs;
    use std::sync::Arc;

    fn disk() -> VolumeDisk {
        let (orders, _) = std::sync::mpsc::channel();
        VolumeDisk::new(Arc::new(RealDisk), Arc::new(Trouble::new(0, orders)))
    }

    fn identity() -> StorageIdentity {
        StorageIdentity {
            storage_id: "DS-1".into(),
            cluster_id: "CID-2".into(),
            datanode_uuid: "u".into(),
            layout_version: layout::LAYOUT_VERSION,
        }
    }

    #[test]
    fn version_files_round_trip() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(StorageIdentity::read(&disk(), dir.path()).unwrap(), None);
        fs::create_dir(dir.path().join(layout::CURRENT)).unwrap();
        identity().write(&disk(), dir.path()).unwrap();
        assert_eq!(StorageIdentity::read(&disk(), dir.path()).unwrap(), Some(identity()));
        let pool = PoolIdentity {
            pool: "BP-1-127.0.0.1-1".into(),
            cluster_id: "CID-2".into(),
            namespace_id: 0xf000_0001,
            ctime: 0,
        };
        pool.write(&disk(), dir.path()).unwrap();
        assert_eq!(PoolIdentity::read(&disk(), dir.path(), "CID-2").unwrap(), Some(pool));
    }

    #[test]
    fn other_layouts_and_owners_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(layout::CURRENT)).unwrap();
        for (version, accepted) in [(-55, false), (-56, true), (-57, true), (-58, false)] {
            StorageIdentity {
                layout_version: version,
                ..identity()
            }
            .write(&disk(), dir.path())
            .unwrap();
            assert_eq!(
                StorageIdentity::read(&disk(), dir.path()).is_ok(),
                accepted,
                "{version}"
            );
        }
        let ours = PoolIdentity {
            pool: "BP-1-1-1".into(),
            cluster_id: "c".into(),
            namespace_id: 1,
            ctime: 5,
        };
        for (theirs, fits) in [
            (ours.clone(), true),
            (
                PoolIdentity {
                    ctime: 4,
                    ..ours.clone()
                },
                false,
            ),
            (
                PoolIdentity {
                    ctime: 6,
                    ..ours.clone()
                },
                false,
            ),
            (
                PoolIdentity {
                    namespace_id: 2,
                    ..ours.clone()
                },
                false,
            ),
            (
                PoolIdentity {
                    pool: "BP-2-1-1".into(),
                    ..ours.clone()
                },
                false,
            ),
        ] {
            assert_eq!(ours.check(&theirs, dir.path()).is_ok(), fits, "{theirs:?}");
        }
    }
}
