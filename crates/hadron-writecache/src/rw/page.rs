//! A metadata page: classes and bitmaps of [`REGIONS_PER_PAGE`] regions in one block.
//!
//! What it is for: a commit writes only the pages that changed, each over that of its two copies that does not count. What
//! it does not do: I/O. Invariant: a page names its store, its number and the commit that wrote it, so that neither a page
//! of another place nor one of a commit that never came about passes for the one asked for.

use super::bitmap::{BITMAP_BYTES, Bitmap};
use super::geometry::{BLOCK_BYTES, Class, Geometry, REGIONS_PER_PAGE};
use super::root::{u32_at, u64_at};
use crate::sealed::checksum;

const MAGIC: &[u8; 4] = b"HRWP";
const HEADER_BYTES: usize = 32;
const ENTRY_BYTES: usize = 16 + BITMAP_BYTES;
const CRC_AT: usize = BLOCK_BYTES - 4;

const _: () = assert!(HEADER_BYTES + REGIONS_PER_PAGE as usize * ENTRY_BYTES <= CRC_AT);

/// One region as it is on disk: its class and the slots in use; `None`: no slot is, any class may move in.
pub(crate) type Entry = Option<(Class, Bitmap)>;

/// What a page must say to be the right one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PageId {
    pub(crate) store_id: u64,
    pub(crate) page: u32,
    /// When encoding: the commit. When decoding: the newest commit that can have written it.
    pub(crate) sequence: u64,
}

/// The block for `entries` (at most [`REGIONS_PER_PAGE`]; more are left out).
pub(crate) fn encode(id: PageId, entries: &[Entry]) -> Vec<u8> {
    let mut block = vec![0; BLOCK_BYTES];
    block[..4].copy_from_slice(MAGIC);
    block[4..8].copy_from_slice(&id.page.to_le_bytes());
    block[8..16].copy_from_slice(&id.store_id.to_le_bytes());
    block[16..24].copy_from_slice(&id.sequence.to_le_bytes());
    let places = block[HEADER_BYTES..CRC_AT].chunks_exact_mut(ENTRY_BYTES);
    for (place, entry) in places.zip(entries) {
        if let Some((class, bitmap)) = entry {
            place[..2].copy_from_slice(&(class.0 + 1).to_le_bytes());
            place[16..].copy_from_slice(&bitmap.to_bytes());
        }
    }
    let crc = checksum(&block[..CRC_AT]);
    block[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
    block
}

/// The entries of a page; the error says what is the matter.
pub(crate) fn decode(block: &[u8], id: PageId, geometry: &Geometry) -> Result<Vec<Entry>, String> {
    if block.len() != BLOCK_BYTES || !block.starts_with(MAGIC) {
        return Err("no metadata page".to_owned());
    }
    if checksum(&block[..CRC_AT]) != u32_at(block, CRC_AT) {
        return Err("metadata page with a wrong checksum".to_owned());
    }
    let found = (u32_at(block, 4), u64_at(block, 8), u64_at(block, 16));
    if (found.0, found.1) != (id.page, id.store_id) {
        return Err(format!(
            "metadata page {} of store {:#x}, not {}",
            found.0, found.1, id.page
        ));
    }
    if found.2 > id.sequence {
        return Err(format!(
            "metadata page of commit {}, the root is commit {}",
            found.2, id.sequence
        ));
    }
    let places = block[HEADER_BYTES..CRC_AT].chunks_exact(ENTRY_BYTES);
    places
        .take(REGIONS_PER_PAGE as usize)
        .map(|place| decode_entry(place, geometry))
        .collect()
}

fn decode_entry(place: &[u8], geometry: &Geometry) -> Result<Entry, String> {
    let number = u16::from_le_bytes([place[0], place[1]]);
    let mut bytes = [0; BITMAP_BYTES];
    bytes.copy_from_slice(&place[16..]);
    let bitmap = Bitmap::from_bytes(&bytes);
    let Some(class) = number.checked_sub(1).map(Class) else {
        return if bitmap.is_empty() {
            Ok(None)
        } else {
            Err("slots in use of no class".to_owned())
        };
    };
    if class.0 >= geometry.class_count() {
        return Err(format!("unknown class {}", class.0));
    }
    if bitmap.last().is_some_and(|last| last >= geometry.slots(class)) {
        return Err(format!("more slots in use than class {} has", class.0));
    }
    Ok((!bitmap.is_empty()).then_some((class, bitmap)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_survives_its_bytes_and_nothing_else_passes_for_it() {
        let geometry = Geometry::default();
        let mut bitmap = Bitmap::default();
        bitmap.set(0, true);
        bitmap.set(511, true);
        let mut entries = vec![None; REGIONS_PER_PAGE as usize];
        entries[0] = Some((Class(1), bitmap));
        entries[27] = Some((Class(0), bitmap));
        let id = PageId {
            store_id: 7,
            page: 3,
            sequence: 9,
        };
        let block = encode(id, &entries);
        assert_eq!(decode(&block, id, &geometry).unwrap(), entries);
        assert_eq!(
            decode(&block, PageId { sequence: 10, ..id }, &geometry).unwrap(),
            entries
        );
        for wrong in [
            PageId { sequence: 8, ..id },
            PageId { page: 2, ..id },
            PageId { store_id: 8, ..id },
        ] {
            assert!(decode(&block, wrong, &geometry).is_err(), "{wrong:?}");
        }
        for byte in 0..block.len() {
            let mut bad = block.clone();
            bad[byte] ^= 1;
            assert!(decode(&bad, id, &geometry).is_err(), "{byte}");
        }
        // Class 2 has 341 slots to a region: slot 511 cannot be.
        for bad in [Some((Class(2), bitmap)), Some((Class(999), bitmap))] {
            assert!(decode(&encode(id, &[bad]), id, &geometry).is_err(), "{bad:?}");
        }
    }
}
