//! Reading the namespace. Queries take `&self`, cost O(path depth) or are cut into slices, and check the caller's
//! access themselves, as Hadoop's NameNode does.

mod cache;
mod files;
mod listing;
mod summary;
mod tables;
mod view;
mod watch;

pub use cache::{CACHED_FILE_SLICE, CachedFiles};
pub use summary::{CONTENT_SUMMARY_SLICE, ContentSummary, SummaryCursor};
pub use view::{ListingPage, StatusView};
