//! Durations in requests.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A duration in seconds, with fractions. Any number can be sent; [`Seconds::get`] knows which of them is a duration.
#[derive(Clone, Copy, PartialEq, Debug, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Seconds(f64);

/// A number that is no duration.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("a duration is a number of seconds above 0 and at most {MAX_SECONDS}, not {0}")]
pub struct BadSeconds(f64);

const MAX_SECONDS: f64 = 315_360_000.0;

impl Seconds {
    /// The duration: more than 0, at least one millisecond then, and at most 10 years.
    pub fn get(self) -> Result<Duration, BadSeconds> {
        if self.0 > 0.0 && self.0 <= MAX_SECONDS {
            Ok(Duration::from_secs_f64(self.0).max(Duration::from_millis(1)))
        } else {
            Err(BadSeconds(self.0))
        }
    }
}

impl From<Duration> for Seconds {
    fn from(duration: Duration) -> Self {
        Self(duration.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_above_zero_and_at_most_ten_years() {
        let ms = Duration::from_millis;
        for (number, duration) in
            [(1.5, Some(ms(1500))), (1e-9, Some(ms(1))), (315_360_000.0, Some(ms(315_360_000_000)))]
        {
            assert_eq!(Seconds(number).get().ok(), duration, "{number}");
        }
        for bad in [0.0, -1.0, 315_360_000.5, f64::MAX] {
            assert_eq!(Seconds(bad).get(), Err(BadSeconds(bad)));
        }
    }
}
