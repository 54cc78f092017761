//! Packet buffers that are used again and again (the role of Hadoop's `ByteArrayManager`).
//!
//! A packet's bytes and checksums share one buffer, which comes back when the last reference to the packet is gone: acked,
//! or dropped with its stream. How many a stream can hold is the window's limit, so the pool never makes anybody wait; it
//! bounds what it keeps for later.
//! Invariants: at most [`MAX_IDLE_BYTES`] are kept idle; [`BufferPool::in_use`] counts exactly the packets that live.

use bytes::Bytes;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Idle bytes kept for later packets, over all streams of a client.
const MAX_IDLE_BYTES: usize = 8 << 20;

/// The buffers of one client.
#[derive(Debug, Default)]
pub(crate) struct BufferPool {
    idle: Mutex<Idle>,
    in_use: AtomicUsize,
}

#[derive(Debug, Default)]
struct Idle {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

impl BufferPool {
    /// An empty buffer with room for `capacity` bytes, a used one if there is one.
    pub(crate) fn take(&self, capacity: usize) -> Vec<u8> {
        let used = {
            let mut idle = self.idle.lock();
            let used = idle.buffers.pop();
            idle.bytes -= used.as_ref().map_or(0, Vec::capacity);
            used
        };
        // One that is too small (other packet size) is dropped: growing would copy.
        used.filter(|buffer| buffer.capacity() >= capacity)
            .unwrap_or_else(|| Vec::with_capacity(capacity))
    }

    /// Packets that live now.
    pub(crate) fn in_use(&self) -> usize {
        self.in_use.load(Ordering::Relaxed)
    }

    /// Turns a filled buffer into a packet's bytes; it comes back with their last clone.
    pub(crate) fn lend(self: &Arc<Self>, buffer: Vec<u8>) -> Bytes {
        self.in_use.fetch_add(1, Ordering::Relaxed);
        Bytes::from_owner(Lent {
            buffer,
            pool: Arc::clone(self),
        })
    }

    fn give_back(&self, mut buffer: Vec<u8>) {
        self.in_use.fetch_sub(1, Ordering::Relaxed);
        buffer.clear();
        let mut idle = self.idle.lock();
        if buffer.capacity() > 0 && idle.bytes + buffer.capacity() <= MAX_IDLE_BYTES {
            idle.bytes += buffer.capacity();
            idle.buffers.push(buffer);
        }
    }
}

struct Lent {
    buffer: Vec<u8>,
    pool: Arc<BufferPool>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.pool.give_back(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_with_their_last_reference() {
        // covers: WP-13
        let pool = Arc::new(BufferPool::default());
        let mut buffer = pool.take(1000);
        let memory = buffer.as_ptr();
        buffer.extend_from_slice(b"data");
        let lent = pool.lend(buffer);
        let part = lent.slice(1..3);
        drop(lent);
        assert_eq!((pool.in_use(), &part[..]), (1, &b"at"[..]));
        drop(part);
        assert_eq!(pool.in_use(), 0);
        let again = pool.take(1000);
        assert_eq!((again.as_ptr(), again.len()), (memory, 0));
        let another = pool.take(1000);
        assert_ne!(another.as_ptr(), memory);
    }

    #[test]
    fn few_are_kept() {
        let pool = Arc::new(BufferPool::default());
        let lent: Vec<Bytes> = (0..20).map(|_| pool.lend(pool.take(1 << 20))).collect();
        assert_eq!(pool.in_use(), 20);
        drop(lent);
        assert_eq!((pool.in_use(), pool.idle.lock().bytes), (0, MAX_IDLE_BYTES));
        assert!(pool.take(2 << 20).capacity() >= 2 << 20, "a small one is no use");
        assert_eq!(pool.idle.lock().buffers.len(), 7);
    }
}
