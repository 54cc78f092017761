//! Why bytes of a peer could not be understood.

use hadron_proto::DecodeError;

/// A peer's bytes break the protocol. `what` names the part, in words that belong in a log line.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum WireError {
    /// A length field is negative or above the limit.
    #[error("{what}: length {len} is outside 0..={limit}")]
    Length {
        /// Which part.
        what: &'static str,
        /// The length claimed.
        len: i64,
        /// The named limit it breaks.
        limit: usize,
    },
    /// A part ends before its length says so.
    #[error("{what}: ends too early")]
    Truncated {
        /// Which part.
        what: &'static str,
    },
    /// A base-128 length does not fit in 32 bits.
    #[error("{what}: malformed length prefix")]
    Prefix {
        /// Which part.
        what: &'static str,
    },
    /// Bytes are left where a part must end.
    #[error("{what}: {left} bytes too many")]
    Trailing {
        /// Which part.
        what: &'static str,
        /// How many bytes are left.
        left: usize,
    },
    /// A number or magic that must be known is not.
    #[error("{what}: unknown value {value}")]
    Unknown {
        /// Which part.
        what: &'static str,
        /// What it holds.
        value: i64,
    },
    /// An operation of another version of the data transfer protocol; the text is Java's.
    #[error("Version Mismatch (Expected: {expected}, Received: {received} )")]
    TransferVersion {
        /// Ours.
        expected: u16,
        /// The peer's, signed as Java shows it.
        received: i16,
    },
    /// An operation nobody knows; the text is Java's.
    #[error("Unknown op {code} in data stream")]
    Opcode {
        /// Its number.
        code: u8,
    },
    /// Not the message that belongs there.
    #[error("{what}: {source}")]
    Message {
        /// Which part.
        what: &'static str,
        /// What the message decoder found.
        source: DecodeError,
    },
}

impl From<WireError> for std::io::Error {
    fn from(error: WireError) -> Self {
        Self::new(std::io::ErrorKind::InvalidData, error)
    }
}
