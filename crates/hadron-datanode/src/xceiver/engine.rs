//! How a packet's bytes get from the page cache into a socket: two engines behind one trait.
//!
//! Both send large packets. [`CopyEngine`] reads data into a buffer and sends it with header and checksums in one
//! `writev`; [`SendfileEngine`] sends header and checksums under `MSG_MORE` and lets the kernel move the data.

use super::socket::Socket;
use hadron_replica::{ReplicaError, ReplicaReader};
use rustix::net::SendFlags;
use std::io::{self, ErrorKind, IoSlice, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Why sending stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    /// The replica cannot be read.
    #[error(transparent)]
    Disk(#[from] ReplicaError),
    /// The peer cannot be reached any more.
    #[error(transparent)]
    Socket(#[from] io::Error),
}

/// Sends packets of one replica.
pub(crate) trait SendEngine {
    /// Sends `head` (lengths, header, checksums), then `len` bytes of the replica from `offset` on.
    fn send(
        &mut self,
        stream: &Socket,
        head: &[u8],
        replica: &ReplicaReader,
        offset: u64,
        len: usize,
    ) -> Result<(), SendError>;
}

/// `pread` into a buffer, then one `writev`.
#[derive(Default)]
pub(crate) struct CopyEngine {
    buffer: Vec<u8>,
}

impl SendEngine for CopyEngine {
    fn send(
        &mut self,
        stream: &Socket,
        head: &[u8],
        replica: &ReplicaReader,
        offset: u64,
        len: usize,
    ) -> Result<(), SendError> {
        if self.buffer.len() < len {
            self.buffer.resize(len, 0);
        }
        replica.read_data(&mut self.buffer[..len], offset)?;
        let mut slices = [IoSlice::new(head), IoSlice::new(&self.buffer[..len])];
        write_all_vectored(stream, &mut slices)?;
        Ok(())
    }
}

/// `sendfile` behind a head sent under `MSG_MORE`.
pub(crate) struct SendfileEngine;

impl SendEngine for SendfileEngine {
    fn send(
        &mut self,
        stream: &Socket,
        head: &[u8],
        replica: &ReplicaReader,
        offset: u64,
        len: usize,
    ) -> Result<(), SendError> {
        let Some(data) = replica.data() else {
            return CopyEngine::default().send(stream, head, replica, offset, len);
        };
        let flags = if len > 0 { SendFlags::MORE } else { SendFlags::empty() } | SendFlags::NOSIGNAL;
        let mut left = head;
        while !left.is_empty() {
            match rustix::net::send(stream, left, flags) {
                Ok(sent) => left = &left[sent..],
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(SendError::Socket(errno.into())),
            }
        }
        let (mut at, end) = (offset, offset + len as u64);
        while at < end {
            let left = (end - at) as usize;
            match rustix::fs::sendfile(stream, data, Some(&mut at), left) {
                Ok(0) => {
                    return Err(SendError::Disk(ReplicaError::Corrupt {
                        block: replica.block().id,
                        offset: at,
                    }));
                }
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::IO) => {
                    let error = std::io::Error::from(rustix::io::Errno::IO);
                    replica.blame(&error);
                    return Err(SendError::Disk(ReplicaError::io("read", replica.path())(error)));
                }
                Err(errno) => return Err(SendError::Socket(errno.into())),
            }
        }
        Ok(())
    }
}

/// Counts the bytes of data that another engine sends.
pub(crate) struct CountingEngine {
    pub(crate) engine: Box<dyn SendEngine>,
    pub(crate) moved: Arc<AtomicU64>,
}

impl SendEngine for CountingEngine {
    fn send(
        &mut self,
        stream: &Socket,
        head: &[u8],
        replica: &ReplicaReader,
        offset: u64,
        len: usize,
    ) -> Result<(), SendError> {
        self.engine.send(stream, head, replica, offset, len)?;
        self.moved.fetch_add(len as u64, Ordering::Relaxed);
        Ok(())
    }
}

/// `writev` until everything is gone.
pub(crate) fn write_all_vectored(mut stream: &Socket, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match stream.write_vectored(slices) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(sent) => IoSlice::advance_slices(&mut slices, sent),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
