//! Which file system a name dir belongs to: the file `current/VERSION`.
//!
//! What it is for: made once by formatting, read at every start, compared between dirs. What it does not do: hold
//! anything that changes. Invariant: the properties have Hadoop's names; `storageType` is not Hadoop's, so that a Java
//! NameNode refuses the dir instead of misreading it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use hadron_env::Random;
use hadron_types::{BlockPoolId, TimeMs};

/// Version of the layout of name dirs described in `docs/formats/journal.md`.
pub(crate) const FORMAT_VERSION: u32 = 1;
const STORAGE_TYPE: &str = "HADRON_NAME_NODE";
/// A longer VERSION file is no VERSION file.
pub(crate) const MAX_VERSION_FILE_BYTES: u64 = 64 << 10;

/// Which file system this is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Hadoop's 31-bit namespace id.
    pub namespace_id: u32,
    /// `CID-…`.
    pub cluster_id: String,
    /// `BP-…`.
    pub block_pool: BlockPoolId,
    /// When the file system was formatted: the time in the pool's name.
    pub created: TimeMs,
}

impl Identity {
    /// Invents an identity. `host` is the NameNode's address, as it appears in the block pool's name;
    /// `cluster_id` is used when given (`-clusterId`).
    pub fn generate(random: &dyn Random, now: TimeMs, host: &str, cluster_id: Option<&str>) -> Self {
        let cluster_id = match cluster_id {
            Some(id) => id.to_owned(),
            None => {
                let mut bytes = [0_u8; 16];
                random.fill(&mut bytes);
                bytes[6] = bytes[6] & 0x0f | 0x40;
                bytes[8] = bytes[8] & 0x3f | 0x80;
                let mut id = String::from("CID-");
                for (position, byte) in bytes.iter().enumerate() {
                    if matches!(position, 4 | 6 | 8 | 10) {
                        id.push('-');
                    }
                    let _ = write!(id, "{byte:02x}");
                }
                id
            }
        };
        let pool = format!("BP-{}-{host}-{}", random.below(1 << 31), now.0);
        Self {
            namespace_id: u32::try_from(random.below(0x7fff_fffe) + 1).unwrap_or(1),
            cluster_id,
            block_pool: pool.into(),
            created: now,
        }
    }

    pub(crate) fn to_text(&self) -> String {
        format!(
            "#Hadron name dir, see docs/formats/journal.md\nnamespaceID={}\nclusterID={}\nblockpoolID={}\ncTime=0\n\
             created={}\nstorageType={STORAGE_TYPE}\nformatVersion={FORMAT_VERSION}\n",
            self.namespace_id, self.cluster_id, self.block_pool, self.created.0
        )
    }

    /// Reads the text; an error says which property is wrong.
    pub(crate) fn from_text(text: &str) -> Result<Self, String> {
        let lines = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        let properties: BTreeMap<&str, &str> = lines.filter_map(|line| line.split_once('=')).collect();
        let text_of = |name: &str| {
            properties
                .get(name)
                .copied()
                .ok_or_else(|| format!("{name} is missing"))
        };
        let number = |name: &str| {
            text_of(name)?
                .parse::<u64>()
                .map_err(|_| format!("{name} is not a number"))
        };
        let storage_type = text_of("storageType")?;
        if storage_type != STORAGE_TYPE {
            return Err(format!(
                "storageType is {storage_type}, not {STORAGE_TYPE}: this is another program's directory"
            ));
        }
        let version = number("formatVersion")?;
        if version != u64::from(FORMAT_VERSION) {
            return Err(format!(
                "formatVersion is {version}, this program knows {FORMAT_VERSION}: use a newer one"
            ));
        }
        Ok(Self {
            namespace_id: u32::try_from(number("namespaceID")?).map_err(|_| "namespaceID is too large".to_owned())?,
            cluster_id: text_of("clusterID")?.to_owned(),
            block_pool: text_of("blockpoolID")?.into(),
            created: TimeMs(number("created")?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hadron_env::SeededRandom;

    #[test]
    fn text_round_trips_and_strangers_are_refused() {
        let identity = Identity::generate(&SeededRandom::new(1), TimeMs(1234), "127.0.0.1", None);
        let text = identity.to_text();
        assert_eq!(Identity::from_text(&text), Ok(identity.clone()));
        assert_eq!(identity.cluster_id.len(), 40);
        let apache = text.replace("HADRON_NAME_NODE", "NAME_NODE");
        assert!(Identity::from_text(&apache).unwrap_err().contains("another program"));
        assert!(
            Identity::from_text(&text.replace("formatVersion=1", "formatVersion=2"))
                .unwrap_err()
                .contains("newer")
        );
        assert!(Identity::from_text("").unwrap_err().contains("missing"));
        let named = Identity::generate(&SeededRandom::new(1), TimeMs(1), "h", Some("CID-x"));
        assert_eq!(named.cluster_id, "CID-x");
    }
}
