//! Reads that ask a second replica when the first one is slow, and take whichever comes first.
//!
//! As in Hadoop only reads at a given offset do so; a client has a limit of second reads at a time, and one that cannot
//! have one waits for the first as if hedging were off. No task is spawned: dropping the read drops its connections.
//!
//! Source: Hadoop `DFSInputStream.hedgedFetchBlockByteRange`, `DFSHedgedReadMetrics`.

use super::attempt::Attempt;
use super::block::{BlockRange, BlockReader, ReadFault};
use super::joined::Joined;
use super::locations::Locations;
use crate::error::Result;
use crate::fs::Shared;
use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The hedging of one client.
#[derive(Debug)]
pub(crate) struct Hedging {
    threshold: Duration,
    places: Arc<Semaphore>,
    started: AtomicU64,
    won: AtomicU64,
    without_place: AtomicU64,
}

/// How often a client's reads were hedged.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct HedgedReads {
    /// Second replicas asked because the first was slow (`hedgedReadOps`).
    pub started: u64,
    /// Of these, those that answered first (`hedgedReadOpsWin`).
    pub won: u64,
    /// Slow reads that could not have a second one because as many as allowed were under way (`hedgedReadOpsInCurThread`).
    pub without_place: u64,
}

impl Hedging {
    /// `None` when `places`, the second reads at a time, is 0.
    pub(crate) fn new(places: usize, threshold: Duration) -> Option<Self> {
        let places = places.min(Semaphore::MAX_PERMITS);
        (places > 0).then(|| Self {
            threshold,
            places: Arc::new(Semaphore::new(places)),
            started: AtomicU64::new(0),
            won: AtomicU64::new(0),
            without_place: AtomicU64::new(0),
        })
    }

    pub(crate) fn counts(&self) -> HedgedReads {
        HedgedReads {
            started: self.started.load(Ordering::Relaxed),
            won: self.won.load(Ordering::Relaxed),
            without_place: self.without_place.load(Ordering::Relaxed),
        }
    }

    /// A place for a second read, if there is one.
    fn take_place(&self) -> Option<OwnedSemaphorePermit> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok();
        let counter = if place.is_some() {
            &self.started
        } else {
            &self.without_place
        };
        counter.fetch_add(1, Ordering::Relaxed);
        place
    }
}

/// One replica being read.
struct Answer {
    asked: BlockRange,
    is_second: bool,
    result: std::result::Result<Bytes, ReadFault>,
}

/// Reads `pos..end` as far as the block at `pos` goes. Empty only when the file ends at `pos`.
pub(super) async fn read_hedged(
    locations: &Locations,
    hedging: &Hedging,
    pos: u64,
    end: u64,
    attempt: &mut Attempt,
) -> Result<Bytes> {
    let mut reads: FuturesUnordered<BoxFuture<'static, Answer>> = FuturesUnordered::new();
    loop {
        let Some(first) = locations.choose(pos, end, attempt).await? else {
            return Ok(Bytes::new());
        };
        match read_local(locations, &first).await {
            Ok(Some(bytes)) => return Ok(bytes),
            Ok(None) => {}
            Err((replica, fault)) => {
                locations.note_fault(&replica, &fault, attempt);
                continue;
            }
        }
        let mut asked = vec![first.info().id.datanode_uuid.clone()];
        let shared = locations.shared();
        reads.push(Box::pin(read_from(Arc::clone(shared), first.clone(), None)));
        let mut slow = Box::pin(tokio::time::sleep(hedging.threshold));
        let mut may_hedge = true;
        while !reads.is_empty() {
            let answer = tokio::select! {
                biased;
                Some(answer) = reads.next() => Some(answer),
                () = &mut slow, if may_hedge => None,
            };
            match answer.map(|answer| (answer.result, answer.is_second, answer.asked)) {
                Some((Ok(bytes), is_second, replica)) => {
                    locations.count_from_node(&replica, bytes.len());
                    hedging.won.fetch_add(u64::from(is_second), Ordering::Relaxed);
                    return Ok(bytes);
                }
                Some((Err(fault), _, replica)) => {
                    locations.note_fault(&replica, &fault, attempt);
                    // With nobody left to wait for, the next replica is a first one again.
                    if reads.is_empty() {
                        break;
                    }
                }
                None => may_hedge = false,
            }
            if let Some(second) = locations.choose_another(&first, &asked)
                && let Some(place) = hedging.take_place()
            {
                asked.push(second.info().id.datanode_uuid.clone());
                reads.push(Box::pin(read_from(Arc::clone(shared), second, Some(place))));
            }
        }
    }
}

/// Reads from the files of a replica on this machine, which is not slow; `None` if they cannot be had.
async fn read_local(
    locations: &Locations,
    asked: &BlockRange,
) -> std::result::Result<Option<Bytes>, (BlockRange, ReadFault)> {
    let opened = locations.open_local(asked).await;
    let Some(block) = opened.map_err(|fault| (asked.clone(), fault))? else {
        return Ok(None);
    };
    let read = block.read(asked.range.clone(), 0).await;
    let bytes = read.map_err(|fault| (block.owner(asked), fault))?;
    locations.served().add_short_circuit(bytes.len());
    Ok(Some(bytes))
}

/// Reads from one replica. `place`: held until the read ends or is dropped.
async fn read_from(shared: Arc<Shared>, asked: BlockRange, place: Option<OwnedSemaphorePermit>) -> Answer {
    Answer {
        result: read_range(shared, &asked).await,
        is_second: place.is_some(),
        asked,
    }
}

async fn read_range(shared: Arc<Shared>, asked: &BlockRange) -> std::result::Result<Bytes, ReadFault> {
    let mut reader = Box::new(BlockReader::open(shared, asked.clone()).await?);
    let mut joined = Joined::new((asked.range.end - asked.range.start) as usize);
    while let Some(bytes) = reader.next_bytes().await? {
        joined.push(bytes);
    }
    reader.finish().await;
    Ok(joined.into_bytes())
}
