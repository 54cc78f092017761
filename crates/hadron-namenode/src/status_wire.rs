//! Statuses and listings as bytes, straight from the namespace's records into one buffer.
//!
//! What it is for: getFileInfo and getListing. A message built field by field costs an allocation for each text of each
//! entry; here every length is computed and every byte written once.
//! What it does not do: locations, which come as encoded messages from their owner.
//! Invariant: the bytes are those that prost makes of `convert::file_status` and the messages around it (tested).
//! Source: `hdfs.proto` (HdfsFileStatusProto, DirectoryListingProto), `ClientNamenodeProtocol.proto`.

use crate::convert::{wire_flags, wire_permission};
use bytes::Bytes;
use hadron_namespace::StatusView;
use hadron_proto::hdfs::LocatedBlocksProto;
use hadron_proto::hdfs::hdfs_file_status_proto::FileType;
use prost::Message;
use prost::encoding::{encode_varint, encoded_len_varint};

/// Room in front of a nested message for its tag and length.
const MAX_PREFIX_LEN: usize = 1 + 10;
/// What an entry takes besides its name, about: the first guess of a listing's size.
const TYPICAL_ENTRY_LEN: usize = 72;

/// Tag bytes: field number and wire type, as they stand in front of a field.
mod tag {
    const fn varint(field: u8) -> u8 {
        field << 3
    }
    const fn message(field: u8) -> u8 {
        field << 3 | 2
    }
    pub(super) const FILE_TYPE: u8 = varint(1);
    pub(super) const PATH: u8 = message(2);
    pub(super) const LENGTH: u8 = varint(3);
    pub(super) const PERMISSION: u8 = message(4);
    pub(super) const OWNER: u8 = message(5);
    pub(super) const GROUP: u8 = message(6);
    pub(super) const MODIFICATION_TIME: u8 = varint(7);
    pub(super) const ACCESS_TIME: u8 = varint(8);
    pub(super) const BLOCK_REPLICATION: u8 = varint(10);
    pub(super) const BLOCKSIZE: u8 = varint(11);
    pub(super) const LOCATIONS: u8 = message(12);
    pub(super) const FILE_ID: u8 = varint(13);
    pub(super) const CHILDREN_NUM: u8 = varint(14);
    /// Fields from 16 on have tags of two bytes.
    pub(super) const STORAGE_POLICY: [u8; 2] = [0x80, 1];
    pub(super) const FLAGS: [u8; 2] = [0x90, 1];
    /// `FsPermissionProto.perm`.
    pub(super) const PERM: u8 = varint(1);
    /// `GetFileInfoResponseProto.fs`, `GetListingResponseProto.dirList`: the one field of an answer.
    pub(super) const ANSWER: u8 = message(1);
    /// `DirectoryListingProto.partialListing`.
    pub(super) const PARTIAL_LISTING: u8 = message(1);
    /// `DirectoryListingProto.remainingEntries`.
    pub(super) const REMAINING_ENTRIES: u8 = varint(2);
}

/// Tags of one byte in a status without locations, and the two of two bytes.
const TAGS_LEN: usize = 12 + 2 * 2;

/// The answer of a call whose one field is an optional status: getFileInfo and getFileLinkInfo.
pub(crate) fn file_info_answer(status: Option<&StatusView<'_>>) -> Bytes {
    let Some(status) = status else { return Bytes::new() };
    let len = status_len(status, None);
    let mut bytes = Vec::with_capacity(1 + encoded_len_varint(len as u64) + len);
    bytes.push(tag::ANSWER);
    put_varint(&mut bytes, len as u64);
    put_status(&mut bytes, status, None);
    Bytes::from(bytes)
}

/// The answer to getListing, entry by entry.
pub(crate) struct ListingAnswer {
    /// [`MAX_PREFIX_LEN`] bytes for the prefix, which is known last, then the listing.
    bytes: Vec<u8>,
}

impl ListingAnswer {
    /// An answer for about `entries` entries.
    pub(crate) fn for_entries(entries: usize) -> Self {
        let mut bytes = Vec::with_capacity(MAX_PREFIX_LEN + entries * TYPICAL_ENTRY_LEN + 8);
        bytes.resize(MAX_PREFIX_LEN, 0);
        Self { bytes }
    }

    /// Adds an entry.
    pub(crate) fn push(&mut self, status: &StatusView<'_>, locations: Option<&LocatedBlocksProto>) {
        let len = status_len(status, locations);
        self.bytes.push(tag::PARTIAL_LISTING);
        put_varint(&mut self.bytes, len as u64);
        put_status(&mut self.bytes, status, locations);
    }

    /// Closes the listing; `remaining`: entries that are left for further pages.
    pub(crate) fn finish(self, remaining: u32) -> Bytes {
        let mut bytes = self.bytes;
        bytes.push(tag::REMAINING_ENTRIES);
        put_varint(&mut bytes, u64::from(remaining));
        let len = (bytes.len() - MAX_PREFIX_LEN) as u64;
        let start = MAX_PREFIX_LEN - 1 - encoded_len_varint(len);
        bytes[start] = tag::ANSWER;
        encode_varint(len, &mut &mut bytes[start + 1..MAX_PREFIX_LEN]);
        Bytes::from(bytes).slice(start..)
    }
}

/// Numbers of a status as they travel.
struct Numbers {
    kind: u64,
    perm: u64,
    children: u64,
    flags: u64,
}

impl Numbers {
    fn of(status: &StatusView<'_>) -> Self {
        let kind = if status.is_directory {
            FileType::IsDir
        } else {
            FileType::IsFile
        };
        Self {
            kind: kind as u64,
            perm: u64::from(wire_permission(status.permission, status.has_acl).perm),
            // An int32 on the wire.
            children: u64::from(status.children.min(i32::MAX as u32)),
            flags: u64::from(wire_flags(status.has_acl)),
        }
    }
}

/// Bytes of a status without tag and length.
fn status_len(status: &StatusView<'_>, locations: Option<&LocatedBlocksProto>) -> usize {
    let Numbers {
        kind,
        perm,
        children,
        flags,
    } = Numbers::of(status);
    let varints = [
        kind,
        status.len,
        status.mtime.0,
        status.atime.0,
        u64::from(status.replication),
        status.block_size,
        status.id.0,
        children,
        u64::from(status.storage_policy),
        flags,
    ];
    let numbers: usize = varints.into_iter().map(encoded_len_varint).sum();
    let texts = text_len(status.name) + text_len(status.owner) + text_len(status.group);
    let permission = 1 + 1 + encoded_len_varint(perm);
    let locations = locations.map_or(0, |locations| {
        let len = locations.encoded_len();
        1 + encoded_len_varint(len as u64) + len
    });
    TAGS_LEN + numbers + texts + permission + locations
}

fn put_status(out: &mut Vec<u8>, status: &StatusView<'_>, locations: Option<&LocatedBlocksProto>) {
    let Numbers {
        kind,
        perm,
        children,
        flags,
    } = Numbers::of(status);
    put_number(out, tag::FILE_TYPE, kind);
    put_text(out, tag::PATH, status.name);
    put_number(out, tag::LENGTH, status.len);
    out.push(tag::PERMISSION);
    put_varint(out, 1 + encoded_len_varint(perm) as u64);
    put_number(out, tag::PERM, perm);
    put_text(out, tag::OWNER, status.owner);
    put_text(out, tag::GROUP, status.group);
    put_number(out, tag::MODIFICATION_TIME, status.mtime.0);
    put_number(out, tag::ACCESS_TIME, status.atime.0);
    put_number(out, tag::BLOCK_REPLICATION, u64::from(status.replication));
    put_number(out, tag::BLOCKSIZE, status.block_size);
    if let Some(locations) = locations {
        out.push(tag::LOCATIONS);
        put_varint(out, locations.encoded_len() as u64);
        locations.encode_raw(out);
    }
    put_number(out, tag::FILE_ID, status.id.0);
    put_number(out, tag::CHILDREN_NUM, children);
    out.extend_from_slice(&tag::STORAGE_POLICY);
    put_varint(out, u64::from(status.storage_policy));
    out.extend_from_slice(&tag::FLAGS);
    put_varint(out, flags);
}

/// Length and bytes of a text, without its tag.
fn text_len(text: &str) -> usize {
    encoded_len_varint(text.len() as u64) + text.len()
}

fn put_text(out: &mut Vec<u8>, tag: u8, text: &str) {
    out.push(tag);
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn put_number(out: &mut Vec<u8>, tag: u8, number: u64) {
    out.push(tag);
    put_varint(out, number);
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert;
    use hadron_namespace::command::{
        AclEntryRecord, Mkdirs, ModifyAclEntries, SetOwner, SetPermission, SetReplication, SetTimes, create_flag,
    };
    use hadron_namespace::{Caller, Command, Identity, ListingLimits, Namespace, Op, RULES_VERSION, command};
    use hadron_proto::hdfs::{
        DirectoryListingProto, GetFileInfoResponseProto, GetListingResponseProto, HdfsFileStatusProto,
    };
    use hadron_types::{BlockPoolId, TimeMs};
    use proptest::prelude::*;

    /// A child of the directory that is listed.
    #[derive(Clone, Debug)]
    struct Child {
        name: String,
        owner: String,
        mode: u32,
        mtime: u64,
        block_size: u64,
        replication: i32,
        is_directory: bool,
        has_acl: bool,
    }

    fn child() -> impl Strategy<Value = Child> {
        (
            ("[a-zä€]{1,40}", "[a-z@.]{0,140}", any::<u32>()),
            (any::<u64>(), 1u64..1 << 48, 1..512i32, any::<bool>(), any::<bool>()),
        )
            .prop_map(
                |((name, owner, mode), (mtime, block_size, replication, is_directory, has_acl))| Child {
                    name,
                    owner,
                    mode,
                    mtime,
                    block_size,
                    replication,
                    is_directory,
                    has_acl,
                },
            )
    }

    struct World(Namespace);

    impl World {
        fn new() -> Self {
            let identity = Identity {
                namespace_id: 1,
                cluster_id: "CID".to_owned(),
                block_pool: BlockPoolId::from("BP"),
                created: TimeMs(1),
            };
            Self(Namespace::new(identity, "root", "supergroup", TimeMs(1)))
        }

        fn run(&mut self, op: impl Into<Op>) {
            let limits = hadron_namespace::Limits {
                min_block_size: Some(1),
                ..Default::default()
            };
            let command = Command::new(Caller::superuser("root"), TimeMs(7), op).with_limits(limits);
            self.0.apply(&command, RULES_VERSION).outcome.expect("applies");
        }

        fn add(&mut self, child: &Child) {
            let path = format!("/d/{}", child.name);
            if child.is_directory {
                self.run(Mkdirs {
                    path: format!("{path}/below"),
                    create_parent: true,
                    ..Default::default()
                });
            } else {
                self.run(command::Create {
                    path: path.clone(),
                    holder: "h".to_owned(),
                    flags: create_flag::CREATE | create_flag::OVERWRITE,
                    create_parent: true,
                    replication: 1,
                    block_size: child.block_size,
                    ..Default::default()
                });
                self.run(SetReplication {
                    path: path.clone(),
                    replication: child.replication,
                });
            }
            self.run(SetPermission {
                path: path.clone(),
                permission: child.mode,
            });
            self.run(SetOwner {
                path: path.clone(),
                user: Some(child.owner.clone()),
                group: Some(child.owner.clone()),
            });
            if child.has_acl {
                self.run(ModifyAclEntries {
                    path: path.clone(),
                    entries: vec![AclEntryRecord {
                        name: "ann".to_owned(),
                        ..Default::default()
                    }],
                });
            }
            self.run(SetTimes {
                path,
                mtime_ms: Some(child.mtime),
                atime_ms: Some(child.mtime / 2),
            });
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn bytes_are_those_of_the_generated_messages(
            children in proptest::collection::vec(child(), 0..12),
            limit in 1usize..8,
            file_len in any::<u64>(),
            located in any::<bool>(),
        ) {
            let mut world = World::new();
            world.run(Mkdirs { path: "/d".to_owned(), create_parent: true, ..Default::default() });
            let mut names = std::collections::HashSet::new();
            for child in children.iter().filter(|child| names.insert(child.name.clone())) {
                world.add(child);
            }
            let root = Caller::superuser("root");
            let ns = &world.0;
            let limits = ListingLimits { entries: limit, locations: 1000 };
            let locations = located.then(|| LocatedBlocksProto { file_length: file_len, ..Default::default() });

            let listing = ns.listing(&root, "/d", "", false, limits).expect("listed").expect("exists");
            let proto = |status| HdfsFileStatusProto { locations: locations.clone(), ..convert::file_status(status) };
            let expected = GetListingResponseProto {
                dir_list: Some(DirectoryListingProto {
                    partial_listing: listing.entries.iter().map(|entry| proto(entry.status.clone())).collect(),
                    remaining_entries: listing.remaining,
                }),
            };
            let mut page = ns.listing_page(&root, "/d", "", false, limits).expect("listed").expect("exists");
            let mut answer = ListingAnswer::for_entries(page.entries_left());
            for (status, _) in &mut page {
                answer.push(&status, locations.as_ref());
            }
            prop_assert_eq!(answer.finish(page.remaining()), expected.encode_to_vec());

            for entry in listing.entries {
                let path = format!("/d/{}", entry.status.name);
                let status = ns.file_info(&root, &path).expect("found").expect("exists");
                let expected = GetFileInfoResponseProto { fs: Some(convert::file_status(status)) };
                let view = ns.file_view(&root, &path).expect("found");
                prop_assert_eq!(file_info_answer(view.as_ref()), expected.encode_to_vec());
            }
            prop_assert_eq!(file_info_answer(None), GetFileInfoResponseProto { fs: None }.encode_to_vec());
        }
    }
}
