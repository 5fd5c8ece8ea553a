//! When a delivery is tried again.

use std::time::{Duration, SystemTime};

use model::{Clock, SystemClock, Timestamp};

/// The waits between attempts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waits {
    /// The second attempt's.
    pub(crate) first: Duration,
    /// The longest.
    pub(crate) longest: Duration,
}

impl Waits {
    /// How long the next attempt waits after `tries` that failed before this one: four times as long each time, at random from half of
    /// that on; or as long as the receiver `asked` for, and up to a tenth longer. `random` is from 0 to 1.
    pub(crate) fn next(self, tries: u32, asked: Option<Duration>, random: f64) -> Duration {
        let grown = || self.first.saturating_mul(4_u32.saturating_pow(tries)).min(self.longest);
        // Neither way do all come at the same moment.
        let wait = asked.map_or_else(
            || grown().mul_f64(0.5 + random / 2.0),
            |asked| asked.min(self.longest).mul_f64(1.0 + random / 10.0),
        );
        wait.min(self.longest)
    }
}

/// What `Retry-After` asks for: seconds, or until a date (RFC 9110, 10.2.3). `None` where it is neither.
pub(crate) fn retry_after(value: &str) -> Option<Duration> {
    until(value, SystemClock.now())
}

fn until(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More than fits is for ever.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::from(u32::MAX))));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    let date = date.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(Timestamp::default().plus(date).since(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn waits_grow_fourfold_up_to_the_longest() {
        let waits = Waits { first: 5 * SECOND, longest: 3600 * SECOND };
        for (tries, full) in
            [(0, 5), (1, 20), (2, 80), (3, 320), (4, 1280), (5, 3600), (19, 3600), (u32::MAX, 3600)]
        {
            let full = full * SECOND;
            assert_eq!(waits.next(tries, None, 0.0), full / 2, "{tries}");
            assert_eq!(waits.next(tries, None, 1.0), full, "{tries}");
        }
    }

    #[test]
    fn a_receiver_is_waited_for_as_long_as_it_asks() {
        let waits = Waits { first: 5 * SECOND, longest: 3600 * SECOND };
        for (asked, least) in [(0, 0), (7, 7), (120, 120), (7200, 3600)] {
            for random in [0.0, 0.5, 1.0] {
                let wait = waits.next(3, Some(asked * SECOND), random);
                let most = (least * SECOND).mul_f64(1.1).min(waits.longest);
                assert!((least * SECOND..=most).contains(&wait), "{asked} {random}: {wait:?}");
            }
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        // 1994-11-06T08:49:30Z
        let now = Timestamp::from_millis(784_111_770_000);
        for (value, expected) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("99999999999999999999999", Some(u64::from(u32::MAX))),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(7)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(7)),
            ("Sun Nov  6 08:49:37 1994", Some(7)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
        ] {
            assert_eq!(until(value, now), expected.map(Duration::from_secs), "{value:?}");
        }
    }
}
