//! Passing descriptors over a Unix socket (SCM_RIGHTS).
//!
//! Descriptors always travel with at least one byte. A receiver asks for no more bytes than go with them: what follows in
//! the stream would otherwise be swallowed. Received descriptors are closed on exec and on drop, also those nobody wanted.

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Most descriptors in one message (Hadoop `DomainSocket`: 16); two are in use.
pub const MAX_DESCRIPTORS: usize = 16;

/// Sends `bytes` with `descriptors` on a Unix socket in one message.
///
/// Errors: none or too many of them; what the kernel says, among it that the peer is gone (BrokenPipe).
pub fn send_descriptors(socket: impl AsFd, descriptors: &[BorrowedFd<'_>], bytes: &[u8]) -> io::Result<()> {
    if descriptors.is_empty() || descriptors.len() > MAX_DESCRIPTORS || bytes.is_empty() {
        let text = format!(
            "{} descriptors with {} bytes cannot be sent",
            descriptors.len(),
            bytes.len()
        );
        return Err(io::Error::new(ErrorKind::InvalidInput, text));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(descriptors));
    let slices = [IoSlice::new(bytes)];
    loop {
        match sendmsg(&socket, &slices, &mut control, SendFlags::NOSIGNAL) {
            // A short count of a message this small does not happen on a blocking stream; if it did, the peer would wait.
            Ok(sent) if sent == bytes.len() => return Ok(()),
            Ok(sent) => {
                return Err(io::Error::other(format!(
                    "{sent} of {} bytes were sent with descriptors",
                    bytes.len()
                )));
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Receives up to `bytes.len()` bytes and the descriptors that came with them.
///
/// Returns how many bytes came, 0 at the end of the stream. Errors: the descriptors did not fit or this process may
/// not have more of them; what the kernel says.
pub fn receive_descriptors(socket: impl AsFd, bytes: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [IoSliceMut::new(bytes)];
    let message = loop {
        match recvmsg(&socket, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Ok(message) => break message,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    };
    let mut received = Vec::new();
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = part {
            received.extend(descriptors);
        }
    }
    if message.flags.contains(ReturnFlags::CTRUNC) {
        let text = "descriptors were lost on the way: this process has as many as it may (ulimit -n), or too many came";
        return Err(io::Error::other(text));
    }
    Ok((message.bytes, received))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Seek, Write};
    use std::os::unix::net::UnixStream;

    fn file_of(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        file
    }

    #[test]
    fn two_descriptors_travel_with_one_byte_and_what_follows_stays() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        let files = [file_of(b"data"), file_of(b"meta")];
        send_descriptors(&ours, &[files[0].as_fd(), files[1].as_fd()], &[1]).unwrap();
        ours.write_all(b"rest").unwrap();
        drop(files);
        let mut byte = [0];
        let (count, received) = receive_descriptors(&theirs, &mut byte).unwrap();
        assert_eq!((count, byte, received.len()), (1, [1], 2));
        for (fd, want) in received.into_iter().zip(["data", "meta"]) {
            assert!(
                rustix::io::fcntl_getfd(&fd)
                    .unwrap()
                    .contains(rustix::io::FdFlags::CLOEXEC)
            );
            let mut text = String::new();
            File::from(fd).read_to_string(&mut text).unwrap();
            assert_eq!(text, want);
        }
        let mut rest = [0; 4];
        theirs.read_exact(&mut rest).unwrap();
        assert_eq!(&rest, b"rest");
    }

    #[test]
    fn ends_and_impossible_counts_are_told() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        assert!(send_descriptors(&ours, &[], &[0]).is_err());
        assert!(send_descriptors(&ours, &[ours.as_fd()], &[]).is_err());
        assert!(send_descriptors(&ours, &[ours.as_fd(); MAX_DESCRIPTORS + 1], &[0]).is_err());
        drop(ours);
        let (count, received) = receive_descriptors(&theirs, &mut [0]).unwrap();
        assert_eq!((count, received.len()), (0, 0));
        let error = send_descriptors(&theirs, &[theirs.as_fd()], &[0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    }
}
