//! Collects times of single operations and prints one JSON line per run.

use std::time::Duration;

use serde_json::{Map, Value, json};

/// Times of the operations of one run.
#[derive(Default)]
pub(crate) struct Figures {
    micros: Vec<u32>,
    /// Operations that failed.
    pub(crate) errors: u64,
    /// Why the first of them did.
    pub(crate) first_error: Option<String>,
}

impl Figures {
    pub(crate) fn add(&mut self, time: Duration) {
        self.micros.push(u32::try_from(time.as_micros()).unwrap_or(u32::MAX));
    }

    pub(crate) fn fail(&mut self, error: impl std::fmt::Display) {
        self.errors += 1;
        self.first_error.get_or_insert_with(|| error.to_string());
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.micros.extend(other.micros);
        self.errors += other.errors;
        self.first_error = self.first_error.take().or(other.first_error);
    }

    /// Operations that succeeded.
    pub(crate) fn count(&self) -> usize {
        self.micros.len()
    }

    /// Milliseconds that `share` (0..=1) of the operations stayed below.
    fn percentile_ms(&mut self, share: f64) -> f64 {
        if self.micros.is_empty() {
            return 0.0;
        }
        self.micros.sort_unstable();
        let rank = (share * self.micros.len() as f64).ceil() as usize;
        f64::from(self.micros[rank.clamp(1, self.micros.len()) - 1]) / 1000.0
    }

    /// The fields every run has; `bytes`: moved in all, 0 where that means nothing.
    pub(crate) fn json(&mut self, wall: Duration, bytes: u64) -> Map<String, Value> {
        let seconds = wall.as_secs_f64();
        let round = |value: f64| (value * 1000.0).round() / 1000.0;
        let mut line = Map::new();
        line.insert("count".into(), json!(self.count()));
        line.insert("errors".into(), json!(self.errors));
        line.insert("seconds".into(), json!(round(seconds)));
        line.insert("ops_per_s".into(), json!(round(self.count() as f64 / seconds)));
        line.insert("p50_ms".into(), json!(self.percentile_ms(0.50)));
        line.insert("p99_ms".into(), json!(self.percentile_ms(0.99)));
        if bytes > 0 {
            line.insert("bytes_per_s".into(), json!((bytes as f64 / seconds).round()));
        }
        if let Some(error) = &self.first_error {
            line.insert("first_error".into(), json!(error));
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_times() {
        let mut figures = Figures::default();
        for millis in (1..=100).rev() {
            figures.add(Duration::from_millis(millis));
        }
        assert_eq!(figures.percentile_ms(0.50), 50.0);
        assert_eq!(figures.percentile_ms(0.99), 99.0);
        assert_eq!(figures.json(Duration::from_secs(2), 0)["ops_per_s"], json!(50.0));
    }
}
