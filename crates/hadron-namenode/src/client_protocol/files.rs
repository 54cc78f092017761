//! Opening files for writing: create and append, and taking over what a silent writer left open.

use super::Call;
use super::call::{Audit, decode};
use crate::lease_release::Released;
use crate::{convert, state_change};
use bytes::Bytes;
use hadron_namespace::command::{Append, Create, create_flag};
use hadron_namespace::{Appended, Command, LEASE_SOFT_LIMIT_MS, OutcomeValue};
use hadron_net::Reply;
use hadron_proto::hdfs::{
    AppendRequestProto, AppendResponseProto, CreateRequestProto, CreateResponseProto, LocatedBlockProto,
};
use hadron_types::{ErrorKind, HadoopError, HadoopResult};
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
    state_change::start_file(
        &request.src,
        &request.client_name,
        call.context.peer,
        request.create_parent,
        request.replication,
        &create_flag_names(request.create_flag),
    );
    let what = format!("Cannot create file{}", request.src);
    let (path, holder) = (request.src.clone(), request.client_name.clone());
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
            call.take_over("CREATE_FILE", &path, &holder, error).await?;
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
        call.require_append()?;
        state_change::append_file(&request.src, &request.client_name, call.context.peer);
        let mut command = call.append_command(&request);
        if let Err(error) = call.admit(&command, what) {
            if error.kind != ErrorKind::AlreadyBeingCreated {
                call.audit_denied(&audit, &error);
                return Err(error);
            }
            call.take_over("APPEND_FILE", &request.src, &request.client_name, error)
                .await?;
            // The last block's replicas were not what they are now.
            command = call.append_command(&request);
        }
        let outcome = call.shared.propose(command).await;
        call.audit_outcome(&audit, &outcome);
        match outcome.inspect_err(state_change::append_refused)? {
            OutcomeValue::Appended(appended) => Ok(call.appended(*appended)),
            other => Err(unexpected("append", &other)),
        }
    })
}

/// Hadoop's names of the flags of a create, for the log.
fn create_flag_names(flags: u32) -> String {
    const NAMES: [(u32, &str); 5] = [
        (create_flag::CREATE, "CREATE"),
        (create_flag::OVERWRITE, "OVERWRITE"),
        (create_flag::APPEND, "APPEND"),
        (create_flag::LAZY_PERSIST, "LAZY_PERSIST"),
        (create_flag::NEW_BLOCK, "NEW_BLOCK"),
    ];
    let set = NAMES
        .iter()
        .filter(|(flag, _)| flags & flag != 0)
        .map(|(_, name)| *name);
    set.collect::<Vec<_>>().join(", ")
}

/// An outcome of another operation: a retry key used twice for different calls.
pub(crate) fn unexpected(call: &str, value: &OutcomeValue) -> HadoopError {
    tracing::warn!(call, ?value, "outcome of another call");
    HadoopError::io(format!("{call}: the client used this call id for another call before"))
}

impl Call {
    /// Refuses appends where the operator switched them off.
    fn require_append(&self) -> HadoopResult<()> {
        if self.shared.settings.appends_enabled {
            return Ok(());
        }
        let text =
            "Append is not enabled on this NameNode. Use the dfs.support.append configuration option to enable it.";
        Err(HadoopError::new(ErrorKind::UnsupportedOperation, text))
    }

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
    pub(super) async fn take_over(
        &self,
        operation: &str,
        path: &str,
        new_holder: &str,
        refusal: HadoopError,
    ) -> HadoopResult<()> {
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
            Released::Closed => Ok(()),
            Released::Recovering => Err(HadoopError::new(
                ErrorKind::RecoveryInProgress,
                format!(
                    "Failed to {operation} {path} for {new_holder} on {} because lease recovery is in progress. Try again later.",
                    self.context.peer
                ),
            )),
        }
    }
}
