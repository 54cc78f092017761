//! Applying commands. One file per family of operations.
//!
//! Each operation is a pair: `plan` reads the state and either refuses or says what will be done; `execute` does it
//! and cannot fail. `check` is `plan` alone and `apply` is both, so there is one validation path, and a refused
//! command has changed nothing.

mod acl;
mod append;
mod attributes;
mod blocks;
mod cache;
mod concat;
mod create;
mod delete;
mod lease;
mod mkdirs;
mod pipeline;
mod protected;
mod quota;
mod recovery;
mod rename;
mod storage_policy;
mod truncate;
mod xattr;

pub use delete::{DELETE_INLINE_BUDGET, RECLAIM_BUDGET};

use crate::command::{Caller, Command, Limits, Noop, Op};
use crate::errors;
use crate::namespace::Namespace;
use crate::outcome::{Applied, Effect, Outcome, OutcomeValue};
use crate::retry::RetryKey;
use hadron_types::{HadoopError, HadoopResult, TimeMs};

/// The part of a command that all operations share.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) caller: &'a Caller,
    pub(crate) now: TimeMs,
    pub(crate) limits: Limits,
    /// The rules the command is applied by.
    pub(crate) rules_version: u32,
}

/// One operation.
pub(crate) trait Operation {
    /// What `plan` found out and `execute` needs.
    type Plan;
    /// Whether a repeated call must be answered from the retry cache.
    const AT_MOST_ONCE: bool = false;
    /// Validates against the state.
    fn plan(&self, namespace: &Namespace, context: Context<'_>) -> HadoopResult<Self::Plan>;
    /// Changes the state as planned.
    fn execute(
        &self,
        plan: Self::Plan,
        namespace: &mut Namespace,
        context: Context<'_>,
        effects: &mut Vec<Effect>,
    ) -> OutcomeValue;
}

/// Runs `$body` with the operation inside `$op`, whichever it is.
macro_rules! dispatch {
    ($op:expr, $bound:ident => $body:expr) => {
        match $op {
            Op::Create($bound) => $body,
            Op::Append($bound) => $body,
            Op::AddBlock($bound) => $body,
            Op::AbandonBlock($bound) => $body,
            Op::Complete($bound) => $body,
            Op::Fsync($bound) => $body,
            Op::Mkdirs($bound) => $body,
            Op::Rename($bound) => $body,
            Op::Rename2($bound) => $body,
            Op::Delete($bound) => $body,
            Op::Reclaim($bound) => $body,
            Op::SetPermission($bound) => $body,
            Op::SetOwner($bound) => $body,
            Op::SetTimes($bound) => $body,
            Op::SetReplication($bound) => $body,
            Op::UpdateAccessTimes($bound) => $body,
            Op::UpdateBlockForPipeline($bound) => $body,
            Op::UpdatePipeline($bound) => $body,
            Op::ReleaseLease($bound) => $body,
            Op::ReassignLease($bound) => $body,
            Op::CommitBlockSynchronization($bound) => $body,
            Op::Noop($bound) => $body,
            Op::Concat($bound) => $body,
            Op::SetQuota($bound) => $body,
            Op::SetStoragePolicy($bound) => $body,
            Op::UnsetStoragePolicy($bound) => $body,
            Op::SetAcl($bound) => $body,
            Op::ModifyAclEntries($bound) => $body,
            Op::RemoveAclEntries($bound) => $body,
            Op::RemoveAcl($bound) => $body,
            Op::RemoveDefaultAcl($bound) => $body,
            Op::SetXAttr($bound) => $body,
            Op::RemoveXAttr($bound) => $body,
            Op::Truncate($bound) => $body,
            Op::AddCachePool($bound) => $body,
            Op::ModifyCachePool($bound) => $body,
            Op::RemoveCachePool($bound) => $body,
            Op::AddCacheDirective($bound) => $body,
            Op::ModifyCacheDirective($bound) => $body,
            Op::RemoveCacheDirective($bound) => $body,
        }
    };
}

impl Operation for Noop {
    type Plan = ();

    fn plan(&self, _namespace: &Namespace, _context: Context<'_>) -> HadoopResult<()> {
        Ok(())
    }

    fn execute(&self, (): (), _: &mut Namespace, _: Context<'_>, _: &mut Vec<Effect>) -> OutcomeValue {
        OutcomeValue::Done
    }
}

impl Namespace {
    /// Whether `command` would be refused by the state as it is; a shell asks before it proposes.
    ///
    /// A call whose outcome is in the retry cache is not refused: proposing it, or [`Namespace::replayed`], answers it.
    pub fn check(&self, command: &Command) -> HadoopResult<()> {
        if self.replayed(command).is_some() {
            return Ok(());
        }
        let context = context_of(command, crate::RULES_VERSION);
        let op = command.op.as_ref().ok_or_else(unknown_command)?;
        dispatch!(op, op => op.plan(self, context).map(drop))
    }

    /// Runs `command`; total: a command that does not fit gives an error outcome and changes nothing.
    ///
    /// `rules_version`: the version the entry was written under, at most [`crate::RULES_VERSION`].
    pub fn apply(&mut self, command: &Command, rules_version: u32) -> Applied {
        if let Some(outcome) = self.replayed(command) {
            let effects = Vec::new();
            return Applied {
                outcome: Ok(outcome),
                effects,
            };
        }
        let mut effects = Vec::new();
        let outcome = self.run(command, rules_version, &mut effects);
        Applied { outcome, effects }
    }

    /// The recorded outcome of an at-most-once call that was applied before.
    pub fn replayed(&self, command: &Command) -> Option<OutcomeValue> {
        let key = retry_key(command)?;
        self.retry.get(&key, command.time())
    }

    fn run(&mut self, command: &Command, rules_version: u32, effects: &mut Vec<Effect>) -> Outcome {
        if rules_version > crate::RULES_VERSION {
            return Err(unknown_command());
        }
        let context = context_of(command, rules_version);
        let op = command.op.as_ref().ok_or_else(unknown_command)?;
        let value = dispatch!(op, op => {
            plan_and_execute(op, self, context, effects)?
        });
        if let Some(key) = retry_key(command) {
            self.retry.insert(key, &value, command.time());
        }
        Ok(value)
    }
}

fn plan_and_execute<O: Operation>(
    op: &O,
    namespace: &mut Namespace,
    context: Context<'_>,
    effects: &mut Vec<Effect>,
) -> Outcome {
    let plan = op.plan(namespace, context)?;
    Ok(op.execute(plan, namespace, context, effects))
}

fn context_of(command: &Command, rules_version: u32) -> Context<'_> {
    Context {
        caller: &command.caller,
        now: command.time(),
        limits: command.limits.unwrap_or_default(),
        rules_version,
    }
}

/// The retry-cache key of a command, if its operation is guarded and its client can be told apart.
fn retry_key(command: &Command) -> Option<RetryKey> {
    fn guarded<O: Operation>(_: &O) -> bool {
        O::AT_MOST_ONCE
    }
    let guarded = dispatch!(command.op.as_ref()?, op => guarded(op));
    if guarded { command.call.as_ref()?.key() } else { None }
}

fn unknown_command() -> HadoopError {
    HadoopError::io("the command is of a newer version than this NameNode")
}

/// Refuses operations that only the NameNode's owner may ask for.
pub(crate) fn require_superuser(context: Context<'_>) -> HadoopResult<()> {
    if context.caller.superuser {
        return Ok(());
    }
    Err(errors::superuser_required(&context.caller.user))
}
