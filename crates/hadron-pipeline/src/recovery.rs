//! What the client does after a node of the pipeline fails: the plan, one command at a time.
//!
//! ```text
//! drop the bad node -> (replace? FindReplacement -> Transfer) -> RaiseStamp -> Connect -> UpdatePipeline -> Done
//!         ^                                                                      |
//!         +------------------ another node fails in the set-up -----------------+
//! ```
//!
//! The new generation stamp reaches the DataNodes before the NameNode commits to it, so a node that was left out can
//! never pass for current. A node that announced its restart is waited for when it is the only one or local, for as long
//! as `restart_timeout`; others are left out without being held against them. A failure of another node meanwhile is
//! handled as ever, and one further down the pipeline shows that the restart is over.
//! What it does not do: no RPCs, no connections, no clock; the count of recoveries in a row is the window's.
//! Invariants: a node in `failed` is never connected to again; each set-up attempt has a stamp of its own.
//!
//! `N` names a DataNode (and storage) for the shell. Source: Hadoop `DataStreamer.setupPipelineInternal`.

mod policy;

pub use policy::{ReplacePolicy, should_replace};

use crate::packet::Stage;
use crate::window::Trouble;
use std::cmp::Ordering;
use std::fmt;
use std::time::Duration;

/// Replacements that are tried before a lost node is given up.
pub const MAX_REPLACEMENT_TRIES: usize = 3;
/// Set-ups that are tried in one recovery; only a cluster whose nodes keep failing at set-up gets that far.
pub const MAX_SETUP_ATTEMPTS: usize = 64;
/// Longest pause between looks at a restarting node.
pub const RESTART_POLL_INTERVAL: Duration = Duration::from_secs(4);

/// Settings (`dfs.client.block.write.replace-datanode-on-failure.*`, `dfs.client.datanode-restart.timeout`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecoveryConfig {
    /// When to replace a lost node.
    pub policy: ReplacePolicy,
    /// Go on with fewer nodes when no replacement works.
    pub best_effort: bool,
    /// Go on without replacement while at least this many nodes are left; 0 = off.
    pub min_replication: usize,
    /// How long to wait for a restarting node.
    pub restart_timeout: Duration,
}

impl Default for RecoveryConfig {
    fn default() -> Self {
        Self {
            policy: ReplacePolicy::Default,
            best_effort: false,
            min_replication: 0,
            restart_timeout: Duration::from_secs(30),
        }
    }
}

/// The situation a recovery starts from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecoveryRequest<N> {
    /// The pipeline, first node first.
    pub nodes: Vec<N>,
    /// What is wrong; `None` for the first set-up of an append, and when only a new stamp is wanted.
    pub trouble: Option<Trouble>,
    /// What the stream was doing: [`Stage::DataStreaming`], [`Stage::Close`] or [`Stage::SetupAppend`].
    pub stage: Stage,
    /// Replicas the file wants.
    pub replication: usize,
    /// Whether others may rely on the block's bytes: the file is appended to or was hflushed.
    pub appended_or_hflushed: bool,
    /// Nodes on the client's own machine: their restart is worth waiting for. (The only node's always is.)
    pub local: Vec<N>,
    /// Nodes that failed earlier in this block; they are not asked for again.
    pub failed: Vec<N>,
}

/// Order to the shell; answer each with the event named.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RecoveryCommand<N> {
    /// Sleep, then [`Recovery::waited`].
    Wait {
        /// How long.
        pause: Duration,
    },
    /// getAdditionalDatanode; then [`Recovery::replacement_found`] or [`Recovery::replacement_missing`].
    FindReplacement {
        /// The pipeline as it is.
        existing: Vec<N>,
        /// Nodes not wanted.
        exclude: Vec<N>,
    },
    /// TRANSFER_BLOCK from `source` to `target`; then [`Recovery::transferred`].
    Transfer {
        /// A node that has the replica.
        source: N,
        /// The new node.
        target: N,
    },
    /// updateBlockForPipeline; then [`Recovery::stamp_raised`].
    RaiseStamp,
    /// Set up the pipeline through `nodes[0]` with the raised stamp; then [`Recovery::connected`] or
    /// [`Recovery::connect_failed`].
    Connect {
        /// First node first.
        nodes: Vec<N>,
        /// The stage to ask for.
        stage: Stage,
    },
    /// updatePipeline; then [`Recovery::pipeline_updated`].
    UpdatePipeline {
        /// The nodes that took part.
        nodes: Vec<N>,
    },
    /// The pipeline stands.
    Done {
        /// Its nodes.
        nodes: Vec<N>,
        /// Every node that failed so far in this block. Nodes that only restart are not among them: they may come back.
        failed: Vec<N>,
    },
    /// There is no way on.
    Fail(RecoveryFailure<N>),
}

/// Why a pipeline cannot be mended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecoveryError {
    /// No node is left.
    AllBad,
    /// There was no node to begin with.
    NoNodes,
    /// A replacement is demanded and the NameNode has none.
    NoReplacement,
    /// A replacement is demanded, and no copy of the replica arrived at any.
    TransferFailed,
    /// [`MAX_SETUP_ATTEMPTS`] set-ups failed.
    TooManyAttempts,
}

/// The end of a recovery that failed. Its text is Hadoop's where Hadoop has one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecoveryFailure<N> {
    /// What went wrong.
    pub error: RecoveryError,
    /// The pipeline as it is.
    pub nodes: Vec<N>,
    /// The policy that demanded a replacement.
    pub policy: ReplacePolicy,
}

impl<N: fmt::Display> fmt::Display for RecoveryFailure<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes: Vec<String> = self.nodes.iter().map(N::to_string).collect();
        let nodes = nodes.join(", ");
        match self.error {
            RecoveryError::AllBad => write!(f, "All datanodes [{nodes}] are bad. Aborting..."),
            RecoveryError::NoNodes => f.write_str("Could not get block locations."),
            RecoveryError::NoReplacement => write!(
                f,
                "Failed to replace a bad datanode on the existing pipeline due to no more good datanodes being \
                 available to try. (Nodes: current=[{nodes}], original=[{nodes}]). The current failed datanode \
                 replacement policy is {}, and a client may configure this via \
                 'dfs.client.block.write.replace-datanode-on-failure.policy' in its configuration.",
                self.policy
            ),
            RecoveryError::TransferFailed => f.write_str("Failed to add a datanode."),
            RecoveryError::TooManyAttempts => write!(f, "pipeline set-up failed {MAX_SETUP_ATTEMPTS} times"),
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Step<N> {
    Judge,
    Drop,
    Replace,
    AskedReplacement,
    Transfer { target: N },
    AskedTransfer { target: N },
    Stamp,
    AskedStamp,
    Connect,
    AskedConnect,
    Update,
    AskedUpdate,
    Waiting,
    Finished,
    Ended,
}

/// The machine. See the module's page.
#[derive(Clone, Debug)]
pub struct Recovery<N> {
    config: RecoveryConfig,
    request: RecoveryRequest<N>,
    step: Step<N>,
    is_recovery: bool,
    exclude: Vec<N>,
    /// Nodes left out because they restart.
    restarted: Vec<N>,
    bad: Option<usize>,
    waiting_for: Option<Restart>,
    replacements_tried: usize,
    attempts: usize,
    failure: Option<RecoveryError>,
}

/// A restart that is waited for.
#[derive(Clone, Copy, Debug)]
struct Restart {
    node: usize,
    /// Set when the first wait begins.
    deadline: Option<Duration>,
}

impl<N: Clone + PartialEq> Recovery<N> {
    /// Starts a recovery.
    pub fn new(config: RecoveryConfig, request: RecoveryRequest<N>) -> Self {
        let mut recovery = Self {
            config,
            is_recovery: request.trouble.is_some() || request.stage != Stage::SetupAppend,
            exclude: Vec::new(),
            restarted: Vec::new(),
            bad: None,
            waiting_for: None,
            step: Step::Judge,
            replacements_tried: 0,
            attempts: 0,
            failure: request.nodes.is_empty().then_some(RecoveryError::NoNodes),
            request,
        };
        if let Some(trouble) = recovery.request.trouble.take() {
            recovery.note(trouble);
        }
        recovery
    }

    /// Takes note of what is wrong with the pipeline as it is.
    fn note(&mut self, trouble: Trouble) {
        let last = self.request.nodes.len().saturating_sub(1);
        let node = trouble.node().min(last);
        match (trouble, self.waiting_for) {
            // The node that restarts is not up yet.
            (_, Some(restart)) if restart.node == node => {}
            (Trouble::Restarting(_), None) if self.is_worth_waiting_for(node) => {
                self.waiting_for = Some(Restart { node, deadline: None });
            }
            (Trouble::Restarting(_), None) => {
                self.restarted.extend(self.request.nodes.get(node).cloned());
                self.bad = Some(node);
            }
            _ => self.bad = Some(node),
        }
    }

    fn is_worth_waiting_for(&self, node: usize) -> bool {
        let nodes = &self.request.nodes;
        nodes.len() == 1 || nodes.get(node).is_some_and(|node| self.request.local.contains(node))
    }

    /// The next command, if the last one was answered.
    pub fn poll_command(&mut self, now: Duration) -> Option<RecoveryCommand<N>> {
        loop {
            if let Some(error) = self.failure.take() {
                self.step = Step::Ended;
                return Some(RecoveryCommand::Fail(RecoveryFailure {
                    error,
                    nodes: self.request.nodes.clone(),
                    policy: self.config.policy,
                }));
            }
            match &self.step {
                Step::Judge => {
                    if let Some(pause) = self.judge(now) {
                        self.step = Step::Waiting;
                        return Some(RecoveryCommand::Wait { pause });
                    }
                }
                Step::Drop => self.drop_bad(),
                Step::Replace => {
                    self.step = Step::AskedReplacement;
                    let mut exclude = self.request.failed.clone();
                    exclude.extend(self.exclude.iter().cloned());
                    return Some(RecoveryCommand::FindReplacement {
                        existing: self.request.nodes.clone(),
                        exclude,
                    });
                }
                Step::Transfer { target } => {
                    let target = target.clone();
                    self.step = Step::AskedTransfer { target: target.clone() };
                    let source = self.transfer_source();
                    return Some(RecoveryCommand::Transfer { source, target });
                }
                Step::Stamp => {
                    self.step = Step::AskedStamp;
                    return Some(RecoveryCommand::RaiseStamp);
                }
                Step::Connect => {
                    self.step = Step::AskedConnect;
                    let stage = self.request.stage;
                    return Some(RecoveryCommand::Connect {
                        nodes: self.request.nodes.clone(),
                        stage: if self.is_recovery { stage.recovery() } else { stage },
                    });
                }
                Step::Update => {
                    self.step = Step::AskedUpdate;
                    return Some(RecoveryCommand::UpdatePipeline {
                        nodes: self.request.nodes.clone(),
                    });
                }
                Step::Finished => {
                    self.step = Step::Ended;
                    return Some(RecoveryCommand::Done {
                        nodes: self.request.nodes.clone(),
                        failed: self.request.failed.clone(),
                    });
                }
                _ => return None,
            }
        }
    }

    /// The node to copy from; one that is up, if there is one.
    fn transfer_source(&self) -> N {
        let restarting = self.waiting_for.map(|restart| restart.node);
        let nodes = self.request.nodes.iter().enumerate();
        let up: Vec<&N> = nodes
            .filter(|(at, _)| Some(*at) != restarting)
            .map(|(_, node)| node)
            .collect();
        match up.len() {
            0 => self.request.nodes[0].clone(),
            count => up[self.replacements_tried % count].clone(),
        }
    }

    /// Counts the attempt. Returns a pause when a restarting node is to be waited for.
    fn judge(&mut self, now: Duration) -> Option<Duration> {
        self.attempts += 1;
        if self.attempts > MAX_SETUP_ATTEMPTS {
            self.failure = Some(RecoveryError::TooManyAttempts);
            return None;
        }
        self.step = Step::Drop;
        let restart = self.waiting_for.as_mut()?;
        let deadline = *restart.deadline.get_or_insert(now + self.config.restart_timeout);
        if now < deadline {
            return Some(self.config.restart_timeout.min(RESTART_POLL_INTERVAL));
        }
        // It did not come back in time.
        self.bad = self.bad.or(Some(restart.node));
        self.waiting_for = None;
        None
    }

    /// Takes the bad node out, if there is one.
    fn drop_bad(&mut self) {
        if let Some(node) = self.bad.take() {
            if self.request.nodes.len() <= 1 {
                self.failure = Some(RecoveryError::AllBad);
                return;
            }
            let removed = self.request.nodes.remove(node);
            self.request.failed.push(removed);
            self.waiting_for = self.waiting_for.and_then(|restart| match node.cmp(&restart.node) {
                // Whoever fails behind it was reached through it: it is back.
                Ordering::Greater | Ordering::Equal => None,
                Ordering::Less => Some(Restart {
                    node: restart.node - 1,
                    ..restart
                }),
            });
        } else if self.waiting_for.is_some() {
            // Nobody left: nobody to replace, and perhaps nobody to copy from.
            self.step = Step::Stamp;
            return;
        }
        self.begin_replacement();
    }

    fn begin_replacement(&mut self) {
        let wanted = should_replace(
            self.config.policy,
            self.request.replication,
            self.request.nodes.len(),
            self.request.appended_or_hflushed,
        );
        self.replacements_tried = 0;
        self.exclude.clear();
        // A block that only waits for its end is replicated by the NameNode later.
        let closing = matches!(self.request.stage, Stage::Close);
        self.step = if wanted && !closing { Step::Replace } else { Step::Stamp };
    }

    /// The pause is over.
    pub fn waited(&mut self) {
        if self.step == Step::Waiting {
            self.step = Step::Drop;
        }
    }

    /// The NameNode named `node` as one more.
    pub fn replacement_found(&mut self, node: N) {
        if self.step != Step::AskedReplacement {
            return;
        }
        if self.request.nodes.contains(&node) || self.request.failed.contains(&node) {
            self.replacement_missing();
            return;
        }
        self.step = Step::Transfer { target: node };
    }

    /// The NameNode has no further node.
    pub fn replacement_missing(&mut self) {
        if self.step == Step::AskedReplacement {
            self.go_on_without(RecoveryError::NoReplacement);
        }
    }

    /// The NameNode refused to name one. Returns whether the recovery goes on; if not, its refusal is the stream's end.
    pub fn replacement_refused(&mut self) -> bool {
        if self.step == Step::AskedReplacement && self.config.best_effort {
            self.step = Step::Stamp;
        }
        self.step == Step::Stamp
    }

    /// The transfer ended.
    pub fn transferred(&mut self, ok: bool) {
        let Step::AskedTransfer { target } = &self.step else {
            return;
        };
        let target = target.clone();
        if ok {
            self.request.nodes.push(target);
            self.step = Step::Stamp;
            return;
        }
        self.exclude.push(target);
        self.replacements_tried += 1;
        if self.replacements_tried < MAX_REPLACEMENT_TRIES {
            self.step = Step::Replace;
        } else {
            self.go_on_without(RecoveryError::TransferFailed);
        }
    }

    fn go_on_without(&mut self, error: RecoveryError) {
        let enough = self.config.min_replication > 0 && self.request.nodes.len() >= self.config.min_replication;
        if enough || self.config.best_effort {
            self.step = Step::Stamp;
        } else {
            self.failure = Some(error);
        }
    }

    /// The NameNode gave a new generation stamp; the shell keeps it.
    pub fn stamp_raised(&mut self) {
        if self.step == Step::AskedStamp {
            self.step = Step::Connect;
        }
    }

    /// Every node took the set-up.
    pub fn connected(&mut self) {
        if self.step == Step::AskedConnect {
            self.waiting_for = None;
            let restarted = std::mem::take(&mut self.restarted);
            self.request.failed.retain(|node| !restarted.contains(node));
            self.step = Step::Update;
        }
    }

    /// The set-up failed; `trouble` says where, as far as the answer told (else the first node).
    pub fn connect_failed(&mut self, trouble: Trouble) {
        if self.step != Step::AskedConnect {
            return;
        }
        self.note(trouble);
        self.is_recovery = true;
        self.step = Step::Judge;
    }

    /// The NameNode took the new pipeline.
    pub fn pipeline_updated(&mut self) {
        if self.step == Step::AskedUpdate {
            self.step = Step::Finished;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use RecoveryCommand::*;

    const T0: Duration = Duration::from_secs(1000);

    fn request(nodes: &str, trouble: Trouble, stage: Stage) -> RecoveryRequest<char> {
        RecoveryRequest {
            nodes: nodes.chars().collect(),
            trouble: Some(trouble),
            stage,
            replication: 3,
            appended_or_hflushed: false,
            local: Vec::new(),
            failed: Vec::new(),
        }
    }

    fn connect(nodes: &str, stage: Stage) -> Option<RecoveryCommand<char>> {
        Some(Connect {
            nodes: nodes.chars().collect(),
            stage,
        })
    }

    fn fail(error: RecoveryError, nodes: &str) -> Option<RecoveryCommand<char>> {
        Some(Fail(RecoveryFailure {
            error,
            nodes: nodes.chars().collect(),
            policy: ReplacePolicy::Default,
        }))
    }

    /// Answers everything with success from `RaiseStamp` on; returns the final command.
    fn finish(recovery: &mut Recovery<char>, nodes: &str, stage: Stage) -> Option<RecoveryCommand<char>> {
        assert_eq!(recovery.poll_command(T0), Some(RaiseStamp));
        assert_eq!(recovery.poll_command(T0), None);
        recovery.stamp_raised();
        assert_eq!(recovery.poll_command(T0), connect(nodes, stage));
        recovery.connected();
        let nodes = nodes.chars().collect();
        assert_eq!(recovery.poll_command(T0), Some(UpdatePipeline { nodes }));
        recovery.pipeline_updated();
        recovery.poll_command(T0)
    }

    #[test]
    fn the_bad_node_leaves_and_the_rest_goes_on() {
        // covers: WP-16
        let asked = request("abc", Trouble::Bad(1), Stage::DataStreaming);
        let mut recovery = Recovery::new(RecoveryConfig::default(), asked);
        assert_eq!(
            finish(&mut recovery, "ac", Stage::SetupStreamingRecovery),
            Some(Done {
                nodes: vec!['a', 'c'],
                failed: vec!['b']
            })
        );
        assert_eq!(recovery.poll_command(T0), None);
    }

    #[test]
    fn nodes_that_fail_in_the_set_up_leave_too() {
        // covers: WP-16
        let config = RecoveryConfig {
            policy: ReplacePolicy::Never,
            ..RecoveryConfig::default()
        };
        let mut recovery = Recovery::new(config, request("abc", Trouble::Bad(0), Stage::DataStreaming));
        assert_eq!(recovery.poll_command(T0), Some(RaiseStamp));
        recovery.stamp_raised();
        assert_eq!(recovery.poll_command(T0), connect("bc", Stage::SetupStreamingRecovery));
        recovery.connect_failed(Trouble::Bad(1));
        assert_eq!(
            recovery.poll_command(T0),
            Some(RaiseStamp),
            "each attempt has its own stamp"
        );
        recovery.stamp_raised();
        assert_eq!(recovery.poll_command(T0), connect("b", Stage::SetupStreamingRecovery));
        recovery.connect_failed(Trouble::Bad(0));
        let Some(Fail(failure)) = recovery.poll_command(T0) else {
            panic!("nobody is left");
        };
        assert_eq!(failure.to_string(), "All datanodes [b] are bad. Aborting...");
        assert_eq!(recovery.poll_command(T0), None);
    }

    #[test]
    fn a_replacement_gets_the_replica_first() {
        let asked = RecoveryRequest {
            appended_or_hflushed: true,
            failed: vec!['x'],
            ..request("abc", Trouble::Bad(0), Stage::DataStreaming)
        };
        let mut recovery = Recovery::new(RecoveryConfig::default(), asked);
        let find = |exclude: &str| {
            Some(FindReplacement {
                existing: vec!['b', 'c'],
                exclude: exclude.chars().collect(),
            })
        };
        assert_eq!(recovery.poll_command(T0), find("xa"));
        recovery.replacement_found('d');
        let transfer = |source, target| Some(Transfer { source, target });
        assert_eq!(recovery.poll_command(T0), transfer('b', 'd'));
        recovery.transferred(false);
        assert_eq!(recovery.poll_command(T0), find("xad"));
        recovery.replacement_found('e');
        assert_eq!(recovery.poll_command(T0), transfer('c', 'e'));
        recovery.transferred(true);
        let done = finish(&mut recovery, "bce", Stage::SetupStreamingRecovery);
        assert!(matches!(done, Some(Done { .. })));
    }

    #[test]
    fn without_a_replacement_the_settings_decide() {
        let check = |config: RecoveryConfig, expected: Option<RecoveryCommand<char>>| {
            let asked = RecoveryRequest {
                appended_or_hflushed: true,
                ..request("abc", Trouble::Bad(2), Stage::DataStreaming)
            };
            let mut recovery = Recovery::new(config, asked);
            assert!(matches!(recovery.poll_command(T0), Some(FindReplacement { .. })));
            recovery.replacement_missing();
            assert_eq!(recovery.poll_command(T0), expected);
        };
        let config = RecoveryConfig::default();
        check(config, fail(RecoveryError::NoReplacement, "ab"));
        let best_effort = RecoveryConfig {
            best_effort: true,
            ..config
        };
        check(best_effort, Some(RaiseStamp));
        let failure = fail(RecoveryError::NoReplacement, "ab");
        for (min_replication, expected) in [(2, Some(RaiseStamp)), (3, failure)] {
            check(
                RecoveryConfig {
                    min_replication,
                    ..config
                },
                expected,
            );
        }
    }

    #[test]
    fn a_block_in_closing_is_not_given_new_nodes() {
        let asked = request("ab", Trouble::Bad(0), Stage::Close);
        let mut recovery = Recovery::new(RecoveryConfig::default(), asked);
        assert!(matches!(
            finish(&mut recovery, "b", Stage::CloseRecovery),
            Some(Done { .. })
        ));
    }

    #[test]
    fn the_only_node_is_waited_for_while_it_restarts() {
        // covers: WP-20
        let asked = request("a", Trouble::Restarting(0), Stage::DataStreaming);
        let mut recovery = Recovery::new(RecoveryConfig::default(), asked);
        let wait = Some(Wait {
            pause: RESTART_POLL_INTERVAL,
        });
        for now in [T0, T0 + Duration::from_secs(29)] {
            assert_eq!(recovery.poll_command(now), wait);
            recovery.waited();
            assert_eq!(recovery.poll_command(now), Some(RaiseStamp));
            recovery.stamp_raised();
            assert_eq!(recovery.poll_command(now), connect("a", Stage::SetupStreamingRecovery));
            recovery.connect_failed(Trouble::Bad(0));
        }
        let mut late = recovery.clone();
        let deadline = T0 + Duration::from_secs(30);
        assert_eq!(late.poll_command(deadline), fail(RecoveryError::AllBad, "a"));
        assert_eq!(recovery.poll_command(deadline - Duration::from_millis(1)), wait);
        recovery.waited();
        assert!(matches!(
            finish(&mut recovery, "a", Stage::SetupStreamingRecovery),
            Some(Done { failed, .. }) if failed.is_empty()
        ));
    }

    #[test]
    fn one_of_several_remote_nodes_is_left_behind_when_it_restarts() {
        let asked = request("abc", Trouble::Restarting(1), Stage::DataStreaming);
        let mut recovery = Recovery::new(RecoveryConfig::default(), asked);
        assert_eq!(
            finish(&mut recovery, "ac", Stage::SetupStreamingRecovery),
            Some(Done {
                nodes: vec!['a', 'c'],
                failed: Vec::new(),
            }),
            "it is not held against it"
        );
    }

    #[test]
    fn a_local_node_keeps_its_place_while_it_restarts() {
        // covers: WP-20
        let waiting = |at: usize| {
            let asked = RecoveryRequest {
                local: vec!['b'],
                ..request("abc", Trouble::Restarting(at), Stage::DataStreaming)
            };
            let mut recovery = Recovery::new(RecoveryConfig::default(), asked);
            assert!(matches!(recovery.poll_command(T0), Some(Wait { .. })));
            recovery.waited();
            assert_eq!(recovery.poll_command(T0), Some(RaiseStamp));
            recovery.stamp_raised();
            recovery
        };
        // Another one fails while it restarts: that one leaves, the restart is waited for at its new place.
        let mut recovery = waiting(1);
        assert_eq!(recovery.poll_command(T0), connect("abc", Stage::SetupStreamingRecovery));
        recovery.connect_failed(Trouble::Bad(0));
        assert!(matches!(recovery.poll_command(T0), Some(Wait { .. })));
        recovery.waited();
        assert_eq!(recovery.poll_command(T0), Some(RaiseStamp));
        recovery.stamp_raised();
        assert_eq!(recovery.poll_command(T0), connect("bc", Stage::SetupStreamingRecovery));
        recovery.connect_failed(Trouble::Bad(0));
        assert!(
            matches!(recovery.poll_command(T0), Some(Wait { .. })),
            "it is not up yet"
        );
        recovery.waited();
        assert!(matches!(
            finish(&mut recovery, "bc", Stage::SetupStreamingRecovery),
            Some(Done { failed, .. }) if failed == ['a']
        ));
        // One behind it fails: so it was reached, and there is nothing to wait for any more.
        let mut recovery = waiting(1);
        assert_eq!(recovery.poll_command(T0), connect("abc", Stage::SetupStreamingRecovery));
        recovery.connect_failed(Trouble::Restarting(2));
        assert!(matches!(recovery.poll_command(T0), Some(Wait { .. })));
        recovery.waited();
        assert!(matches!(
            finish(&mut recovery, "ab", Stage::SetupStreamingRecovery),
            Some(Done { failed, .. }) if failed == ['c']
        ));
    }

    #[test]
    fn failures_say_what_hadoop_says() {
        let text = |error| {
            let failure = RecoveryFailure {
                error,
                nodes: vec!['a', 'b'],
                policy: ReplacePolicy::Always,
            };
            failure.to_string()
        };
        assert_eq!(
            text(RecoveryError::NoReplacement),
            "Failed to replace a bad datanode on the existing pipeline due to no more good datanodes being available to \
             try. (Nodes: current=[a, b], original=[a, b]). The current failed datanode replacement policy is ALWAYS, \
             and a client may configure this via 'dfs.client.block.write.replace-datanode-on-failure.policy' in its \
             configuration."
        );
        assert_eq!(text(RecoveryError::AllBad), "All datanodes [a, b] are bad. Aborting...");
    }

    #[test]
    fn a_refused_replacement_ends_all_but_the_best_effort() {
        for best_effort in [false, true] {
            let asked = RecoveryRequest {
                appended_or_hflushed: true,
                ..request("abc", Trouble::Bad(2), Stage::DataStreaming)
            };
            let config = RecoveryConfig {
                best_effort,
                ..RecoveryConfig::default()
            };
            let mut recovery = Recovery::new(config, asked);
            assert!(matches!(recovery.poll_command(T0), Some(FindReplacement { .. })));
            assert_eq!(recovery.replacement_refused(), best_effort);
            assert_eq!(recovery.poll_command(T0), best_effort.then_some(RaiseStamp));
        }
    }

    #[test]
    fn a_sound_pipeline_only_gets_a_new_stamp() {
        // covers: WP-21
        let asked = RecoveryRequest {
            trouble: None,
            ..request("abc", Trouble::Bad(0), Stage::DataStreaming)
        };
        let mut recovery = Recovery::new(RecoveryConfig::default(), asked);
        assert!(matches!(
            finish(&mut recovery, "abc", Stage::SetupStreamingRecovery),
            Some(Done { failed, .. }) if failed.is_empty()
        ));
        let mut nobody = Recovery::new(
            RecoveryConfig::default(),
            RecoveryRequest {
                trouble: None,
                ..request("", Trouble::Bad(0), Stage::SetupAppend)
            },
        );
        assert_eq!(nobody.poll_command(T0), fail(RecoveryError::NoNodes, ""));
    }
}
