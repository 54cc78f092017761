//! Finds the state again: newest good image, then every later entry, in the best of the name dirs.
//!
//! What it is for: start-up, and nothing after it. What it does not do: guess. Invariants: an answered entry is found
//! again or start-up stops; a torn tail is cut with a warning; dirs that lag are made equal to the best before anything
//! new is written; the new reign's epoch is higher than any on the dirs, so that a dir left behind can never win later.

use std::io;
use std::path::{Path, PathBuf};

use hadron_env::disk::DiskLock;
use hadron_env::durable;
use hadron_env::{Disk, Open};
use hadron_types::{Epoch, LogIndex, TimeMs};

use crate::batch::{decode_entries, roll_digest};
use crate::identity::Identity;
use crate::image::{self, ImageHeader, ImageReader};
use crate::inventory::{CURRENT, Inventory, LOCK_FILE, VERSION_FILE};
use crate::machine::StateMachine;
use crate::options::{Env, Options};
use crate::scan::{Batches, ScanError, SegmentScan, Step, Tail, scan};
use crate::segment;
use crate::setup::read_version;

/// Bytes copied at a time when a dir is repaired.
const COPY_BYTES: usize = 1 << 20;

/// Why a log cannot be opened.
#[derive(thiserror::Error, Debug)]
pub enum OpenError {
    /// No dirs were given.
    #[error("no name dir is configured: set dfs.namenode.name.dir")]
    NoDirs,
    /// A dir is not there.
    #[error("name dir {0} does not exist: create or mount it, or take it out of dfs.namenode.name.dir")]
    Missing(PathBuf),
    /// Another process has a dir.
    #[error("name dir {0} is in use by another process (its lock is held)")]
    InUse(PathBuf),
    /// No dir was ever formatted.
    #[error("no name dir is formatted ({0}): run `hadron namenode --format`")]
    NotFormatted(String),
    /// Dirs of different file systems.
    #[error("name dirs {a} and {b} belong to different file systems: correct dfs.namenode.name.dir")]
    Mixed {
        /// One dir.
        a: PathBuf,
        /// The other.
        b: PathBuf,
    },
    /// Two dirs were each used without the other.
    #[error(
        "{a} and {b} were written by different starts of the same reign: their name dirs were used separately; decide \
         which one to keep and empty the other"
    )]
    Split {
        /// One segment.
        a: PathBuf,
        /// The other.
        b: PathBuf,
    },
    /// What is on disk is not what a crash leaves behind.
    #[error("{path} is damaged at offset {offset}: {reason}. {remedy}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        reason: String,
        /// What a person can do.
        remedy: &'static str,
    },
    /// Replay gave other outcomes than the first run.
    #[error(
        "{path}: outcomes before entry {index} (batch at offset {offset}) differ from those at run time: start the \
         program version that wrote this journal, save an image with it, then start this one"
    )]
    Diverged {
        /// The segment.
        path: PathBuf,
        /// The batch.
        offset: u64,
        /// Its first entry.
        index: u64,
    },
    /// Too few dirs work.
    #[error("{0}")]
    TooFewDirs(String),
    /// The disk refused something that cannot be done without.
    #[error("{what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

const REMEDY_SEGMENT: &str = "Restore this file from another name dir or a backup";
const REMEDY_VERSION: &str = "Start the newer program that wrote it";

/// What recovery hands to the running log.
pub(crate) struct Recovered {
    pub(crate) identity: Identity,
    pub(crate) locks: Vec<(PathBuf, DiskLock)>,
    /// Name dirs that are equal and may be written.
    pub(crate) live: Vec<PathBuf>,
    pub(crate) failed: Vec<PathBuf>,
    /// Epoch of the new reign.
    pub(crate) epoch: Epoch,
    pub(crate) last_index: LogIndex,
    pub(crate) digest: u64,
    /// Index of the image that was loaded.
    pub(crate) image_index: LogIndex,
    /// When that image was begun.
    pub(crate) image_created: TimeMs,
    pub(crate) entries_replayed: u64,
    pub(crate) journal_bytes: u64,
}

/// One name dir during recovery.
struct Dir {
    root: PathBuf,
    current: PathBuf,
    inventory: Inventory,
    /// Not formatted and empty: becomes a copy of the others.
    blank: bool,
}

/// The segments of one dir that follow the chosen image.
struct Chain {
    scans: Vec<SegmentScan>,
    /// What stops this dir from being used, where, and how to help.
    damage: Option<(PathBuf, u64, String, &'static str)>,
    /// Epoch and next index of what can be used.
    position: (Epoch, LogIndex),
    /// Epoch and next index of the latest good batch seen anywhere in it.
    reach: (Epoch, LogIndex),
}

/// Recovers `machine` from the name dirs.
pub(crate) fn recover<M: StateMachine>(env: &Env, options: &Options, machine: &M) -> Result<Recovered, OpenError> {
    let disk = &*env.disk;
    let mut survey = Survey::take(disk, options)?;
    let image = load_image(disk, &mut survey, machine)?;
    let (image_index, mut digest, image_epoch) = (image.index, image.digest, image.epoch);
    let mut chains = Vec::new();
    survey.keep_working(|dir| {
        let chain = read_chain(disk, dir, image_index, image_epoch)?;
        chains.push(chain);
        Ok(())
    });
    let best = choose(&survey.dirs, &chains)?;
    let chain = &chains[best];
    let mut last_index = image_index;
    let mut journal_bytes = 0;
    for scan in &chain.scans {
        replay(disk, machine, scan, &mut last_index, &mut digest)?;
        journal_bytes += scan.end;
    }
    settle(disk, chain)?;
    let source = survey.dirs[best].current.clone();
    let highest = chains
        .iter()
        .map(|chain| chain.reach.0)
        .max()
        .unwrap_or(image_epoch)
        .max(image_epoch);
    let entries_replayed = last_index.0 - image_index.0;
    let mut position = 0;
    let identity = survey.identity.clone();
    survey.keep_working(|dir| {
        let own = &chains[position];
        let is_best = position == best;
        position += 1;
        if !is_best {
            repair(disk, &source, chain, dir, own, image_index, &identity)?;
        }
        tidy(disk, dir)
    });
    if survey.dirs.len() < options.minimum_dirs.max(1) {
        return Err(survey.too_few(options));
    }
    Ok(Recovered {
        identity: survey.identity,
        locks: survey.locks,
        live: survey.dirs.into_iter().map(|dir| dir.root).collect(),
        failed: survey.failed,
        epoch: highest.next(),
        last_index,
        digest,
        image_index,
        image_created: image.created,
        entries_replayed,
        journal_bytes,
    })
}

/// The name dirs as found.
struct Survey {
    identity: Identity,
    dirs: Vec<Dir>,
    locks: Vec<(PathBuf, DiskLock)>,
    failed: Vec<PathBuf>,
}

impl Survey {
    fn take(disk: &dyn Disk, options: &Options) -> Result<Self, OpenError> {
        if options.dirs.is_empty() {
            return Err(OpenError::NoDirs);
        }
        let mut found: Vec<(Dir, Option<Identity>)> = Vec::new();
        let (mut locks, mut failed) = (Vec::new(), Vec::new());
        for root in &options.dirs {
            match look_at(disk, root) {
                Ok((dir, identity, lock)) => {
                    found.push((dir, identity));
                    locks.push((root.clone(), lock));
                }
                Err(LookError::Stop(error)) => return Err(error),
                Err(LookError::Failed(error)) => {
                    tracing::error!(dir = %root.display(), %error, "cannot read this name dir; going on without it");
                    failed.push(root.clone());
                }
            }
        }
        let formatted = found
            .iter()
            .find_map(|(dir, identity)| identity.clone().map(|id| (dir.root.clone(), id)));
        let Some((first, identity)) = formatted else {
            let names: Vec<_> = options.dirs.iter().map(|dir| dir.display().to_string()).collect();
            return Err(OpenError::NotFormatted(names.join(", ")));
        };
        for (dir, other) in &found {
            if other.as_ref().is_some_and(|other| *other != identity) {
                return Err(OpenError::Mixed {
                    a: first,
                    b: dir.root.clone(),
                });
            }
        }
        let survey = Self {
            identity,
            dirs: found.into_iter().map(|(dir, _)| dir).collect(),
            locks,
            failed,
        };
        if survey.dirs.len() < options.minimum_dirs {
            return Err(survey.too_few(options));
        }
        Ok(survey)
    }

    /// Does `work` on each dir and drops, with an ERROR, those on which the disk fails.
    fn keep_working(&mut self, mut work: impl FnMut(&Dir) -> io::Result<()>) {
        let failed = &mut self.failed;
        self.dirs.retain(|dir| match work(dir) {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(dir = %dir.root.display(), %error, "name dir fails; going on without it");
                failed.push(dir.root.clone());
                false
            }
        });
    }

    fn too_few(&self, options: &Options) -> OpenError {
        let failed: Vec<_> = self.failed.iter().map(|dir| dir.display().to_string()).collect();
        let (have, need) = (self.dirs.len(), options.minimum_dirs.max(1));
        OpenError::TooFewDirs(format!(
            "{have} name dirs work, {need} are needed; failed: {}",
            failed.join(", ")
        ))
    }
}

enum LookError {
    Stop(OpenError),
    Failed(io::Error),
}

impl From<io::Error> for LookError {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

fn look_at(disk: &dyn Disk, root: &Path) -> Result<(Dir, Option<Identity>, DiskLock), LookError> {
    if !disk.exists(root)? {
        return Err(LookError::Stop(OpenError::Missing(root.to_owned())));
    }
    let lock = match disk.lock(&root.join(LOCK_FILE), format!("{}\n", std::process::id()).as_bytes()) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            return Err(LookError::Stop(OpenError::InUse(root.to_owned())));
        }
        Err(error) => return Err(error.into()),
    };
    let current = root.join(CURRENT);
    let version = current.join(VERSION_FILE);
    let mut dir = Dir {
        root: root.to_owned(),
        current,
        inventory: Inventory::default(),
        blank: true,
    };
    if !disk.exists(&version)? {
        // A repair or format that did not get to its end leaves no VERSION; what it left can be overwritten.
        return Ok((dir, None, lock));
    }
    let identity = match read_version(disk, &version) {
        Ok(identity) => identity,
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            return Err(LookError::Stop(OpenError::Damaged {
                path: version,
                offset: 0,
                reason: error.to_string(),
                remedy: "Restore this file from another name dir",
            }));
        }
        Err(error) => return Err(error.into()),
    };
    dir.inventory = Inventory::read(disk, &dir.current)?;
    dir.blank = false;
    Ok((dir, Some(identity), lock))
}

/// Loads the newest image that is good anywhere.
fn load_image<M: StateMachine>(disk: &dyn Disk, survey: &mut Survey, machine: &M) -> Result<ImageHeader, OpenError> {
    let mut candidates: Vec<(LogIndex, PathBuf)> = Vec::new();
    for dir in &survey.dirs {
        let path = |index: &LogIndex| (*index, dir.current.join(image::file_name(*index)));
        candidates.extend(dir.inventory.images.iter().map(path));
    }
    candidates.sort_by_key(|(index, _)| std::cmp::Reverse(*index));
    let mut first_failure = None;
    for (index, path) in candidates {
        let loaded = ImageReader::open(disk, &path).and_then(|image| {
            if image.index() != index {
                return Err(format!("it is the image of entry {}", image.index().0));
            }
            machine.restore(&image).map_err(|error| error.0)?;
            Ok(*image.header())
        });
        match loaded {
            Ok(header) => return Ok(header),
            Err(reason) => {
                tracing::error!(path = %path.display(), reason, "cannot load this image; trying another");
                first_failure.get_or_insert((path, reason));
            }
        }
    }
    match first_failure {
        None => Ok(ImageHeader {
            epoch: Epoch(0),
            index: LogIndex(0),
            digest: 0,
            created: TimeMs(0),
        }),
        Some((path, reason)) => Err(OpenError::Damaged {
            path,
            offset: 0,
            reason: format!("{reason}, and no other image can be loaded"),
            remedy: "Restore an image from a backup",
        }),
    }
}

fn read_chain(disk: &dyn Disk, dir: &Dir, image: LogIndex, image_epoch: Epoch) -> io::Result<Chain> {
    let mut chain = Chain {
        scans: Vec::new(),
        damage: None,
        position: (image_epoch, image.next()),
        reach: (image_epoch, image.next()),
    };
    if dir.blank {
        chain.position = (Epoch(0), LogIndex(0));
        chain.reach = chain.position;
        return Ok(chain);
    }
    let firsts = dir.inventory.segments_after(image);
    for (number, first) in firsts.iter().enumerate() {
        let path = dir.current.join(segment::file_name(*first));
        let segment = match scan(disk, &path) {
            Ok(segment) => segment,
            Err(ScanError::Io(error)) => return Err(error),
            Err(ScanError::Header(reason)) => {
                // Whatever it held came after the segment before it; its epoch is unknown, so it may be the latest.
                chain.reach = (Epoch(chain.reach.0.0 + 1), *first);
                chain.note(path, 0, reason, REMEDY_SEGMENT);
                continue;
            }
        };
        chain.reach = chain.reach.max((segment.header.epoch, segment.reach));
        let expected = if number == 0 {
            (*first).min(image.next())
        } else {
            chain.position.1
        };
        if segment.header.first_index != *first {
            chain.note(
                path,
                0,
                format!("header names entry {}", segment.header.first_index.0),
                REMEDY_SEGMENT,
            );
        } else if number == 0 && *first > image.next() {
            let reason = format!("entries {} to {} are missing before it", image.next().0, first.0 - 1);
            chain.note(path, 0, reason, REMEDY_SEGMENT);
        } else if number > 0 && *first != expected {
            let before = chain.scans.last();
            let (path, offset) = before.map_or((path, 0), |scan| (scan.path.clone(), scan.end));
            let reason = format!(
                "entries {} to {} are missing here",
                expected.0,
                first.0.saturating_sub(1)
            );
            chain.note(path, offset, reason, REMEDY_SEGMENT);
        }
        // A torn tail before the last segment needs no mention: what it lacks shows as entries missing.
        if let Tail::Damaged(reason) = &segment.tail {
            let remedy = if segment.reach.0 == u64::MAX {
                REMEDY_VERSION
            } else {
                REMEDY_SEGMENT
            };
            chain.note(segment.path.clone(), segment.end, reason.clone(), remedy);
        }
        if chain.damage.is_none() {
            chain.position = (segment.header.epoch, segment.next_index.max(image.next()));
            chain.scans.push(segment);
        }
    }
    Ok(chain)
}

impl Chain {
    fn note(&mut self, path: PathBuf, offset: u64, reason: String, remedy: &'static str) {
        self.damage.get_or_insert((path, offset, reason, remedy));
    }
}

/// The dir whose log is the longest of the newest reign. Stops when a damaged dir may know more than that one.
fn choose(dirs: &[Dir], chains: &[Chain]) -> Result<usize, OpenError> {
    let intact = |number: &usize| chains[*number].damage.is_none() && !dirs[*number].blank;
    let best = (0..chains.len())
        .filter(intact)
        .max_by_key(|number| (chains[*number].position, std::cmp::Reverse(*number)));
    for chain in chains {
        let Some((path, offset, reason, remedy)) = &chain.damage else {
            continue;
        };
        if best.is_none_or(|best| chain.reach > chains[best].position) {
            return Err(OpenError::Damaged {
                path: path.clone(),
                offset: *offset,
                reason: reason.clone(),
                remedy,
            });
        }
        tracing::error!(path = %path.display(), offset, reason, "damaged; another name dir holds all of it");
    }
    let best = best.ok_or_else(|| OpenError::TooFewDirs("no name dir can be read".into()))?;
    for other in chains.iter().flat_map(|chain| &chain.scans) {
        let twin = |scan: &&SegmentScan| {
            (scan.header.epoch, scan.header.first_index) == (other.header.epoch, other.header.first_index)
        };
        if let Some(twin) = chains[best].scans.iter().find(twin)
            && twin.header != other.header
        {
            return Err(OpenError::Split {
                a: twin.path.clone(),
                b: other.path.clone(),
            });
        }
    }
    Ok(best)
}

/// Applies the entries of a segment that follow `last_index`.
fn replay<M: StateMachine>(
    disk: &dyn Disk,
    machine: &M,
    scan: &SegmentScan,
    last_index: &mut LogIndex,
    digest: &mut u64,
) -> Result<(), OpenError> {
    let failed = |source| OpenError::Io {
        what: "read",
        path: scan.path.clone(),
        source,
    };
    let damaged = |offset, reason| OpenError::Damaged {
        path: scan.path.clone(),
        offset,
        reason,
        remedy: REMEDY_SEGMENT,
    };
    let mut batches = Batches::open(disk, &scan.path).map_err(|error| match error {
        ScanError::Io(source) => failed(source),
        ScanError::Header(reason) => damaged(0, reason),
    })?;
    let (mut entries, mut outcomes, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
    while let Step::Batch(header, offset) = batches.next().map_err(failed)? {
        if offset >= scan.end {
            break;
        }
        let closes_here = header.count == 0 && header.first_index == last_index.next();
        if header.next_index() <= last_index.next() && !closes_here {
            continue;
        }
        if header.first_index != last_index.next() {
            let reason = format!(
                "batch begins with entry {}, not {}",
                header.first_index.0,
                last_index.next().0
            );
            return Err(damaged(offset, reason));
        }
        if header.digest != *digest {
            return Err(OpenError::Diverged {
                path: scan.path.clone(),
                offset,
                index: header.first_index.0,
            });
        }
        decode_entries(machine, &header, batches.frame(), &mut entries).map_err(|error| damaged(offset, error.0))?;
        machine.apply(&mut entries, &mut outcomes);
        entries.clear();
        for outcome in outcomes.drain(..) {
            bytes.clear();
            machine.digest(&outcome, &mut bytes);
            *digest = roll_digest(*digest, &bytes);
        }
        *last_index = LogIndex(header.next_index().0 - 1);
    }
    Ok(())
}

/// Makes what was replayed durable (after a kill it may have been in memory only) and cuts a torn tail.
fn settle(disk: &dyn Disk, chain: &Chain) -> Result<(), OpenError> {
    let Some(last) = chain.scans.last() else {
        return Ok(());
    };
    let failed = |source| OpenError::Io {
        what: "settle",
        path: last.path.clone(),
        source,
    };
    let file = disk.open(&last.path, Open::WRITE).map_err(failed)?;
    if let Tail::Torn(reason) = last.tail {
        tracing::warn!(
            path = %last.path.display(), offset = last.end, bytes = last.file_len - last.end, reason,
            "cutting an unfinished batch off the journal's end; nobody was told it succeeded"
        );
        file.set_len(last.end).map_err(failed)?;
    }
    file.sync_all().map_err(failed)?;
    match last.path.parent() {
        Some(current) => disk.sync_dir(current).map_err(failed),
        None => Ok(()),
    }
}

/// Makes `dir` equal to the best dir, as far as the log after the image goes.
fn repair(
    disk: &dyn Disk,
    source: &Path,
    best: &Chain,
    dir: &Dir,
    own: &Chain,
    image: LogIndex,
    identity: &Identity,
) -> io::Result<()> {
    durable::create_dir_durably(disk, &dir.current)?;
    let image_name = image::file_name(image);
    let image_is_good = !dir.blank && ImageReader::open(disk, &dir.current.join(&image_name)).is_ok();
    if !image_is_good && disk.exists(&source.join(&image_name))? {
        copy(disk, &source.join(&image_name), &dir.current.join(&image_name), None)?;
    }
    let wanted: Vec<LogIndex> = best.scans.iter().map(|scan| scan.header.first_index).collect();
    for scan in &best.scans {
        let same = own.scans.iter().any(|own| {
            own.header == scan.header && own.next_index == scan.next_index && !matches!(own.tail, Tail::Torn(_))
        });
        let path = dir.current.join(segment::file_name(scan.header.first_index));
        if same {
            disk.open(&path, Open::WRITE)?.sync_all()?;
        } else {
            tracing::warn!(path = %path.display(), "repairing this journal segment from another name dir");
            copy(disk, &scan.path, &path, Some(scan.end))?;
        }
    }
    let oldest_wanted = wanted.first().copied().unwrap_or(image.next());
    for first in dir
        .inventory
        .segments
        .iter()
        .filter(|first| **first >= oldest_wanted && !wanted.contains(first))
    {
        let path = dir.current.join(segment::file_name(*first));
        tracing::warn!(path = %path.display(), "removing a journal segment that lost to a newer one");
        disk.remove_file(&path)?;
    }
    if dir.blank {
        let version = dir.current.join(VERSION_FILE);
        tracing::warn!(dir = %dir.root.display(), "filled an unformatted name dir from another one");
        durable::write_file_atomically(disk, &version, identity.to_text().as_bytes())?;
    }
    Ok(())
}

/// Copies the first `len` bytes of a file (all when `None`) durably.
fn copy(disk: &dyn Disk, from: &Path, to: &Path, len: Option<u64>) -> io::Result<()> {
    let source = disk.open(from, Open::READ)?;
    let len = match len {
        Some(len) => len,
        None => source.len()?,
    };
    let temporary = durable::temporary_path(to);
    let target = disk.open(&temporary, Open::TRUNCATE)?;
    let mut buffer = vec![0; COPY_BYTES];
    let mut done = 0;
    while done < len {
        let count = (len - done).min(COPY_BYTES as u64) as usize;
        source.read_exact_at(&mut buffer[..count], done)?;
        target.write_all_at(&buffer[..count], done)?;
        done += count as u64;
    }
    target.sync_all()?;
    durable::commit_file(disk, &temporary, to)
}

/// Removes what unfinished work left behind.
fn tidy(disk: &dyn Disk, dir: &Dir) -> io::Result<()> {
    for path in &dir.inventory.temporary {
        if disk.exists(path)? {
            disk.remove_file(path)?;
        }
    }
    disk.sync_dir(&dir.current)
}
