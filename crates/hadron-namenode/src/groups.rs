//! Groups of a user, resolved on the NameNode's host and cached.
//!
//! What it is for: permission checks need the caller's groups; with SIMPLE authentication they come from the
//! operating system (`id -Gn`), as Hadoop's shell-based mapping does, or from
//! `hadoop.user.group.static.mapping.overrides`.
//! What it does not do: no LDAP, no refresh of single users. No lock is held while the system is asked.
//! Invariants: at most [`MAX_CACHED_USERS`] entries; an answer is reused for `ttl_ms`, an empty one for
//! `negative_ttl_ms`; an expired answer is used while one caller asks again, so that a slow directory service never
//! queues calls behind each other.

use hadron_env::Clock;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Most users remembered; beyond it the cache is emptied, which costs one look-up per user.
pub const MAX_CACHED_USERS: usize = 10_000;
/// `hadoop.security.groups.cache.secs` when not configured.
pub const DEFAULT_TTL: Duration = Duration::from_secs(300);
/// `hadoop.security.groups.negative-cache.secs` when not configured.
pub const DEFAULT_NEGATIVE_TTL: Duration = Duration::from_secs(30);

/// Asks the system; `None` when the user is unknown.
pub type GroupSource = Box<dyn Fn(&str) -> Option<Vec<String>> + Send + Sync>;

struct Entry {
    groups: Arc<[String]>,
    expires: Duration,
    refreshing: bool,
}

/// The cache.
pub struct Groups {
    source: GroupSource,
    clock: Arc<dyn Clock>,
    overrides: HashMap<String, Arc<[String]>>,
    ttl: Duration,
    negative_ttl: Duration,
    cache: Mutex<HashMap<String, Entry>>,
    /// Counts the times that all answers were forgotten.
    cleared: AtomicU64,
}

/// An answer of the cache, and how long it may be used without asking the cache again.
pub struct KnownGroups {
    /// The groups.
    pub groups: Arc<[String]>,
    /// On the monotonic clock; in the past for an answer that is being asked for again.
    pub expires: Duration,
}

impl Groups {
    /// A cache over `source`. `overrides` is the value of `hadoop.user.group.static.mapping.overrides`:
    /// `user=group,group;user=;…`.
    pub fn new(source: GroupSource, clock: Arc<dyn Clock>, overrides: &str) -> Self {
        let overrides = overrides
            .split(';')
            .filter_map(|item| item.split_once('='))
            .map(|(user, groups)| (user.trim().to_owned(), split_names(groups, ',')))
            .collect();
        Self {
            source,
            clock,
            overrides,
            ttl: DEFAULT_TTL,
            negative_ttl: DEFAULT_NEGATIVE_TTL,
            cache: Mutex::new(HashMap::new()),
            cleared: AtomicU64::new(0),
        }
    }

    /// As it is, with other times: `hadoop.security.groups.cache.secs` and
    /// `hadoop.security.groups.negative-cache.secs`.
    pub fn with_ttls(self, ttl: Duration, negative_ttl: Duration) -> Self {
        Self {
            ttl,
            negative_ttl,
            ..self
        }
    }

    /// The cache over this host's users.
    pub fn of_this_host(clock: Arc<dyn Clock>, overrides: &str) -> Self {
        Self::new(Box::new(ask_id), clock, overrides)
    }

    /// The groups of `user`, if they can be told without asking the system.
    pub fn cached(&self, user: &str) -> Option<KnownGroups> {
        if let Some(groups) = self.overrides.get(user) {
            let groups = groups.clone();
            let expires = Duration::MAX;
            return Some(KnownGroups { groups, expires });
        }
        let mut cache = self.cache.lock();
        let entry = cache.get_mut(user)?;
        if self.clock.monotonic() >= entry.expires && !entry.refreshing {
            entry.refreshing = true;
            return None;
        }
        Some(KnownGroups {
            groups: entry.groups.clone(),
            expires: entry.expires,
        })
    }

    /// Whether an answer that was good until `expires` when [`Groups::generation`] was `generation` still is.
    pub(crate) fn is_good(&self, expires: Duration, generation: u64) -> bool {
        generation == self.generation() && (expires == Duration::MAX || self.clock.monotonic() < expires)
    }

    /// Changes when all answers are forgotten.
    pub(crate) fn generation(&self) -> u64 {
        self.cleared.load(Ordering::Acquire)
    }

    /// The groups of `user`; asks the system when the cache has no fresh answer. May block for as long as the host's
    /// user database takes: call it off the reactor when [`Groups::cached`] gave `None`.
    pub fn lookup(&self, user: &str) -> Arc<[String]> {
        if let Some(groups) = self.fresh(user) {
            return groups;
        }
        let groups: Arc<[String]> = (self.source)(user).unwrap_or_default().into();
        let ttl = if groups.is_empty() { self.negative_ttl } else { self.ttl };
        let entry = Entry {
            groups: groups.clone(),
            expires: self.clock.monotonic() + ttl,
            refreshing: false,
        };
        let mut cache = self.cache.lock();
        if cache.len() >= MAX_CACHED_USERS && !cache.contains_key(user) {
            cache.clear();
        }
        cache.insert(user.to_owned(), entry);
        groups
    }

    /// The groups of `user` as long as the last answer is good.
    fn fresh(&self, user: &str) -> Option<Arc<[String]>> {
        if let Some(groups) = self.overrides.get(user) {
            return Some(groups.clone());
        }
        let cache = self.cache.lock();
        let entry = cache.get(user)?;
        (self.clock.monotonic() < entry.expires).then(|| entry.groups.clone())
    }

    /// Forgets all answers (`refreshUserToGroupsMappings`).
    pub fn clear(&self) {
        self.cache.lock().clear();
        self.cleared.fetch_add(1, Ordering::Release);
    }
}

impl std::fmt::Debug for Groups {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Groups")
            .field("cached", &self.cache.lock().len())
            .finish_non_exhaustive()
    }
}

fn split_names(text: &str, separator: char) -> Arc<[String]> {
    text.split(separator)
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Runs `id -Gn -- USER`. A name that could be an option, or holds anything but name characters, is unknown.
fn ask_id(user: &str) -> Option<Vec<String>> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-@$".contains(c);
    if user.is_empty() || user.starts_with('-') || !user.chars().all(plain) {
        return None;
    }
    let asked = Command::new("id")
        .args(["-Gn", "--", user])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    let output = match asked {
        Ok(output) if output.status.success() => output,
        Ok(_) => return None,
        Err(error) => {
            tracing::warn!(user, %error, "run id to learn groups");
            return None;
        }
    };
    Some(split_names(&String::from_utf8_lossy(&output.stdout), ' ').to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hadron_env::ManualClock;
    use std::sync::atomic::AtomicUsize;

    fn counting(clock: Arc<ManualClock>) -> (Groups, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let source = Box::new(move |user: &str| {
            count.fetch_add(1, Ordering::SeqCst);
            (user != "nobody").then(|| vec![format!("{user}-group")])
        });
        (Groups::new(source, clock, "dr.who=;ann=red, blue"), asked)
    }

    #[test]
    fn answers_are_cached_until_they_expire() {
        let clock = Arc::new(ManualClock::default());
        let (groups, asked) = counting(clock.clone());
        assert!(groups.cached("bob").is_none());
        assert_eq!(*groups.lookup("bob"), ["bob-group".to_owned()]);
        groups.lookup("bob");
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        clock.advance(DEFAULT_TTL);
        assert!(groups.cached("bob").is_none(), "one caller is told to ask again");
        assert!(groups.cached("bob").is_some(), "the others go on with the old answer");
        assert!(groups.lookup("nobody").is_empty());
        clock.advance(DEFAULT_NEGATIVE_TTL);
        groups.lookup("nobody");
        assert_eq!(asked.load(Ordering::SeqCst), 3);
    }

    #[test]
    fn whoever_is_told_to_ask_again_does() {
        let clock = Arc::new(ManualClock::default());
        let (groups, asked) = counting(clock.clone());
        let groups = groups.with_ttls(Duration::from_secs(10), Duration::from_secs(1));
        groups.lookup("bob");
        clock.advance(Duration::from_secs(10));
        assert!(groups.cached("bob").is_none());
        groups.lookup("bob");
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        assert!(
            groups.cached("bob").is_some(),
            "the new answer is good for as long as the first"
        );
        clock.advance(Duration::from_secs(10));
        assert!(groups.cached("bob").is_none());
    }

    #[test]
    fn overrides_win_and_odd_names_never_reach_a_command_line() {
        let (groups, asked) = counting(Arc::new(ManualClock::default()));
        assert!(groups.lookup("dr.who").is_empty());
        assert_eq!(*groups.lookup("ann"), ["red".to_owned(), "blue".to_owned()]);
        assert_eq!(asked.load(Ordering::SeqCst), 0);
        for user in ["", "-u", "a b", "a;b", "$(x)", "ü"] {
            assert_eq!(ask_id(user), None, "{user}");
        }
    }
}
