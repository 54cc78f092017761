//! The image: a whole namespace as checksummed slices. Byte map: docs/formats/image.md.
//!
//! Writing walks a snapshot and yields one slice at a time, so no lock is held and no more than a slice is in memory.
//! Loading splits into [`decode_slice`], which needs no state and runs on as many threads as there are, and
//! [`ImageLoader`], which joins decoded slices in any order. Reading files is the caller's business.
//!
//! Invariant: what [`ImageLoader::finish`] returns is consistent: every inode is reachable from the root or from a
//! detached tree, ids are unique, counters are beyond every id in use.

mod load;
mod records;
mod slice;
mod write;

pub use load::ImageLoader;
pub use slice::{
    DecodedSlice, IMAGE_FORMAT_VERSION, MAX_SLICE_PAYLOAD_BYTES, SLICE_HEADER_LEN, SliceHeader, decode_slice,
};
pub use write::ImageSlices;

use crate::namespace::Namespace;

/// Why an image cannot be used. `offset`: where the slice begins in the image, in bytes.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ImageError {
    /// The image ends inside a slice, or has no end slice.
    #[error("image ends early at offset {offset}")]
    Truncated {
        /// Where.
        offset: u64,
    },
    /// Not an image, or something else in its place.
    #[error("no image slice at offset {offset}")]
    BadMagic {
        /// Where.
        offset: u64,
    },
    /// Written by a newer version.
    #[error("image slice at offset {offset} has format version {version}, newer than {IMAGE_FORMAT_VERSION}")]
    NewerVersion {
        /// Where.
        offset: u64,
        /// Its version.
        version: u16,
    },
    /// A slice larger than any that is written.
    #[error("image slice at offset {offset} claims {len} bytes")]
    TooLarge {
        /// Where.
        offset: u64,
        /// Bytes claimed.
        len: u32,
    },
    /// The checksum does not match.
    #[error("image slice at offset {offset} is damaged: checksum {actual:08x}, expected {expected:08x}")]
    Checksum {
        /// Where.
        offset: u64,
        /// Stored.
        expected: u32,
        /// Computed.
        actual: u32,
    },
    /// The checksum matches but the records do not decode.
    #[error("image slice at offset {offset} does not decode: {reason}")]
    Undecodable {
        /// Where.
        offset: u64,
        /// What the decoder says.
        reason: String,
    },
    /// The records contradict each other.
    #[error("image is inconsistent: {0}")]
    Inconsistent(String),
}

impl Namespace {
    /// The slices of this namespace's image, made from a snapshot that they own: no lock is needed to go through them.
    pub fn image_slices(&self) -> ImageSlices {
        ImageSlices::new(self.snapshot())
    }

    /// Loads a whole image from memory, on this thread.
    pub fn from_image(bytes: &[u8]) -> Result<Self, ImageError> {
        let mut loader = ImageLoader::new();
        let mut offset = 0;
        while offset < bytes.len() {
            let at = offset as u64;
            let head = bytes
                .get(offset..offset + SLICE_HEADER_LEN)
                .ok_or(ImageError::Truncated { offset: at })?;
            let header = SliceHeader::parse(head, at)?;
            let end = offset + SLICE_HEADER_LEN + header.payload_len as usize;
            let slice = bytes.get(offset..end).ok_or(ImageError::Truncated { offset: at })?;
            loader.add(decode_slice(slice, at)?)?;
            offset = end;
        }
        loader.finish()
    }
}

#[cfg(test)]
mod tests;
