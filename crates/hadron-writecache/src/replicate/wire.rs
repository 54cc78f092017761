//! Frames over a stream.
//!
//! What it is for: blocking reads and writes of whole frames. What it does not do: connect, time out, decide.
//! Invariant: memory grows with the bytes that came, never with a length that was only claimed.

use std::io::{self, Read, Write};

use bytes::Bytes;

use super::codec::{Frame, FrameError, HEAD_BYTES, Head};

/// Why no frame came.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The stream.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Bytes that are no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// Reads one frame; `None` when the stream ended before its first byte.
///
/// Errors: the stream's, an end within a frame, and bytes that are no frame; the stream cannot be used further.
pub fn read_frame(stream: &mut impl Read) -> Result<Option<Frame>, WireError> {
    let mut head = [0; HEAD_BYTES];
    let first = loop {
        match stream.read(&mut head) {
            Ok(0) => return Ok(None),
            Ok(count) => break count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    };
    stream.read_exact(&mut head[first..])?;
    let head = Head::decode(&head)?;
    let mut fields = vec![0; head.field_bytes];
    stream.read_exact(&mut fields)?;
    let mut data = Vec::new();
    stream.take(head.data_bytes as u64).read_to_end(&mut data)?;
    if data.len() < head.data_bytes {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok(Some(head.frame(&fields, Bytes::from(data))?))
}

/// Writes one frame; its data is not copied.
pub fn write_frame(stream: &mut impl Write, frame: &Frame) -> io::Result<()> {
    let encoded = frame.encode();
    stream.write_all(&encoded.head)?;
    stream.write_all(&encoded.data)
}
