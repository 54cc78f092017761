//! One edit event and its place in `EventProto`.
//!
//! What it does not do: decide which events an entry has (see [`crate::edit_events`]).
//! Source: Hadoop `inotify.proto`, `PBHelperClient.convertEditsResponse`.

use hadron_proto::hdfs::{
    AclEntryProto, AppendEventProto, CloseEventProto, CreateEventProto, EventProto, EventType, FsPermissionProto,
    INodeType, MetadataUpdateEventProto, MetadataUpdateType, RenameEventProto, TruncateEventProto, UnlinkEventProto,
    XAttrProto,
};
use hadron_types::FsPermission;
use prost::Message;
use std::sync::Arc;

/// A change that watchers are told. Times are ms since 1970.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum EditEvent {
    /// A file or directory was made.
    Create {
        is_directory: bool,
        path: String,
        time: u64,
        owner: Arc<str>,
        group: Arc<str>,
        permission: FsPermission,
        replication: i32,
        overwrite: bool,
        block_size: u64,
    },
    /// A file was closed; a size of `u64::MAX` is not known.
    Close { path: String, size: u64, time: u64 },
    /// A file was opened again.
    Append { path: String, new_block: bool },
    /// A name changed.
    Rename { source: String, target: String, time: u64 },
    /// An attribute changed.
    Metadata { path: String, what: Metadata },
    /// A name is gone.
    Unlink { path: String, time: u64 },
    /// A file was cut.
    #[allow(dead_code, reason = "produced once truncate has a command")]
    Truncate { path: String, size: u64, time: u64 },
}

/// What changed about an inode.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Metadata {
    /// Modification and access time; `None`: unchanged.
    Times(Option<u64>, Option<u64>),
    /// Wanted replicas.
    Replication(i32),
    /// User and group; `None`: unchanged.
    Owner(Option<String>, Option<String>),
    /// Mode.
    Permission(u32),
    /// The ACL as it is now; empty: removed.
    #[allow(dead_code, reason = "produced once ACLs have commands")]
    Acls(Vec<AclEntryProto>),
    /// Extended attributes, set or (`true`) removed.
    #[allow(dead_code, reason = "produced once extended attributes have commands")]
    XAttrs(Vec<XAttrProto>, bool),
}

impl EditEvent {
    /// Bytes it takes in memory, about.
    pub(crate) fn size(&self) -> usize {
        let text = match self {
            Self::Create { path, .. }
            | Self::Close { path, .. }
            | Self::Append { path, .. }
            | Self::Metadata { path, .. }
            | Self::Unlink { path, .. }
            | Self::Truncate { path, .. } => path.len(),
            Self::Rename { source, target, .. } => source.len() + target.len(),
        };
        text + size_of::<Self>() + size_of::<(u64, Vec<Self>)>()
    }

    /// The message of it.
    pub(crate) fn to_wire(&self) -> EventProto {
        let (kind, contents) = match self.clone() {
            Self::Create {
                is_directory,
                path,
                time,
                owner,
                group,
                permission,
                replication,
                overwrite,
                block_size,
            } => {
                let kind = match is_directory {
                    true => INodeType::ITypeDirectory,
                    false => INodeType::ITypeFile,
                };
                let message = CreateEventProto {
                    r#type: kind as i32,
                    path,
                    ctime: signed(time),
                    owner_name: owner.as_ref().to_owned(),
                    group_name: group.as_ref().to_owned(),
                    perms: permission.into(),
                    replication: Some(replication),
                    symlink_target: Some(String::new()),
                    overwrite: Some(overwrite),
                    default_block_size: Some(signed(block_size)),
                    erasure_coded: Some(false),
                };
                (EventType::EventCreate, message.encode_to_vec())
            }
            Self::Close { path, size, time } => {
                let file_size = if size == u64::MAX { -1 } else { signed(size) };
                let timestamp = signed(time);
                let message = CloseEventProto {
                    path,
                    file_size,
                    timestamp,
                };
                (EventType::EventClose, message.encode_to_vec())
            }
            Self::Append { path, new_block } => {
                let new_block = Some(new_block);
                let message = AppendEventProto { path, new_block };
                (EventType::EventAppend, message.encode_to_vec())
            }
            Self::Rename { source, target, time } => {
                let message = RenameEventProto {
                    src_path: source,
                    dest_path: target,
                    timestamp: signed(time),
                };
                (EventType::EventRename, message.encode_to_vec())
            }
            Self::Metadata { path, what } => (EventType::EventMetadata, what.into_wire(path).encode_to_vec()),
            Self::Unlink { path, time } => {
                let timestamp = signed(time);
                let message = UnlinkEventProto { path, timestamp };
                (EventType::EventUnlink, message.encode_to_vec())
            }
            Self::Truncate { path, size, time } => {
                let (file_size, timestamp) = (signed(size), signed(time));
                let message = TruncateEventProto {
                    path,
                    file_size,
                    timestamp,
                };
                (EventType::EventTruncate, message.encode_to_vec())
            }
        };
        EventProto {
            r#type: kind as i32,
            contents: contents.into(),
        }
    }
}

impl Metadata {
    fn into_wire(self, path: String) -> MetadataUpdateEventProto {
        let of = |kind: MetadataUpdateType| MetadataUpdateEventProto {
            path,
            r#type: kind as i32,
            ..MetadataUpdateEventProto::default()
        };
        match self {
            // Hadoop writes -1 for a time that stays.
            Self::Times(mtime, atime) => MetadataUpdateEventProto {
                mtime: Some(mtime.map_or(-1, signed)),
                atime: Some(atime.map_or(-1, signed)),
                ..of(MetadataUpdateType::MetaTypeTimes)
            },
            Self::Replication(replication) => MetadataUpdateEventProto {
                replication: Some(replication),
                ..of(MetadataUpdateType::MetaTypeReplication)
            },
            Self::Owner(user, group) => MetadataUpdateEventProto {
                owner_name: Some(user.unwrap_or_default()),
                group_name: Some(group.unwrap_or_default()),
                ..of(MetadataUpdateType::MetaTypeOwner)
            },
            Self::Permission(mode) => MetadataUpdateEventProto {
                perms: Some(FsPermissionProto { perm: mode }),
                ..of(MetadataUpdateType::MetaTypePerms)
            },
            Self::Acls(acls) => MetadataUpdateEventProto {
                acls,
                ..of(MetadataUpdateType::MetaTypeAcls)
            },
            Self::XAttrs(x_attrs, removed) => MetadataUpdateEventProto {
                x_attrs,
                x_attrs_removed: Some(removed),
                ..of(MetadataUpdateType::MetaTypeXattrs)
            },
        }
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
