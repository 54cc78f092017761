//! getListing: directories in pages, with locations when asked.

use super::Call;
use super::call::Audit;
use crate::convert;
use bytes::Bytes;
use hadron_namespace::ListingLimits;
use hadron_net::Reply;
use hadron_proto::hdfs::{DirectoryListingProto, GetListingRequestProto, GetListingResponseProto, HdfsFileStatusProto};

/// A page with locations ends when it has so many replicas (Hadoop's `dfs.ls.limit` counts both).
const MIN_LOCATIONS: usize = 1;

/// getListing; a missing path gives an empty response.
pub(super) fn get_listing(call: &Call, body: Bytes) -> Reply {
    call.read(body, |call, request: &GetListingRequestProto, ns| {
        let limit = call.shared.settings.listing_limit;
        let limits = ListingLimits {
            entries: limit,
            locations: limit.max(MIN_LOCATIONS),
        };
        let start_after = String::from_utf8_lossy(&request.start_after);
        let listing = ns.listing(&call.caller, &request.src, &start_after, request.need_location, limits);
        if crate::audit::AuditEvent::enabled() {
            call.audit_outcome(&Audit::of("listStatus", &request.src), &listing);
        }
        let Some(listing) = listing? else {
            return Ok(GetListingResponseProto { dir_list: None });
        };
        let mut blocks = request.need_location.then(|| call.shared.state.blocks.lock());
        let entries = listing.entries.into_iter().map(|entry| {
            let files = blocks.as_deref_mut().zip(entry.blocks);
            let locations = files.map(|(blocks, file)| call.locate_file(ns, blocks, &file));
            HdfsFileStatusProto {
                locations,
                ..convert::file_status(entry.status)
            }
        });
        let dir_list = DirectoryListingProto {
            partial_listing: entries.collect(),
            remaining_entries: listing.remaining,
        };
        Ok(GetListingResponseProto {
            dir_list: Some(dir_list),
        })
    })
}
