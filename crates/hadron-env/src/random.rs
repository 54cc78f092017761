//! Randomness as an argument.
//!
//! What it is for: ids, placement, back-off. What it does not do: cryptography. Invariant: [`SeededRandom`] gives the
//! same numbers for the same seed on every machine.

use std::fs::File;
use std::io::Read;

use parking_lot::Mutex;

/// A source of random numbers.
pub trait Random: Send + Sync + 'static {
    /// The next 64 bits.
    fn next_u64(&self) -> u64;

    /// A number in `0..bound`; 0 when `bound` is 0. The bias below 2^-32 for small bounds is accepted.
    fn below(&self, bound: u64) -> u64 {
        let wide = u128::from(self.next_u64()) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// Fills `buffer` with random bytes.
    fn fill(&self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            chunk.copy_from_slice(&self.next_u64().to_le_bytes()[..chunk.len()]);
        }
    }
}

/// The kernel's generator, read in small blocks.
#[derive(Default)]
pub struct SystemRandom {
    pool: Mutex<Pool>,
}

#[derive(Default)]
struct Pool {
    source: Option<File>,
    bytes: Vec<u8>,
}

const POOL_BYTES: usize = 512;

impl SystemRandom {
    /// A generator over the kernel's.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Random for SystemRandom {
    fn next_u64(&self) -> u64 {
        let mut pool = self.pool.lock();
        if pool.bytes.len() < 8 {
            pool.refill();
        }
        let rest = pool.bytes.len().saturating_sub(8);
        let mut word = [0; 8];
        for (to, from) in word.iter_mut().zip(pool.bytes.drain(rest..)) {
            *to = from;
        }
        u64::from_le_bytes(word)
    }
}

impl Pool {
    fn refill(&mut self) {
        if self.source.is_none() {
            self.source = File::open("/dev/urandom").ok();
        }
        self.bytes.resize(POOL_BYTES, 0);
        let read = self
            .source
            .as_mut()
            .is_some_and(|file| file.read_exact(&mut self.bytes).is_ok());
        if !read {
            // No device (a bare chroot): the standard library's per-process hash keys also come from the kernel.
            use std::hash::{BuildHasher, Hasher};
            for chunk in self.bytes.chunks_mut(8) {
                let word = std::collections::hash_map::RandomState::new().build_hasher().finish();
                chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
            }
        }
    }
}

/// A repeatable generator (SplitMix64) for tests and simulations.
#[derive(Debug)]
pub struct SeededRandom {
    state: Mutex<u64>,
}

impl SeededRandom {
    /// A generator whose whole sequence is fixed by `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            state: Mutex::new(seed),
        }
    }
}

impl Random for SeededRandom {
    fn next_u64(&self) -> u64 {
        let mut state = self.state.lock();
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = *state;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeded_repeats_and_stays_in_bounds() {
        let (a, b) = (SeededRandom::new(7), SeededRandom::new(7));
        for _ in 0..1000 {
            assert_eq!(a.next_u64(), b.next_u64());
            assert!(a.below(10) < 10);
            b.below(10);
        }
        assert_eq!(a.below(0), 0);
    }

    #[test]
    fn system_fills_odd_lengths_with_changing_bytes() {
        let random = SystemRandom::new();
        let (mut a, mut b) = ([0_u8; 33], [0_u8; 33]);
        random.fill(&mut a);
        random.fill(&mut b);
        assert_ne!(a, b);
    }
}
