//! Who may administer a DataNode: its own user, and members of the supergroup as this host knows them.
//!
//! Source: Hadoop `DataNode.checkSuperuserPrivilege`; with `dfs.permissions.enabled` off everybody may.
//! What it does not do: remember groups. Such calls are rare, and asking costs one process of `id`; at most
//! [`MAX_LOOKUPS`] run at a time, since names come from the wire.

use hadron_types::{ErrorKind, HadoopError, HadoopResult};
use std::process::{Command, Stdio};
use tokio::sync::Semaphore;

/// Questions to the host's user database at a time.
const MAX_LOOKUPS: usize = 2;

/// The rule.
#[derive(Debug)]
pub(crate) struct Rights {
    enabled: bool,
    owner: String,
    supergroup: String,
    lookups: Semaphore,
}

impl Rights {
    pub(crate) fn new(enabled: bool, owner: &str, supergroup: &str) -> Self {
        Self {
            enabled,
            owner: owner.to_owned(),
            supergroup: supergroup.to_owned(),
            lookups: Semaphore::const_new(MAX_LOOKUPS),
        }
    }

    /// Refuses everybody but superusers.
    ///
    /// Errors: AccessControlException.
    pub(crate) async fn require(&self, user: &str) -> HadoopResult<()> {
        if !self.enabled || user == self.owner {
            return Ok(());
        }
        // The semaphore is never closed.
        let _place = self.lookups.acquire().await;
        let name = user.to_owned();
        let groups = tokio::task::spawn_blocking(move || groups_of(&name))
            .await
            .unwrap_or_default();
        if groups.contains(&self.supergroup) {
            return Ok(());
        }
        tracing::warn!(user, "administrative call refused");
        Err(HadoopError::new(ErrorKind::AccessControl, "Permission denied."))
    }
}

/// The groups of `user`; none for one this host does not know.
fn groups_of(user: &str) -> Vec<String> {
    let asked = Command::new("id")
        .args(["-Gn", "--", user])
        .stdin(Stdio::null())
        .output();
    match asked {
        Ok(answer) if answer.status.success() => {
            let text = String::from_utf8_lossy(&answer.stdout).into_owned();
            text.split_whitespace().map(str::to_owned).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_owner_and_the_supergroup_may_and_others_may_not() {
        let own_group = groups_of("root").first().cloned().unwrap_or_default();
        for (enabled, owner, supergroup, user, expected) in [
            (true, "hdfs", "supergroup", "hdfs", true),
            (true, "hdfs", own_group.as_str(), "root", true),
            (true, "hdfs", "supergroup", "nobody-of-this-name", false),
            (true, "hdfs", "supergroup", "--help", false),
            (false, "hdfs", "supergroup", "nobody-of-this-name", true),
        ] {
            let allowed = Rights::new(enabled, owner, supergroup).require(user).await;
            assert_eq!(allowed.is_ok(), expected, "{user}");
            if let Err(error) = allowed {
                assert_eq!(
                    (error.kind, error.message.as_str()),
                    (ErrorKind::AccessControl, "Permission denied.")
                );
            }
        }
    }
}
