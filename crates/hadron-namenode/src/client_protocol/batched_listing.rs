//! getBatchedListing: several directories in one call, a page of them at a time.
//!
//! A page ends when it has `dfs.ls.limit` entries. The key with which the next call goes on names the path and the last
//! entry; a checksum binds it to the paths of the request. A path that cannot be listed has its exception in its place.
//! Source: Hadoop `FSNamesystem.getBatchedListing`.

use super::Call;
use super::call::Audit;
use crate::convert;
use bytes::Bytes;
use hadron_namespace::{ListingLimits, Namespace};
use hadron_net::Reply;
use hadron_proto::decode_checked;
use hadron_proto::hdfs::{
    BatchedDirectoryListingProto, BatchedListingKeyProto, GetBatchedListingRequestProto,
    GetBatchedListingResponseProto, HdfsFileStatusProto, RemoteExceptionProto,
};
use hadron_types::{ErrorKind, HadoopError, HadoopResult};
use prost::Message;

/// getBatchedListing.
pub(super) fn get_batched_listing(call: &Call, body: Bytes) -> Reply {
    call.read(body, |call, request: &GetBatchedListingRequestProto, ns| {
        let (count, limit) = (request.paths.len(), call.shared.settings.batched_listing_limit);
        if count > limit {
            let message = format!("Too many source paths ({count} > {limit})");
            return Err(HadoopError::new(ErrorKind::IllegalArgument, message));
        }
        let checksum = checksum_of(&request.paths);
        let (first, start_after) = starting_place(request, checksum)?;
        Batch::new(call, ns, request).list(first, start_after, checksum)
    })
}

/// Where the key of a request tells to go on: index of a path, and the name after which.
fn starting_place(request: &GetBatchedListingRequestProto, checksum: [u8; 8]) -> HadoopResult<(usize, Bytes)> {
    if request.start_after.is_empty() {
        return Ok((0, Bytes::new()));
    }
    let key: BatchedListingKeyProto = decode_checked(request.start_after.clone())
        .map_err(|error| HadoopError::new(ErrorKind::InvalidProtocolBuffer, error.to_string()))?;
    if key.checksum != checksum[..] {
        let message = "the key of a batched listing belongs to other paths";
        return Err(HadoopError::new(ErrorKind::IllegalArgument, message));
    }
    let index = key.path_index as usize;
    // An empty name: that path was a file, or failed, and is done with.
    let first = if key.start_after.is_empty() { index + 1 } else { index };
    Ok((first, key.start_after))
}

/// FNV-1a over the paths and their lengths: opaque to clients, the same for the same paths.
fn checksum_of(paths: &[String]) -> [u8; 8] {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x100_0000_01b3;
    let bytes = paths
        .iter()
        .flat_map(|path| (path.len() as u64).to_le_bytes().into_iter().chain(path.bytes()));
    let sum = bytes.fold(OFFSET, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(PRIME));
    sum.to_be_bytes()
}

/// How far the last path of a page got.
struct Progress {
    last_name: Bytes,
    has_more: bool,
}

struct Batch<'a> {
    call: &'a Call,
    ns: &'a Namespace,
    request: &'a GetBatchedListingRequestProto,
}

impl<'a> Batch<'a> {
    fn new(call: &'a Call, ns: &'a Namespace, request: &'a GetBatchedListingRequestProto) -> Self {
        Self { call, ns, request }
    }

    fn list(
        &self,
        first: usize,
        mut start_after: Bytes,
        checksum: [u8; 8],
    ) -> HadoopResult<GetBatchedListingResponseProto> {
        let paths = &self.request.paths;
        let mut answer = GetBatchedListingResponseProto::default();
        let mut entries = 0;
        for (index, path) in paths.iter().enumerate().skip(first) {
            let listed = self.list_one(path, &std::mem::take(&mut start_after));
            let mut listing = BatchedDirectoryListingProto {
                parent_idx: index as u32,
                ..BatchedDirectoryListingProto::default()
            };
            let progress = match listed {
                Ok((statuses, progress)) => {
                    entries += statuses.len();
                    listing.partial_listing = statuses;
                    Some(progress)
                }
                Err(error) => {
                    listing.exception = Some(RemoteExceptionProto {
                        class_name: error.kind.class().to_owned(),
                        message: Some(error.message),
                    });
                    None
                }
            };
            answer.listings.push(listing);
            if entries < self.call.shared.settings.listing_limit {
                continue;
            }
            let is_done = index + 1 == paths.len() && progress.as_ref().is_some_and(|progress| !progress.has_more);
            if !is_done {
                let key = BatchedListingKeyProto {
                    checksum: Bytes::copy_from_slice(&checksum),
                    path_index: index as u32,
                    start_after: progress.map(|progress| progress.last_name).unwrap_or_default(),
                };
                answer.has_more = true;
                answer.start_after = key.encode_to_vec().into();
            }
            break;
        }
        Ok(answer)
    }

    fn list_one(&self, path: &str, start_after: &[u8]) -> HadoopResult<(Vec<HdfsFileStatusProto>, Progress)> {
        let Self { call, ns, request } = self;
        let limit = call.shared.settings.listing_limit;
        let limits = ListingLimits {
            entries: limit,
            locations: limit,
        };
        let start_after = String::from_utf8_lossy(start_after);
        let listing = ns.listing(&call.caller, path, &start_after, request.need_location, limits);
        if call.is_audited() {
            call.audit_outcome(&Audit::of("listStatus", path), &listing);
        }
        let missing = || HadoopError::new(ErrorKind::FileNotFound, format!("Path {path} does not exist"));
        let listing = listing?.ok_or_else(missing)?;
        let mut blocks = request.need_location.then(|| call.shared.state.blocks.lock());
        let statuses = listing.entries.into_iter().map(|entry| {
            let files = blocks.as_deref_mut().zip(entry.blocks);
            let locations = files.map(|(blocks, file)| call.locate_file(ns, blocks, &file));
            HdfsFileStatusProto {
                locations,
                ..convert::file_status(entry.status)
            }
        });
        let statuses: Vec<_> = statuses.collect();
        let progress = Progress {
            last_name: statuses.last().map(|status| status.path.clone()).unwrap_or_default(),
            has_more: listing.remaining > 0,
        };
        Ok((statuses, progress))
    }
}
