//! What the client does after a node of the pipeline fails: the plan, one command at a time.
//!
//! ```text
//! drop the bad node -> (replace? FindReplacement -> Transfer) -> RaiseStamp -> Connect -> UpdatePipeline -> Done
//!         ^                                                                      |
//!         +------------------ another node fails in the set-up -----------------+
//! ```
//!
//! The new generation stamp reaches the DataNodes before the NameNode commits to it, so a node that was left out can
//! never pass for current. A node that announced its restart is waited for when the stream depends on it.
//! What it does not do: no RPCs, no connections, no clock; the count of recoveries in a row is the window's.
//! Invariants: a node in `failed` is never connected to again; each set-up attempt has a stamp of its own.
//!
//! `N` names a DataNode (and storage) for the shell. Source: Hadoop `DataStreamer.setupPipelineInternal`.

mod policy;

pub use policy::{ReplacePolicy, should_replace};

use crate::packet::Stage;
use crate::window::Trouble;
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
    /// What is wrong; `None` for the first set-up of an append.
    pub trouble: Option<Trouble>,
    /// What the stream was doing: [`Stage::DataStreaming`], [`Stage::Close`] or [`Stage::SetupAppend`].
    pub stage: Stage,
    /// Replicas the file wants.
    pub replication: usize,
    /// Whether others may rely on the block's bytes: the file is appended to or was hflushed.
    pub appended_or_hflushed: bool,
    /// Whether a restarting node is worth waiting for: it is local. (The only node always is.)
    pub restarting_node_is_local: bool,
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
        /// Every node that failed so far in this block.
        failed: Vec<N>,
    },
    /// There is no way on.
    Fail(RecoveryError),
}

/// Why a pipeline cannot be mended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecoveryError {
    /// No node is left.
    #[error("All datanodes are bad. Aborting...")]
    AllBad,
    /// A replacement is demanded and none works.
    #[error(
        "Failed to replace a bad datanode on the existing pipeline due to no more good datanodes being available to try"
    )]
    NoReplacement,
    /// [`MAX_SETUP_ATTEMPTS`] set-ups failed.
    #[error("pipeline set-up failed {MAX_SETUP_ATTEMPTS} times")]
    TooManyAttempts,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Step<N> {
    Judge,
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
    replacements_tried: usize,
    attempts: usize,
    restart_deadline: Option<Duration>,
    failure: Option<RecoveryError>,
}

impl<N: Clone + PartialEq> Recovery<N> {
    /// Starts a recovery.
    pub fn new(config: RecoveryConfig, request: RecoveryRequest<N>) -> Self {
        Self {
            config,
            is_recovery: request.trouble.is_some(),
            exclude: Vec::new(),
            request,
            step: Step::Judge,
            replacements_tried: 0,
            attempts: 0,
            restart_deadline: None,
            failure: None,
        }
    }

    /// The next command, if the last one was answered.
    pub fn poll_command(&mut self, now: Duration) -> Option<RecoveryCommand<N>> {
        loop {
            if let Some(error) = self.failure.take() {
                self.step = Step::Ended;
                return Some(RecoveryCommand::Fail(error));
            }
            match &self.step {
                Step::Judge => {
                    if let Some(pause) = self.judge(now) {
                        self.step = Step::Waiting;
                        return Some(RecoveryCommand::Wait { pause });
                    }
                }
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
                    let source = self.request.nodes[self.replacements_tried % self.request.nodes.len()].clone();
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

    /// Decides about the trouble at hand. Returns a pause when a restarting node is to be waited for.
    fn judge(&mut self, now: Duration) -> Option<Duration> {
        self.attempts += 1;
        if self.attempts > MAX_SETUP_ATTEMPTS {
            self.failure = Some(RecoveryError::TooManyAttempts);
            return None;
        }
        match self.request.trouble.take() {
            None => {}
            Some(Trouble::Restarting(node)) if self.waits_for_restart(now) => {
                // Still in the pipeline; when the next set-up fails at it we come here again.
                self.request.trouble = Some(Trouble::Restarting(node));
                self.step = Step::Waiting;
                return Some(self.config.restart_timeout.min(RESTART_POLL_INTERVAL));
            }
            Some(trouble) => {
                self.restart_deadline = None;
                self.drop_node(trouble.node());
                if self.failure.is_some() {
                    return None;
                }
            }
        }
        self.begin_replacement();
        None
    }

    fn waits_for_restart(&mut self, now: Duration) -> bool {
        if self.request.nodes.len() > 1 && !self.request.restarting_node_is_local {
            return false;
        }
        let deadline = *self.restart_deadline.get_or_insert(now + self.config.restart_timeout);
        now < deadline
    }

    fn drop_node(&mut self, node: usize) {
        if self.request.nodes.len() <= 1 {
            self.failure = Some(RecoveryError::AllBad);
            return;
        }
        let node = node.min(self.request.nodes.len() - 1);
        let removed = self.request.nodes.remove(node);
        self.request.failed.push(removed);
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
            self.step = Step::Stamp;
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

    /// The NameNode has no further node, or refused.
    pub fn replacement_missing(&mut self) {
        if self.step == Step::AskedReplacement {
            self.go_on_without();
        }
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
            self.go_on_without();
        }
    }

    fn go_on_without(&mut self) {
        let enough = self.config.min_replication > 0 && self.request.nodes.len() >= self.config.min_replication;
        if enough || self.config.best_effort {
            self.step = Step::Stamp;
        } else {
            self.failure = Some(RecoveryError::NoReplacement);
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
            self.request.trouble = None;
            self.step = Step::Update;
        }
    }

    /// The set-up failed; `trouble` says where, as far as the answer told (else the first node).
    pub fn connect_failed(&mut self, trouble: Trouble) {
        if self.step != Step::AskedConnect {
            return;
        }
        let waiting_for = self
            .request
            .trouble
            .filter(|waiting| matches!(waiting, Trouble::Restarting(_)));
        self.request.trouble = Some(match (waiting_for, trouble) {
            // The node that restarts is not up yet.
            (Some(waiting), Trouble::Bad(node)) if waiting.node() == node => waiting,
            (_, trouble) => trouble,
        });
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
            restarting_node_is_local: false,
            failed: Vec::new(),
        }
    }

    fn connect(nodes: &str, stage: Stage) -> Option<RecoveryCommand<char>> {
        Some(Connect {
            nodes: nodes.chars().collect(),
            stage,
        })
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
        assert_eq!(recovery.poll_command(T0), Some(Fail(RecoveryError::AllBad)));
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
        check(config, Some(Fail(RecoveryError::NoReplacement)));
        let best_effort = RecoveryConfig {
            best_effort: true,
            ..config
        };
        check(best_effort, Some(RaiseStamp));
        for (min_replication, expected) in [(2, RaiseStamp), (3, Fail(RecoveryError::NoReplacement))] {
            check(
                RecoveryConfig {
                    min_replication,
                    ..config
                },
                Some(expected),
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
        assert_eq!(late.poll_command(deadline), Some(Fail(RecoveryError::AllBad)));
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
        assert!(matches!(
            finish(&mut recovery, "ac", Stage::SetupStreamingRecovery),
            Some(Done { .. })
        ));
    }
}
