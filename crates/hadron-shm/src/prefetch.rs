//! Asking the processor to fetch memory that will soon be read.

#![allow(unsafe_code)]

/// Bytes that come into the processor's caches together.
const CACHE_LINE: usize = 64;
/// Most lines that are asked for at a time: processors have room for about as many that are under way.
const MAX_LINES: usize = 8;

/// Begins to fetch the first bytes of `bytes` into the caches, up to 512 of them; waits for nothing and changes nothing.
/// Worth it where a system call or so lies between the request and the use.
pub fn prefetch(bytes: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    for line in bytes.chunks(CACHE_LINE).take(MAX_LINES) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint; it neither faults nor changes memory, whatever the address, and this one is borrowed.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = bytes;
}
