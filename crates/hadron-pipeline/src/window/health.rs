//! What acks tell about the nodes' strain: congestion, which the stream answers with pauses, and slowness, which costs a
//! node its place.
//!
//! Since 2.7 an ack may say that its node is congested (`dfs.pipeline.ecn`); since 3.4 also that it is slow beside its
//! neighbours. A pause grows with every congested ack in a row and ends with the first that is not. A node that calls
//! itself slow in [`crate::window::WindowConfig::slow_acks_as_bad`] acks in a row is treated as a bad one.
//! What it does not do: no clock, and randomness only from the seed given.
//! Invariant: a pause is at most [`MAX_BACK_OFF`].
//!
//! Source: Hadoop `DataStreamer.backOffIfNecessary`, `DataStreamer.markSlowNode`.

use crate::packet::PipelineAck;
use std::time::Duration;

/// What pauses of a congested pipeline tend to.
const MEAN_BACK_OFF_MS: u64 = 5_000;
/// Longest pause of a congested pipeline.
pub const MAX_BACK_OFF: Duration = Duration::from_millis(MEAN_BACK_OFF_MS * 10);

/// Strain of one pipeline after another.
#[derive(Debug)]
pub(super) struct Health {
    slow_in_row: Vec<u32>,
    congested: bool,
    last_back_off_ms: u64,
    paused_until: Option<Duration>,
    random: u64,
}

impl Health {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            slow_in_row: Vec::new(),
            congested: false,
            last_back_off_ms: 0,
            paused_until: None,
            random: seed,
        }
    }

    /// Another pipeline: positions mean other nodes now.
    pub(super) fn pipeline_changed(&mut self) {
        self.slow_in_row.clear();
        self.congested = false;
        self.paused_until = None;
    }

    /// Reads a good ack. Returns the position of a node that has been slow too long; `limit` 0: never.
    pub(super) fn ack_received(&mut self, ack: &PipelineAck, limit: u32) -> Option<usize> {
        self.congested = ack.replies.iter().any(|reply| reply.is_congested());
        if !self.congested {
            self.last_back_off_ms = 0;
        }
        self.slow_in_row.resize(ack.replies.len(), 0);
        for (count, reply) in self.slow_in_row.iter_mut().zip(&ack.replies) {
            *count = if reply.is_slow() { *count + 1 } else { 0 };
        }
        self.slow_in_row.iter().position(|count| limit > 0 && *count >= limit)
    }

    /// Whether data must wait at `now`; begins a pause if one is due.
    pub(super) fn is_paused(&mut self, now: Duration) -> bool {
        if self.paused_until.is_some_and(|until| now >= until) {
            self.paused_until = None;
        }
        if self.paused_until.is_none() && std::mem::take(&mut self.congested) {
            let tripled = self.last_back_off_ms * 3;
            let range = tripled.abs_diff(MEAN_BACK_OFF_MS);
            let pause = tripled.min(MEAN_BACK_OFF_MS) + self.below(range);
            let pause = Duration::from_millis(pause).min(MAX_BACK_OFF);
            self.last_back_off_ms = pause.as_millis() as u64;
            self.paused_until = (!pause.is_zero()).then_some(now + pause);
        }
        self.paused_until.is_some()
    }

    /// End of the pause that is under way.
    pub(super) fn paused_until(&self) -> Option<Duration> {
        self.paused_until
    }

    /// A number in `0..bound`, 0 for 0 (SplitMix64).
    fn below(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.random;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let wide = u128::from(word ^ (word >> 31)) * u128::from(bound);
        (wide >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{AckReply, Status};

    const CONGESTED: u32 = 3 << 5;
    const SLOW: u32 = 2 << 7;

    fn ack(flags: &[u32]) -> PipelineAck {
        let replies = flags.iter().map(|&flag_bits| AckReply {
            status: Status::Success,
            flag_bits,
        });
        PipelineAck {
            replies: replies.collect(),
            ..PipelineAck::new(0, [])
        }
    }

    #[test]
    fn congestion_pauses_longer_and_longer_until_it_ends() {
        for seed in 0..200 {
            let mut health = Health::new(seed);
            let mut now = Duration::from_secs(1);
            let mut last = 0;
            for _ in 0..20 {
                assert_eq!(health.ack_received(&ack(&[0, CONGESTED]), 10), None);
                let paused = health.is_paused(now);
                let pause = health
                    .paused_until()
                    .map_or(0, |until| (until - now).as_millis() as u64);
                assert_eq!(paused, pause > 0);
                let (low, high) = (last * 3, last * 3 + 5_000);
                assert!(
                    (low.min(5_000)..=high.min(50_000)).contains(&pause),
                    "{pause} after {last}"
                );
                last = pause;
                now += Duration::from_millis(pause);
                assert!(!health.is_paused(now), "one ack makes one pause");
            }
            health.ack_received(&ack(&[0, 0]), 10);
            assert!(!health.is_paused(now));
            assert_eq!(health.last_back_off_ms, 0);
        }
    }

    #[test]
    fn only_slowness_in_a_row_counts() {
        let mut health = Health::new(0);
        for _ in 0..2 {
            assert_eq!(health.ack_received(&ack(&[0, SLOW, SLOW]), 3), None);
        }
        assert_eq!(health.ack_received(&ack(&[0, 0, SLOW]), 3), Some(2));
        health.pipeline_changed();
        for _ in 0..10 {
            assert_eq!(health.ack_received(&ack(&[SLOW]), 0), None, "0 switches it off");
        }
    }
}
