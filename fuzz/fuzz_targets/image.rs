//! Images: arbitrary records under good checksums, and a real image with some bytes changed under good checksums.
#![no_main]

use hadron_namespace::image::SLICE_HEADER_LEN;
use hadron_namespace::{Identity, Namespace};
use hadron_types::{ChecksumType, TimeMs};
use hadron_wire::transfer::Checksum;
use libfuzzer_sys::fuzz_target;

/// Where a slice's header ends but for the checksum (docs/formats/image.md).
const CHECKSUM_AT: usize = SLICE_HEADER_LEN - 4;

fuzz_target!(|input: (Vec<(u8, &[u8])>, Vec<(u8, u16, u8)>)| {
    let (records, changes) = input;
    let _ = Namespace::from_image(&raw(&records));
    let image = changed(&changes);
    if let Ok(loaded) = Namespace::from_image(&image) {
        let again: Vec<u8> = loaded.image_slices().flatten().collect();
        assert!(
            Namespace::from_image(&again).is_ok(),
            "what loads can be written and loaded"
        );
    }
});

/// Slices of these kinds and payloads.
fn raw(records: &[(u8, &[u8])]) -> Vec<u8> {
    let mut image = Vec::new();
    for (sequence, (kind, payload)) in records.iter().enumerate() {
        let mut slice = Vec::from(*b"HDNI");
        slice.extend_from_slice(&1_u16.to_le_bytes());
        slice.extend_from_slice(&u16::from(kind % 5).to_le_bytes());
        slice.extend_from_slice(&(sequence as u32).to_le_bytes());
        slice.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        slice.extend_from_slice(&[0; 4]);
        slice.extend_from_slice(payload);
        image.extend(sealed(slice));
    }
    image
}

/// The image of an empty namespace, with bytes of its payloads changed.
fn changed(changes: &[(u8, u16, u8)]) -> Vec<u8> {
    let identity = Identity {
        namespace_id: 1,
        cluster_id: "CID-1".to_owned(),
        block_pool: "BP-1".into(),
        created: TimeMs(1),
    };
    let namespace = Namespace::new(identity, "root", "supergroup", TimeMs(1));
    let mut slices: Vec<Vec<u8>> = namespace.image_slices().collect();
    for (slice, at, value) in changes {
        let count = slices.len();
        let slice = &mut slices[usize::from(*slice) % count];
        let payload = &mut slice[SLICE_HEADER_LEN..];
        if !payload.is_empty() {
            let at = usize::from(*at) % payload.len();
            payload[at] = *value;
        }
    }
    slices.into_iter().flat_map(sealed).collect()
}

/// The slice with the checksum it should have.
fn sealed(mut slice: Vec<u8>) -> Vec<u8> {
    let checksum = Checksum::new(ChecksumType::Crc32c, 512).expect("in range");
    let covered = [&slice[..CHECKSUM_AT], &slice[SLICE_HEADER_LEN..]].concat();
    slice[CHECKSUM_AT..SLICE_HEADER_LEN].copy_from_slice(&checksum.of_chunk(&covered).to_le_bytes());
    slice
}
