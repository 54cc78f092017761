//! What every handler and monitor of a running NameNode holds.

use crate::access_times::AccessTimes;
use crate::audit_log::AuditLog;
use crate::bandwidth::BandwidthOrders;
use crate::callers::Callers;
use crate::fsck::MAX_CHECKS;
use crate::members::Members;
use crate::{BlockTokens, RecoveryHolder, RunTime, Settings, State};
use hadron_blockmap::BlockMap;
use hadron_env::Configuration;
use hadron_journal::{CommandLog, LogError};
use hadron_namespace::command::Op;
use hadron_namespace::{Caller, Command, Outcome};
use hadron_net::ProxyUsers;
use hadron_proto::hdfs::LocatedBlockProto;
use hadron_types::{ErrorKind, HadoopError, HadoopResult, LogIndex};
use hadron_wire::token::AccessMode;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// A running NameNode's parts. Handed around as `Arc<Shared>`.
pub struct Shared {
    /// Namespace and block map under their locks.
    pub state: Arc<State>,
    /// What the configuration says.
    pub settings: Settings,
    /// Which DataNodes may join, and on which rack hosts are.
    pub members: Arc<Members>,
    /// Users' groups.
    pub callers: Callers,
    /// The journal.
    pub log: Arc<dyn CommandLog<State>>,
    /// Access times that wait to be journaled.
    pub access_times: AccessTimes,
    /// Block access tokens; `None`: off.
    pub block_tokens: Option<BlockTokens>,
    /// Bandwidth limits that DataNodes are to be told.
    pub bandwidth: BandwidthOrders,
    /// What may change while the NameNode runs.
    pub run_time: RunTime,
    /// Who did what.
    pub audit: AuditLog,
    /// Who owns the files that the NameNode recovers.
    pub recovery_holder: RecoveryHolder,
    /// Places for checks of the file system (`/fsck`).
    pub(crate) checks: Semaphore,
    /// Name of this host in texts.
    pub host_name: String,
}

impl Shared {
    /// Puts the parts together, without audit log.
    pub fn new(state: Arc<State>, settings: Settings, callers: Callers, log: Arc<dyn CommandLog<State>>) -> Self {
        Self {
            members: Arc::new(Members::new(settings.datanodes.clone())),
            block_tokens: BlockTokens::of(settings.block_tokens.as_ref(), &state),
            state,
            settings,
            callers,
            log,
            access_times: AccessTimes::default(),
            bandwidth: BandwidthOrders::default(),
            checks: Semaphore::new(MAX_CHECKS),
            run_time: RunTime::new(Configuration::new(), ProxyUsers::default()),
            host_name: host_name(),
            audit: AuditLog::off(),
            recovery_holder: RecoveryHolder::default(),
        }
    }

    /// Puts a token for `user` into a block of an answer, where there are tokens. Call without locks.
    pub(crate) fn put_token(&self, located: &mut LocatedBlockProto, user: &str, mode: AccessMode) {
        if let Some(tokens) = &self.block_tokens {
            tokens.put(located, user, mode);
        }
    }

    /// As it is, with the configuration and the rules of proxy users that may be read again.
    #[must_use]
    pub fn with_run_time(self, run_time: RunTime) -> Self {
        Self { run_time, ..self }
    }

    /// As it is, with an audit log.
    #[must_use]
    pub fn with_audit(self, audit: AuditLog) -> Self {
        Self { audit, ..self }
    }

    /// A command of `caller` with the time and limits of now.
    pub fn command(&self, caller: Caller, op: impl Into<Op>) -> Command {
        Command::new(caller, self.state.now(), op).with_limits(self.settings.limits)
    }

    /// The NameNode itself as a caller.
    pub fn own_caller(&self) -> Caller {
        Caller::superuser(&self.settings.owner)
    }

    /// Makes `command` durable, applies it and gives its outcome. The command enters the journal with this call;
    /// dropping the future forgets the answer only. Call without locks: a call that is alone on its connection's thread
    /// waits for the disk right here.
    pub fn propose(&self, command: Command) -> impl Future<Output = Outcome> + Send + use<> {
        let pending = if hadron_net::is_alone() {
            self.log.propose_inline(command)
        } else {
            self.log.propose(command)
        };
        async move { pending.await.map_err(log_error)? }
    }

    /// What every read waits for; `Ok` at once where the log needs no waiting.
    pub(crate) fn read_barrier(
        &self,
    ) -> Result<HadoopResult<()>, impl Future<Output = HadoopResult<()>> + Send + use<>> {
        match self.log.read_barrier().now() {
            Ok(passed) => Ok(passed.map_err(log_error)),
            Err(barrier) => Err(async move { barrier.await.map_err(log_error) }),
        }
    }

    /// Writes an image of the namespace as it is now.
    pub async fn checkpoint(&self) -> HadoopResult<LogIndex> {
        self.log.checkpoint().await.map_err(log_error)
    }

    /// Goes on in a new journal segment; gives its first transaction.
    pub async fn roll_log(&self) -> HadoopResult<LogIndex> {
        self.log.roll().await.map_err(log_error)
    }

    /// Index of the last applied entry; Hadoop's transaction id.
    pub fn last_applied(&self) -> LogIndex {
        self.log.last_applied()
    }

    /// Refuses mutations in safe mode; `what` begins the text, e.g. `Cannot delete /a`.
    pub fn require_no_safe_mode(&self, what: impl FnOnce() -> String) -> HadoopResult<()> {
        let blocks = self.state.blocks.lock();
        if !blocks.safe_mode().is_on() {
            return Ok(());
        }
        Err(HadoopError::new(
            ErrorKind::SafeMode,
            self.safe_mode_message(&blocks, &what()),
        ))
    }

    /// The text of a SafeModeException.
    pub fn safe_mode_message(&self, blocks: &BlockMap, what: &str) -> String {
        blocks
            .safe_mode()
            .exception_message(what, &self.host_name, self.state.now())
    }
}

/// A journal's refusal as clients are told.
fn log_error(error: LogError) -> HadoopError {
    match error {
        // Nothing was written: the same call may succeed a little later.
        LogError::Overloaded(_) => HadoopError::new(ErrorKind::Retriable, "Server too busy"),
        LogError::NoSpace(dirs) => HadoopError::new(
            ErrorKind::SafeMode,
            format!(
                "Resources are low on NN: no space for the journal in {dirs}; nothing was changed. Free space there, \
                 then leave safe mode with \"hdfs dfsadmin -safemode leave\"."
            ),
        ),
        other => HadoopError::io(other.to_string()),
    }
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
