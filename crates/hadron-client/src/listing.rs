//! A directory listing, page by page.

use crate::error::{FsError, Result};
use crate::fs::Shared;
use crate::status::FileStatus;
use bytes::Bytes;
use futures::stream::{self, Stream, TryStreamExt};
use hadron_proto::hdfs as proto;
use hadron_types::FsPath;
use std::sync::Arc;

/// The children of a directory in order of their names' bytes, or the one status of a file. Pages are fetched as they
/// are asked for; a directory of any size costs one page of memory.
pub struct Listing {
    shared: Arc<Shared>,
    path: FsPath,
    start_after: Bytes,
    state: State,
}

#[derive(PartialEq, Eq)]
enum State {
    Fresh,
    More,
    Done,
}

impl Listing {
    pub(crate) fn new(shared: Arc<Shared>, path: FsPath) -> Self {
        Self {
            shared,
            path,
            start_after: Bytes::new(),
            state: State::Fresh,
        }
    }

    /// The next page; `None` at the end. A page may be empty only for an empty directory.
    ///
    /// Errors: FileNotFound when the path does not exist. A directory removed between two pages ends the listing.
    /// Cancel safe.
    pub async fn next_page(&mut self) -> Result<Option<Vec<FileStatus>>> {
        if self.state == State::Done {
            return Ok(None);
        }
        let request = proto::GetListingRequestProto {
            src: self.path.as_str().to_owned(),
            start_after: self.start_after.clone(),
            need_location: false,
        };
        let page = self.shared.namenode.get_listing(&request).await?.dir_list;
        let Some(page) = page else {
            if self.state == State::Fresh {
                return Err(FsError::not_found(self.path.as_str()));
            }
            self.state = State::Done;
            return Ok(None);
        };
        self.state = match page.partial_listing.last() {
            Some(last) if page.remaining_entries > 0 => {
                self.start_after = last.path.clone();
                State::More
            }
            _ => State::Done,
        };
        Ok(Some(
            page.partial_listing
                .iter()
                .map(|status| FileStatus::from_proto(status, &self.path))
                .collect(),
        ))
    }

    /// The entries as a stream.
    pub fn into_stream(self) -> impl Stream<Item = Result<FileStatus>> + Send {
        stream::try_unfold(self, |mut listing| async move {
            Ok::<_, FsError>(listing.next_page().await?.map(|page| (page, listing)))
        })
        .map_ok(|page| stream::iter(page.into_iter().map(Ok)))
        .try_flatten()
    }
}
