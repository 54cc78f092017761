//! `hadron bench raw`: what this machine does with a local file without any file system above it: the limit that reads
//! through a DataNode, by TCP or by short circuit, are held against.
//!
//! The file is made, or read once, before the measured time, so that it lies in the page cache as a benchmark's blocks do.
//! `loopback` sends it over TCP on 127.0.0.1, each stream with a sending and a receiving thread, by the faster of
//! `pread` with `write` and `sendfile`; nobody looks at the bytes. `pread` and `mmap` read it in order, `random` 4 KiB at a
//! time. What it does not do: disks.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use hadron_env::{Random, SeededRandom};
use hadron_shm::MappedFile;
use serde_json::json;

use super::figures::Figures;

/// Bytes moved at once: those of the DataNode's and the reader's large buffers.
const PART: usize = 1 << 20;
/// Bytes of a random read.
pub(super) const SMALL: usize = 4096;
/// Where random reads go; the same with each run.
pub(super) const SEED: u64 = 7;

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RawOp {
    /// Over TCP on 127.0.0.1.
    Loopback,
    /// In order.
    Pread,
    /// In order, through a mapping; one byte of each cache line is looked at.
    Mmap,
    /// 4 KiB at a time, anywhere.
    Random,
}

/// `hadron bench raw`.
#[derive(Args)]
pub(crate) struct RawArgs {
    /// What to measure.
    #[arg(long, value_enum)]
    op: RawOp,
    /// The file; made where it is not there, and removed then.
    #[arg(long, value_name = "PATH")]
    file: PathBuf,
    /// Its size in MiB where it is made.
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    size: u64,
    /// How many streams or readers at once, each of the whole file.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: u32,
    /// Random reads of each reader.
    #[arg(long, value_name = "N", default_value_t = 200_000)]
    count: u64,
}

pub(crate) fn run(args: &RawArgs) -> Result<()> {
    let made = !args.file.exists();
    if made {
        make(&args.file, args.size)?;
    }
    let measured = measure(args);
    if made {
        std::fs::remove_file(&args.file)?;
    }
    measured
}

fn make(path: &Path, mib: u64) -> Result<()> {
    let failed = || format!("make {}", path.display());
    let mut file = File::create_new(path).with_context(failed)?;
    let mut part = vec![0; PART];
    SeededRandom::new(SEED).fill(&mut part);
    for _ in 0..mib {
        file.write_all(&part).with_context(failed)?;
    }
    Ok(())
}

fn measure(args: &RawArgs) -> Result<()> {
    let file = File::open(&args.file).with_context(|| format!("open {}", args.file.display()))?;
    let file = Arc::new(file);
    let len = file.metadata()?.len();
    if len < SMALL as u64 {
        bail!("{} has {len} bytes, too few to measure with", args.file.display());
    }
    in_order(&file, len)?;
    let engines: &[&str] = match args.op {
        RawOp::Loopback => &["write", "sendfile"],
        _ => &["only"],
    };
    let mut best: Option<(Duration, Figures, &str)> = None;
    for engine in engines {
        let started = Instant::now();
        let figures = all(args, &file, len, engine)?;
        let took = started.elapsed();
        if best.as_ref().is_none_or(|(before, ..)| took < *before) {
            best = Some((took, figures, engine));
        }
    }
    let Some((took, mut figures, engine)) = best else {
        bail!("nothing was measured");
    };
    let bytes = match args.op {
        RawOp::Random => figures.count() as u64 * SMALL as u64,
        _ => len * u64::from(args.threads),
    };
    let op = args.op.to_possible_value();
    let op = op.map_or_else(String::new, |value| value.get_name().to_owned());
    let head = [
        ("bench", json!("raw")),
        ("op", json!(op)),
        ("engine", json!(engine)),
        ("threads", json!(args.threads)),
    ];
    super::print(&head, figures.json(took, bytes));
    Ok(())
}

/// One run of all readers.
fn all(args: &RawArgs, file: &Arc<File>, len: u64, engine: &str) -> Result<Figures> {
    let mut figures = Figures::default();
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..args.threads)
            .map(|number| {
                scope.spawn(move || match args.op {
                    RawOp::Loopback => timed(|| loopback(file, len, engine == "sendfile")),
                    RawOp::Pread => timed(|| in_order(file, len)),
                    RawOp::Mmap => timed(|| mapped(file, len)),
                    RawOp::Random => random(file, len, args.count, u64::from(number)),
                })
            })
            .collect();
        for reader in readers {
            let read = reader.join().map_err(|_| anyhow::anyhow!("a reader panicked"))?;
            figures.merge(read?);
        }
        Ok(figures)
    })
}

fn timed(work: impl FnOnce() -> Result<()>) -> Result<Figures> {
    let started = Instant::now();
    work()?;
    let mut figures = Figures::default();
    figures.add(started.elapsed());
    Ok(figures)
}

fn loopback(file: &File, len: u64, by_sendfile: bool) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut receiver = TcpStream::connect(listener.local_addr()?)?;
    let (mut sender, _) = listener.accept()?;
    std::thread::scope(|scope| {
        let sending = scope.spawn(move || match by_sendfile {
            true => {
                let mut at = 0;
                while at < len {
                    let sent = rustix::fs::sendfile(&sender, file, Some(&mut at), PART)?;
                    anyhow::ensure!(sent > 0, "the file ended early");
                }
                Ok(())
            }
            false => parts(file, len, |part| Ok(sender.write_all(part)?)),
        });
        let mut buffer = vec![0; PART];
        let mut left = len;
        while left > 0 {
            let count = receiver.read(&mut buffer)?;
            anyhow::ensure!(count > 0, "the stream ended early");
            left -= count as u64;
        }
        sending.join().map_err(|_| anyhow::anyhow!("the sender panicked"))?
    })
}

fn in_order(file: &File, len: u64) -> Result<()> {
    parts(file, len, |_| Ok(()))
}

fn parts(file: &File, len: u64, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let mut buffer = vec![0; PART];
    let mut at = 0;
    while at < len {
        let count = usize::try_from(len - at).unwrap_or(PART).min(PART);
        file.read_exact_at(&mut buffer[..count], at)?;
        each(&buffer[..count])?;
        at += count as u64;
    }
    Ok(())
}

fn mapped(file: &File, len: u64) -> Result<()> {
    let map = MappedFile::new(file, usize::try_from(len)?)?;
    std::hint::black_box(touch(map.bytes()));
    Ok(())
}

/// Looks at one byte of each cache line, so that every byte comes from memory.
pub(super) fn touch(bytes: &[u8]) -> u64 {
    bytes.iter().step_by(64).map(|byte| u64::from(*byte)).sum()
}

fn random(file: &File, len: u64, count: u64, number: u64) -> Result<Figures> {
    let numbers = SeededRandom::new(SEED + number);
    let mut buffer = vec![0; SMALL];
    let mut figures = Figures::default();
    for _ in 0..count {
        let at = numbers.below(len / SMALL as u64) * SMALL as u64;
        let started = Instant::now();
        file.read_exact_at(&mut buffer, at)?;
        figures.add(started.elapsed());
    }
    Ok(figures)
}
