//! Which dead letters.

use clap::Args;
use client::{DeadLetters, Timestamp};
use model::{Clock as _, SystemClock};

use crate::command::people::time;

/// Those that pass all that is given.
#[derive(Debug, Args)]
pub(super) struct Choice {
    /// Those whose URL begins so
    #[arg(long, value_name = "URL")]
    target: Option<String>,
    /// Those that died at this time or later: RFC 3339, or how long ago, such as 2h
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,
    /// Those that died before this time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
}

impl Choice {
    /// Whether nothing is given.
    pub(super) fn is_all(&self) -> bool {
        self.target.is_none() && self.since.is_none() && self.until.is_none()
    }

    /// As the client asks for them.
    pub(super) fn letters(&self) -> DeadLetters {
        let mut letters = DeadLetters::new();
        if let Some(url) = &self.target {
            letters = letters.url(url);
        }
        if let Some(since) = self.since {
            letters = letters.since(since);
        }
        if let Some(until) = self.until {
            letters = letters.until(until);
        }
        letters
    }
}

/// Reads a time, or how long ago it was.
fn moment(text: &str) -> Result<Timestamp, String> {
    at(text, SystemClock.now())
}

fn at(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let ago = time(text)
        .map_err(|_| "it is such as 2026-11-23T10:00:00Z, or how long ago: 90s, 2h, 7d".to_owned())?;
    let ago = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
    Ok(Timestamp::from_millis(now.as_millis().saturating_sub(ago)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_itself_or_so_long_ago() {
        let now: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
        for (text, time) in [
            ("2026-11-22T08:00:00+01:00", "2026-11-22T07:00:00.000Z"),
            ("2h", "2026-11-23T08:00:00.000Z"),
            ("90", "2026-11-23T09:58:30.000Z"),
            ("100000d", "1970-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(at(text, now).map(|time| time.to_string()), Ok(time.to_owned()), "{text}");
        }
        for bad in ["", "yesterday", "2026-13-01T00:00:00Z"] {
            assert!(at(bad, now).is_err(), "{bad}");
        }
    }
}
