//! Random histories of the recovery planner: whatever NameNode and DataNodes answer, it ends, and keeps its promises.
//!
//! After every command: no connection to a node that failed before, a stamp of its own for each set-up, the NameNode told
//! only of what the DataNodes took, replacements only where the policy wants them, waits only where a restart is worth
//! waiting for.
#![allow(clippy::unwrap_used)]

use hadron_pipeline::packet::Stage;
use hadron_pipeline::recovery::{
    MAX_SETUP_ATTEMPTS, Recovery, RecoveryCommand, RecoveryConfig, RecoveryError, RecoveryRequest, ReplacePolicy,
    should_replace,
};
use hadron_pipeline::window::Trouble;
use proptest::prelude::*;
use std::time::Duration;

type Node = u16;

/// What happened in one history.
#[derive(Default)]
struct Seen {
    stamps: usize,
    set_ups: usize,
    stood: Option<Vec<Node>>,
    copied_to: Vec<Node>,
    /// The pipeline as last seen, and who left it.
    current: Vec<Node>,
    ended: Vec<Node>,
}

struct World {
    recovery: Recovery<Node>,
    request: RecoveryRequest<Node>,
    config: RecoveryConfig,
    now: Duration,
    choices: std::vec::IntoIter<u16>,
    next_node: Node,
    seen: Seen,
}

impl World {
    /// The next choice; success once they are used up.
    fn choose(&mut self) -> usize {
        usize::from(self.choices.next().unwrap_or(0))
    }

    /// Runs to the end. Returns the nodes, or why there are none.
    fn run(&mut self) -> Result<Vec<Node>, RecoveryError> {
        for _ in 0..MAX_SETUP_ATTEMPTS * 20 {
            match self
                .recovery
                .poll_command(self.now)
                .expect("a recovery goes on until it ends")
            {
                RecoveryCommand::Wait { pause } => {
                    assert!(pause <= Duration::from_secs(4));
                    self.now += pause;
                    self.recovery.waited();
                }
                RecoveryCommand::FindReplacement { existing, exclude } => self.replace(&existing, &exclude),
                RecoveryCommand::Transfer { source, target } => {
                    assert_ne!(source, target);
                    let ok = !self.choose().is_multiple_of(3);
                    if ok {
                        self.seen.copied_to.push(target);
                    }
                    self.recovery.transferred(ok);
                }
                RecoveryCommand::RaiseStamp => {
                    self.seen.stamps += 1;
                    self.recovery.stamp_raised();
                }
                RecoveryCommand::Connect { nodes, stage } => self.connect(nodes, stage),
                RecoveryCommand::UpdatePipeline { nodes } => {
                    assert_eq!(
                        self.seen.stood.as_ref(),
                        Some(&nodes),
                        "the NameNode learns of what stands"
                    );
                    self.recovery.pipeline_updated();
                }
                RecoveryCommand::Done { nodes, failed } => {
                    assert_eq!(self.seen.stood.as_ref(), Some(&nodes));
                    assert!(failed.iter().all(|node| !nodes.contains(node)));
                    assert_eq!(self.recovery.poll_command(self.now), None);
                    return Ok(nodes);
                }
                RecoveryCommand::Fail(failure) => {
                    assert_eq!(self.recovery.poll_command(self.now), None);
                    return Err(failure.error);
                }
            }
        }
        panic!("no end");
    }

    /// Takes note of who left.
    fn look(&mut self, nodes: &[Node]) {
        let left = self.seen.current.iter().filter(|node| !nodes.contains(node));
        self.seen.ended.extend(left.copied());
        self.seen.current = nodes.to_vec();
    }

    fn replace(&mut self, existing: &[Node], exclude: &[Node]) {
        let request = &self.request;
        assert!(should_replace(
            self.config.policy,
            request.replication,
            existing.len(),
            request.appended_or_hflushed
        ));
        assert_ne!(request.stage, Stage::Close);
        self.look(existing);
        assert!(self.seen.ended.iter().all(|node| exclude.contains(node)), "{exclude:?}");
        match self.choose() % 6 {
            0 => self.recovery.replacement_missing(),
            1 => {
                let goes_on = self.recovery.replacement_refused();
                assert_eq!(goes_on, self.config.best_effort);
                if !goes_on {
                    // The shell ends here with the NameNode's refusal; the planner is in no position to go on.
                    assert_eq!(self.recovery.poll_command(self.now), None);
                    self.recovery.replacement_missing();
                }
            }
            2 => self.recovery.replacement_found(existing[0]),
            _ => {
                self.next_node += 1;
                self.recovery.replacement_found(self.next_node);
            }
        }
    }

    fn connect(&mut self, nodes: Vec<Node>, stage: Stage) {
        self.seen.set_ups += 1;
        self.look(&nodes);
        assert_eq!(self.seen.set_ups, self.seen.stamps, "each set-up has its own stamp");
        assert!(
            !nodes.is_empty() && nodes.iter().all(|node| !self.seen.ended.contains(node)),
            "{nodes:?}"
        );
        let known = |node: &Node| self.request.nodes.contains(node) || self.seen.copied_to.contains(node);
        assert!(nodes.iter().all(known), "only nodes that have the replica");
        let first = self.request.trouble.is_none() && self.seen.set_ups == 1;
        let keeps_stage = first && self.request.stage == Stage::SetupAppend;
        assert_eq!(stage == self.request.stage, keeps_stage, "{stage}");
        let choice = self.choose();
        match choice % 4 {
            1 => {
                self.recovery.connect_failed(Trouble::Bad(choice / 4 % nodes.len()));
            }
            2 => self
                .recovery
                .connect_failed(Trouble::Restarting(choice / 4 % (nodes.len() + 1))),
            _ => {
                self.seen.stood = Some(nodes);
                self.recovery.connected();
            }
        }
    }
}

fn requests() -> impl Strategy<Value = RecoveryRequest<Node>> {
    let stage = prop_oneof![Just(Stage::DataStreaming), Just(Stage::Close), Just(Stage::SetupAppend)];
    let trouble = prop_oneof![
        (0_usize..6).prop_map(|node| Some(Trouble::Bad(node))),
        (0_usize..6).prop_map(|node| Some(Trouble::Restarting(node))),
        Just(None),
    ];
    (1_u16..6, stage, trouble, 1_usize..6, any::<bool>(), any::<bool>()).prop_map(
        |(nodes, stage, trouble, replication, relied_on, first_is_local)| RecoveryRequest {
            nodes: (0..nodes).collect(),
            trouble,
            stage,
            replication,
            appended_or_hflushed: relied_on,
            local: if first_is_local { vec![0] } else { Vec::new() },
            failed: Vec::new(),
        },
    )
}

fn configs() -> impl Strategy<Value = RecoveryConfig> {
    let policy = prop_oneof![
        Just(ReplacePolicy::Default),
        Just(ReplacePolicy::Always),
        Just(ReplacePolicy::Never)
    ];
    (policy, any::<bool>(), 0_usize..4).prop_map(|(policy, best_effort, min_replication)| RecoveryConfig {
        policy,
        best_effort,
        min_replication,
        ..RecoveryConfig::default()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    // covers: WP-16, WP-18
    #[test]
    fn every_recovery_ends_and_keeps_its_promises(
        request in requests(),
        config in configs(),
        choices in prop::collection::vec(any::<u16>(), 0..120),
    ) {
        let all = request.nodes.len();
        let mut world = World {
            recovery: Recovery::new(config, request.clone()),
            seen: Seen {
                current: request.nodes.clone(),
                ..Seen::default()
            },
            request,
            config,
            now: Duration::from_secs(1),
            choices: choices.into_iter(),
            next_node: 100,
        };
        match world.run() {
            Ok(nodes) => prop_assert!(nodes.len() <= all.max(world.request.replication)),
            Err(RecoveryError::AllBad | RecoveryError::TooManyAttempts) => {}
            Err(RecoveryError::NoReplacement | RecoveryError::TransferFailed) => {
                prop_assert!(config.policy != ReplacePolicy::Never && !config.best_effort);
            }
            Err(RecoveryError::NoNodes) => prop_assert!(false, "there were nodes"),
        }
    }
}
