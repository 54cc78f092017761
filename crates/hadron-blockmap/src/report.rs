//! Full block reports on the wire, both encodings, read one replica at a time.
//!
//! Longs: `[finalized, open, (id, len, stamp)*, -1, -1, -1, (id, len, stamp, state)*]`; an empty report may lack
//! the delimiter. Buffers: per replica four varints (zig-zag id, length, stamp, state) in chunks; a record may begin
//! in one chunk and end in another.
//! Invariants: memory needed does not depend on any count in the input; any input ends in replicas or one error.
//! Source: Hadoop `BlockListAsLongs`.

use crate::classify::ReportedReplica;
use hadron_types::{Block, BlockId, GenerationStamp, ReplicaState};

/// Lengths are 48 bits wide in a report.
const LEN_MASK: u64 = (1 << 48) - 1;
/// States are 4 bits wide in a report.
const STATE_MASK: u64 = 0xF;
/// Bytes of the longest varint.
const MAX_VARINT_BYTES: usize = 10;

/// Why a report cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// Input ended inside a replica.
    #[error("block report ends inside replica {index}")]
    Truncated {
        /// 0-based number of the replica.
        index: u64,
    },
    /// A varint longer than ten bytes.
    #[error("block report has an overlong number in replica {index}")]
    Overlong {
        /// 0-based number of the replica.
        index: u64,
    },
    /// A state number that means nothing.
    #[error("block report has unknown replica state {state} in replica {index}")]
    UnknownState {
        /// 0-based number of the replica.
        index: u64,
        /// The number.
        state: u64,
    },
    /// The counts in front do not agree with what follows.
    #[error("block report announces {announced} replicas but holds another number")]
    CountMismatch {
        /// The announced number.
        announced: u64,
    },
    /// The three -1 between finalized and open replicas are missing.
    #[error("block report lacks the delimiter after its finalized replicas")]
    NoDelimiter,
}

/// Replicas of a report in either encoding. `B` is a chunk of bytes, e.g. `bytes::Bytes`.
#[derive(Clone, Debug)]
pub enum ReportReader<B> {
    /// `blocks`, repeated uint64.
    Longs(LongsReader),
    /// `blocksBuffers`, repeated bytes.
    Buffers(BuffersReader<B>),
}

impl<B: AsRef<[u8]>> ReportReader<B> {
    /// Reads `blocksBuffers`; `announced` is `numberOfBlocks`.
    pub fn buffers(chunks: Vec<B>, announced: u64) -> Self {
        Self::Buffers(BuffersReader {
            chunks,
            chunk: 0,
            offset: 0,
            index: 0,
            announced,
            failed: false,
        })
    }
    /// Reads `blocks`.
    pub fn longs(words: Vec<u64>) -> Self {
        Self::Longs(LongsReader::new(words))
    }
    /// Reads a copy to its end: the number of replicas, or the error. Lets a shell refuse a report before using any of it.
    pub fn validate(&self) -> Result<u64, DecodeError>
    where
        B: Clone,
    {
        let mut count = 0;
        for replica in self.clone() {
            replica?;
            count += 1;
        }
        Ok(count)
    }
}

impl<B: AsRef<[u8]>> Iterator for ReportReader<B> {
    type Item = Result<ReportedReplica, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Longs(reader) => reader.next(),
            Self::Buffers(reader) => reader.next(),
        }
    }
}

fn replica(id: i64, len: u64, stamp: u64, state: u64, index: u64) -> Result<ReportedReplica, DecodeError> {
    let state = ReplicaState::from_wire(state & STATE_MASK).ok_or(DecodeError::UnknownState { index, state })?;
    Ok(ReportedReplica {
        block: Block {
            id: BlockId(id),
            generation_stamp: GenerationStamp(stamp),
            len: len & LEN_MASK,
        },
        state,
    })
}

/// Reader of the old encoding.
#[derive(Clone, Debug)]
pub struct LongsReader {
    words: Vec<u64>,
    position: usize,
    finalized_left: u64,
    open_left: u64,
    index: u64,
    state: LongsState,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum LongsState {
    Finalized,
    Open,
    End,
    Bad(DecodeError),
}

impl LongsReader {
    fn new(words: Vec<u64>) -> Self {
        let count = |position| words.get(position).copied().unwrap_or(0);
        let (finalized, open) = (count(0), count(1));
        let mut reader = Self {
            position: 2,
            finalized_left: finalized,
            open_left: open,
            index: 0,
            state: LongsState::Finalized,
            words,
        };
        let announced = finalized.saturating_add(open);
        let mismatch = LongsState::Bad(DecodeError::CountMismatch { announced });
        if reader.words.is_empty() || (announced == 0 && reader.words.len() == 2) {
            reader.state = LongsState::End;
        } else if reader.words.len() == 1 || expected_words(finalized, open) != Some(reader.words.len() as u64) {
            reader.state = mismatch;
        }
        reader
    }

    fn word(&mut self) -> u64 {
        let word = self.words.get(self.position).copied().unwrap_or(0);
        self.position += 1;
        word
    }

    fn next(&mut self) -> Option<Result<ReportedReplica, DecodeError>> {
        if self.state == LongsState::Finalized && self.finalized_left == 0 {
            let delimiter = [self.word(), self.word(), self.word()];
            self.state = if delimiter == [u64::MAX; 3] {
                LongsState::Open
            } else {
                LongsState::Bad(DecodeError::NoDelimiter)
            };
        }
        match self.state {
            LongsState::Bad(error) => {
                self.state = LongsState::End;
                Some(Err(error))
            }
            LongsState::End => None,
            LongsState::Finalized => {
                self.finalized_left -= 1;
                Some(self.read(false))
            }
            LongsState::Open if self.open_left == 0 => None,
            LongsState::Open => {
                self.open_left -= 1;
                Some(self.read(true))
            }
        }
    }

    fn read(&mut self, has_state: bool) -> Result<ReportedReplica, DecodeError> {
        let (id, len, stamp) = (self.word() as i64, self.word(), self.word());
        let state = if has_state {
            self.word()
        } else {
            ReplicaState::Finalized as u64
        };
        let read = replica(id, len, stamp, state, self.index);
        self.index += 1;
        if read.is_err() {
            self.state = LongsState::End;
        }
        read
    }
}

fn expected_words(finalized: u64, open: u64) -> Option<u64> {
    let finalized = finalized.checked_mul(3)?;
    finalized.checked_add(open.checked_mul(4)?)?.checked_add(5)
}

/// Reader of the newer encoding.
#[derive(Clone, Debug)]
pub struct BuffersReader<B> {
    chunks: Vec<B>,
    chunk: usize,
    offset: usize,
    index: u64,
    announced: u64,
    failed: bool,
}

impl<B: AsRef<[u8]>> BuffersReader<B> {
    fn next(&mut self) -> Option<Result<ReportedReplica, DecodeError>> {
        if self.failed {
            return None;
        }
        let mismatch = DecodeError::CountMismatch {
            announced: self.announced,
        };
        let read = match (self.at_end(), self.index == self.announced) {
            (true, true) => return None,
            (true, false) | (false, true) => Err(mismatch),
            (false, false) => self.read(),
        };
        self.failed = read.is_err();
        Some(read)
    }

    fn read(&mut self) -> Result<ReportedReplica, DecodeError> {
        let id = self.varint()?;
        let (len, stamp, state) = (self.varint()?, self.varint()?, self.varint()?);
        let id = (id >> 1) as i64 ^ -((id & 1) as i64);
        let read = replica(id, len, stamp, state, self.index);
        self.index += 1;
        read
    }

    /// Moves over exhausted and empty chunks.
    fn at_end(&mut self) -> bool {
        while let Some(chunk) = self.chunks.get(self.chunk) {
            if self.offset < chunk.as_ref().len() {
                return false;
            }
            self.chunk += 1;
            self.offset = 0;
        }
        true
    }

    fn byte(&mut self) -> Option<u8> {
        if self.at_end() {
            return None;
        }
        let byte = self.chunks.get(self.chunk)?.as_ref().get(self.offset).copied();
        self.offset += 1;
        byte
    }

    fn varint(&mut self) -> Result<u64, DecodeError> {
        let index = self.index;
        let mut value = 0u64;
        for position in 0..MAX_VARINT_BYTES {
            let byte = self.byte().ok_or(DecodeError::Truncated { index })?;
            value |= u64::from(byte & 0x7F) << (7 * position);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::Overlong { index })
    }
}

/// Encodes replicas as `blocksBuffers`, in chunks of at most `chunk_len` bytes cut anywhere.
///
/// Used by DataNodes and by tests; `chunk_len` > 0.
pub fn encode_buffers(replicas: impl IntoIterator<Item = ReportedReplica>, chunk_len: usize) -> (Vec<Vec<u8>>, u64) {
    let (mut bytes, mut count) = (Vec::new(), 0);
    for replica in replicas {
        let id = replica.block.id.0;
        for word in [
            ((id << 1) ^ (id >> 63)) as u64,
            replica.block.len & LEN_MASK,
            replica.block.generation_stamp.0,
            replica.state as u64,
        ] {
            put_varint(&mut bytes, word);
        }
        count += 1;
    }
    (bytes.chunks(chunk_len.max(1)).map(<[u8]>::to_vec).collect(), count)
}

/// Encodes replicas as `blocks`.
pub fn encode_longs(replicas: &[ReportedReplica]) -> Vec<u64> {
    let finalized = |replica: &&ReportedReplica| replica.state == ReplicaState::Finalized;
    let words = |replica: &ReportedReplica| {
        let block = replica.block;
        [block.id.to_wire(), block.len & LEN_MASK, block.generation_stamp.0]
    };
    let count = replicas.iter().filter(finalized).count();
    let mut longs = vec![count as u64, (replicas.len() - count) as u64];
    longs.extend(replicas.iter().filter(finalized).flat_map(words));
    longs.extend([u64::MAX; 3]);
    for replica in replicas.iter().filter(|replica| !finalized(replica)) {
        longs.extend(words(replica));
        longs.push(replica.state as u64);
    }
    longs
}

fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read_longs(words: &[u64]) -> Result<Vec<ReportedReplica>, DecodeError> {
        ReportReader::<Vec<u8>>::longs(words.to_vec()).collect()
    }
    fn read_buffers(chunks: Vec<Vec<u8>>, count: u64) -> Result<Vec<ReportedReplica>, DecodeError> {
        ReportReader::buffers(chunks, count).collect()
    }

    #[test]
    fn empty_reports_of_all_ages() {
        for words in [&[][..], &[0, 0], &[0, 0, u64::MAX, u64::MAX, u64::MAX]] {
            assert_eq!(read_longs(words), Ok(vec![]), "{words:?}");
        }
        assert_eq!(read_buffers(vec![], 0), Ok(vec![]));
        assert_eq!(read_buffers(vec![vec![], vec![]], 0), Ok(vec![]));
    }

    #[test]
    fn hostile_reports_are_errors() {
        let max = u64::MAX;
        let mismatch = |announced| Err(DecodeError::CountMismatch { announced });
        assert_eq!(read_longs(&[1]), mismatch(1));
        assert_eq!(read_longs(&[max, max]), mismatch(max));
        assert_eq!(read_longs(&[1 << 62, 0, 1, 2, 3]), mismatch(1 << 62));
        assert_eq!(read_longs(&[1, 0, 7, 8, 9, 1, 1, 1]), Err(DecodeError::NoDelimiter));
        assert_eq!(
            read_longs(&[0, 1, max, max, max, 7, 8, 9, 12]),
            Err(DecodeError::UnknownState { index: 0, state: 12 })
        );
        assert_eq!(
            read_buffers(vec![vec![2, 1]], 1),
            Err(DecodeError::Truncated { index: 0 })
        );
        assert_eq!(
            read_buffers(vec![vec![0xFF; 11]], 1),
            Err(DecodeError::Overlong { index: 0 })
        );
        assert_eq!(read_buffers(vec![vec![2, 1, 1, 0]], max), mismatch(max));
        assert_eq!(read_buffers(vec![vec![2, 1, 1, 0]], 0), mismatch(0));
        assert_eq!(
            read_buffers(vec![vec![2, 1, 1, 9]], 1),
            Err(DecodeError::UnknownState { index: 0, state: 9 })
        );
    }

    #[test]
    fn known_bytes() {
        // blk 1073741825 (zig-zag 2147483650), 5 bytes, stamp 1001, FINALIZED, cut inside the id and the stamp.
        let chunks = vec![vec![0x82, 0x80], vec![0x80, 0x80, 0x08, 5, 0xE9], vec![0x07, 0]];
        let replica = read_buffers(chunks, 1).expect("valid")[0];
        assert_eq!(replica.block.to_string(), "blk_1073741825_1001");
        assert_eq!((replica.block.len, replica.state), (5, ReplicaState::Finalized));
    }

    fn any_replica() -> impl Strategy<Value = ReportedReplica> {
        (any::<i64>(), 0..=LEN_MASK, any::<u64>(), 0u64..3).prop_map(|(id, len, stamp, state)| ReportedReplica {
            block: Block {
                id: BlockId(id),
                generation_stamp: GenerationStamp(stamp),
                len,
            },
            state: ReplicaState::from_wire(state).expect("known"),
        })
    }

    proptest! {
        #[test]
        fn both_encodings_round_trip(mut replicas in prop::collection::vec(any_replica(), 0..40), chunk in 1usize..20) {
            let (chunks, count) = encode_buffers(replicas.iter().copied(), chunk);
            prop_assert_eq!(read_buffers(chunks, count), Ok(replicas.clone()));
            replicas.sort_by_key(|replica| replica.state != ReplicaState::Finalized);
            prop_assert_eq!(read_longs(&encode_longs(&replicas)), Ok(replicas));
        }

        #[test]
        fn any_bytes_end(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..30), 0..5), count: u64) {
            let reader = ReportReader::buffers(chunks, count);
            prop_assert!(reader.take(200).count() < 200);
        }

        #[test]
        fn any_words_end(words in prop::collection::vec(prop_oneof![0u64..4, any::<u64>(), Just(u64::MAX)], 0..30)) {
            prop_assert!(ReportReader::<Vec<u8>>::longs(words).take(200).count() < 200);
        }
    }
}
