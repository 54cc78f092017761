//! Names of segments and slots.

use std::fmt;

/// Name of a segment: 128 random bits, so that nobody can guess another client's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ShmId {
    /// Upper half, as it travels (`ShortCircuitShmIdProto.hi`).
    pub hi: i64,
    /// Lower half.
    pub lo: i64,
}

impl ShmId {
    /// From 128 bits that the caller drew.
    pub fn from_bits(bits: u128) -> Self {
        Self {
            hi: (bits >> 64) as i64,
            lo: bits as i64,
        }
    }
}

impl fmt::Display for ShmId {
    /// 32 hexadecimal digits, as Hadoop prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.hi, self.lo)
    }
}

/// Name of a slot: its segment and its index there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SlotId {
    /// The segment.
    pub shm: ShmId,
    /// Index from 0 on; what a stranger sent may be anything.
    pub index: i32,
}

impl fmt::Display for SlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SlotId({}:{})", self.shm, self.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_keep_all_bits_and_print_as_hadoop_does() {
        let id = ShmId::from_bits(0xfedc_ba98_7654_3210_0123_4567_89ab_cdef);
        assert_eq!(
            (id.hi as u64, id.lo as u64),
            (0xfedc_ba98_7654_3210, 0x0123_4567_89ab_cdef)
        );
        let slot = SlotId { shm: id, index: 7 };
        assert_eq!(slot.to_string(), "SlotId(fedcba98765432100123456789abcdef:7)");
    }
}
