//! Applying commands. One file per family of operations.
//!
//! Each operation is a pair: `plan` reads the state and either refuses or says what will be done; `execute` does it
//! and cannot fail. `check` is `plan` alone and `apply` is both, so there is one validation path, and a refused
//! command has changed nothing.

mod create;
mod delete;
mod lease;
mod mkdirs;

pub use delete::DELETE_INLINE_BUDGET;

use crate::command::{Caller, Command, Limits, Op};
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

macro_rules! dispatch {
    ($op:expr, $bound:ident => $body:expr, else $other:expr) => {
        match $op {
            Op::Create($bound) => $body,
            Op::Mkdirs($bound) => $body,
            _ => $other,
        }
    };
}

impl Namespace {
    /// Whether `command` would be refused by the state as it is; a shell asks before it proposes.
    ///
    /// A call whose outcome is in the retry cache is not refused: proposing it, or [`Namespace::replayed`], answers it.
    pub fn check(&self, command: &Command) -> HadoopResult<()> {
        if self.replayed(command).is_some() {
            return Ok(());
        }
        let context = context_of(command);
        let op = command.op.as_ref().ok_or_else(unknown_command)?;
        dispatch!(op, op => op.plan(self, context).map(drop), else Err(unknown_command()))
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
        self.retry.get(&key, command.time()).cloned()
    }

    fn run(&mut self, command: &Command, rules_version: u32, effects: &mut Vec<Effect>) -> Outcome {
        if rules_version > crate::RULES_VERSION {
            return Err(unknown_command());
        }
        let context = context_of(command);
        let op = command.op.as_ref().ok_or_else(unknown_command)?;
        let value = dispatch!(op, op => {
            let plan = op.plan(self, context)?;
            op.execute(plan, self, context, effects)
        }, else return Err(unknown_command()));
        if let Some(key) = retry_key(command) {
            self.retry.insert(key, value.clone(), command.time());
        }
        Ok(value)
    }
}

fn context_of(command: &Command) -> Context<'_> {
    Context {
        caller: &command.caller,
        now: command.time(),
        limits: command.limits.unwrap_or_default(),
    }
}

/// The retry-cache key of a command, if its operation is guarded and its client can be told apart.
fn retry_key(command: &Command) -> Option<RetryKey> {
    fn guarded<O: Operation>(_: &O) -> bool {
        O::AT_MOST_ONCE
    }
    let guarded = dispatch!(command.op.as_ref()?, op => guarded(op), else false);
    if guarded { command.call.as_ref()?.key() } else { None }
}

fn unknown_command() -> HadoopError {
    HadoopError::io("the command is of a newer version than this NameNode")
}

/// Refuses operations that only the NameNode's owner may ask for.
#[allow(dead_code)]
pub(crate) fn require_superuser(context: Context<'_>) -> HadoopResult<()> {
    if context.caller.superuser {
        return Ok(());
    }
    Err(errors::superuser_required(&context.caller.user))
}
