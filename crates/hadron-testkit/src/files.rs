//! Paths, content and whole files, for tests.

use hadron_client::{FileReader, FsError, HadronFs};
use hadron_types::FsPath;

/// The path that `text` spells. Panics when it spells none.
pub fn path(text: &str) -> FsPath {
    FsPath::parse(text).expect("a path")
}

/// `len` bytes whose place can be told from their neighbours.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at.wrapping_mul(2_654_435_761) >> 7) as u8).collect()
}

/// The content of a file.
pub async fn read(fs: &HadronFs, name: &str) -> Result<Vec<u8>, FsError> {
    drain(&mut fs.open(&path(name)).await?).await
}

/// Everything that is left to read.
pub async fn drain(reader: &mut FileReader) -> Result<Vec<u8>, FsError> {
    let mut content = Vec::new();
    loop {
        let chunk = reader.next_chunk().await?;
        if chunk.is_empty() {
            return Ok(content);
        }
        content.extend_from_slice(&chunk);
    }
}
