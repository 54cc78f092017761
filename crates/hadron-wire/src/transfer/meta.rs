//! The header of a replica's meta file; the chunk checksums follow it.
//!
//! | offset | size | value |
//! |---|---|---|
//! | 0 | 2 | version 1 |
//! | 2 | 1 | checksum type |
//! | 3 | 4 | bytes per checksum |

use super::checksum::Checksum;
use crate::WireError;
use hadron_types::ChecksumType;

/// Length of the header.
pub const META_HEADER_LEN: usize = 7;
const META_VERSION: u16 = 1;

/// Writes the header of a new meta file.
pub fn encode_meta_header(checksum: Checksum) -> [u8; META_HEADER_LEN] {
    let [v0, v1] = META_VERSION.to_be_bytes();
    let [b0, b1, b2, b3] = checksum.bytes_per_checksum.to_be_bytes();
    [v0, v1, checksum.kind as u8, b0, b1, b2, b3]
}

/// Reads the header of a meta file.
///
/// Errors: another version, an unknown checksum type, bytes per checksum out of range.
pub fn decode_meta_header(header: [u8; META_HEADER_LEN]) -> Result<Checksum, WireError> {
    let [v0, v1, kind, b0, b1, b2, b3] = header;
    let version = u16::from_be_bytes([v0, v1]);
    if version != META_VERSION {
        return Err(WireError::Unknown {
            what: "meta file version",
            value: i64::from(version as i16),
        });
    }
    let kind = ChecksumType::from_wire(i32::from(kind)).ok_or(WireError::Unknown {
        what: "meta file checksum type",
        value: i64::from(kind),
    })?;
    Checksum::new(kind, u32::from_be_bytes([b0, b1, b2, b3]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_what_java_writes() {
        let checksum = Checksum::new(ChecksumType::Crc32c, 512).expect("in range");
        assert_eq!(encode_meta_header(checksum), [0, 1, 2, 0, 0, 2, 0]);
        assert_eq!(decode_meta_header([0, 1, 2, 0, 0, 2, 0]), Ok(checksum));
        for bad in [
            [0, 2, 2, 0, 0, 2, 0],
            [0, 1, 3, 0, 0, 2, 0],
            [0, 1, 2, 0, 0, 0, 0],
            [0, 1, 2, 0xff, 0, 0, 0],
        ] {
            assert!(decode_meta_header(bad).is_err(), "{bad:?}");
        }
    }
}
