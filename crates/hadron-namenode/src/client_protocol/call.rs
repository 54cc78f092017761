//! One call being served, and the two ways to serve it: inline reads and journaled mutations.

use crate::Shared;
use crate::audit::{AuditEvent, Auth};
use crate::audit_log::shown_context;
use bytes::Bytes;
use hadron_namespace::command::Op;
use hadron_namespace::{Caller, Command, FileStatus, Namespace, OutcomeValue};
use hadron_net::{CallContext, Reply};
use hadron_proto::hdfs::LocatedBlockProto;
use hadron_proto::{Required, decode_checked};
use hadron_types::{ErrorKind, HadoopError, HadoopResult};
use hadron_wire::token::AccessMode;
use std::sync::Arc;

/// A call's circumstances. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) shared: Arc<Shared>,
    pub(crate) context: CallContext,
    pub(crate) caller: Arc<Caller>,
}

/// What the audit log tells of a call. The default, without command, leaves no line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Audit {
    pub(crate) command: &'static str,
    pub(crate) src: Option<String>,
    pub(crate) dst: Option<String>,
}

impl Audit {
    /// A command on the whole file system.
    pub(crate) fn command(command: &'static str) -> Self {
        Self {
            command,
            ..Self::default()
        }
    }

    /// A command on one path.
    pub(crate) fn of(command: &'static str, src: &str) -> Self {
        Self {
            command,
            src: Some(src.to_owned()),
            dst: None,
        }
    }

    /// A command with two paths.
    pub(crate) fn between(command: &'static str, src: &str, dst: &str) -> Self {
        Self {
            dst: Some(dst.to_owned()),
            ..Self::of(command, src)
        }
    }
}

/// Decodes a request.
///
/// Errors: [`ErrorKind::InvalidProtocolBuffer`] naming what is missing or wrong.
pub(crate) fn decode<Q: prost::Message + Default + Required>(body: Bytes) -> HadoopResult<Q> {
    decode_checked(body).map_err(|error| HadoopError::new(ErrorKind::InvalidProtocolBuffer, error.to_string()))
}

impl Call {
    pub(crate) fn new(shared: Arc<Shared>, context: CallContext, caller: Arc<Caller>) -> Self {
        Self {
            shared,
            context,
            caller,
        }
    }

    /// Answers a read of O(path depth): `f` runs under the namespace's shared lock, inline unless the log's barrier
    /// must be waited for.
    pub(crate) fn read<Q, R, F>(&self, body: Bytes, f: F) -> Reply
    where
        Q: prost::Message + Default + Required + 'static,
        R: prost::Message + 'static,
        F: FnOnce(&Self, &Q, &Namespace) -> HadoopResult<R> + Send + 'static,
    {
        self.read_bytes(body, |call, request: &Q, ns| {
            f(call, request, ns).map(|message| Bytes::from(message.encode_to_vec()))
        })
    }

    /// As [`Call::read`], for handlers that encode their answer themselves.
    pub(crate) fn read_bytes<Q, F>(&self, body: Bytes, f: F) -> Reply
    where
        Q: prost::Message + Default + Required + 'static,
        F: FnOnce(&Self, &Q, &Namespace) -> HadoopResult<Bytes> + Send + 'static,
    {
        let request = match decode::<Q>(body) {
            Ok(request) => request,
            Err(error) => return Reply::error(error),
        };
        let run = move |call: &Self| f(call, &request, &call.shared.state.ns.read());
        match self.shared.read_barrier() {
            Ok(passed) => Reply::Ready(passed.and_then(|()| run(self))),
            Err(barrier) => {
                let call = self.clone();
                Reply::Waiting(Box::pin(async move {
                    barrier.await?;
                    run(&call)
                }))
            }
        }
    }

    /// Puts a token of this caller into a block of an answer, where there are tokens. Call without locks.
    pub(crate) fn put_token(&self, located: &mut LocatedBlockProto, mode: AccessMode) {
        self.shared.put_token(located, &self.context.user.user, mode);
    }

    /// Passes the log's barrier; for reads that are answered by a future of their own.
    pub(crate) async fn pass_barrier(&self) -> HadoopResult<()> {
        match self.shared.read_barrier() {
            Ok(passed) => passed,
            Err(barrier) => barrier.await,
        }
    }

    /// Answers without any lock.
    pub(crate) fn plain<Q, R>(&self, body: Bytes, f: impl FnOnce(&Self, Q) -> HadoopResult<R>) -> Reply
    where
        Q: prost::Message + Default + Required,
        R: prost::Message,
    {
        Reply::of(decode::<Q>(body).and_then(|request| f(self, request)))
    }

    /// Answers from a future that mostly waits.
    pub(crate) fn wait<Q, R, F>(&self, body: Bytes, f: impl FnOnce(Self, Q) -> F) -> Reply
    where
        Q: prost::Message + Default + Required,
        R: prost::Message,
        F: Future<Output = HadoopResult<R>> + Send + 'static,
    {
        match decode::<Q>(body) {
            Ok(request) => Reply::waiting(f(self.clone(), request)),
            Err(error) => Reply::error(error),
        }
    }

    /// A command of this call, with its retry key.
    pub(crate) fn command(&self, op: impl Into<Op>) -> Command {
        let command = self.shared.command(Caller::clone(&self.caller), op);
        match self.context.retry_key() {
            Some((client, call)) if self.shared.settings.retry_cache => command.with_call(client, call),
            _ => command,
        }
    }

    /// Serves a mutation: answers from the retry cache, or refuses what safe mode (`what` begins its text) or the
    /// present state refuse, or proposes `op` and gives its outcome to `answer`.
    pub(crate) fn mutate<R: prost::Message + 'static>(
        &self,
        what: impl FnOnce() -> String,
        audit: Audit,
        op: impl Into<Op>,
        answer: impl FnOnce(&Shared, OutcomeValue) -> HadoopResult<R> + Send + 'static,
    ) -> Reply {
        let command = self.command(op);
        match self.admit(&command, what) {
            Ok(None) => {}
            Ok(Some(value)) => return Reply::of(answer(&self.shared, value)),
            Err(error) => {
                self.audit_denied(&audit, &error);
                return Reply::error(error);
            }
        }
        let shared = Arc::clone(&self.shared);
        let audited = self.is_audited().then(|| (self.clone(), audit));
        let proposed = shared.propose(command);
        Reply::waiting(async move {
            let outcome = proposed.await;
            if let Some((call, audit)) = audited {
                call.audit_mutation(&audit, &outcome);
            }
            answer(&shared, outcome?)
        })
    }

    /// Whether `command` may be proposed: safe mode is off and the state allows it. `Some`: it was applied before, and
    /// this was the answer.
    pub(crate) fn admit(&self, command: &Command, what: impl FnOnce() -> String) -> HadoopResult<Option<OutcomeValue>> {
        let ns = self.shared.state.ns.read();
        if let Some(value) = ns.replayed(command) {
            return Ok(Some(value));
        }
        self.shared.require_no_safe_mode(what)?;
        ns.check(command).map(|()| None)
    }

    /// Refuses everybody but superusers.
    pub(crate) fn require_superuser(&self) -> HadoopResult<()> {
        if self.caller.superuser {
            return Ok(());
        }
        let user = &self.caller.user;
        Err(HadoopError::new(
            ErrorKind::AccessControl,
            format!("Access denied for user {user}. Superuser privilege is required"),
        ))
    }

    /// Whether anybody wants audit lines; a call that makes strings for them asks first.
    pub(crate) fn is_audited(&self) -> bool {
        self.shared.audit.is_on()
    }

    /// Writes the audit line of a call that was refused for lack of permission; other refusals leave none.
    pub(crate) fn audit_denied(&self, audit: &Audit, error: &HadoopError) {
        if error.kind == ErrorKind::AccessControl && self.is_audited() {
            self.audit(audit, false, None);
        }
    }

    /// Writes the audit line of a call that was allowed, or denied.
    pub(crate) fn audit_outcome<T>(&self, audit: &Audit, outcome: &HadoopResult<T>) {
        match outcome {
            Ok(_) if self.is_audited() => {
                let perm = self.permission_text(audit);
                self.audit(audit, true, perm.as_deref());
            }
            Ok(_) => {}
            Err(error) => self.audit_denied(audit, error),
        }
    }

    /// As [`Call::audit_outcome`], with what the line shows of a path's status. For calls under the namespace's lock.
    pub(crate) fn audit_status(&self, audit: &Audit, outcome: &HadoopResult<Option<FileStatus>>) {
        match outcome {
            Ok(status) if self.is_audited() => {
                self.audit(audit, true, status.as_ref().map(permission_of).as_deref());
            }
            Ok(_) => {}
            Err(error) => self.audit_denied(audit, error),
        }
    }

    /// As [`Call::audit_outcome`] where Hadoop's line also tells of failures for other reasons than permissions.
    pub(crate) fn audit_either<T>(&self, audit: &Audit, outcome: &HadoopResult<T>) {
        if self.is_audited() {
            self.audit(audit, outcome.is_ok(), None);
        }
    }

    /// Refuses everybody but superusers, which leaves an audit line.
    pub(crate) fn require_superuser_for(&self, audit: &Audit) -> HadoopResult<()> {
        self.require_superuser()
            .inspect_err(|error| self.audit_denied(audit, error))
    }

    /// As [`Call::audit_outcome`] for the outcome of a command: one that changed nothing leaves no line, but for a
    /// deletion of nothing, which Hadoop tells as not allowed.
    pub(crate) fn audit_mutation(&self, audit: &Audit, outcome: &HadoopResult<OutcomeValue>) {
        match (audit.command, outcome) {
            ("delete", Ok(OutcomeValue::Bool(false))) if self.is_audited() => self.audit(audit, false, None),
            ("delete" | "rename" | "setReplication", Ok(OutcomeValue::Bool(false))) => {}
            _ => self.audit_outcome(audit, outcome),
        }
    }

    fn audit(&self, audit: &Audit, allowed: bool, perm: Option<&str>) {
        if audit.command.is_empty() {
            return;
        }
        let (context, shared) = (&self.context, &self.shared);
        let settings = shared.audit.settings();
        let caller_context = shared.run_time.caller_context().then(|| {
            let sent = context.caller_context.as_ref();
            let sent = sent.map(|sent| (sent.context.as_str(), sent.signature.as_ref()));
            shown_context(settings, sent, context.peer_port)
        });
        let caller_context = caller_context.flatten();
        let user = &context.user;
        shared.audit.write(&AuditEvent {
            allowed,
            user: &user.full_name,
            auth: match (user.real_user.as_deref(), &user.token) {
                (Some(real), _) => Auth::Proxy(real),
                (None, Some(_)) => Auth::Token,
                (None, None) => Auth::Simple,
            },
            peer: context.peer,
            command: audit.command,
            src: audit.src.as_deref(),
            dst: audit.dst.as_deref(),
            perm,
            tracking_id: settings.tracking_id,
            proto: Some("rpc"),
            caller_context: caller_context
                .as_ref()
                .map(|(text, signature)| (text.as_str(), signature.as_slice())),
        });
    }

    /// `owner:group:mode` of the object a mutation left, where Hadoop logs it: the target's of two paths.
    fn permission_text(&self, audit: &Audit) -> Option<String> {
        if !SHOWS_PERMISSION.contains(&audit.command) && !audit.command.starts_with("rename") {
            return None;
        }
        let path = audit.dst.as_deref().or(audit.src.as_deref())?;
        let ns = self.shared.state.ns.read();
        let owner = Caller::superuser(&self.shared.settings.owner);
        let look = |path: &str| ns.file_info(&owner, path).ok().flatten();
        let mut status = look(path)?;
        if audit.command == "rename"
            && status.is_directory
            && let Some((_, name)) = audit
                .src
                .as_deref()
                .and_then(|src| src.trim_end_matches('/').rsplit_once('/'))
            && let Some(moved) = look(&format!("{}/{name}", path.trim_end_matches('/')))
        {
            // The old rename moves below a directory that is there.
            status = moved;
        }
        Some(permission_of(&status))
    }
}

fn permission_of(status: &FileStatus) -> String {
    format!("{}:{}:{}", status.owner, status.group, status.permission)
}

/// Commands whose lines show what they left; so do those that rename.
const SHOWS_PERMISSION: [&str; 17] = [
    "concat",
    "create",
    "createSymlink",
    "mkdirs",
    "modifyAclEntries",
    "removeAcl",
    "removeAclEntries",
    "removeDefaultAcl",
    "removeXAttr",
    "setAcl",
    "setOwner",
    "setPermission",
    "setStoragePolicy",
    "setTimes",
    "setXAttr",
    "truncate",
    "unsetStoragePolicy",
];
