//! Tests of the whole crate: commands in, outcomes and effects out.

mod attributes;
mod cache;
mod concat;
mod files;
mod histories;
mod names;
mod paths;
mod quotas;
mod recovery;
mod scale;
mod state;
mod storage_policies;
mod truncate;

use crate::command::*;
use crate::{Applied, Caller, Command, Identity, Namespace, Op, OutcomeValue, RULES_VERSION};
use hadron_types::{BlockPoolId, ErrorKind, HadoopError, HadoopResult, TimeMs};

/// A namespace with a clock that ticks with every command.
pub(crate) struct World {
    pub(crate) ns: Namespace,
    pub(crate) now: u64,
    pub(crate) last: Option<Applied>,
}

pub(crate) fn root() -> Caller {
    Caller::superuser("root")
}

pub(crate) fn alice() -> Caller {
    Caller::user("alice", &["staff"])
}

pub(crate) fn bob() -> Caller {
    Caller::user("bob", &["guests"])
}

impl World {
    pub(crate) fn new() -> Self {
        let identity = Identity {
            namespace_id: 7,
            cluster_id: "CID-test".to_owned(),
            block_pool: BlockPoolId::from("BP-1"),
            created: TimeMs(1),
        };
        Self {
            ns: Namespace::new(identity, "root", "supergroup", TimeMs(1)),
            now: 1_000,
            last: None,
        }
    }

    /// Applies a command, after asking whether it would be refused: the two must agree.
    pub(crate) fn apply(&mut self, command: &Command) -> HadoopResult<OutcomeValue> {
        let checked = self.ns.check(command);
        let applied = self.ns.apply(command, RULES_VERSION);
        assert_eq!(checked.err(), applied.outcome.clone().err(), "{command:?}");
        if applied.outcome.is_err() {
            assert_eq!(applied.effects, [], "a refused command has no effects");
        }
        let outcome = applied.outcome.clone();
        self.last = Some(applied);
        outcome
    }

    pub(crate) fn run(&mut self, caller: &Caller, op: impl Into<Op>) -> HadoopResult<OutcomeValue> {
        self.now += 1;
        self.apply(&Command::new(caller.clone(), TimeMs(self.now), op))
    }

    /// Runs what must succeed.
    pub(crate) fn ok(&mut self, caller: &Caller, op: impl Into<Op>) -> OutcomeValue {
        self.run(caller, op).expect("succeeds")
    }

    /// Runs what must be refused, with this class and text.
    pub(crate) fn refused(&mut self, caller: &Caller, op: impl Into<Op>, kind: ErrorKind, text: &str) {
        let op = op.into();
        let outcome = self.run(caller, op.clone());
        assert_eq!(outcome, Err(HadoopError::new(kind, text)), "{op:?}");
    }

    pub(crate) fn mkdirs(&mut self, caller: &Caller, path: &str, mode: u32) {
        assert_eq!(self.ok(caller, mkdirs(path, mode)), OutcomeValue::Bool(true));
    }

    /// Makes a closed file of `lens.len()` blocks.
    pub(crate) fn file(&mut self, caller: &Caller, path: &str, lens: &[u64]) -> u64 {
        let id = self.open(caller, path, "writer");
        let mut previous = None;
        let mut replicated = Vec::new();
        for &len in lens {
            let block = self.add_block(caller, path, id, "writer", previous, &replicated);
            replicated.push(block.id);
            previous = Some(BlockRef { len, ..block });
        }
        let op = Complete {
            path: path.to_owned(),
            file_id: id,
            holder: "writer".to_owned(),
            last: previous,
            replicated,
        };
        assert_eq!(self.ok(caller, op), OutcomeValue::Bool(true));
        id
    }

    /// Creates a file and returns its id.
    pub(crate) fn open(&mut self, caller: &Caller, path: &str, holder: &str) -> u64 {
        match self.ok(caller, create(path, holder)) {
            OutcomeValue::Created(status) => status.id.0,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn add_block(
        &mut self,
        caller: &Caller,
        path: &str,
        file_id: u64,
        holder: &str,
        previous: Option<BlockRef>,
        replicated: &[i64],
    ) -> BlockRef {
        let op = AddBlock {
            path: path.to_owned(),
            file_id,
            holder: holder.to_owned(),
            previous,
            replicated: replicated.to_vec(),
        };
        match self.ok(caller, op) {
            OutcomeValue::Allocated(allocated) => allocated.block.into(),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn effects(&self) -> &[crate::Effect] {
        self.last.as_ref().map_or(&[], |applied| &applied.effects)
    }
}

pub(crate) fn mkdirs(path: &str, mode: u32) -> Mkdirs {
    Mkdirs {
        path: path.to_owned(),
        masked_permission: mode,
        create_parent: true,
        unmasked_permission: None,
    }
}

pub(crate) fn create(path: &str, holder: &str) -> Create {
    Create {
        path: path.to_owned(),
        masked_permission: 0o644,
        holder: holder.to_owned(),
        client_machine: "127.0.0.1".to_owned(),
        flags: create_flag::CREATE,
        create_parent: true,
        replication: 3,
        block_size: 128 << 20,
        unmasked_permission: None,
        storage_policy: None,
    }
}

pub(crate) fn delete(path: &str, recursive: bool) -> Delete {
    Delete {
        path: path.to_owned(),
        recursive,
        protected: None,
    }
}

pub(crate) fn rename(source: &str, target: &str) -> Rename {
    Rename {
        source: source.to_owned(),
        target: target.to_owned(),
        protected: None,
    }
}

pub(crate) fn rename2(source: &str, target: &str, overwrite: bool) -> Rename2 {
    Rename2 {
        source: source.to_owned(),
        target: target.to_owned(),
        overwrite,
        to_trash: false,
        protected: None,
    }
}
