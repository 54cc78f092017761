//! `hadron bench raw`: what this machine does with a local file without any file system above it: the limit that reads
//! through a DataNode, by TCP or by short circuit, are held against.
//!
//! The file is made, or read once, before the measured time, so that it lies in the page cache as a benchmark's blocks do.
//! How fast a file is read depends on how it was written (the kernel keeps what came in one piece in larger pages): so the
//! files may be those of a benchmark's blocks, one after another.
//! `loopback` sends it over TCP on 127.0.0.1, each stream with a sending and a receiving thread, by the faster of
//! `pread` with `write` and `sendfile`; nobody looks at the bytes. `pread` and `mmap` read it in order, `random` 4 KiB at a
//! time. The verified kinds add what no reader of HDFS may leave out. What it does not do: disks.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use hadron_env::{Random, SeededRandom};
use hadron_shm::MappedFile;
use hadron_types::ChecksumType;
use hadron_wire::transfer::Checksum;
use serde_json::json;

use super::figures::Figures;

/// Bytes moved at once: those of the DataNode's and the reader's large buffers.
const PART: usize = 1 << 20;
/// As files are checksummed unless somebody asks for something else.
const CHECKSUM: Checksum = Checksum {
    kind: ChecksumType::Crc32c,
    bytes_per_checksum: 512,
};
/// Bytes of a random read.
pub(super) const SMALL: usize = 4096;
/// Where random reads go; the same with each run.
pub(super) const SEED: u64 = 7;

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RawOp {
    /// Over TCP on 127.0.0.1.
    Loopback,
    /// The same, and the receiver holds what comes against the checksums of its chunks of 512 bytes, which lie in memory.
    LoopbackVerified,
    /// In order.
    Pread,
    /// In order, through a mapping; one byte of each cache line is looked at.
    Mmap,
    /// 4 KiB at a time, anywhere.
    Random,
    /// The same, verified in the same way.
    RandomVerified,
}

impl RawOp {
    fn is_loopback(self) -> bool {
        matches!(self, Self::Loopback | Self::LoopbackVerified)
    }
    fn is_random(self) -> bool {
        matches!(self, Self::Random | Self::RandomVerified)
    }
    fn is_verified(self) -> bool {
        matches!(self, Self::LoopbackVerified | Self::RandomVerified)
    }
}

/// `hadron bench raw`.
#[derive(Args)]
pub(crate) struct RawArgs {
    /// What to measure.
    #[arg(long, value_enum)]
    op: RawOp,
    /// The files, read one after another; one that is not there is made, and removed at the end.
    #[arg(long, value_name = "PATH", required = true, num_args = 1..)]
    file: Vec<PathBuf>,
    /// Its size in MiB where it is made.
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    size: u64,
    /// How many streams or readers at once: they share the files, or each reads all where there are fewer than readers.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: u32,
    /// Random reads of each reader.
    #[arg(long, value_name = "N", default_value_t = 200_000)]
    count: u64,
}

pub(crate) fn run(args: &RawArgs) -> Result<()> {
    let missing: Vec<_> = args.file.iter().filter(|path| !path.exists()).collect();
    let measured = missing
        .iter()
        .try_for_each(|path| make(path, args.size))
        .and_then(|()| measure(args));
    for path in missing.into_iter().filter(|path| path.exists()) {
        std::fs::remove_file(path).with_context(|| format!("remove {}", path.display()))?;
    }
    measured
}

/// An open file and its length in bytes.
struct Whole {
    file: File,
    len: u64,
    /// Of each chunk, where they are needed.
    sums: Vec<u8>,
}

impl Whole {
    fn sum(&mut self) -> Result<()> {
        let mut part = vec![0; PART];
        let mut at = 0;
        while at < self.len {
            let count = usize::try_from(self.len - at).unwrap_or(PART).min(PART);
            self.file.read_exact_at(&mut part[..count], at)?;
            let from = self.sums.len();
            self.sums.resize(from + CHECKSUM.checksums_len(count), 0);
            CHECKSUM.compute_into(&part[..count], &mut self.sums[from..]);
            at += count as u64;
        }
        Ok(())
    }

    /// Where checksums are needed: verifies `part`, which begins at a chunk's start.
    fn verify(&self, part: &[u8], at: u64) -> Result<()> {
        if !self.sums.is_empty() {
            CHECKSUM.verify(part, &self.sums[CHECKSUM.checksums_len(at as usize)..])?;
        }
        Ok(())
    }
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
    let mut files = Vec::new();
    for path in &args.file {
        let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
        let len = file.metadata()?.len();
        if len < SMALL as u64 {
            bail!("{} has {len} bytes, too few to measure with", path.display());
        }
        let sums = Vec::new();
        files.push(Whole { file, len, sums });
    }
    in_order(&files)?;
    if args.op.is_verified() {
        files.iter_mut().try_for_each(Whole::sum)?;
    }
    let engines: &[&str] = match args.op.is_loopback() {
        true => &["write", "sendfile"],
        false => &["only"],
    };
    let mut best: Option<(Duration, Figures, Duration, &str)> = None;
    for engine in engines {
        let started = Instant::now();
        let (figures, sending) = all(args, &files, engine)?;
        let took = started.elapsed();
        if best.as_ref().is_none_or(|(before, ..)| took < *before) {
            best = Some((took, figures, sending, engine));
        }
    }
    let Some((took, mut figures, sending, engine)) = best else {
        bail!("nothing was measured");
    };
    let bytes = match args.op.is_random() {
        true => figures.count() as u64 * SMALL as u64,
        false => (0..args.threads)
            .flat_map(|number| share(&files, number, args.threads))
            .map(|whole| whole.len)
            .sum(),
    };
    let op = args.op.to_possible_value();
    let op = op.map_or_else(String::new, |value| value.get_name().to_owned());
    let head = [
        ("bench", json!("raw")),
        ("op", json!(op)),
        ("engine", json!(engine)),
        ("threads", json!(args.threads)),
        ("server_cpu_s", json!(sending.as_secs_f64())),
    ];
    super::print(&head, figures.json(took, bytes));
    Ok(())
}

/// The files of reader `number`: its share where there is at least one for each, else all.
fn share(files: &[Whole], number: u32, threads: u32) -> &[Whole] {
    let (number, threads) = (number as usize, threads as usize);
    match files.len() / threads {
        0 => files,
        each if number + 1 == threads => &files[number * each..],
        each => &files[number * each..(number + 1) * each],
    }
}

/// One run of all readers; what its sending threads used of the processor.
fn all(args: &RawArgs, files: &[Whole], engine: &str) -> Result<(Figures, Duration)> {
    let mut figures = Figures::default();
    let used = AtomicU64::new(0);
    let sending = &used;
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..args.threads)
            .map(|number| {
                let files = share(files, number, args.threads);
                scope.spawn(move || match args.op {
                    RawOp::Loopback | RawOp::LoopbackVerified => {
                        timed(|| loopback(files, engine == "sendfile", sending))
                    }
                    RawOp::Pread => timed(|| in_order(files)),
                    RawOp::Mmap => timed(|| mapped(files)),
                    RawOp::Random | RawOp::RandomVerified => random(files, args.count, u64::from(number)),
                })
            })
            .collect();
        for reader in readers {
            let read = reader.join().map_err(|_| anyhow::anyhow!("a reader panicked"))?;
            figures.merge(read?);
        }
        Ok((figures, Duration::from_nanos(sending.load(Ordering::Relaxed))))
    })
}

fn timed(work: impl FnOnce() -> Result<()>) -> Result<Figures> {
    let started = Instant::now();
    work()?;
    let mut figures = Figures::default();
    figures.add(started.elapsed());
    Ok(figures)
}

/// Adds the nanoseconds of processor time that the sending thread used to `used`.
fn loopback(files: &[Whole], by_sendfile: bool, used: &AtomicU64) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut receiver = TcpStream::connect(listener.local_addr()?)?;
    let (mut sender, _) = listener.accept()?;
    std::thread::scope(|scope| {
        let sending = scope.spawn(move || {
            let sent = match by_sendfile {
                true => files.iter().try_for_each(|whole| {
                    let mut at = 0;
                    while at < whole.len {
                        let sent = rustix::fs::sendfile(&sender, &whole.file, Some(&mut at), PART)?;
                        anyhow::ensure!(sent > 0, "the file ended early");
                    }
                    Ok(())
                }),
                false => parts(files, |part| Ok(sender.write_all(part)?)),
            };
            // Nanoseconds on a processor come first; where the kernel does not count them, none were used.
            let times = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
            let nanos = times.split(' ').next().and_then(|text| text.parse().ok());
            used.fetch_add(nanos.unwrap_or(0), Ordering::Relaxed);
            sent
        });
        let received = receive(&mut receiver, files);
        if received.is_err() {
            // Else the sender waits for room for ever.
            let _ = receiver.shutdown(Shutdown::Both);
        }
        let sent = sending.join().map_err(|_| anyhow::anyhow!("the sender panicked"))?;
        received.and(sent)
    })
}

fn receive(stream: &mut TcpStream, files: &[Whole]) -> Result<()> {
    let mut buffer = vec![0; PART];
    for whole in files {
        let mut at = 0;
        while at < whole.len {
            let count = usize::try_from(whole.len - at).unwrap_or(PART).min(PART);
            stream.read_exact(&mut buffer[..count])?;
            whole.verify(&buffer[..count], at)?;
            at += count as u64;
        }
    }
    Ok(())
}

fn in_order(files: &[Whole]) -> Result<()> {
    parts(files, |_| Ok(()))
}

fn parts(files: &[Whole], mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let mut buffer = vec![0; PART];
    for whole in files {
        let mut at = 0;
        while at < whole.len {
            let count = usize::try_from(whole.len - at).unwrap_or(PART).min(PART);
            whole.file.read_exact_at(&mut buffer[..count], at)?;
            each(&buffer[..count])?;
            at += count as u64;
        }
    }
    Ok(())
}

fn mapped(files: &[Whole]) -> Result<()> {
    for whole in files {
        let map = MappedFile::new(&whole.file, usize::try_from(whole.len)?)?;
        std::hint::black_box(touch(map.bytes()));
    }
    Ok(())
}

/// Looks at one byte of each cache line, so that every byte comes from memory.
pub(super) fn touch(bytes: &[u8]) -> u64 {
    bytes.iter().step_by(64).map(|byte| u64::from(*byte)).sum()
}

fn random(files: &[Whole], count: u64, number: u64) -> Result<Figures> {
    let numbers = SeededRandom::new(SEED + number);
    let mut buffer = vec![0; SMALL];
    let mut figures = Figures::default();
    for _ in 0..count {
        let whole = &files[numbers.below(files.len() as u64) as usize];
        let at = numbers.below(whole.len / SMALL as u64) * SMALL as u64;
        let started = Instant::now();
        whole.file.read_exact_at(&mut buffer, at)?;
        whole.verify(&buffer, at)?;
        figures.add(started.elapsed());
    }
    Ok(figures)
}
