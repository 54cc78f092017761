//! Mkdirs, and the making of missing ancestors that Create shares.

use super::{Context, Operation};
use crate::command::Mkdirs;
use crate::errors;
use crate::inode::InodeHandle;
use crate::namespace::{CreateModes, Namespace};
use crate::outcome::{Effect, OutcomeValue};
use crate::permission::Access;
use crate::quota::QuotaUsage;
use crate::resolve::{Purpose, Resolved, check_path_len};
use hadron_types::{ErrorKind, FsAction, FsPermission, HadoopError, HadoopResult};

/// Write and search for the owner: what made ancestors always have.
const OWNER_WRITE_EXECUTE: u16 = 0o300;
/// What made ancestors never have.
const STICKY: u16 = 0o1000;
/// Rules version since when made ancestors are not sticky.
const PLAIN_ANCESTORS_SINCE: u32 = 2;

/// The modes of a new inode as a command carries them.
pub(super) fn create_modes(context: Context<'_>, masked: u32, unmasked: Option<u32>) -> CreateModes {
    CreateModes {
        masked: FsPermission::from_wire(masked),
        unmasked: unmasked
            .filter(|_| context.limits.inherits_acls_by_posix())
            .map(FsPermission::from_wire),
    }
}

impl Operation for Mkdirs {
    /// `None` if the directory is there already.
    type Plan = Option<Resolved>;

    fn plan(&self, namespace: &Namespace, context: Context<'_>) -> HadoopResult<Self::Plan> {
        check_path_len("mkdirs", &self.path)?;
        let at = namespace.resolve(context.caller, &self.path, Purpose::Create)?;
        if let Some(existing) = at.last() {
            if namespace.inode(existing).is_directory() {
                return Ok(None);
            }
            return Err(errors::file_exists(format!("Path is not a directory: {}", self.path)));
        }
        namespace.check_access(
            context.caller,
            &at,
            Access {
                ancestor: Some(FsAction::WRITE),
                ..Access::default()
            },
        )?;
        if !self.create_parent {
            namespace.check_parent_is_directory(&at)?;
        }
        namespace.check_objects(context)?;
        namespace.check_new_names(context, &at)?;
        namespace.verify_missing_names(&at)?;
        Ok(Some(at))
    }

    fn execute(
        &self,
        plan: Self::Plan,
        namespace: &mut Namespace,
        context: Context<'_>,
        _effects: &mut Vec<Effect>,
    ) -> OutcomeValue {
        if let Some(at) = plan {
            let modes = create_modes(context, self.masked_permission, self.unmasked_permission);
            let parent = namespace.make_ancestors(context, &at, modes);
            namespace.make_inode(parent, at.name(), modes, context.caller, true, context.now);
        }
        OutcomeValue::Bool(true)
    }
}

impl Namespace {
    /// Refuses a new name whose parent is missing or a file; the root is always there.
    pub(super) fn check_parent_is_directory(&self, at: &Resolved) -> HadoopResult<()> {
        if at.depth <= 2 {
            return Ok(());
        }
        match at.parent() {
            None => Err(errors::missing(format!(
                "Parent directory doesn't exist: {}",
                at.parent_path()
            ))),
            Some(parent) if !self.inode(parent).is_directory() => Err(HadoopError::new(
                ErrorKind::ParentNotDirectory,
                format!("Parent path is not a directory: {}", at.parent_path()),
            )),
            Some(_) => Ok(()),
        }
    }

    /// Checks the limits for every component of `at` that does not exist yet.
    pub(super) fn check_new_names(&self, context: Context<'_>, at: &Resolved) -> HadoopResult<()> {
        let existing = at.inodes.len();
        for (index, name) in at.names().enumerate().skip(existing - 1) {
            let parent_path = at.prefix(index);
            self.check_name(context, name, parent_path)?;
            if index == existing - 1 {
                self.check_directory_items(context, at.inodes[index], parent_path)?;
            }
        }
        Ok(())
    }

    /// Refuses what does not exist of `at` where a quota has no room for it.
    pub(super) fn verify_missing_names(&self, at: &Resolved) -> HadoopResult<()> {
        let existing = at.inodes.len();
        self.verify_new_names(at.inodes[existing - 1], at.depth - existing, QuotaUsage::default())
    }

    /// Refuses another inode or block where there are as many as may be.
    pub(super) fn check_objects(&self, context: Context<'_>) -> HadoopResult<()> {
        let objects = self.inodes.len() as u64 + self.blocks.len() as u64;
        match context.limits.objects() {
            Some(limit) if limit <= objects => Err(HadoopError::io(format!(
                "Exceeded the configured number of objects {limit} in the filesystem."
            ))),
            _ => Ok(()),
        }
    }

    /// Refuses reserved names and names that are too long.
    pub(super) fn check_name(&self, context: Context<'_>, name: &str, parent_path: &str) -> HadoopResult<()> {
        if parent_path == "/" && name == ".reserved" {
            return Err(errors::illegal_argument(format!(
                "File name \"{name}\" is reserved and cannot be created. If this is during upgrade change the name \
                 of the existing file or directory to another name before upgrading to the new release."
            )));
        }
        if name == ".snapshot" {
            return Err(errors::illegal_argument("\".snapshot\" is a reserved name.".to_owned()));
        }
        let (limit, len) = (context.limits.component_len(), name.len());
        if limit != 0 && len > limit as usize {
            return Err(HadoopError::new(
                ErrorKind::PathComponentTooLong,
                format!(
                    "The maximum path component name limit of {name} in directory {parent_path} is exceeded: \
                     limit={limit} length={len}"
                ),
            ));
        }
        Ok(())
    }

    /// Refuses one more child in a full directory.
    pub(super) fn check_directory_items(
        &self,
        context: Context<'_>,
        directory: InodeHandle,
        path: &str,
    ) -> HadoopResult<()> {
        let limit = context.limits.directory_items() as usize;
        let items = self.directory(directory).map_or(0, |children| children.len());
        if items >= limit {
            return Err(HadoopError::new(
                ErrorKind::MaxDirectoryItemsExceeded,
                format!("The directory item limit of {path} is exceeded: limit={limit} items={items}"),
            ));
        }
        Ok(())
    }

    /// Makes the missing directories above the last component; returns the parent for it.
    ///
    /// They get the masked mode with u+wx and not sticky, so that the caller can go on below them.
    pub(super) fn make_ancestors(&mut self, context: Context<'_>, at: &Resolved, modes: CreateModes) -> InodeHandle {
        let modes = CreateModes {
            masked: if context.rules_version < PLAIN_ANCESTORS_SINCE {
                modes.masked.with(OWNER_WRITE_EXECUTE)
            } else {
                modes.masked.without(STICKY).with(OWNER_WRITE_EXECUTE)
            },
            ..modes
        };
        let mut parent = at.inodes[at.inodes.len() - 1];
        let missing = at
            .names()
            .skip(at.inodes.len() - 1)
            .take(at.depth - 1 - at.inodes.len());
        for name in missing {
            parent = self.make_inode(parent, name, modes, context.caller, true, context.now);
        }
        parent
    }
}
