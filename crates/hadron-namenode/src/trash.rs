//! The trash emptier: turns every user's `.Trash/Current` into a checkpoint from time to time and deletes checkpoints that
//! are old enough.
//!
//! What it does not do: move anything to the trash; clients do. `fs.trash.interval` 0 turns it off. Not in safe mode.
//! Invariants: a directory is deleted only if its name is a checkpoint's time; whatever else lies in a `.Trash` stays and
//! is warned of; the namespace lock is held for one page of a listing at a time.
//! Source of rules and names: Hadoop `TrashPolicyDefault` (times in names are those of the machine's zone).

use crate::Shared;
use hadron_env::zone::{self, Civil};
use hadron_env::{Configuration, clock, config::keys};
use hadron_namespace::command::{Delete, Rename2};
use hadron_namespace::{Listing, ListingLimits};
use hadron_types::{ErrorKind, HadoopError, HadoopResult, TimeMs};
use std::sync::Arc;
use std::time::Duration;

const MINUTE_MS: u64 = 60_000;
/// Directory names looked at under one hold of the lock.
const PAGE: usize = 1000;
/// Names tried for a checkpoint before it is given up.
const MAX_ATTEMPTS: u32 = 1000;

/// When checkpoints are made, and when they go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct TrashPolicy {
    /// Age at which a checkpoint is deleted, ms; 0: never, nothing is done at all.
    pub(crate) keep_ms: u64,
    /// Between checkpoints, ms.
    pub(crate) checkpoint_ms: u64,
    /// Parent of the users' directories, without a slash at its end.
    pub(crate) homes: String,
}

impl TrashPolicy {
    /// Reads `fs.trash.*`.
    pub(crate) fn from_configuration(conf: &Configuration) -> Self {
        let minutes = |value: i64| u64::try_from(value).unwrap_or(0).saturating_mul(MINUTE_MS);
        let keep_ms = minutes(conf.get(keys::FS_TRASH_INTERVAL));
        let checkpoint_ms = match minutes(conf.get(keys::FS_TRASH_CHECKPOINT_INTERVAL)) {
            0 => keep_ms,
            configured => configured.min(keep_ms),
        };
        let homes = conf.get(keys::DFS_USER_HOME_DIR_PREFIX);
        Self {
            keep_ms,
            checkpoint_ms,
            homes: homes.trim_end_matches('/').to_owned(),
        }
    }
}

/// Empties until dropped; ends at once if trash is off.
pub(crate) async fn run(shared: Arc<Shared>, policy: TrashPolicy) {
    if policy.checkpoint_ms == 0 {
        return;
    }
    tracing::info!(
        keep_minutes = policy.keep_ms / MINUTE_MS,
        checkpoint_minutes = policy.checkpoint_ms / MINUTE_MS,
        "trash is emptied"
    );
    loop {
        let now = shared.state.now().0;
        let end = (now / policy.checkpoint_ms + 1).saturating_mul(policy.checkpoint_ms);
        clock::sleep(&*shared.state.clock, Duration::from_millis(end - now)).await;
        if shared.state.blocks.lock().safe_mode().is_on() {
            continue;
        }
        empty_all(&shared, &policy, shared.state.now()).await;
    }
}

/// One round over every user's trash.
async fn empty_all(shared: &Shared, policy: &TrashPolicy, now: TimeMs) {
    let mut after = String::new();
    loop {
        let users = match list(shared, &policy.homes, &after) {
            Ok(Some(users)) => users,
            Ok(None) => return,
            Err(error) => return tracing::warn!(%error, homes = policy.homes, "cannot look for trash"),
        };
        for user in &users.entries {
            let root = format!("{}/{}/.Trash", policy.homes, user.status.name);
            if user.status.is_directory
                && shared.state.ns.read().is_directory(&root)
                && let Err(error) = empty_one(shared, policy, &root, now).await
            {
                tracing::warn!(%error, root, "trash is skipped");
            }
        }
        match users.entries.last() {
            Some(last) if users.remaining > 0 => after.clone_from(&last.status.name),
            _ => return,
        }
    }
}

async fn empty_one(shared: &Shared, policy: &TrashPolicy, root: &str, now: TimeMs) -> HadoopResult<()> {
    delete_checkpoints(shared, policy, root, now).await?;
    make_checkpoint(shared, root, now).await
}

async fn delete_checkpoints(shared: &Shared, policy: &TrashPolicy, root: &str, now: TimeMs) -> HadoopResult<()> {
    let mut after = String::new();
    while let Some(page) = list(shared, root, &after)? {
        for entry in &page.entries {
            let name = &entry.status.name;
            if name == "Current" {
                continue;
            }
            let path = format!("{root}/{name}");
            match checkpoint_time(name) {
                None => tracing::warn!(path, "unexpected item in trash, ignoring"),
                Some(made) if now.0.saturating_sub(policy.keep_ms) > made.0 => {
                    let op = Delete {
                        path: path.clone(),
                        recursive: true,
                        protected: shared.settings.protected.clone(),
                    };
                    shared.propose(shared.command(shared.own_caller(), op)).await?;
                    tracing::info!(path, "deleted trash checkpoint");
                }
                Some(_) => {}
            }
        }
        match page.entries.last() {
            Some(last) if page.remaining > 0 => after.clone_from(&last.status.name),
            _ => break,
        }
    }
    Ok(())
}

async fn make_checkpoint(shared: &Shared, root: &str, now: TimeMs) -> HadoopResult<()> {
    let source = format!("{root}/Current");
    let exists = shared
        .state
        .ns
        .read()
        .file_info(&shared.own_caller(), &source)?
        .is_some();
    if !exists {
        return Ok(());
    }
    let base = format!("{root}/{}", checkpoint_name(now));
    for attempt in 0..MAX_ATTEMPTS {
        let target = match attempt {
            0 => base.clone(),
            attempt => format!("{base}-{attempt}"),
        };
        let op = Rename2 {
            source: source.clone(),
            target: target.clone(),
            overwrite: false,
            to_trash: false,
            protected: shared.settings.protected.clone(),
        };
        match shared.propose(shared.command(shared.own_caller(), op)).await {
            Ok(_) => {
                tracing::info!(path = target, "created trash checkpoint");
                return Ok(());
            }
            Err(error) if error.kind == ErrorKind::FileAlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(HadoopError::io(format!("Failed to checkpoint trash: {base}")))
}

fn list(shared: &Shared, path: &str, after: &str) -> HadoopResult<Option<Listing>> {
    let limits = ListingLimits {
        entries: PAGE,
        locations: PAGE,
    };
    let caller = shared.own_caller();
    shared.state.ns.read().listing(&caller, path, after, false, limits)
}

/// `yyMMddHHmmss`.
fn checkpoint_name(time: TimeMs) -> String {
    let Civil {
        year,
        month,
        day,
        hour,
        minute,
        second,
        ..
    } = zone::local(time);
    format!(
        "{:02}{month:02}{day:02}{hour:02}{minute:02}{second:02}",
        year.rem_euclid(100)
    )
}

/// The time in a checkpoint's name: twelve digits, or the ten of old releases, and whatever follows.
fn checkpoint_time(name: &str) -> Option<TimeMs> {
    let digits = name.bytes().take_while(u8::is_ascii_digit).count();
    let of = |at: usize| name.get(at..at + 2)?.parse::<u32>().ok();
    let second = match digits {
        12.. => of(10)?,
        10 | 11 => 0,
        _ => return None,
    };
    zone::from_local(2000 + i64::from(of(0)?), of(2)?, of(4)?, of(6)?, of(8)?, second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_checkpoints_go_both_ways() {
        for time in [1_795_322_386_000, 1_000_000_000_000] {
            let name = checkpoint_name(TimeMs(time));
            assert_eq!(name.len(), 12);
            assert_eq!(checkpoint_time(&name), Some(TimeMs(time)), "{name}");
            assert_eq!(checkpoint_time(&format!("{name}-7")), Some(TimeMs(time)));
            let minute = TimeMs(time - time % 60_000);
            assert_eq!(checkpoint_time(&name[..10]), Some(minute), "ten digits are an old name");
        }
        for odd in ["", "Current", "notes", "261399000000", "2611", "26-11-22"] {
            assert_eq!(checkpoint_time(odd), None, "{odd}");
        }
    }

    #[test]
    fn intervals_are_those_of_hadoop() {
        let policy = |interval: &str, checkpoint: &str| {
            let mut conf = Configuration::new();
            conf.set("fs.trash.interval", interval);
            conf.set("fs.trash.checkpoint.interval", checkpoint);
            let policy = TrashPolicy::from_configuration(&conf);
            (policy.keep_ms / MINUTE_MS, policy.checkpoint_ms / MINUTE_MS)
        };
        assert_eq!(policy("0", "10"), (0, 0));
        assert_eq!(policy("60", "0"), (60, 60));
        assert_eq!(policy("60", "90"), (60, 60));
        assert_eq!(policy("60", "5"), (60, 5));
    }
}
