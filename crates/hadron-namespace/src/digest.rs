//! A rolling digest of outcomes, by which replay notices that it went another way than the first run.
//!
//! The digest is CRC-64 over a canonical byte form: stable across processes and versions for the same rules version.
//! It covers what callers were told (answers, error classes and texts), not the effects, which follow from it.

use crate::outcome::{LeaseProgress, Outcome, OutcomeValue};
use crate::status::FileStatus;
use crc_fast::CrcAlgorithm::Crc64Nvme;
use hadron_types::Block;

/// The digest of all outcomes so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub struct OutcomeDigest(pub u64);

impl OutcomeDigest {
    /// The digest after one more outcome.
    #[must_use]
    pub fn then(self, outcome: &Outcome) -> Self {
        let mut bytes = Canonical(self.0.to_le_bytes().to_vec());
        bytes.outcome(outcome);
        Self(crc_fast::checksum(Crc64Nvme, &bytes.0))
    }
}

/// Appends the canonical bytes of an outcome to `buffer`, for logs that roll a digest of their own.
pub fn write_outcome_bytes(outcome: &Outcome, buffer: &mut Vec<u8>) {
    let mut bytes = Canonical(std::mem::take(buffer));
    bytes.outcome(outcome);
    *buffer = bytes.0;
}

/// Bytes of an outcome: a tag, then fields in little endian, texts with their lengths.
struct Canonical(Vec<u8>);

impl Canonical {
    fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }
    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }
    fn block(&mut self, block: Block) {
        self.number(block.id.to_wire());
        self.number(block.generation_stamp.0);
        self.number(block.len);
    }
    fn status(&mut self, status: &FileStatus) {
        for number in [
            status.id.0,
            u64::from(status.is_directory),
            status.len,
            u64::from(status.permission.bits()),
            status.mtime.0,
            u64::from(status.replication),
            status.block_size,
            u64::from(status.storage_policy),
        ] {
            self.number(number);
        }
        self.text(&status.owner);
        self.text(&status.group);
    }
    fn outcome(&mut self, outcome: &Outcome) {
        let value = match outcome {
            Err(error) => {
                self.number(0);
                self.text(error.kind.class());
                return self.text(&error.message);
            }
            Ok(value) => value,
        };
        match value {
            OutcomeValue::Done => self.number(1),
            OutcomeValue::Bool(answer) => self.number(2 + u64::from(*answer)),
            OutcomeValue::Created(status) => {
                self.number(4);
                self.status(status);
            }
            OutcomeValue::Appended(appended) => {
                self.number(5);
                if let Some((block, offset)) = appended.last_block {
                    self.block(block);
                    self.number(offset);
                }
                self.status(&appended.status);
            }
            OutcomeValue::Allocated(allocated) => {
                self.number(6);
                self.block(allocated.block);
                self.number(allocated.offset);
            }
            OutcomeValue::Stamp(stamp) => {
                self.number(7);
                self.number(stamp.0);
            }
            OutcomeValue::Lease(LeaseProgress::Closed) => self.number(8),
            OutcomeValue::Lease(LeaseProgress::RecoveryStarted { block, recovery_id }) => {
                self.number(9);
                self.block(*block);
                self.number(recovery_id.0);
            }
            OutcomeValue::Reclaimed { inodes, more } => {
                self.number(10 + u64::from(*more));
                self.number(*inodes);
            }
            OutcomeValue::CacheDirective(id) => {
                self.number(12);
                self.number(id.cast_unsigned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hadron_types::HadoopError;

    #[test]
    fn digests_differ_by_answer_and_order() {
        let done: Outcome = Ok(OutcomeValue::Done);
        let refused: Outcome = Err(HadoopError::io("no"));
        let start = OutcomeDigest::default();
        assert_ne!(start.then(&done), start);
        assert_ne!(start.then(&done).then(&refused), start.then(&refused).then(&done));
        assert_eq!(start.then(&done), start.then(&done));
        // The form is part of the journal: this value must not change under rules version 1.
        assert_eq!(
            start.then(&done).0,
            crc_fast::checksum(Crc64Nvme, &[[0; 8], [1, 0, 0, 0, 0, 0, 0, 0]].concat())
        );
    }
}
