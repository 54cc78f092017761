//! From a host to its rack: Hadoop's `TableMapping` and `ScriptBasedMapping`.
//!
//! A table is asked by address, then by name, and gives the default rack for hosts it does not list. A script is run
//! with up to so many addresses and prints a rack for each; answers are kept until the mapping is reloaded.
//! Invariants: a script runs outside all locks, for [`SCRIPT_LIMIT`] at most; a rack is an absolute path without a
//! slash at its end; a table that cannot be read leaves the old one in force.

use super::DatanodeSettings;
use super::settings::Mapping;
use arc_swap::ArcSwap;
use hadron_blockmap::{DEFAULT_RACK, topology};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

/// How long a script may take for one call.
const SCRIPT_LIMIT: Duration = Duration::from_secs(30);
/// Longest output of a script that is read, in bytes.
const MAX_OUTPUT_BYTES: u64 = 1 << 20;
/// Longest table that is read, in bytes.
const MAX_TABLE_BYTES: u64 = 64 << 20;
/// Hosts whose racks are kept; beyond that all are forgotten and asked for anew.
const MAX_CACHED: usize = 1 << 16;

/// The mapping gave no rack for a host, and the configuration says that this is not good enough.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("Unresolved topology mapping for host {host}")]
pub(crate) struct Unresolved {
    host: String,
}

/// The mapping in force.
#[derive(Debug)]
pub(crate) struct Topology {
    mapping: Mapping,
    reject_unresolved: bool,
    default: Arc<str>,
    table: ArcSwap<HashMap<String, Arc<str>>>,
    /// What the script said.
    cached: Mutex<HashMap<String, Arc<str>>>,
    /// Clients whose rack was handed on or is being asked for.
    noted: Mutex<HashSet<IpAddr>>,
    /// One script at a time, as in Hadoop: it is often slow, and what it says is kept.
    running: Mutex<()>,
}

impl Topology {
    /// An empty mapping of the configured kind; [`Topology::reload`] reads it.
    pub(super) fn new(settings: &DatanodeSettings) -> Self {
        Self {
            mapping: settings.mapping.clone(),
            reject_unresolved: settings.reject_unresolved,
            default: Arc::from(DEFAULT_RACK),
            table: ArcSwap::default(),
            cached: Mutex::default(),
            noted: Mutex::default(),
            running: Mutex::default(),
        }
    }

    /// Reads the table anew, forgets what the script said.
    pub(super) fn reload(&self) {
        self.cached.lock().clear();
        self.noted.lock().clear();
        if let Mapping::Table(path) = &self.mapping {
            match read_table(path) {
                Ok(table) => self.table.store(Arc::new(table)),
                Err(error) => {
                    tracing::warn!(table = %path.display(), %error, "cannot read the topology table; keeping the old one");
                }
            }
        }
    }

    /// Whether all hosts are on one rack.
    pub(super) fn is_flat(&self) -> bool {
        self.mapping == Mapping::Flat
    }

    /// Notes a client; returns whether it was noted before.
    pub(super) fn was_noted(&self, ip: IpAddr) -> bool {
        let mut noted = self.noted.lock();
        if noted.len() >= MAX_CACHED {
            noted.clear();
        }
        !noted.insert(ip)
    }

    /// Lets a client be noted again: nobody had time for it.
    pub(super) fn forget_client(&self, ip: IpAddr) {
        self.noted.lock().remove(&ip);
    }

    /// The rack, if no script has to be run for it.
    pub(super) fn known(&self, ip: IpAddr, name: &str) -> Option<Result<Arc<str>, Unresolved>> {
        match &self.mapping {
            Mapping::Flat => Some(Ok(Arc::clone(&self.default))),
            Mapping::Table(_) => {
                let table = self.table.load();
                let listed = table
                    .get(&ip.to_string())
                    .or_else(|| table.get(&name.to_ascii_lowercase()));
                Some(Ok(Arc::clone(listed.unwrap_or(&self.default))))
            }
            Mapping::Script { .. } => self.cached.lock().get(&ip.to_string()).map(|rack| Ok(Arc::clone(rack))),
        }
    }

    /// Asks the script about all hosts not known yet, many at a time. Returns whether it answered; `true` without one.
    pub(super) fn prepare(&self, hosts: &[IpAddr]) -> bool {
        let Mapping::Script { path, max_arguments } = &self.mapping else {
            return true;
        };
        let _one_at_a_time = self.running.lock();
        let mut unknown: Vec<String> = hosts.iter().map(IpAddr::to_string).collect();
        unknown.sort_unstable();
        unknown.dedup();
        unknown.retain(|host| !self.cached.lock().contains_key(host));
        match ask_script(path, &unknown, *max_arguments) {
            Ok(racks) => {
                for (host, rack) in unknown.into_iter().zip(racks) {
                    self.keep(host, &rack);
                }
                true
            }
            Err(error) => {
                tracing::warn!(script = %path.display(), hosts = unknown.len(), %error, "topology script gave no racks");
                false
            }
        }
    }

    fn keep(&self, host: String, rack: &Arc<str>) {
        let mut cached = self.cached.lock();
        if cached.len() >= MAX_CACHED {
            cached.clear();
        }
        cached.insert(host, Arc::clone(rack));
    }

    /// The rack; runs the script if need be, and so may block for [`SCRIPT_LIMIT`].
    ///
    /// Errors: no rack was given and unresolved hosts are to be rejected; else they are on the default rack.
    pub(super) fn resolve(&self, ip: IpAddr, name: &str) -> Result<Arc<str>, Unresolved> {
        if let Some(known) = self.known(ip, name) {
            return known;
        }
        let Mapping::Script { path, max_arguments } = &self.mapping else {
            return Ok(Arc::clone(&self.default));
        };
        let _one_at_a_time = self.running.lock();
        if let Some(known) = self.known(ip, name) {
            return known;
        }
        let host = ip.to_string();
        match ask_script(path, std::slice::from_ref(&host), *max_arguments) {
            Ok(racks) => {
                let rack = racks.into_iter().next().unwrap_or_else(|| Arc::clone(&self.default));
                self.keep(host, &rack);
                Ok(rack)
            }
            Err(error) => {
                tracing::warn!(script = %path.display(), %host, %error, "topology script gave no rack");
                match self.reject_unresolved {
                    true => Err(Unresolved {
                        host: if name.is_empty() { host } else { name.to_owned() },
                    }),
                    false => Ok(Arc::clone(&self.default)),
                }
            }
        }
    }
}

/// Reads lines of two columns; `#` begins a comment line.
fn read_table(path: &Path) -> io::Result<HashMap<String, Arc<str>>> {
    if std::fs::metadata(path)?.len() > MAX_TABLE_BYTES {
        return Err(io::Error::other("the file is too long"));
    }
    Ok(parse_table(&std::fs::read_to_string(path)?))
}

fn parse_table(text: &str) -> HashMap<String, Arc<str>> {
    let mut table = HashMap::new();
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let columns: Vec<&str> = line.split_whitespace().collect();
        match columns[..] {
            [host, rack] if topology::normalize(rack).is_some() => {
                let rack = topology::normalize(rack).unwrap_or(DEFAULT_RACK);
                table.insert(host.to_ascii_lowercase(), Arc::from(rack));
            }
            _ => tracing::warn!(line, "a line of the topology table is not a host and a rack; left out"),
        }
    }
    table
}

/// Asks the script for the racks of `hosts`, so many at a time.
fn ask_script(path: &Path, hosts: &[String], max_arguments: usize) -> io::Result<Vec<Arc<str>>> {
    let mut racks = Vec::new();
    for some in hosts.chunks(max_arguments) {
        let output = run(path, some)?;
        let words: Vec<&str> = output.split_whitespace().collect();
        if words.len() != some.len() {
            let message = format!("it printed {} racks for {} hosts", words.len(), some.len());
            return Err(io::Error::other(message));
        }
        for word in words {
            let rack = topology::normalize(word).ok_or_else(|| {
                let shown: String = word.chars().filter(|c| !c.is_control()).take(100).collect();
                io::Error::other(format!("{shown:?} is no rack: it must begin with a slash"))
            })?;
            racks.push(Arc::from(rack));
        }
    }
    Ok(racks)
}

/// Runs the script and gives what it printed.
fn run(path: &Path, arguments: &[String]) -> io::Result<String> {
    let mut command = Command::new(path);
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        command.current_dir(folder);
    }
    let mut child = command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let Some(stdout) = child.stdout.take() else {
        return Err(io::Error::other("it has no output"));
    };
    let (sender, receiver) = mpsc::sync_channel(1);
    // Ends when the script closes its output, which killing it does.
    std::thread::spawn(move || {
        let mut text = String::new();
        let read = stdout.take(MAX_OUTPUT_BYTES).read_to_string(&mut text).map(|_| text);
        let _ = sender.send(read);
    });
    let output = match receiver.recv_timeout(SCRIPT_LIMIT) {
        Ok(output) => output,
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("it took longer than {SCRIPT_LIMIT:?}"),
        )),
    };
    if output.is_err() {
        child.kill()?;
    }
    let status = child.wait()?;
    let output = output?;
    match status.success() {
        true => Ok(output),
        false => Err(io::Error::other(format!("it ended with {status}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }
    fn topology(mapping: Mapping, reject_unresolved: bool) -> Topology {
        let topology = Topology::new(&DatanodeSettings {
            mapping,
            reject_unresolved,
            ..DatanodeSettings::default()
        });
        topology.reload();
        topology
    }

    #[test]
    fn a_table_lists_addresses_and_names() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("table");
        std::fs::write(&path, "# comment\n10.0.0.1 /dc1/r1\nBeta\t/dc1/r2/\nodd\nodd rack\n").expect("write");
        let topology = topology(Mapping::Table(path.clone()), false);
        let rack = |last, name| topology.resolve(ip(last), name).expect("resolved").to_string();
        assert_eq!(rack(1, "alpha"), "/dc1/r1");
        assert_eq!(rack(2, "beta"), "/dc1/r2");
        assert_eq!(rack(3, "odd"), DEFAULT_RACK);
        std::fs::write(&path, "10.0.0.1 /dc2/r1\n").expect("write");
        assert_eq!(rack(1, "alpha"), "/dc1/r1", "read again when told to");
        topology.reload();
        assert_eq!(
            (rack(1, "alpha"), rack(2, "beta")),
            ("/dc2/r1".to_owned(), DEFAULT_RACK.to_owned())
        );
        std::fs::remove_file(&path).expect("remove");
        topology.reload();
        assert_eq!(rack(1, "alpha"), "/dc2/r1", "the old one stays");
    }

    fn script(folder: &Path, text: &str) -> Mapping {
        let path = folder.join("script");
        std::fs::write(&path, text).expect("write");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).expect("mode");
        Mapping::Script { path, max_arguments: 2 }
    }

    #[test]
    fn a_script_is_asked_once_per_host() {
        let folder = tempfile::tempdir().expect("folder");
        let text = "#!/bin/sh\nfor host; do echo $host >> asked; echo /rack-${host##*.}; done\n";
        let topology = topology(script(folder.path(), text), false);
        assert_eq!(topology.known(ip(7), "x"), None);
        for _ in 0..2 {
            assert_eq!(&*topology.resolve(ip(7), "x").expect("resolved"), "/rack-7");
        }
        assert!(topology.known(ip(7), "x").is_some());
        let asked = || std::fs::read_to_string(folder.path().join("asked")).expect("asked");
        assert_eq!(asked(), "10.0.0.7\n");
        topology.reload();
        assert!(topology.prepare(&[ip(7), ip(8), ip(9), ip(7)]));
        assert_eq!(
            asked(),
            "10.0.0.7\n10.0.0.7\n10.0.0.8\n10.0.0.9\n",
            "forgotten with the reload"
        );
        assert_eq!(topology.known(ip(9), "x"), Some(Ok(Arc::from("/rack-9"))));
    }

    #[test]
    fn a_host_without_rack_is_on_the_default_one_or_refused() {
        for text in [
            "#!/bin/sh\nexit 1\n",
            "#!/bin/sh\n",
            "#!/bin/sh\necho rack\n",
            "#!/bin/sh\necho /a /b\n",
        ] {
            let folder = tempfile::tempdir().expect("folder");
            let lenient = topology(script(folder.path(), text), false);
            assert_eq!(lenient.resolve(ip(1), "dn1").as_deref(), Ok(DEFAULT_RACK), "{text}");
            let strict = topology(script(folder.path(), text), true);
            let error = strict.resolve(ip(1), "dn1").expect_err("refused");
            assert_eq!(error.to_string(), "Unresolved topology mapping for host dn1");
        }
    }
}
