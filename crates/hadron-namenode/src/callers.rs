//! From a user's name to a caller with groups and superuser bit, remembered per user.
//!
//! Superuser: the user who runs the NameNode, members of the supergroup, and everybody when permissions are off.
//! Invariant: [`Callers::cached`] never blocks; asking the system is [`Callers::resolve`]'s, off the reactor.

use crate::Settings;
use crate::groups::{Groups, MAX_CACHED_USERS};
use hadron_namespace::Caller;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
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
    made: Mutex<HashMap<String, Made>>,
    lookups: Semaphore,
}

#[derive(Debug)]
struct Made {
    groups: Arc<[String]>,
    caller: Arc<Caller>,
}

impl Callers {
    /// Callers with the groups that `groups` knows.
    pub fn new(groups: Groups, settings: &Settings) -> Self {
        Self {
            groups,
            owner: settings.owner.clone(),
            supergroup: settings.supergroup.clone(),
            permissions_enabled: settings.permissions_enabled,
            made: Mutex::new(HashMap::new()),
            lookups: Semaphore::const_new(MAX_LOOKUPS),
        }
    }

    /// The caller, if its groups can be told without asking the system.
    pub fn cached(&self, user: &str) -> Option<Arc<Caller>> {
        let groups = self.groups.cached(user)?;
        Some(self.make(user, groups))
    }

    /// The caller. May block for as long as the host's user database takes.
    pub fn resolve(&self, user: &str) -> Arc<Caller> {
        let groups = self.groups.lookup(user);
        self.make(user, groups)
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

    fn make(&self, user: &str, groups: Arc<[String]>) -> Arc<Caller> {
        let mut made = self.made.lock();
        if let Some(known) = made.get(user)
            && Arc::ptr_eq(&known.groups, &groups)
        {
            return Arc::clone(&known.caller);
        }
        let in_supergroup = groups.contains(&self.supergroup);
        let caller = Arc::new(Caller {
            user: user.to_owned(),
            groups: groups.to_vec(),
            superuser: !self.permissions_enabled || user == self.owner || in_supergroup,
        });
        if made.len() >= MAX_CACHED_USERS {
            made.clear();
        }
        let entry = Made {
            groups,
            caller: Arc::clone(&caller),
        };
        made.insert(user.to_owned(), entry);
        caller
    }
}
