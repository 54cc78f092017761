//! The checksum of a range composed from the checksums of its chunks (Hadoop's COMPOSITE_CRC), without its bytes.
//!
//! Appending zeros to a message changes its CRC by a linear map; for whole chunks that map is computed once.

use crate::chunks::ChunkFormat;
use hadron_types::ChecksumType;

/// Composes chunk checksums in order.
#[derive(Clone, Debug)]
pub struct CompositeCrc {
    format: ChunkFormat,
    /// What a whole chunk behind it makes of each bit of a CRC.
    shift: [u32; 32],
    value: u32,
}

impl CompositeCrc {
    /// Starts with no chunks; of format NULL the value stays 0.
    pub fn new(format: ChunkFormat) -> Self {
        Self {
            format,
            shift: shift_by(format, u64::from(format.chunk)),
            value: 0,
        }
    }

    /// Appends a chunk of `len` bytes with checksum `sum`.
    pub fn append(&mut self, sum: u32, len: u64) {
        let shift = if len == u64::from(self.format.chunk) {
            self.shift
        } else {
            shift_by(self.format, len)
        };
        self.value = apply(&shift, self.value) ^ sum;
    }

    /// The checksum of everything appended.
    pub fn value(&self) -> u32 {
        self.value
    }
}

fn shift_by(format: ChunkFormat, len: u64) -> [u32; 32] {
    let algorithm = match format.kind {
        ChecksumType::Crc32c => crc_fast::CrcAlgorithm::Crc32Iscsi,
        ChecksumType::Crc32 | ChecksumType::Null => crc_fast::CrcAlgorithm::Crc32IsoHdlc,
    };
    std::array::from_fn(|bit| crc_fast::checksum_combine(algorithm, 1 << bit, 0, len) as u32)
}

fn apply(shift: &[u32; 32], value: u32) -> u32 {
    let bits = shift.iter().enumerate().filter(|(bit, _)| value >> bit & 1 == 1);
    bits.fold(0, |sum, (_, image)| sum ^ image)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn composed_and_direct_checksums_agree() {
        let data: Vec<u8> = (0..5000u32).map(|i| (i * 7) as u8).collect();
        for kind in [ChecksumType::Crc32, ChecksumType::Crc32c] {
            for chunk in [1, 512, 700] {
                let format = ChunkFormat { kind, chunk };
                let mut composite = CompositeCrc::new(format);
                for part in data.chunks(chunk as usize) {
                    composite.append(format.sum(part), part.len() as u64);
                }
                assert_eq!(composite.value(), format.sum(&data), "{format:?}");
            }
        }
    }
}
