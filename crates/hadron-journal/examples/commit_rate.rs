//! Prints how many commands per second a local log commits, beside what the disk itself can do.
//!
//! What it is for: tuning and `docs/performance.md`. Run it on the disk in question:
//! `cargo run --release -p hadron-journal --example commit_rate -- DIR [SECONDS]`. What it does not do: assert.
//! The machine does nothing, so the figures are the log's own. CPU is that of the whole process, from /proc.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hadron_env::{Disk, Open, Random, RealDisk, SeededRandom};
use hadron_journal::{CodecError, CommandLog, Entry, Env, Identity, ImageReader, LocalLog, Options, StateMachine};
use hadron_types::TimeMs;

/// Bytes of one command, about those of a create.
const COMMAND_BYTES: usize = 200;

/// A machine that only counts.
#[derive(Default)]
struct Counter(AtomicU64);

impl StateMachine for Counter {
    type Command = [u8; COMMAND_BYTES];
    type Outcome = u64;
    type Snapshot = ();

    fn rules_version(&self) -> u32 {
        1
    }
    fn encode(&self, command: &Self::Command, buffer: &mut Vec<u8>) {
        buffer.extend_from_slice(command);
    }
    fn decode(&self, payload: &[u8]) -> Result<Self::Command, CodecError> {
        payload.try_into().map_err(|_| CodecError("wrong length".into()))
    }
    fn apply(&self, entries: &mut Vec<Entry<Self::Command>>, outcomes: &mut Vec<u64>) {
        outcomes.extend(entries.drain(..).map(|_| self.0.fetch_add(1, Ordering::Relaxed)));
    }
    fn digest(&self, outcome: &u64, buffer: &mut Vec<u8>) {
        buffer.extend_from_slice(&outcome.to_le_bytes());
    }
    fn snapshot(&self) {}
    fn image((): ()) -> Box<dyn Iterator<Item = Vec<u8>> + Send> {
        Box::new(std::iter::empty())
    }
    fn restore(&self, _: &ImageReader) -> Result<(), CodecError> {
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let root = PathBuf::from(arguments.next().ok_or("give a directory")?).join("commit-rate");
    let seconds = arguments.next().map_or(Ok(3), |text| text.parse())?;
    std::fs::create_dir_all(&root)?;
    let duration = Duration::from_secs(seconds);
    for (name, how, filled, sync) in [
        ("append, fdatasync", Open::TRUNCATE, false, true),
        ("zero-filled, fdatasync", Open::WRITE, true, true),
        (
            "zero-filled, O_DIRECT|O_DSYNC",
            Open::WRITE.with_dsync().with_direct(),
            true,
            false,
        ),
    ] {
        let (rate, cpu) = raw_rate(&root, how, filled, sync, duration)?;
        println!(
            "raw    {name:<30} {rate:>9.0}/s {:>7.0} us mean {:>25.1} us CPU each",
            1e6 / rate,
            cpu
        );
    }
    for dirs in [1, 2] {
        for callers in [1, 16, 64] {
            commit_rate(&root, dirs, callers, duration)?;
        }
    }
    std::fs::remove_dir_all(&root)?;
    Ok(())
}

/// Writes of one block per second, each made durable, and the microseconds of CPU each takes.
fn raw_rate(
    root: &Path,
    how: Open,
    filled: bool,
    sync: bool,
    duration: Duration,
) -> Result<(f64, f64), Box<dyn Error>> {
    const LEN: u64 = 64 << 20;
    let path = root.join("raw");
    let file = RealDisk.open(&path, Open::TRUNCATE)?;
    if filled {
        file.write_all_at(&vec![0; LEN as usize], 0)?;
        file.sync_all()?;
    }
    drop(file);
    let file = RealDisk.open(&path, how)?;
    let storage = vec![7_u8; 8192];
    let start_of_block = (4096 - storage.as_ptr().addr() % 4096) % 4096;
    let block = &storage[start_of_block..start_of_block + 4096];
    let cpu_before = cpu_time()?;
    let start = Instant::now();
    let mut count = 0;
    while start.elapsed() < duration {
        file.write_all_at(block, count * 4096 % LEN)?;
        if sync {
            file.sync_data()?;
        }
        count += 1;
    }
    let rate = count as f64 / start.elapsed().as_secs_f64();
    let cpu = cpu_time()?.saturating_sub(cpu_before).as_secs_f64() * 1e6 / count as f64;
    std::fs::remove_file(&path)?;
    Ok((rate, cpu))
}

fn commit_rate(root: &Path, dirs: usize, callers: usize, duration: Duration) -> Result<(), Box<dyn Error>> {
    let dirs: Vec<PathBuf> = (0..dirs).map(|number| root.join(format!("name{number}"))).collect();
    let env = Env::system();
    let identity = Identity::generate(&SeededRandom::new(1), TimeMs(1), "localhost", None);
    hadron_journal::format(&env, &dirs, &identity, &Counter::default(), true)?;
    let options = Options {
        checkpoint_entries: u64::MAX,
        checkpoint_bytes: u64::MAX,
        ..Options::new(dirs.clone())
    };
    let log = Arc::new(LocalLog::open(Arc::new(Counter::default()), env, options)?);
    let runtime = tokio::runtime::Builder::new_multi_thread().build()?;
    let mut command = [0; COMMAND_BYTES];
    SeededRandom::new(2).fill(&mut command);
    let cpu_before = cpu_time()?;
    let start = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let log = Arc::clone(&log);
            runtime.spawn(async move {
                let mut latencies = Vec::new();
                while start.elapsed() < duration {
                    let begun = Instant::now();
                    if log.propose(command).await.is_err() {
                        break;
                    }
                    latencies.push(begun.elapsed());
                }
                latencies
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(runtime.block_on(task)?);
    }
    let elapsed = start.elapsed();
    let cpu = cpu_time()?.saturating_sub(cpu_before);
    latencies.sort_unstable();
    let count = latencies.len().max(1);
    let quantile = |share: f64| {
        latencies
            .get((count as f64 * share) as usize)
            .map_or(0, Duration::as_micros)
    };
    println!(
        "log    {} dir(s) {callers:>3} callers              {:>9.0}/s {:>7} us median {:>7} us p99 {:>6.1} us CPU each",
        dirs.len(),
        count as f64 / elapsed.as_secs_f64(),
        quantile(0.5),
        quantile(0.99),
        cpu.as_secs_f64() * 1e6 / count as f64,
    );
    log.shutdown().wait()?;
    Ok(())
}

/// User and system time of this process so far.
fn cpu_time() -> Result<Duration, Box<dyn Error>> {
    const TICKS_PER_SECOND: u64 = 100;
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}
