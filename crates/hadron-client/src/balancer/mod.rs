//! The balancer: evens out how full a cluster's DataNodes are, ours or Apache's.
//!
//! Per iteration it asks the NameNode how full they are, has `hadron-blockmap`'s planner say what should move, and has
//! DataNodes move it (`mover`); then it waits for heartbeats and looks again. A file that it holds open keeps a second
//! balancer away, of either make (`connector`). What it does not do: print; everything that can be told goes to the
//! caller as [`Event`]s. Invariant: nothing is deleted by it; the NameNode drops the replica that a move's hint names
//! only when the new one is there.
//! Source of the order of things: Hadoop `Balancer`, `NameNodeConnector`, `Dispatcher`.

mod connector;
mod iteration;
mod mover;
mod options;

pub use options::{BalancerOptions, BalancerSettings, BalancingPolicy};

use crate::error::{FsError, Result};
use connector::Connector;
use hadron_env::Configuration;
use hadron_types::BlockPoolId;
use std::time::Instant;
use tokio_util::sync::CancellationToken;

/// How a balancer ended; the numbers are Hadoop's, as exit codes modulo 256.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExitStatus {
    /// The cluster is balanced.
    Success = 0,
    /// No block can be moved.
    NoMoveBlock = -2,
    /// No block was moved in several iterations.
    NoMoveProgress = -3,
    /// A call failed, or another balancer is running, ours or Apache's (for which Hadoop has -1, and does not use it).
    IoError = -4,
    /// A setting cannot be used.
    IllegalArguments = -5,
    /// It was told to stop.
    Interrupted = -6,
    /// An upgrade is not finalized: moved blocks would not be deleted.
    UnfinalizedUpgrade = -7,
}

impl ExitStatus {
    /// The code a process ends with.
    pub fn code(self) -> u8 {
        (self as i8).to_be_bytes()[0]
    }
}

/// Something to tell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A line for whoever reads along, in Hadoop's words.
    Message(String),
    /// A block pool that is left out.
    Skipped(BlockPoolId),
    /// An iteration begins.
    Planned {
        /// Bytes to move to make the cluster even.
        left: u64,
        /// Bytes that this iteration is going to move.
        bytes: u64,
    },
    /// A move of the current iteration ended well.
    Moved {
        /// Bytes of this iteration so far.
        bytes: u64,
    },
    /// An iteration ended.
    Iteration(IterationReport),
}

/// A row of the balancer's table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IterationReport {
    /// From 0 on.
    pub number: usize,
    /// Bytes moved since the start.
    pub moved: u64,
    /// Bytes that were to be moved to make the cluster even, before it.
    pub left: u64,
    /// Bytes it was going to move.
    pub planned: u64,
    /// The NameNode.
    pub namenode: String,
}

/// How one iteration of one NameNode ended.
enum Outcome {
    /// Go on.
    InProgress,
    /// This NameNode's blocks are balanced.
    Balanced,
    /// Everything ends.
    End(ExitStatus),
}

/// Balances the name services `urls` until all are even, nothing can be done, or `stop`.
pub async fn run(
    conf: &Configuration,
    urls: &[String],
    options: &BalancerOptions,
    stop: &CancellationToken,
    tell: &mut (dyn FnMut(Event) + Send),
) -> ExitStatus {
    let mut connectors = Vec::new();
    let status = match run_connected(conf, urls, options, stop, tell, &mut connectors).await {
        Ok(status) => status,
        Err(error) => {
            tell(Event::Message(format!("{}.  Exiting ...", as_java(&error))));
            match error {
                FsError::Config(_) => ExitStatus::IllegalArguments,
                _ => ExitStatus::IoError,
            }
        }
    };
    for connector in connectors {
        connector.close().await;
    }
    status
}

async fn run_connected(
    conf: &Configuration,
    urls: &[String],
    options: &BalancerOptions,
    stop: &CancellationToken,
    tell: &mut (dyn FnMut(Event) + Send),
    connectors: &mut Vec<Connector>,
) -> Result<ExitStatus> {
    let settings = BalancerSettings::from_configuration(conf)?;
    for url in urls {
        let Some(connector) = Connector::open(conf, url).await? else {
            let text = "java.io.IOException: Another Balancer is running..  Exiting ...";
            tell(Event::Message(text.to_owned()));
            return Ok(ExitStatus::IoError);
        };
        connectors.push(connector);
    }
    let started = Instant::now();
    for number in 0.. {
        let mut done = true;
        for connector in connectors.iter_mut() {
            if !options.wants_pool(&connector.pool) {
                tell(Event::Skipped(connector.pool.clone()));
                continue;
            }
            let iteration = iteration::Iteration {
                number,
                started,
                settings: &settings,
                options,
                stop,
            };
            match iteration.run(connector, tell).await? {
                Outcome::InProgress => done = false,
                Outcome::Balanced => {}
                Outcome::End(status) => return Ok(status),
            }
        }
        if done {
            return Ok(ExitStatus::Success);
        }
        if stop
            .run_until_cancelled(tokio::time::sleep(settings.pause))
            .await
            .is_none()
        {
            return Ok(ExitStatus::Interrupted);
        }
    }
    Ok(ExitStatus::Success)
}

/// An error as Java prints an exception.
fn as_java(error: &FsError) -> String {
    match error {
        FsError::Refused(error) => error.to_string(),
        other => format!("java.io.IOException: {other}"),
    }
}
