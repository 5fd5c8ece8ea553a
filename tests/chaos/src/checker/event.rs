//! The data of frames and log entries, as far as the checker reads them.

use serde::Deserialize;
use serde_json::Value;

/// An event, a snapshot or a `gone`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Event {
    pub(super) job_id: Option<String>,
    /// The event's number in its job's log.
    pub(super) seq: Option<u64>,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) at: Option<String>,
    pub(super) attempt: Option<u64>,
    pub(super) output: Option<Value>,
    /// Of a snapshot.
    pub(super) reason: Option<String>,
    /// Of a snapshot.
    pub(super) job: Option<Value>,
}

impl Event {
    pub(super) fn parse(json: &str) -> Option<Self> {
        serde_json::from_str(json).ok()
    }

    /// The handler's counter, if the event is an output that has one.
    pub(super) fn counter(&self) -> Option<u64> {
        self.output.as_ref()?.get("n")?.as_u64()
    }

    /// When it was written, in ms since 1970.
    pub(super) fn at_unix_ms(&self) -> Option<u64> {
        unix_ms(self.at.as_deref()?)
    }
}

/// The types of the events that a log can have.
pub(super) const TYPES: [&str; 8] =
    ["queued", "started", "progress", "output", "retrying", "completed", "failed", "cancelled"];

/// Whether nothing may follow an event of type `kind`.
pub(super) fn is_terminal(kind: &str) -> bool {
    matches!(kind, "completed" | "failed" | "cancelled")
}

/// Whether feeds have events of type `kind`.
pub(super) fn is_life_cycle(kind: &str) -> bool {
    TYPES.contains(&kind) && !matches!(kind, "progress" | "output")
}

/// A time in RFC 3339 as ms since 1970.
pub(super) fn unix_ms(text: &str) -> Option<u64> {
    let time: jiff::Timestamp = text.parse().ok()?;
    time.as_millisecond().try_into().ok()
}
