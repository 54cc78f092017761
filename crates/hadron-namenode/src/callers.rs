//! From a user's name to a caller with groups and superuser bit, remembered per user.
//!
//! Superuser: the user who runs the NameNode, members of the supergroup, and everybody when permissions are off.
//! Invariants: [`Callers::cached`] never blocks, and takes no lock for a user whose groups are fresh; asking the system
//! is [`Callers::resolve`]'s, off the reactor.

use crate::Settings;
use crate::groups::{Groups, KnownGroups, MAX_CACHED_USERS};
use arc_swap::ArcSwap;
use hadron_namespace::Caller;
use hashbrown::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Questions to the host's user database at a time; more wait. Names come from the wire, so this bounds processes.
const MAX_LOOKUPS: usize = 8;

/// Makes callers out of user names.
#[derive(Debug)]
pub struct Callers {
    groups: Groups,
    owner: String,
    supergroup: String,
    permissions_enabled: bool,
    /// Replaced as a whole when a user comes or changes, which is rare; read by every call.
    made: ArcSwap<HashMap<String, Made>>,
    lookups: Semaphore,
}

#[derive(Clone, Debug)]
struct Made {
    groups: Arc<[String]>,
    caller: Arc<Caller>,
    expires: Duration,
    generation: u64,
}

impl Callers {
    /// Callers with the groups that `groups` knows.
    pub fn new(groups: Groups, settings: &Settings) -> Self {
        Self {
            groups,
            owner: settings.owner.clone(),
            supergroup: settings.supergroup.clone(),
            permissions_enabled: settings.permissions_enabled,
            made: ArcSwap::default(),
            lookups: Semaphore::const_new(MAX_LOOKUPS),
        }
    }

    /// The caller, if its groups can be told without asking the system.
    pub fn cached(&self, user: &str) -> Option<Arc<Caller>> {
        if let Some(made) = self.made.load().get(user)
            && self.groups.is_good(made.expires, made.generation)
        {
            return Some(Arc::clone(&made.caller));
        }
        let generation = self.groups.generation();
        let known = self.groups.cached(user)?;
        Some(self.make(user, known, generation))
    }

    /// The caller. May block for as long as the host's user database takes.
    pub fn resolve(&self, user: &str) -> Arc<Caller> {
        let generation = self.groups.generation();
        let groups = self.groups.lookup(user);
        let expires = Duration::ZERO;
        self.make(user, KnownGroups { groups, expires }, generation)
    }

    /// Waits for a place among the [`MAX_LOOKUPS`] that may ask the system; held while [`Callers::resolve`] or a group
    /// look-up runs on a blocking thread.
    pub(crate) async fn lookup_place(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed.
        self.lookups.acquire().await.ok()
    }

    /// The groups behind the callers.
    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    /// `generation`: of the groups before they were asked for.
    fn make(&self, user: &str, known: KnownGroups, generation: u64) -> Arc<Caller> {
        let KnownGroups { groups, expires } = known;
        let made = self.made.load();
        let before = made.get(user);
        let caller = match before.filter(|before| Arc::ptr_eq(&before.groups, &groups)) {
            Some(before) if (before.expires, before.generation) == (expires, generation) => {
                return Arc::clone(&before.caller);
            }
            Some(before) => Arc::clone(&before.caller),
            None => Arc::new(Caller {
                user: user.to_owned(),
                groups: groups.to_vec(),
                superuser: !self.permissions_enabled || user == self.owner || groups.contains(&self.supergroup),
            }),
        };
        let entry = Made {
            groups,
            caller: Arc::clone(&caller),
            expires,
            generation,
        };
        // Of two that come at once one may be lost: it is made again at the next call.
        let mut made = HashMap::clone(&made);
        if made.len() >= MAX_CACHED_USERS {
            made.clear();
        }
        made.insert(user.to_owned(), entry);
        self.made.store(Arc::new(made));
        caller
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hadron_env::{Configuration, ManualClock};
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn callers_follow_what_the_groups_say() {
        let clock = Arc::new(ManualClock::default());
        let promoted = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&promoted);
        let source = Box::new(move |_: &str| {
            let group = if asked.load(Ordering::SeqCst) {
                "supergroup"
            } else {
                "users"
            };
            Some(vec![group.to_owned()])
        });
        let settings = Settings::from_configuration(&Configuration::new());
        let ttl = Duration::from_secs(10);
        let groups = Groups::new(source, clock.clone(), "").with_ttls(ttl, ttl);
        let callers = Callers::new(groups, &settings);
        assert_eq!(callers.cached("ann"), None, "the system was not asked yet");
        assert!(!callers.resolve("ann").superuser);
        let first = callers.cached("ann").expect("known");
        let again = callers.cached("ann").expect("known");
        assert!(Arc::ptr_eq(&first, &again));

        promoted.store(true, Ordering::SeqCst);
        clock.advance(ttl);
        assert_eq!(callers.cached("ann"), None, "one is told to ask again");
        let stale = callers.cached("ann").expect("the others go on with the old answer");
        assert!(!stale.superuser);
        assert!(callers.resolve("ann").superuser);
        assert!(callers.cached("ann").expect("known").superuser);

        promoted.store(false, Ordering::SeqCst);
        callers.groups().clear();
        assert_eq!(
            callers.cached("ann"),
            None,
            "a refresh forgets answers that are still good"
        );
        assert!(!callers.resolve("ann").superuser);
    }
}
