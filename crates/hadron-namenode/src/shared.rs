//! What every handler and monitor of a running NameNode holds.

use crate::{Settings, State};
use hadron_namespace::command::Op;
use hadron_namespace::{Caller, Command, Outcome};
use std::sync::Arc;

/// A running NameNode's parts. Handed around as `Arc<Shared>`.
pub struct Shared {
    /// Namespace and block map under their locks.
    pub state: Arc<State>,
    /// What the configuration says.
    pub settings: Settings,
}

impl Shared {
    /// Puts the parts together.
    pub fn new(state: Arc<State>, settings: Settings) -> Self {
        Self { state, settings }
    }

    /// A command of `caller` with the time and limits of now.
    pub fn command(&self, caller: Caller, op: impl Into<Op>) -> Command {
        Command::new(caller, self.state.now(), op).with_limits(self.settings.limits)
    }

    /// The NameNode itself as a caller.
    pub fn own_caller(&self) -> Caller {
        Caller::superuser(&self.settings.owner)
    }

    /// Makes `command` durable, applies it and gives its outcome. Dropping the future forgets the answer only.
    pub async fn propose(&self, command: Command) -> Outcome {
        let (outcome, events) = {
            let mut ns = self.state.ns.write();
            let applied = ns.apply(&command, hadron_namespace::RULES_VERSION);
            let mut blocks = self.state.blocks.lock();
            crate::effects::follow(&ns, &mut blocks, &applied.effects, self.state.now());
            (applied.outcome, blocks.take_events())
        };
        self.state.publish(events);
        outcome
    }
}
