//! Large trees: memory per file, deletion in slices, summaries in slices, many blocks.

use super::state::{assert_invariants, dump};
use super::*;
use crate::{ContentSummary, Effect};

const FILES: usize = 60_000;
const FILES_PER_DIRECTORY: usize = 10_000;

/// A world of closed one-block files with names of 16 bytes.
fn filled() -> World {
    let mut world = World::new();
    for number in 0..FILES {
        let path = format!("/data/{}/part-{number:011}", number / FILES_PER_DIRECTORY);
        world.file(&root(), &path, &[1]);
    }
    world
}

#[test]
fn a_file_costs_at_most_130_bytes_and_a_snapshot_copies_pages_only() {
    let mut world = filled();
    let usage = world.ns.memory_usage();
    let per_file = usage.files_total() / FILES;
    assert!(per_file <= 130, "{per_file} bytes a file: {usage:?}");

    let snapshot = world.ns.snapshot();
    let before = snapshot.counts();
    world.ok(&root(), delete("/data/3", true));
    world.file(&root(), "/new", &[1, 2, 3]);
    assert_eq!(snapshot.counts(), before);
    assert_invariants(&snapshot);
    assert_invariants(&world.ns);
}

#[test]
fn large_trees_are_freed_in_slices() {
    let mut world = filled();
    let open = world.open(&root(), "/data/0/open", "h");
    assert_eq!(world.ok(&root(), delete("/data", true)), OutcomeValue::Bool(true));
    assert!(world.effects().contains(&Effect::ReclaimNeeded));
    assert_eq!(world.ns.file_info(&root(), "/data"), Ok(None));
    assert_eq!(
        world.ns.open_file(hadron_types::InodeId(open)),
        None,
        "a detached file has no lease"
    );
    let left = world.ns.counts().files;
    assert!(
        left > FILES as u64 - 1_000 && left < FILES as u64,
        "one command frees one slice: {left}"
    );

    // Half-freed trees survive an image.
    let image: Vec<u8> = world.ns.image_slices().flatten().collect();
    let loaded = Namespace::from_image(&image).expect("loads");
    assert_eq!(dump(&loaded), dump(&world.ns));
    world.ns = loaded;

    let mut slices = 0;
    let mut blocks = 0;
    while world.ns.has_detached() {
        let outcome = world.ok(&root(), Reclaim { budget: 0 });
        assert!(matches!(outcome, OutcomeValue::Reclaimed { inodes, .. } if inodes <= 5_001));
        for effect in world.effects() {
            if let Effect::BlocksRemoved(removed) = effect {
                blocks += removed.len();
            }
        }
        slices += 1;
    }
    assert!(
        slices >= FILES * 2 / 5_000 && blocks > FILES - 1_000,
        "{slices} slices, {blocks} blocks"
    );
    let counts = world.ns.counts();
    assert_eq!(
        (counts.files, counts.directories, counts.blocks, counts.open_files),
        (0, 1, 0, 0)
    );
    assert_invariants(&world.ns);
    let text = "Access denied for user bob. Superuser privilege is required";
    world.refused(&bob(), Reclaim { budget: 0 }, ErrorKind::AccessControl, text);
}

#[test]
fn summaries_are_counted_in_slices() {
    let world = filled();
    let expected = ContentSummary {
        len: FILES as u64,
        files: FILES as u64,
        directories: 1 + (FILES / FILES_PER_DIRECTORY) as u64,
        space_consumed: 3 * FILES as u64,
        by_type: [0; 4],
    };
    for budget in [1, 777, 5_000, usize::MAX] {
        let mut cursor = world.ns.content_summary(&root(), "/data").expect("readable");
        let mut slices = 1;
        while !world
            .ns
            .content_summary_step(&root(), &mut cursor, budget)
            .expect("readable")
        {
            slices += 1;
        }
        assert_eq!(cursor.summary(), expected);
        assert!(slices >= FILES / budget, "{slices} slices of {budget}");
    }
    let file = world
        .ns
        .content_summary(&root(), "/data/0/part-00000000000")
        .expect("readable");
    assert_eq!((file.summary().files, file.summary().space_consumed), (1, 3));
}

#[test]
fn summaries_refuse_directories_that_may_not_be_read() {
    let mut world = World::new();
    world.mkdirs(&root(), "/pub", 0o755);
    world.mkdirs(&alice(), "/", 0o755);
    world.mkdirs(&root(), "/pub/secret", 0o700);
    let mut cursor = world.ns.content_summary(&bob(), "/pub").expect("readable");
    let text = "Permission denied: user=bob, access=READ_EXECUTE, inode=\"/pub/secret\":root:supergroup:drwx------";
    let step = world.ns.content_summary_step(&bob(), &mut cursor, 10);
    assert_eq!(step, Err(HadoopError::new(ErrorKind::AccessControl, text)));
}

#[test]
fn files_of_many_blocks() {
    let mut world = World::new();
    let lens: Vec<u64> = (0..3_000).map(|number| number % 7 + 1).collect();
    world.file(&root(), "/big", &lens);
    let located = world
        .ns
        .block_locations(&root(), "/big", 10, 5, TimeMs(0), 0)
        .expect("readable");
    assert_eq!(located.len, lens.iter().sum::<u64>());
    let offsets: Vec<u64> = located.blocks.iter().map(|block| block.offset).collect();
    assert_eq!(offsets, [10], "blocks 1+2+3+4 end at 10, the fifth has 5 bytes");
    world.ok(&root(), delete("/big", false));
    assert!(world.ns.counts().blocks == 0);
}
