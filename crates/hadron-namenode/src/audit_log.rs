//! Where audit lines go: a file that rotates, the `tracing` target [`TARGET`], or both; without either none is made.
//!
//! Lines of the file begin as Hadoop's log4j writes them (`2026-11-22 08:21:41,123 INFO FSNamesystem.audit: `), so that
//! what reads Hadoop's `hdfs-audit.log` reads this one.
//! Callers never wait: a line is copied into a queue of [`MAX_QUEUED_BYTES`], and a thread of its own writes. Lines that
//! find the queue full, or a disk that refuses them, are counted and the count is logged.
//! Invariants: lines are written in the order of the queue; a rotated file is never written to again; the newest
//! `backups` files are kept, the highest number the oldest.

use crate::audit::{AuditEvent, JavaText};
use crate::settings::AuditSettings;
use hadron_env::disk::{Disk, DiskFile, Open};
use hadron_env::{Clock, zone};
use hadron_types::TimeMs;
use parking_lot::{Condvar, Mutex};
use std::fmt::{self, Write as _};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

/// Target to enable for lines among the other logs: `RUST_LOG=hdfs.audit=info`.
pub const TARGET: &str = "hdfs.audit";
/// Lines that wait for the writing thread, heads included; more are lost and counted.
pub const MAX_QUEUED_BYTES: usize = 16 << 20;
/// In front of each queued line: time in ms, length in bytes.
const HEAD_BYTES: usize = 12;

/// The audit log of one NameNode. Dropping it writes what waits.
pub struct AuditLog {
    queue: Arc<Queue>,
    clock: Arc<dyn Clock>,
    settings: AuditSettings,
    /// `None`: off for good.
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Queue {
    pending: Mutex<Pending>,
    /// A line came, or the end.
    wake: Condvar,
    /// All lines are written.
    idle: Condvar,
    lost: AtomicU64,
}

#[derive(Debug, Default)]
struct Pending {
    records: Vec<u8>,
    lost: u64,
    is_writing: bool,
    is_closed: bool,
}

impl fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuditLog({:?})", self.settings)
    }
}

impl AuditLog {
    /// One that takes no lines.
    pub fn off() -> Self {
        Self {
            queue: Arc::default(),
            clock: Arc::new(hadron_env::SystemClock::new()),
            settings: AuditSettings::default(),
            thread: None,
        }
    }

    /// Starts the writing thread; the file is opened with the first line.
    ///
    /// Errors: the thread cannot be started.
    pub fn start(settings: AuditSettings, disk: Arc<dyn Disk>, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let file = settings.file.clone().map(|path| AuditFile {
            disk,
            path,
            max_len: settings.max_file_len.max(1),
            backups: settings.backups,
            open: None,
            is_failing: false,
        });
        let working = Arc::clone(&queue);
        let thread = std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || run(&working, file))?;
        Ok(Self {
            queue,
            clock,
            settings,
            thread: Some(thread),
        })
    }

    /// Whether anybody wants lines; callers skip building them when not.
    pub fn is_on(&self) -> bool {
        let is_wanted = || self.settings.file.is_some() || tracing::enabled!(target: TARGET, tracing::Level::INFO);
        self.thread.is_some() && is_wanted()
    }

    /// What the configuration says.
    pub fn settings(&self) -> &AuditSettings {
        &self.settings
    }

    /// Queues the line of `event`, unless its command is among those that are left out.
    pub fn write(&self, event: &AuditEvent<'_>) {
        if self
            .settings
            .debug_commands
            .iter()
            .any(|command| command == event.command)
            || !self.is_on()
        {
            return;
        }
        let mut line = String::with_capacity(256);
        // Writing to a String cannot fail.
        let _ = write!(line, "{event}");
        self.queue.push(self.clock.now(), &line);
    }

    /// Lines that were lost so far.
    pub fn lost(&self) -> u64 {
        self.queue.lost.load(Ordering::Relaxed)
    }

    /// Waits until all lines queued so far are written, or given up. Blocks.
    pub fn flush(&self) {
        let mut pending = self.queue.pending.lock();
        while !pending.is_closed && (pending.is_writing || !pending.records.is_empty() || pending.lost > 0) {
            self.queue.idle.wait(&mut pending);
        }
    }
}

impl Drop for AuditLog {
    fn drop(&mut self) {
        self.queue.pending.lock().is_closed = true;
        self.queue.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

impl Queue {
    fn push(&self, time: TimeMs, line: &str) {
        let mut pending = self.pending.lock();
        let is_first = pending.records.is_empty();
        let len = u32::try_from(line.len()).ok();
        match len.filter(|_| pending.records.len() + HEAD_BYTES + line.len() <= MAX_QUEUED_BYTES) {
            Some(len) => {
                pending.records.extend_from_slice(&time.0.to_le_bytes());
                pending.records.extend_from_slice(&len.to_le_bytes());
                pending.records.extend_from_slice(line.as_bytes());
            }
            None => {
                pending.lost += 1;
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
        drop(pending);
        if is_first {
            self.wake.notify_one();
        }
    }

    /// The next lines, and how many were lost before them; `None` at the end.
    fn take(&self) -> Option<(Vec<u8>, u64)> {
        let mut pending = self.pending.lock();
        pending.is_writing = false;
        while pending.records.is_empty() && pending.lost == 0 {
            self.idle.notify_all();
            if pending.is_closed {
                return None;
            }
            self.wake.wait(&mut pending);
        }
        pending.is_writing = true;
        Some((std::mem::take(&mut pending.records), std::mem::take(&mut pending.lost)))
    }
}

fn run(queue: &Queue, mut file: Option<AuditFile>) {
    while let Some((records, lost)) = queue.take() {
        let mut text = String::new();
        let mut dated = DatedLines::default();
        let mut lines = 0_u64;
        for (time, line) in Records(&records) {
            tracing::info!(target: TARGET, "{line}");
            if file.is_some() {
                dated.push(&mut text, time, "INFO", line);
                lines += 1;
            }
        }
        if lost > 0 {
            tracing::warn!(
                lost,
                "audit lines came faster than they could be written, and were left out"
            );
            if file.is_some() {
                let message = format!("Discarded {lost} messages due to a full event buffer");
                dated.push(&mut text, dated.time, "WARN", &message);
            }
        }
        if let Some(file) = &mut file
            && !file.write(text.as_bytes(), lines)
        {
            queue.lost.fetch_add(lines, Ordering::Relaxed);
        }
    }
}

/// The queued lines of a batch.
struct Records<'a>(&'a [u8]);

impl<'a> Iterator for Records<'a> {
    type Item = (TimeMs, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let (time, rest) = self.0.split_first_chunk::<8>()?;
        let (len, rest) = rest.split_first_chunk::<4>()?;
        let (line, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        self.0 = rest;
        let line = std::str::from_utf8(line).unwrap_or_default();
        Some((TimeMs(u64::from_le_bytes(*time)), line))
    }
}

/// Puts log4j's beginning before lines; the date is made once a second.
#[derive(Default)]
struct DatedLines {
    time: TimeMs,
    date: String,
}

impl DatedLines {
    fn push(&mut self, text: &mut String, time: TimeMs, level: &str, line: &str) {
        if self.date.is_empty() || time.0 / 1000 != self.time.0 / 1000 {
            let at = zone::local(time);
            self.date = format!(
                "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
                at.year, at.month, at.day, at.hour, at.minute, at.second
            );
        }
        self.time = time;
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{},{:03} {level} FSNamesystem.audit: {line}",
            self.date,
            time.0 % 1000
        );
    }
}

/// The file, and its older ones.
struct AuditFile {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    max_len: u64,
    backups: usize,
    open: Option<(Arc<dyn DiskFile>, u64)>,
    is_failing: bool,
}

impl AuditFile {
    /// Appends `text` of `lines` lines; false if it could not be written, which is logged at the first time.
    fn write(&mut self, text: &[u8], lines: u64) -> bool {
        match self.append(text) {
            Ok(()) => {
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!(path = %self.path.display(), "the audit log can be written again");
                }
                true
            }
            Err(error) => {
                self.open = None;
                if !std::mem::replace(&mut self.is_failing, true) {
                    let path = self.path.display();
                    tracing::error!(%path, lines, %error, "cannot write the audit log: lines are lost until it works again");
                }
                false
            }
        }
    }

    fn append(&mut self, text: &[u8]) -> io::Result<()> {
        let (file, len) = match self.open.take() {
            Some(open) => open,
            None => self.open_file()?,
        };
        let (file, len) = match len > 0 && len + text.len() as u64 > self.max_len {
            true => {
                drop(file);
                self.rotate()?;
                self.open_file()?
            }
            false => (file, len),
        };
        file.write_all_at(text, len)?;
        self.open = Some((file, len + text.len() as u64));
        Ok(())
    }

    fn open_file(&self) -> io::Result<(Arc<dyn DiskFile>, u64)> {
        if let Some(dir) = self.path.parent() {
            self.disk.create_dir_all(dir)?;
        }
        let file = self.disk.open(&self.path, Open::CREATE)?;
        let len = file.len()?;
        Ok((file, len))
    }

    /// Numbers the files one higher; what is beyond `backups` goes.
    fn rotate(&self) -> io::Result<()> {
        let numbered = |number: usize| PathBuf::from(format!("{}.{number}", self.path.display()));
        if self.backups == 0 {
            return self.disk.remove_file(&self.path);
        }
        for number in (1..self.backups).rev() {
            let from = numbered(number);
            if self.disk.exists(&from)? {
                self.disk.rename(&from, &numbered(number + 1))?;
            }
        }
        self.disk.rename(&self.path, &numbered(1))
    }
}

/// A caller's context as it is logged: text of at most `max_size` characters of its escaped form, and a signature that is
/// short enough. With `port` that goes behind the text, unless the caller named one.
pub(crate) fn shown_context(
    settings: &AuditSettings,
    context: Option<(&str, &[u8])>,
    port: u16,
) -> Option<(String, Vec<u8>)> {
    let (text, signature) = context.unwrap_or_default();
    let mut text = text.to_owned();
    if settings.with_port && !text.contains("clientPort") {
        let separator = if text.is_empty() { "" } else { "," };
        let _ = write!(text, "{separator}clientPort:{port}");
    }
    if text.is_empty() {
        return None;
    }
    if JavaText(&text).to_string().len() > settings.max_context {
        // Cut where its escaped form is as long as it may be.
        let mut len = 0;
        let fits = |c: &char| {
            len += JavaText(c.encode_utf8(&mut [0; 4])).to_string().len();
            len <= settings.max_context
        };
        text = text.chars().take_while(fits).collect();
    }
    let signature = match signature.len() <= settings.max_signature {
        true => signature.to_vec(),
        false => Vec::new(),
    };
    Some((text, signature))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Auth;
    use hadron_env::disk::{DiskCall, FaultyDisk};
    use hadron_env::{ManualClock, SimDisk};
    use std::path::Path;
    use std::sync::mpsc;

    fn event(src: &str) -> AuditEvent<'_> {
        AuditEvent {
            allowed: true,
            user: "ann",
            auth: Auth::Simple,
            peer: [127, 0, 0, 1].into(),
            command: "open",
            src: Some(src),
            dst: None,
            perm: None,
            tracking_id: false,
            proto: Some("rpc"),
            caller_context: None,
        }
    }

    fn log(disk: &FaultyDisk, max_file_len: u64, backups: usize) -> AuditLog {
        let settings = AuditSettings {
            file: Some("/logs/hdfs-audit.log".into()),
            max_file_len,
            backups,
            ..AuditSettings::default()
        };
        let clock = Arc::new(ManualClock::new(TimeMs(1_700_000_000_123)));
        AuditLog::start(settings, Arc::new(disk.clone()), clock).expect("a thread")
    }

    fn text(disk: &FaultyDisk, name: &str) -> String {
        let path = Path::new("/logs").join(name);
        String::from_utf8(disk.read(&path, 64 << 20).expect("readable")).expect("text")
    }

    fn disk() -> FaultyDisk {
        FaultyDisk::new(Arc::new(SimDisk::new()))
    }

    #[test]
    fn files_rotate_and_the_oldest_goes() {
        let disk = disk();
        let head = "2023-11-14 22:13:20,123 INFO FSNamesystem.audit: \n".len();
        let three_lines = 3 * (head + event("/0").to_string().len()) as u64;
        let log = log(&disk, three_lines, 2);
        for number in 0..9 {
            log.write(&event(&format!("/{number}")));
            log.flush();
        }
        let paths = |name: &str| {
            let numbers = text(&disk, name)
                .lines()
                .map(|line| line.split("src=/").nth(1).unwrap()[..1].to_owned())
                .collect::<Vec<_>>();
            numbers.join("")
        };
        assert_eq!(
            ["hdfs-audit.log", "hdfs-audit.log.1", "hdfs-audit.log.2"].map(paths),
            ["678", "345", "012"]
        );
        log.write(&event("/9"));
        drop(log);
        assert_eq!(
            ["hdfs-audit.log", "hdfs-audit.log.1", "hdfs-audit.log.2"].map(paths),
            ["9", "678", "345"]
        );
        assert!(text(&disk, "hdfs-audit.log").contains(",123 INFO FSNamesystem.audit: allowed=true\tugi=ann"));
        let log = self::log(&disk, three_lines, 2);
        log.write(&event("/a"));
        drop(log);
        assert_eq!(paths("hdfs-audit.log"), "9a", "what is there is kept");
    }

    #[test]
    fn callers_never_wait_for_the_disk_and_lost_lines_are_counted() {
        let disk = disk();
        let (arrived, has_arrived) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel::<()>();
        let (arrived, may_go_on) = (Mutex::new(arrived), Mutex::new(may_go_on));
        disk.judge(move |call, _| {
            if call == DiskCall::Write {
                let _ = arrived.lock().send(());
                // The disk hangs until the test lets go.
                let _ = may_go_on.lock().recv();
            }
            Ok(())
        });
        let log = log(&disk, u64::MAX, 1);
        log.write(&event("/first"));
        has_arrived.recv().expect("the first line is being written");
        let path = format!("/{}", "x".repeat(100_000));
        let fits = MAX_QUEUED_BYTES / (HEAD_BYTES + event(&path).to_string().len());
        for _ in 0..fits + 5 {
            log.write(&event(&path));
        }
        assert_eq!(log.lost(), 5);
        drop(go_on);
        log.flush();
        let text = text(&disk, "hdfs-audit.log");
        assert_eq!(text.lines().count(), 1 + fits + 1);
        assert!(text.ends_with("WARN FSNamesystem.audit: Discarded 5 messages due to a full event buffer\n"));
    }

    #[test]
    fn a_disk_that_refuses_costs_lines_and_comes_back() {
        let disk = disk();
        let log = log(&disk, u64::MAX, 1);
        disk.fail("/logs", &[DiskCall::Open, DiskCall::Write], 28);
        log.write(&event("/lost"));
        log.flush();
        assert_eq!(log.lost(), 1);
        disk.judge(|_, _| Ok(()));
        log.write(&event("/kept"));
        log.flush();
        assert!(text(&disk, "hdfs-audit.log").contains("src=/kept\t"));
        assert_eq!(log.lost(), 1);
        assert!(!AuditLog::off().is_on());
        AuditLog::off().flush();
    }

    #[test]
    fn contexts_are_cut_to_their_limits() {
        let settings = AuditSettings {
            max_context: 8,
            max_signature: 3,
            ..AuditSettings::default()
        };
        let shown = |text: &str, signature: &[u8]| shown_context(&settings, Some((text, signature)), 7);
        assert_eq!(shown("", b""), None);
        assert_eq!(shown("job_1", b"abc"), Some(("job_1".to_owned(), b"abc".to_vec())));
        assert_eq!(shown("job_12345", b"abcd"), Some(("job_1234".to_owned(), Vec::new())));
        assert_eq!(shown("job\n\n\n\n", b""), Some(("job\n\n".to_owned(), Vec::new())));
        let with_port = AuditSettings {
            with_port: true,
            max_context: 100,
            ..settings.clone()
        };
        let shown = |context| shown_context(&with_port, context, 7).map(|(text, _)| text);
        assert_eq!(shown(None).as_deref(), Some("clientPort:7"));
        assert_eq!(
            shown(Some(("job", b"".as_slice()))).as_deref(),
            Some("job,clientPort:7")
        );
        assert_eq!(
            shown(Some(("clientPort:9", b"".as_slice()))).as_deref(),
            Some("clientPort:9")
        );
    }
}
