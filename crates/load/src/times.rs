//! Histograms of times.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Times from 1 µs to an hour, each kept to three digits.
#[derive(Clone, Debug)]
pub(crate) struct Times(Histogram<u64>);

/// The same to send and to keep: microseconds, and how many there were. Added to any [`Times`] it loses nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted(Vec<(u64, u64)>);

impl Counted {
    /// The figures that a report shows.
    pub fn figures(&self) -> Figures {
        Times::from(self).figures()
    }
}

impl Times {
    /// None yet.
    #[expect(clippy::expect_used, reason = "these bounds are fixed, and sound")]
    pub(crate) fn new() -> Self {
        Self(Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("the bounds are sound"))
    }

    /// Adds one time, in microseconds; one out of range as the nearest in it.
    pub(crate) fn add_us(&mut self, us: u64) {
        self.0.saturating_record(us.max(1));
    }

    /// Adds one time.
    pub(crate) fn add(&mut self, time: Duration) {
        self.add_us(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// Adds all of `counted`.
    pub(crate) fn merge(&mut self, counted: &Counted) {
        for &(us, count) in &counted.0 {
            self.0.saturating_record_n(us, count);
        }
    }

    /// What was counted since the last call.
    pub(crate) fn take(&mut self) -> Counted {
        let counted = self.counted();
        self.0.clear();
        counted
    }

    /// What was counted.
    pub(crate) fn counted(&self) -> Counted {
        if self.0.is_empty() {
            return Counted::default();
        }
        Counted(self.0.iter_recorded().map(|v| (v.value_iterated_to(), v.count_at_value())).collect())
    }

    /// The figures that a report shows.
    pub(crate) fn figures(&self) -> Figures {
        let at = |quantile| millis(self.0.value_at_quantile(quantile));
        if self.0.is_empty() {
            return Figures::default();
        }
        Figures {
            count: self.0.len(),
            min: millis(self.0.min()),
            mean: (self.0.mean() / 1000.0 * 1000.0).round() / 1000.0,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            p9999: at(0.9999),
            max: millis(self.0.max()),
        }
    }

    /// Points of the distribution: the share of times (0 to 1) that are at most so many milliseconds.
    pub(crate) fn distribution(&self) -> Vec<(f64, f64)> {
        let quantiles = self.0.iter_quantiles(4);
        quantiles.map(|v| (v.quantile_iterated_to(), millis(v.value_iterated_to()))).collect()
    }
}

impl From<&Counted> for Times {
    fn from(counted: &Counted) -> Self {
        let mut times = Self::new();
        times.merge(counted);
        times
    }
}

/// Some figures of many times, in milliseconds; all 0 where there were none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// How many there were.
    pub count: u64,
    /// The shortest.
    pub min: f64,
    /// The mean.
    pub mean: f64,
    /// Half of them took at most so long.
    pub p50: f64,
    /// 90 % of them did.
    pub p90: f64,
    /// 99 % of them did.
    pub p99: f64,
    /// 99.9 % of them did.
    pub p999: f64,
    /// 99.99 % of them did.
    pub p9999: f64,
    /// The longest.
    pub max: f64,
}

#[expect(clippy::cast_precision_loss, reason = "an hour in microseconds has 32 bits")]
fn millis(us: u64) -> f64 {
    us as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_is_as_counting_all_in_one() {
        let (mut one, mut parts) = (Times::new(), [Times::new(), Times::new(), Times::new()]);
        for at in 0..30_000_u64 {
            let us = at * at % 7_654_321;
            one.add_us(us);
            parts[usize::try_from(at % 3).unwrap()].add_us(us);
        }
        let mut merged = Times::new();
        for part in &mut parts {
            // As it goes from process to process.
            let sent = serde_json::to_string(&part.take()).unwrap();
            merged.merge(&serde_json::from_str(&sent).unwrap());
            assert_eq!(part.counted(), Counted::default(), "taken");
        }
        assert_eq!(merged.counted(), one.counted());
        let (merged, one) = (merged.figures(), one.figures());
        assert_eq!(
            (merged.count, merged.p50, merged.p99, merged.max),
            (one.count, one.p50, one.p99, one.max)
        );
        assert_eq!(merged.count, 30_000);
    }

    #[test]
    fn figures_are_of_three_digits() {
        let mut times = Times::new();
        assert_eq!(times.figures(), Figures::default());
        for ms in 1..=1000 {
            times.add(Duration::from_millis(ms));
        }
        let figures = times.figures();
        for (figure, expected) in [(figures.p50, 500.0), (figures.p99, 990.0), (figures.max, 1000.0)] {
            assert!((figure - expected).abs() <= expected / 1000.0 + 0.01, "{figure} for {expected}");
        }
        assert!((figures.min - 1.0).abs() < 0.001, "{figures:?}");
    }
}
