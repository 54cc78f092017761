//! Create: a new file, open for its writer; an overwritten one goes in the same command.

use super::mkdirs::create_modes;
use super::storage_policy::policy_called;
use super::{Context, Operation};
use crate::command::{Create, create_flag};
use crate::errors;
use crate::inode::{InodeHandle, MAX_BLOCK_SIZE};
use crate::namespace::{CreateModes, Namespace};
use crate::outcome::{Effect, OutcomeValue};
use crate::permission::Access;
use crate::resolve::{Purpose, Resolved, check_path_len, is_reserved_root};
use hadron_types::{ErrorKind, FsAction, HadoopError, HadoopResult, StoragePolicy, UNSPECIFIED_POLICY};

impl Create {
    fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    fn policy_name(&self) -> Option<&str> {
        self.storage_policy.as_deref().filter(|name| !name.is_empty())
    }

    /// The policy to set on the file itself, when its directory's is `inherited`.
    fn own_policy(&self, inherited: u8) -> u8 {
        if self.has(create_flag::LAZY_PERSIST) {
            return StoragePolicy::LAZY_PERSIST.id;
        }
        let asked = self.policy_name().and_then(StoragePolicy::by_name);
        let copied = || StoragePolicy::by_id(inherited).filter(|policy| policy.copy_on_create);
        asked.or_else(copied).map_or(UNSPECIFIED_POLICY, |policy| policy.id)
    }
}

impl Operation for Create {
    type Plan = Resolved;
    const AT_MOST_ONCE: bool = true;

    fn plan(&self, namespace: &Namespace, context: Context<'_>) -> HadoopResult<Resolved> {
        check_path_len("create", &self.path)?;
        if is_reserved_root(&self.path) || !self.path.starts_with('/') {
            return Err(errors::invalid_path(&self.path));
        }
        check_replication(context, &self.path, self.replication, Some(&self.client_machine))?;
        self.check_block_size(context)?;
        let at = namespace.resolve(context.caller, &self.path, Purpose::Create)?;
        let access = Access {
            ancestor: Some(FsAction::WRITE),
            ..Access::default()
        };
        namespace.check_access(context.caller, &at, access)?;
        match at.last() {
            Some(existing) => self.plan_existing(namespace, context, &at, existing)?,
            None => self.plan_missing(namespace, &at)?,
        }
        namespace.check_objects(context)?;
        if at.last().is_none() {
            namespace.check_new_names(context, &at)?;
        }
        match (at.last(), at.parent()) {
            (Some(existing), Some(parent)) if namespace.has_quotas() => {
                let freed = namespace
                    .measure(existing, namespace.effective_policy(parent), true)
                    .total;
                namespace.verify_new_names(parent, 1, freed)?;
            }
            (Some(_), _) => {}
            (None, _) => namespace.verify_missing_names(&at)?,
        }
        if let Some(name) = self.policy_name() {
            policy_called(name)?;
        }
        Ok(at)
    }

    fn execute(
        &self,
        at: Resolved,
        namespace: &mut Namespace,
        context: Context<'_>,
        effects: &mut Vec<Effect>,
    ) -> OutcomeValue {
        let parent = match (at.last(), at.parent()) {
            (Some(existing), Some(parent)) => {
                namespace.delete_tree(existing, context.now, effects);
                parent
            }
            _ => {
                let deepest = at.inodes[at.inodes.len() - 1];
                let modes = CreateModes {
                    masked: namespace.inode(deepest).mode(),
                    unmasked: None,
                };
                namespace.make_ancestors(context, &at, modes)
            }
        };
        let modes = create_modes(context, self.masked_permission, self.unmasked_permission);
        let file = namespace.make_inode(parent, at.name(), modes, context.caller, false, context.now);
        let inode = namespace.inode_mut(file);
        inode.set_block_size(self.block_size);
        inode.set_replication(u16::try_from(self.replication).unwrap_or(u16::MAX));
        let id = inode.id();
        let policy = self.own_policy(namespace.effective_policy(parent));
        namespace.set_policy(file, policy);
        let holder = namespace.open(file, &self.holder, &self.client_machine);
        effects.push(Effect::LeaseGranted { file: id, holder });
        OutcomeValue::Created(Box::new(namespace.status_of(file, "")))
    }
}

impl Create {
    fn check_block_size(&self, context: Context<'_>) -> HadoopResult<()> {
        // Java's long: what is beyond it came in as a negative number.
        let size = self.block_size as i64;
        let least = context.limits.block_size();
        if size < 0 || self.block_size < least {
            return Err(HadoopError::io(format!(
                "Specified block size is less than configured minimum value \
                 (dfs.namenode.fs-limits.min-block-size): {size} < {least}"
            )));
        }
        if self.block_size > MAX_BLOCK_SIZE {
            return Err(HadoopError::new(
                ErrorKind::IllegalArgument,
                format!("Illegal value: PREFERRED_BLOCK_SIZE = {size} > MAX = {MAX_BLOCK_SIZE}"),
            ));
        }
        Ok(())
    }

    fn plan_existing(
        &self,
        namespace: &Namespace,
        context: Context<'_>,
        at: &Resolved,
        existing: InodeHandle,
    ) -> HadoopResult<()> {
        if namespace.inode(existing).is_directory() {
            return Err(errors::file_exists(format!(
                "{} already exists as a directory",
                at.path
            )));
        }
        if self.has(create_flag::OVERWRITE) {
            let access = Access {
                path: Some(FsAction::WRITE),
                ..Access::default()
            };
            return namespace.check_access(context.caller, at, access);
        }
        namespace.check_not_open("CREATE_FILE", at, existing, &self.holder, &self.client_machine)?;
        Err(errors::file_exists(format!(
            "{} for client {} already exists",
            at.path, self.client_machine
        )))
    }

    fn plan_missing(&self, namespace: &Namespace, at: &Resolved) -> HadoopResult<()> {
        if !self.create_parent {
            namespace.check_parent_is_directory(at)?;
        }
        if !self.has(create_flag::CREATE) {
            return Err(errors::missing(format!("Can't overwrite non-existent {}", at.path)));
        }
        Ok(())
    }
}

/// Refuses a replication outside the configured range.
pub(super) fn check_replication(
    context: Context<'_>,
    path: &str,
    replication: i32,
    client: Option<&str>,
) -> HadoopResult<()> {
    let allowed = context.limits.replication();
    let reason = if replication > *allowed.end() {
        format!(" exceeds maximum of {}", allowed.end())
    } else if replication < *allowed.start() {
        format!(" is less than the required minimum of {}", allowed.start())
    } else {
        return Ok(());
    };
    let client = client.map_or(String::new(), |client| format!(", clientName={client}"));
    Err(HadoopError::io(format!(
        "Requested replication factor of {replication}{reason} for {path}{client}"
    )))
}
