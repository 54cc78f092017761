//! getListing with owned answers, for those who keep them; the RPC goes through [`ListingPage`](super::ListingPage).

use crate::command::Caller;
use crate::namespace::Namespace;
use crate::status::{Listing, ListingEntry, ListingLimits};
use hadron_types::HadoopResult;

impl Namespace {
    /// As [`Namespace::listing_page`], with the entries copied.
    pub fn listing(
        &self,
        caller: &Caller,
        path: &str,
        start_after: &str,
        with_blocks: bool,
        limits: ListingLimits,
    ) -> HadoopResult<Option<Listing>> {
        let Some(mut page) = self.listing_page(caller, path, start_after, with_blocks, limits)? else {
            return Ok(None);
        };
        let mut entries = Vec::with_capacity(page.entries_left());
        for (view, blocks) in &mut page {
            let status = view.to_status(self);
            entries.push(ListingEntry { status, blocks });
        }
        let remaining = page.remaining();
        Ok(Some(Listing { entries, remaining }))
    }
}
