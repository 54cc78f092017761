//! Opening files for writing: create and append, and taking over what a silent writer left open.

use super::Call;
use super::call::{Audit, decode};
use crate::convert;
use bytes::Bytes;
use hadron_namespace::command::{Append, Create, create_flag};
use hadron_namespace::{Appended, Command, LEASE_SOFT_LIMIT_MS, LeaseProgress, OutcomeValue};
use hadron_net::Reply;
use hadron_proto::hdfs::{
    AppendRequestProto, AppendResponseProto, CreateRequestProto, CreateResponseProto, LocatedBlockProto,
};
use hadron_types::{ErrorKind, HadoopError, HadoopResult, InodeId};
use hadron_wire::token::AccessMode;

/// create.
pub(super) fn create(call: &Call, body: Bytes) -> Reply {
    let request: CreateRequestProto = match decode(body) {
        Ok(request) => request,
        Err(error) => return Reply::error(error),
    };
    if let Some(name) = request.ec_policy_name.as_deref().filter(|name| !name.is_empty()) {
        let message = format!("Policy '{name}' does not match any enabled erasure coding policies: [].");
        return Reply::error(HadoopError::new(ErrorKind::HadoopIllegalArgument, message));
    }
    let audit = Audit::of("create", &request.src);
    let what = format!("Cannot create file{}", request.src);
    let path = request.src.clone();
    let takes_over = request.create_flag & create_flag::OVERWRITE == 0;
    let op = Create {
        path: request.src,
        masked_permission: request.masked.perm,
        holder: request.client_name,
        client_machine: call.context.peer.to_string(),
        flags: request.create_flag,
        create_parent: request.create_parent,
        // Java reads the field as a short.
        replication: i32::from(request.replication as i16),
        block_size: request.block_size,
        unmasked_permission: request.unmasked.map(|unmasked| unmasked.perm),
        storage_policy: request.storage_policy,
    };
    let (call, command) = (call.clone(), call.command(op));
    match call.admit(&command, || what) {
        Err(error) if takes_over && error.kind == ErrorKind::AlreadyBeingCreated => Reply::waiting(async move {
            call.take_over("CREATE_FILE", &path, error).await?;
            create_now(&call, command, audit).await
        }),
        Err(error) => {
            call.audit_denied(&audit, &error);
            Reply::error(error)
        }
        Ok(Some(value)) => Reply::of(created(value)),
        Ok(None) => Reply::waiting(async move { create_now(&call, command, audit).await }),
    }
}

async fn create_now(call: &Call, command: Command, audit: Audit) -> HadoopResult<CreateResponseProto> {
    let outcome = call.shared.propose(command).await;
    call.audit_outcome(&audit, &outcome);
    created(outcome?)
}

fn created(value: OutcomeValue) -> HadoopResult<CreateResponseProto> {
    match value {
        OutcomeValue::Created(status) => Ok(CreateResponseProto {
            fs: Some(convert::file_status(*status)),
        }),
        other => Err(unexpected("create", &other)),
    }
}

/// append.
pub(super) fn append(call: &Call, body: Bytes) -> Reply {
    call.wait(body, |call, request: AppendRequestProto| async move {
        let audit = Audit::of("append", &request.src);
        let what = || format!("Cannot append to file{}", request.src);
        let command = call.append_command(&request);
        if let Err(error) = call.admit(&command, what) {
            if error.kind != ErrorKind::AlreadyBeingCreated {
                call.audit_denied(&audit, &error);
                return Err(error);
            }
            call.take_over("APPEND_FILE", &request.src, error).await?;
        }
        let outcome = call.shared.propose(command).await;
        call.audit_outcome(&audit, &outcome);
        match outcome? {
            OutcomeValue::Appended(appended) => Ok(call.appended(*appended)),
            other => Err(unexpected("append", &other)),
        }
    })
}

/// An outcome of another operation: a retry key used twice for different calls.
pub(super) fn unexpected(call: &str, value: &OutcomeValue) -> HadoopError {
    tracing::warn!(call, ?value, "outcome of another call");
    HadoopError::io(format!("{call}: the client used this call id for another call before"))
}

impl Call {
    fn append_command(&self, request: &AppendRequestProto) -> Command {
        let state = &self.shared.state;
        let ns = state.ns.read();
        let file = ns.file_id_for_write(&self.caller, &request.src, 0).ok().flatten();
        let last = file.and_then(|file| ns.last_blocks(file).pop());
        let last_block_replicated = last.is_none_or(|last| state.blocks.lock().is_min_replicated(last.block.id));
        self.command(Append {
            path: request.src.clone(),
            holder: request.client_name.clone(),
            client_machine: self.context.peer.to_string(),
            new_block: request.flag() & create_flag::NEW_BLOCK != 0,
            last_block_replicated,
        })
    }

    fn appended(&self, appended: Appended) -> AppendResponseProto {
        let shared = &self.shared;
        let block = appended.last_block.map(|(block, offset)| {
            let pool = shared.state.block_pool();
            let replicas = match appended.new_block {
                true => Vec::new(),
                false => shared.state.blocks.lock().expected(block.id, shared.state.now()),
            };
            let mut located = LocatedBlockProto {
                is_cached: Vec::new(),
                ..convert::located_block(&pool, block, offset, &convert::uncorrupted(replicas))
            };
            self.put_token(&mut located, AccessMode::Write);
            located
        });
        AppendResponseProto {
            block,
            stat: Some(convert::file_status(appended.status)),
        }
    }

    /// Ends the lease of a writer that has been silent for the soft limit, so that this caller may open `path`.
    ///
    /// Errors: `refusal` while the writer is within its limit; RecoveryInProgressException when its last block must be
    /// recovered first.
    async fn take_over(&self, operation: &str, path: &str, refusal: HadoopError) -> HadoopResult<()> {
        let state = &self.shared.state;
        let (holder, file) = {
            let ns = state.ns.read();
            let open = ns.lease_of_path(&self.caller, path)?;
            let Some(open) = open else { return Ok(()) };
            (open.holder, open.file)
        };
        let expired = state
            .leases
            .lock()
            .is_soft_expired(&holder, state.now(), LEASE_SOFT_LIMIT_MS);
        if !expired {
            return Err(refusal);
        }
        tracing::info!(path, %holder, "soft limit expired: release lease");
        match self.shared.release_lease(file, None).await? {
            LeaseProgress::Closed => Ok(()),
            LeaseProgress::RecoveryStarted { .. } => Err(HadoopError::new(
                ErrorKind::RecoveryInProgress,
                format!(
                    "Failed to {operation} {path} for {} on {} because lease recovery is in progress. Try again later.",
                    self.caller.user, self.context.peer
                ),
            )),
        }
    }
}

impl crate::Shared {
    /// Ends the lease on `file` with what is known of its replicas now. `new_holder` owns it while recovery runs.
    pub(crate) async fn release_lease(&self, file: InodeId, new_holder: Option<String>) -> HadoopResult<LeaseProgress> {
        let command = {
            let ns = self.state.ns.read();
            let blocks = self.state.blocks.lock();
            let last_blocks = ns.last_blocks(file);
            let replicated = |id| blocks.is_min_replicated(id);
            let now = self.state.now();
            let last_block_has_replicas = last_blocks
                .last()
                .is_some_and(|last| !blocks.expected(last.block.id, now).is_empty());
            self.command(
                self.own_caller(),
                hadron_namespace::command::ReleaseLease {
                    file_id: file.0,
                    new_holder,
                    replicated: last_blocks
                        .iter()
                        .map(|b| b.block.id)
                        .filter(|id| replicated(*id))
                        .map(|id| id.0)
                        .collect(),
                    last_block_has_replicas,
                },
            )
        };
        match self.propose(command).await? {
            OutcomeValue::Lease(progress) => Ok(progress),
            other => Err(unexpected("release lease", &other)),
        }
    }
}
