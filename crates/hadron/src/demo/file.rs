//! The file that makes the journey: bytes that no two chunks share, and their SHA-256.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest as _, Sha256};

/// Bytes handled at once.
const CHUNK_BYTES: usize = 1 << 20;

/// A local file and what it holds.
pub(super) struct Content {
    path: PathBuf,
    pub(super) len: u64,
    pub(super) sha256: String,
}

impl Content {
    /// Makes a file of `len` bytes.
    pub(super) fn make(path: &Path, len: u64) -> Result<Self> {
        let mut file = File::create(path).with_context(|| format!("create {}", path.display()))?;
        let mut digest = Digest::new();
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut chunk = Vec::with_capacity(CHUNK_BYTES);
        let mut left = len;
        while left > 0 {
            chunk.clear();
            while chunk.len() < CHUNK_BYTES {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                chunk.extend_from_slice(&state.to_le_bytes());
            }
            chunk.truncate(usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK_BYTES));
            digest.update(&chunk);
            file.write_all(&chunk)?;
            left -= chunk.len() as u64;
        }
        let (len, sha256) = digest.finish();
        Ok(Self {
            path: path.to_owned(),
            len,
            sha256,
        })
    }

    pub(super) fn open(&self) -> Result<Chunks> {
        let file = File::open(&self.path).with_context(|| format!("open {}", self.path.display()))?;
        Ok(Chunks {
            file,
            chunk: vec![0; CHUNK_BYTES],
        })
    }
}

/// The file piece by piece.
pub(super) struct Chunks {
    file: File,
    chunk: Vec<u8>,
}

impl Chunks {
    /// The next piece; `None` at the end.
    pub(super) fn next_chunk(&mut self) -> Result<Option<&[u8]>> {
        let count = self.file.read(&mut self.chunk)?;
        Ok((count > 0).then(|| &self.chunk[..count]))
    }
}

/// Length and SHA-256 of what went through.
pub(super) struct Digest {
    sha256: Sha256,
    len: u64,
}

impl Digest {
    pub(super) fn new() -> Self {
        Self {
            sha256: Sha256::new(),
            len: 0,
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.len += bytes.len() as u64;
    }

    pub(super) fn finish(self) -> (u64, String) {
        let mut text = String::new();
        for byte in self.sha256.finalize() {
            // Writing to a string does not fail.
            let _ = write!(text, "{byte:02x}");
        }
        (self.len, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_what_its_digest_says() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let content = Content::make(&folder.path().join("file"), 2_500_000).expect("made");
        let mut chunks = content.open().expect("opens");
        let mut digest = Digest::new();
        while let Some(chunk) = chunks.next_chunk().expect("reads") {
            digest.update(chunk);
        }
        assert_eq!(digest.finish(), (2_500_000, content.sha256));
    }
}
