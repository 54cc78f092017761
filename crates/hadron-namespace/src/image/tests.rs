//! Damage to images: every kind is named, with its offset.

use super::*;
use crate::tests::{World, root};

fn image() -> (Vec<u8>, Vec<usize>) {
    let mut world = World::new();
    for number in 0..20_000 {
        world.open(&root(), &format!("/d{}/f{number}", number % 10), "h");
    }
    let mut bytes = Vec::new();
    let mut starts = Vec::new();
    for slice in world.ns.image_slices() {
        starts.push(bytes.len());
        bytes.extend(slice);
    }
    (bytes, starts)
}

/// Slices are made on a thread of their own while commands go on.
#[test]
fn slices_own_their_snapshot() {
    fn assert_movable<T: Send + 'static>(_: &T) {}
    let mut world = World::new();
    let slices = world.ns.image_slices();
    assert_movable(&slices);
    world.mkdirs(&root(), "/later", 0o755);
    let image: Vec<u8> = slices.flatten().collect();
    let loaded = Namespace::from_image(&image).expect("loads");
    assert_eq!((loaded.counts().directories, world.ns.counts().directories), (1, 2));
}

#[test]
fn slices_load_in_any_order() {
    let (bytes, starts) = image();
    assert!(starts.len() > 3, "several slices: {}", starts.len());
    let mut loader = ImageLoader::new();
    let ends = starts.iter().copied().skip(1).chain([bytes.len()]);
    let mut slices: Vec<(usize, usize)> = starts.iter().copied().zip(ends).collect();
    slices.reverse();
    for (start, end) in slices {
        let slice = decode_slice(&bytes[start..end], start as u64).expect("decodes");
        loader.add(slice).expect("fits");
    }
    let namespace = loader.finish().expect("is whole");
    assert_eq!(namespace.counts().files, 20_000);
    assert_eq!(namespace.counts().open_files, 20_000);
}

#[test]
fn damage_is_named_with_its_offset() {
    let (bytes, starts) = image();
    let load = |bytes: &[u8]| Namespace::from_image(bytes).map(drop).expect_err("is damaged");
    let second = starts[1];
    let damaged = |at: usize| {
        let mut copy = bytes.clone();
        copy[at] ^= 1;
        load(&copy)
    };
    let offset = second as u64;
    assert_eq!(damaged(second), ImageError::BadMagic { offset });
    for at in [
        second + 4,
        second + 8,
        second + SLICE_HEADER_LEN,
        second + SLICE_HEADER_LEN + 5_000,
    ] {
        let error = damaged(at);
        assert!(
            matches!(error, ImageError::Checksum { offset: at, .. } if at == offset),
            "{error}"
        );
    }
    assert!(matches!(
        damaged(second + 15),
        ImageError::Truncated { .. } | ImageError::Checksum { .. }
    ));
    assert!(
        damaged(starts[2] + 20)
            .to_string()
            .contains(&format!("offset {}", starts[2]))
    );
    let last = starts[starts.len() - 1];
    assert_eq!(
        load(&bytes[..last]),
        ImageError::Inconsistent("no end slice".to_owned())
    );
    let offset = last as u64;
    assert_eq!(load(&bytes[..bytes.len() - 1]), ImageError::Truncated { offset });
    let hole = [&bytes[..second], &bytes[starts[2]..]].concat();
    assert!(matches!(load(&hole), ImageError::Inconsistent(_)));
    let twice = [&bytes[..starts[2]], &bytes[second..]].concat();
    assert!(matches!(load(&twice), ImageError::Inconsistent(_)));
    assert_eq!(load(&[]), ImageError::Inconsistent("no header slice".to_owned()));
    assert_eq!(load(b"HDN"), ImageError::Truncated { offset: 0 });
}

#[test]
fn newer_versions_and_huge_claims_are_refused() {
    let (bytes, _) = image();
    let mut huge = bytes.clone();
    huge[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
    let error = SliceHeader::parse(&huge, 0).expect_err("is refused");
    let len = u32::MAX;
    assert_eq!(error, ImageError::TooLarge { offset: 0, len });
}
