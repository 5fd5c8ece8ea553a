//! How long to wait before trying again.

use std::time::Duration;

/// The wait after the first failure where the server said nothing.
const FIRST: Duration = Duration::from_secs(1);
/// The longest wait, unless the server asks for more.
const MOST: Duration = Duration::from_secs(30);
/// The shortest: nothing that a server says makes a client run in circles.
const LEAST: Duration = Duration::from_millis(50);
/// What is believed of a server that asks to wait, at most.
const MOST_ASKED: Duration = Duration::from_mins(5);

/// The wait after `failures` failures in a row, doubled by each. `random` is from 0 to 1: half of the wait is left to it, so
/// that clients that lost one server don't come to the next one together.
///
/// `hint` is a stream's `retry:`, which stands in for the first wait and is taken as it is once, since the server has
/// jittered it.
pub(crate) fn wait(failures: u32, hint: Option<Duration>, random: f64) -> Duration {
    let first = hint.unwrap_or(FIRST).min(MOST_ASKED);
    let doubled = first.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1).min(16)));
    let whole = doubled.min(MOST.max(first));
    let jittered = if failures <= 1 && hint.is_some() { whole } else { whole.mul_f64(0.5 + random / 2.0) };
    jittered.max(LEAST)
}

/// The same where the server said `Retry-After`: no sooner than that.
pub(crate) fn wait_asked(asked: Option<Duration>, otherwise: Duration, random: f64) -> Duration {
    // Everybody was told the same number: they come back spread over a tenth of it.
    let asked = asked.map(|asked| asked.min(MOST_ASKED).mul_f64(1.0 + random / 10.0));
    asked.unwrap_or_default().max(otherwise)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_stay_in_bounds() {
        let ms = Duration::from_millis;
        for (failures, hint, random, expected) in [
            (1, None, 0.0, ms(500)),
            (1, None, 1.0, ms(1000)),
            (2, None, 1.0, ms(2000)),
            (5, None, 0.5, ms(12_000)),
            (u32::MAX, None, 1.0, ms(30_000)),
            (0, Some(ms(300)), 0.0, ms(300)),
            (1, Some(ms(300)), 0.0, ms(300)),
            (2, Some(ms(300)), 0.0, ms(300)),
            (3, Some(ms(300)), 1.0, ms(1200)),
            (1, Some(ms(0)), 0.0, ms(50)),
            (9, Some(ms(0)), 1.0, ms(50)),
            (1, Some(ms(60_000)), 0.0, ms(60_000)),
            (9, Some(ms(60_000)), 1.0, ms(60_000)),
            (1, Some(Duration::MAX), 0.0, ms(300_000)),
        ] {
            assert_eq!(wait(failures, hint, random), expected, "{failures} {hint:?} {random}");
        }
    }

    #[test]
    fn a_server_that_asks_for_more_gets_it() {
        let s = Duration::from_secs;
        for (asked, otherwise, random, expected) in [
            (None, s(1), 1.0, s(1)),
            (Some(s(10)), s(1), 0.0, s(10)),
            (Some(s(10)), s(1), 1.0, s(11)),
            (Some(s(1)), s(10), 1.0, s(10)),
            (Some(Duration::MAX), s(1), 0.0, s(300)),
        ] {
            assert_eq!(wait_asked(asked, otherwise, random), expected, "{asked:?} {otherwise:?}");
        }
    }
}
