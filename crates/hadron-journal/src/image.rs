//! Images: the whole state as of one index. Byte map: docs/formats/journal.md, section "Image".
//!
//! What it is for: writing slices to a file with a checked table at its end, and reading them in any order, from any
//! thread. What it does not do: know what is in a slice. Invariants: an image has its final name only when complete and
//! synced; a reader exists only for a file whose table holds; each slice is checked when read.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use hadron_env::durable;
use hadron_env::{Disk, DiskFile, Open};
use hadron_types::{Epoch, LogIndex, TimeMs};
use parking_lot::Mutex;

use crate::batch::{put, read_u32, read_u64};
use crate::machine::{CodecError, Slice};

/// A longer slice is refused.
pub(crate) const MAX_SLICE_BYTES: usize = 256 << 20;
/// More slices are damage.
const MAX_SLICES: u64 = 1 << 22;

const HEADER_MAGIC: &[u8; 8] = b"HDRNIMG1";
const FOOTER_MAGIC: &[u8; 8] = b"HDRNIMGE";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 64;
const TABLE_ROW_BYTES: usize = 16;
const FOOTER_BYTES: usize = 32;

/// Where in the log an image stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ImageHeader {
    pub(crate) epoch: Epoch,
    /// The last entry whose effect is in the image.
    pub(crate) index: LogIndex,
    /// Digest of all outcomes up to and with `index`.
    pub(crate) digest: u64,
    pub(crate) created: TimeMs,
}

/// The file name of the image at `index`.
pub(crate) fn file_name(index: LogIndex) -> String {
    format!("image_{:020}", index.0)
}

/// Reads an index out of a file name.
pub(crate) fn index_of_name(name: &str) -> Option<LogIndex> {
    let digits = name.strip_prefix("image_").filter(|digits| digits.len() == 20)?;
    digits.parse().ok().map(LogIndex)
}

/// Writes one image file into several directories at once, slice by slice.
pub(crate) struct ImageWriter<'a> {
    disk: &'a dyn Disk,
    files: Vec<(PathBuf, Arc<dyn DiskFile>)>,
    failed: Vec<(PathBuf, io::Error)>,
    name: String,
    position: u64,
    table: Vec<u8>,
    slice_count: u32,
}

impl<'a> ImageWriter<'a> {
    /// Begins an image in every one of `dirs` (their `current` directories).
    pub(crate) fn create(disk: &'a dyn Disk, dirs: &[PathBuf], header: &ImageHeader) -> Self {
        let mut writer = Self {
            disk,
            files: Vec::new(),
            failed: Vec::new(),
            name: file_name(header.index),
            position: 0,
            table: Vec::new(),
            slice_count: 0,
        };
        for dir in dirs {
            match disk.open(&durable::temporary_path(&dir.join(&writer.name)), Open::TRUNCATE) {
                Ok(file) => writer.files.push((dir.clone(), file)),
                Err(error) => writer.failed.push((dir.clone(), error)),
            }
        }
        writer.write(&encode_header(header));
        writer
    }

    /// Adds a slice.
    pub(crate) fn push(&mut self, slice: &[u8]) -> Result<(), CodecError> {
        if slice.len() > MAX_SLICE_BYTES {
            return Err(CodecError(format!(
                "image slice of {} bytes is longer than {MAX_SLICE_BYTES}",
                slice.len()
            )));
        }
        self.table.extend_from_slice(&self.position.to_le_bytes());
        self.table.extend_from_slice(&(slice.len() as u32).to_le_bytes());
        self.table
            .extend_from_slice(&crc_fast::crc32_iscsi(slice).to_le_bytes());
        self.slice_count += 1;
        self.write(slice);
        Ok(())
    }

    /// Completes the image durably wherever that is possible. Returns the directories where it was, and the failures.
    pub(crate) fn finish(mut self) -> (Vec<PathBuf>, Vec<(PathBuf, io::Error)>) {
        let table = std::mem::take(&mut self.table);
        let mut tail = table;
        let mut footer = [0; FOOTER_BYTES];
        put(&mut footer, 0, FOOTER_MAGIC);
        put(&mut footer, 8, &self.position.to_le_bytes());
        put(&mut footer, 16, &self.slice_count.to_le_bytes());
        tail.extend_from_slice(&footer);
        let checked = tail.len() - 4;
        let crc = crc_fast::crc32_iscsi(&tail[..checked]);
        tail[checked..].copy_from_slice(&crc.to_le_bytes());
        self.write(&tail);
        let mut done = Vec::new();
        for (dir, file) in self.files {
            let path = dir.join(&self.name);
            let committed = file
                .sync_all()
                .and_then(|()| durable::commit_file(self.disk, &durable::temporary_path(&path), &path));
            match committed {
                Ok(()) => done.push(dir),
                Err(error) => self.failed.push((dir, error)),
            }
        }
        (done, self.failed)
    }

    fn write(&mut self, bytes: &[u8]) {
        let position = self.position;
        let failed = &mut self.failed;
        self.files
            .retain(|(dir, file)| match file.write_all_at(bytes, position) {
                Ok(()) => true,
                Err(error) => {
                    failed.push((dir.clone(), error));
                    false
                }
            });
        self.position += bytes.len() as u64;
    }
}

fn encode_header(header: &ImageHeader) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    put(&mut bytes, 0, HEADER_MAGIC);
    put(&mut bytes, 8, &VERSION.to_le_bytes());
    put(&mut bytes, 16, &header.epoch.0.to_le_bytes());
    put(&mut bytes, 24, &header.index.0.to_le_bytes());
    put(&mut bytes, 32, &header.digest.to_le_bytes());
    put(&mut bytes, 40, &header.created.0.to_le_bytes());
    let crc = crc_fast::crc32_iscsi(&bytes[..HEADER_BYTES - 4]);
    put(&mut bytes, HEADER_BYTES - 4, &crc.to_le_bytes());
    bytes
}

/// A complete image, ready to be read.
#[derive(Debug)]
pub struct ImageReader {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    header: ImageHeader,
    table: Vec<u8>,
}

impl ImageReader {
    /// Opens an image and checks header and table; the error says what is wrong, without the path.
    pub(crate) fn open(disk: &dyn Disk, path: &Path) -> Result<Self, String> {
        let file = disk.open(path, Open::READ).map_err(|error| error.to_string())?;
        let len = file.len().map_err(|error| error.to_string())?;
        if len < (HEADER_BYTES + FOOTER_BYTES) as u64 {
            return Err(format!("{len} bytes are too few for an image"));
        }
        let read = |offset: u64, count: usize| -> Result<Vec<u8>, String> {
            let mut bytes = vec![0; count];
            file.read_exact_at(&mut bytes, offset)
                .map_err(|error| format!("read at offset {offset}: {error}"))?;
            Ok(bytes)
        };
        let header = decode_header(&read(0, HEADER_BYTES)?)?;
        let footer = read(len - FOOTER_BYTES as u64, FOOTER_BYTES)?;
        if &footer[..8] != FOOTER_MAGIC {
            return Err(format!("no footer at offset {}", len - FOOTER_BYTES as u64));
        }
        let (table_offset, count) = (read_u64(&footer, 8), u64::from(read_u32(&footer, 16)));
        let table_len = count * TABLE_ROW_BYTES as u64;
        if count > MAX_SLICES || table_offset.checked_add(table_len + FOOTER_BYTES as u64) != Some(len) {
            return Err(format!(
                "footer at offset {} contradicts the length",
                len - FOOTER_BYTES as u64
            ));
        }
        let mut tail = read(table_offset, table_len as usize + FOOTER_BYTES)?;
        let checked = tail.len() - 4;
        if crc_fast::crc32_iscsi(&tail[..checked]) != read_u32(&tail, checked) {
            return Err(format!("checksum of the table at offset {table_offset} does not match"));
        }
        tail.truncate(table_len as usize);
        Ok(Self {
            path: path.to_owned(),
            file,
            header,
            table: tail,
        })
    }

    /// Index of the last entry in the image.
    pub fn index(&self) -> LogIndex {
        self.header.index
    }

    /// When the image was begun.
    pub fn created(&self) -> TimeMs {
        self.header.created
    }

    pub(crate) fn header(&self) -> &ImageHeader {
        &self.header
    }

    /// How many slices there are.
    pub fn slice_count(&self) -> usize {
        self.table.len() / TABLE_ROW_BYTES
    }

    /// Reads and checks one slice. The error names file and offset.
    pub fn read_slice(&self, number: usize) -> Result<Bytes, CodecError> {
        let row = self.table.get(number * TABLE_ROW_BYTES..(number + 1) * TABLE_ROW_BYTES);
        let Some(row) = row else {
            return Err(CodecError(format!("{} has no slice {number}", self.path.display())));
        };
        let (offset, len, crc) = (read_u64(row, 0), read_u32(row, 8) as usize, read_u32(row, 12));
        let bad = |what: String| {
            CodecError(format!(
                "{}: slice {number} at offset {offset}: {what}",
                self.path.display()
            ))
        };
        if len > MAX_SLICE_BYTES {
            return Err(bad(format!("{len} bytes are too many")));
        }
        let mut bytes = vec![0; len];
        self.file
            .read_exact_at(&mut bytes, offset)
            .map_err(|error| bad(error.to_string()))?;
        if crc_fast::crc32_iscsi(&bytes) != crc {
            return Err(bad("checksum does not match".into()));
        }
        Ok(Slice::from(bytes))
    }

    /// Reads all slices and passes each through `decode`, on as many threads as the machine has processors. Results are
    /// in slice order; the first error wins.
    pub fn decode_parallel<T: Send>(
        &self,
        decode: impl Fn(usize, Bytes) -> Result<T, CodecError> + Sync,
    ) -> Result<Vec<T>, CodecError> {
        let count = self.slice_count();
        let threads = std::thread::available_parallelism()
            .map_or(1, usize::from)
            .min(count.max(1));
        let next = AtomicUsize::new(0);
        let results: Mutex<Vec<Option<Result<T, CodecError>>>> = Mutex::new((0..count).map(|_| None).collect());
        let work = || loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return;
            }
            let result = self.read_slice(number).and_then(|slice| decode(number, slice));
            if let Some(place) = results.lock().get_mut(number) {
                *place = Some(result);
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(work);
            }
            work();
        });
        let missing = || Err(CodecError("an image slice was not decoded".into()));
        results
            .into_inner()
            .into_iter()
            .map(|result| result.unwrap_or_else(missing))
            .collect()
    }
}

fn decode_header(bytes: &[u8]) -> Result<ImageHeader, String> {
    if &bytes[..8] != HEADER_MAGIC {
        return Err("offset 0 is not the start of an image".into());
    }
    if crc_fast::crc32_iscsi(&bytes[..HEADER_BYTES - 4]) != read_u32(bytes, HEADER_BYTES - 4) {
        return Err("checksum of the header at offset 0 does not match".into());
    }
    match read_u32(bytes, 8) {
        VERSION => Ok(ImageHeader {
            epoch: Epoch(read_u64(bytes, 16)),
            index: LogIndex(read_u64(bytes, 24)),
            digest: read_u64(bytes, 32),
            created: TimeMs(read_u64(bytes, 40)),
        }),
        other => Err(format!(
            "image version {other} is unknown, this program knows {VERSION}: use a newer one"
        )),
    }
}

#[cfg(test)]
mod tests {
    use hadron_env::SimDisk;

    use super::*;

    const HEADER: ImageHeader = ImageHeader {
        epoch: Epoch(3),
        index: LogIndex(42),
        digest: 7,
        created: TimeMs(1000),
    };

    fn write(disk: &SimDisk, slices: &[&[u8]]) -> PathBuf {
        let dir = PathBuf::from("/d");
        durable::create_dir_durably(disk, &dir).unwrap();
        let mut writer = ImageWriter::create(disk, &[dir.clone(), PathBuf::from("/missing")], &HEADER);
        for slice in slices {
            writer.push(slice).unwrap();
        }
        let (done, failed) = writer.finish();
        assert_eq!((done.len(), failed.len()), (1, 1));
        dir.join(file_name(HEADER.index))
    }

    #[test]
    fn slices_read_back_in_order_from_many_threads() {
        let disk = SimDisk::new();
        let path = write(&disk, &[b"one", b"", b"three"]);
        assert_eq!(
            index_of_name(path.file_name().unwrap().to_str().unwrap()),
            Some(LogIndex(42))
        );
        let image = ImageReader::open(&disk, &path).unwrap();
        assert_eq!(image.header(), &HEADER);
        let all = image
            .decode_parallel(|number, slice| Ok((number, slice.len())))
            .unwrap();
        assert_eq!(all, [(0, 3), (1, 0), (2, 5)]);
        assert!(image.read_slice(3).is_err());
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_seen() {
        let disk = SimDisk::new();
        let path = write(&disk, &[b"one", b"two"]);
        let len = disk.read(&path, 1000).unwrap().len() as u64;
        let readable = |disk: &SimDisk| {
            let image = ImageReader::open(disk, &path).map_err(CodecError)?;
            image.decode_parallel(|_, slice| Ok(slice))
        };
        readable(&disk).unwrap();
        for bit in 0..len * 8 {
            disk.flip_bit(&path, bit / 8, (bit % 8) as u8);
            readable(&disk).unwrap_err();
            disk.flip_bit(&path, bit / 8, (bit % 8) as u8);
        }
        for cut in 0..len {
            disk.open(&path, Open::WRITE).unwrap().set_len(len - cut - 1).unwrap();
            readable(&disk).unwrap_err();
        }
    }
}
