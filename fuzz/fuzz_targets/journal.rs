//! A journal with some bytes of its files changed, with and without good checksums: recovery ends in a log or an error,
//! and what it recovers is a prefix of what was written unless a checksum was made good again.
#![no_main]

use hadron_env::{Disk, ManualClock, Open, SeededRandom, SimDisk};
use hadron_journal::suite::Register;
use hadron_journal::{CommandLog, Env, Identity, LocalLog, Options, format};
use hadron_types::{ChecksumType, TimeMs};
use hadron_wire::transfer::Checksum;
use libfuzzer_sys::fuzz_target;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

const DIR: &str = "/name";
/// Frames begin at multiples of this (docs/formats/journal.md).
const BLOCK: usize = 4096;
const MAX_FILE: u64 = 1 << 20;
const ENTRIES: u64 = 6;

fuzz_target!(|input: (bool, Vec<(u8, u16, u8)>)| {
    let (resealed, changes) = input;
    let mut files = recorded().clone();
    for (file, at, value) in changes {
        let count = files.len();
        let (_, bytes) = &mut files[usize::from(file) % count];
        if !bytes.is_empty() {
            let at = usize::from(at) % bytes.len();
            bytes[at] = value;
        }
    }
    let disk = SimDisk::new();
    for (path, bytes) in &mut files {
        if resealed {
            reseal(bytes);
        }
        disk.create_dir_all(path.parent().expect("a dir"))
            .expect("a fresh disk");
        disk.open(path, Open::CREATE)
            .and_then(|file| file.write_all_at(bytes, 0))
            .expect("a fresh disk");
    }
    let machine = Arc::new(Register::new());
    if let Ok(log) = LocalLog::open(Arc::clone(&machine), env(&disk), options()) {
        let texts: Vec<String> = machine
            .additions()
            .iter()
            .map(|addition| addition.text.clone())
            .collect();
        if !resealed {
            let written: Vec<String> = (0..ENTRIES).map(text).collect();
            assert!(written.starts_with(&texts), "nothing is made up");
        }
        drop(log);
    }
});

fn text(number: u64) -> String {
    format!("entry {number}")
}

fn env(disk: &SimDisk) -> Env {
    Env {
        disk: Arc::new(disk.clone()),
        clock: Arc::new(ManualClock::default()),
        random: Arc::new(SeededRandom::new(7)),
    }
}

fn options() -> Options {
    Options {
        segment_bytes: 8 * BLOCK as u64,
        first_segment_bytes: 8 * BLOCK as u64,
        ..Options::new(vec![PathBuf::from(DIR)])
    }
}

/// The files of a log with a few entries, a batch each.
fn recorded() -> &'static Vec<(PathBuf, Vec<u8>)> {
    static FILES: OnceLock<Vec<(PathBuf, Vec<u8>)>> = OnceLock::new();
    FILES.get_or_init(|| {
        let disk = SimDisk::new();
        let env = env(&disk);
        let identity = Identity::generate(&*env.random, TimeMs(1), "localhost", None);
        format(&env, &[PathBuf::from(DIR)], &identity, &Register::new(), false).expect("a fresh disk");
        let log = LocalLog::open(Arc::new(Register::new()), env, options()).expect("a fresh log");
        for number in 0..ENTRIES {
            wait(log.propose(Register::add(number, &text(number)))).expect("applied");
        }
        drop(log);
        let mut files = Vec::new();
        collect(&disk, Path::new(DIR), &mut files);
        files
    })
}

fn collect(disk: &SimDisk, dir: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in disk.list(dir).expect("a dir") {
        let path = dir.join(&entry.name);
        if entry.is_dir {
            collect(disk, &path, files);
        } else {
            files.push((path.clone(), disk.read(&path, MAX_FILE).expect("a file")));
        }
    }
}

fn wait<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        std::thread::yield_now();
    }
}

/// Makes the checksums of a segment's header and of its frames good.
fn reseal(bytes: &mut [u8]) {
    if !bytes.starts_with(b"HDRNSEG1") || bytes.len() < BLOCK {
        return;
    }
    let checksum = Checksum::new(ChecksumType::Crc32c, 512).expect("in range");
    let sum = checksum.of_chunk(&bytes[..60]);
    bytes[60..64].copy_from_slice(&sum.to_le_bytes());
    for at in (BLOCK..bytes.len()).step_by(BLOCK) {
        let frame = &mut bytes[at..];
        if !frame.starts_with(b"HJB1") || frame.len() < 64 {
            continue;
        }
        let len = u32::from_le_bytes([frame[12], frame[13], frame[14], frame[15]]) as usize;
        if (8..=frame.len()).contains(&len) {
            let sum = checksum.of_chunk(&frame[8..len]);
            frame[4..8].copy_from_slice(&sum.to_le_bytes());
        }
    }
}
