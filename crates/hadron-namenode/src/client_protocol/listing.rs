//! getListing: directories in pages, with locations when asked.

use super::Call;
use super::call::Audit;
use crate::status_wire::ListingAnswer;
use bytes::Bytes;
use hadron_namespace::{ListingLimits, Namespace};
use hadron_net::Reply;
use hadron_proto::hdfs::GetListingRequestProto;
use hadron_types::HadoopResult;

/// getListing; a missing path gives an empty response.
pub(super) fn get_listing(call: &Call, body: Bytes) -> Reply {
    call.read_bytes(body, |call, request: &GetListingRequestProto, ns| {
        let listed = call.list(ns, request);
        if call.is_audited() {
            call.audit_outcome(&Audit::of("listStatus", &request.src), &listed);
        }
        listed
    })
}

impl Call {
    fn list(&self, ns: &Namespace, request: &GetListingRequestProto) -> HadoopResult<Bytes> {
        let limit = self.shared.settings.listing_limit;
        // Hadoop's `dfs.ls.limit` bounds both.
        let limits = ListingLimits {
            entries: limit,
            locations: limit,
        };
        let start_after = String::from_utf8_lossy(&request.start_after);
        let page = ns.listing_page(&self.caller, &request.src, &start_after, request.need_location, limits)?;
        let Some(mut page) = page else { return Ok(Bytes::new()) };
        let mut answer = ListingAnswer::for_entries(page.entries_left());
        let mut blocks = request.need_location.then(|| self.shared.state.blocks.lock());
        for (status, file) in &mut page {
            let locations = blocks
                .as_deref_mut()
                .zip(file)
                .map(|(blocks, file)| self.locate_file(ns, blocks, &file));
            answer.push(&status, locations.as_ref());
        }
        Ok(answer.finish(page.remaining()))
    }
}
