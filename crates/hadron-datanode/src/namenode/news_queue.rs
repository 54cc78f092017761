//! What an incremental block report will say: one latest state per block.
//!
//! Pure. A DataNode has one replica of a block, so the latest news of it also takes the place of news of another
//! storage: "deleted there" must not follow "received here". A failed report is put back, except where newer news came meanwhile. At [`MAX_QUEUED`] entries the queue gives
//! up its content: the caller orders a full report instead.

use crate::shared::{NewsKind, ReplicaNews};
use hadron_types::{BlockId, StorageId};
use hashbrown::HashMap;

/// Most entries waiting for a NameNode that does not answer.
pub(crate) const MAX_QUEUED: usize = 1_000_000;

/// The queue.
#[derive(Default, Debug)]
pub(crate) struct NewsQueue {
    entries: HashMap<BlockId, ReplicaNews>,
    urgent: bool,
    overflowed: bool,
}

impl NewsQueue {
    /// Adds news; true when they should be sent at once.
    pub(crate) fn add(&mut self, news: ReplicaNews) -> bool {
        let urgent = news.kind != NewsKind::Receiving;
        self.entries.insert(news.block.id, news);
        self.urgent |= urgent;
        if self.entries.len() > MAX_QUEUED {
            self.entries.clear();
            self.overflowed = true;
        }
        urgent
    }

    /// Has what is queued sent at once.
    pub(crate) fn hurry(&mut self) {
        self.urgent = true;
    }

    /// Whether something should be sent at once.
    pub(crate) fn is_urgent(&self) -> bool {
        self.urgent
    }

    /// Takes everything, grouped by storage.
    pub(crate) fn take(&mut self) -> Vec<(StorageId, Vec<ReplicaNews>)> {
        self.urgent = false;
        let mut groups: HashMap<StorageId, Vec<ReplicaNews>> = HashMap::new();
        for (_, news) in self.entries.drain() {
            groups.entry(news.storage_id.clone()).or_default().push(news);
        }
        groups.into_iter().collect()
    }

    /// Puts back what could not be sent.
    pub(crate) fn put_back(&mut self, groups: Vec<(StorageId, Vec<ReplicaNews>)>) {
        for news in groups.into_iter().flat_map(|(_, list)| list) {
            self.urgent |= news.kind != NewsKind::Receiving;
            self.entries.entry(news.block.id).or_insert(news);
        }
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether entries were lost since the last call: a full report must make up for them.
    pub(crate) fn take_overflow(&mut self) -> bool {
        std::mem::take(&mut self.overflowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hadron_types::{Block, GenerationStamp, StorageType};

    fn news(id: i64, kind: NewsKind) -> ReplicaNews {
        ReplicaNews {
            block: Block {
                id: BlockId(id),
                generation_stamp: GenerationStamp(1),
                len: 0,
            },
            kind,
            storage_id: "DS-1".into(),
            storage_type: StorageType::Disk,
            delete_hint: String::new(),
        }
    }

    #[test]
    fn the_latest_state_of_a_block_wins_also_after_a_failure() {
        let mut queue = NewsQueue::default();
        assert!(!queue.add(news(1, NewsKind::Receiving)));
        assert!(!queue.is_urgent());
        assert!(queue.add(news(1, NewsKind::Received)));
        queue.add(news(2, NewsKind::Receiving));
        let taken = queue.take();
        assert!(!queue.is_urgent());
        assert_eq!(taken[0].1.len(), 2);
        queue.add(news(1, NewsKind::Deleted));
        queue.put_back(taken);
        assert!(queue.is_urgent());
        let mut again = queue.take().remove(0).1;
        again.sort_by_key(|news| news.block.id);
        assert_eq!(again, [news(1, NewsKind::Deleted), news(2, NewsKind::Receiving)]);
        assert!(queue.take().is_empty());
        assert!(!queue.take_overflow());
        // A block that was copied to another storage after its deletion is there.
        queue.add(news(1, NewsKind::Deleted));
        let elsewhere = ReplicaNews {
            storage_id: "DS-2".into(),
            ..news(1, NewsKind::Received)
        };
        queue.add(elsewhere.clone());
        assert_eq!(queue.take(), [("DS-2".into(), vec![elsewhere])]);
        assert!(queue.is_empty());
    }
}
