//! What a followed feed tells.

use std::fmt;
use std::str::FromStr;

use model::wire::{FeedSnapshot, SnapshotReason};
use model::{EventType, JobId, Json, Status, Timestamp};
use serde::Deserialize;

use crate::event::NotAnEvent;
use crate::follow::Connection;
use crate::sse::Frame;

/// A place in an owner's feed: opaque, to be kept and given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedCursor(String);

/// Text that can't be a feed's cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a feed's cursor is one word of letters, digits, - and _, as the feed gave it")]
pub struct BadFeedCursor;

impl FeedCursor {
    /// The word.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FeedCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for FeedCursor {
    type Err = BadFeedCursor;
    fn from_str(text: &str) -> Result<Self, BadFeedCursor> {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if text.is_empty() || !text.bytes().all(word) { Err(BadFeedCursor) } else { Ok(Self(text.into())) }
    }
}

/// One thing that a followed feed tells.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum FeedNews {
    /// Something happened to a job.
    Event(FeedEvent),
    /// The feed itself changed: what follows isn't what followed before.
    Snapshot {
        /// `Trimmed`: events between the cursor and what follows are no longer kept. `Rewound`: Redis lost events, and part of
        /// what was told may be void and comes again. `Now`: the start that was asked for.
        reason: SnapshotReason,
        /// Follow from here to get what comes next.
        cursor: FeedCursor,
    },
    /// How the follower is connected has changed. It never polls.
    Connection(Connection),
}

/// An event of one of the owner's jobs.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FeedEvent {
    /// Whose event it is.
    pub job_id: JobId,
    /// Its type's name on the wire; perhaps one that this version doesn't know.
    pub name: String,
    /// When it happened, by Redis' clock.
    pub at: Timestamp,
    /// Follow from here to get what comes next.
    pub cursor: FeedCursor,
    json: Json,
}

impl FeedEvent {
    /// How the job ended, if this is its end.
    pub fn end(&self) -> Option<Status> {
        match self.name.parse().ok()? {
            EventType::Completed => Some(Status::Completed),
            EventType::Failed => Some(Status::Failed),
            EventType::Cancelled => Some(Status::Cancelled),
            _ => None,
        }
    }

    /// The event as it came: all of its fields. A feed's have no payload, result or output.
    pub fn json(&self) -> &Json {
        &self.json
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    job_id: JobId,
    at: Timestamp,
}

/// Reads a frame of a feed.
pub(super) fn read(frame: &Frame) -> Result<FeedNews, NotAnEvent> {
    let broken = || NotAnEvent(frame.data.clone());
    let id = frame.id.as_deref().ok_or_else(broken)?;
    let cursor: FeedCursor = id.parse().map_err(|_| NotAnEvent(id.to_owned()))?;
    if frame.event == "snapshot" {
        let FeedSnapshot { reason } = serde_json::from_str(&frame.data).map_err(|_| broken())?;
        return Ok(FeedNews::Snapshot { reason, cursor });
    }
    let Wire { job_id, at } = serde_json::from_str(&frame.data).map_err(|_| broken())?;
    let json = Json::parse(&frame.data).map_err(|_| broken())?;
    Ok(FeedNews::Event(FeedEvent { job_id, name: frame.event.clone(), at, cursor, json }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6000";

    fn frame(event: &str, data: &str, id: Option<&str>) -> Frame {
        Frame { event: event.into(), data: data.into(), id: id.map(Into::into) }
    }

    #[test]
    fn events_and_snapshots_are_read_with_their_cursor() {
        let data = format!(r#"{{"jobId":"{ID}","seq":4,"type":"failed","at":"2026-11-23T10:00:00.123Z"}}"#);
        for (name, end) in [
            ("completed", Some(Status::Completed)),
            ("failed", Some(Status::Failed)),
            ("cancelled", Some(Status::Cancelled)),
            ("started", None),
            ("melted", None),
        ] {
            let FeedNews::Event(event) = read(&frame(name, &data, Some("a-_9"))).unwrap() else {
                panic!("{name} is an event")
            };
            assert_eq!((event.end(), event.name.as_str()), (end, name));
            assert_eq!((event.job_id.to_string().as_str(), event.cursor.as_str()), (ID, "a-_9"));
            assert_eq!(event.json().as_str(), data);
        }
        let snapshot = frame("snapshot", r#"{"type":"snapshot","reason":"trimmed"}"#, Some("b"));
        let cursor = "b".parse().unwrap();
        assert_eq!(read(&snapshot), Ok(FeedNews::Snapshot { reason: SnapshotReason::Trimmed, cursor }));
    }

    #[test]
    fn what_can_be_no_event_is_refused() {
        let data = format!(r#"{{"jobId":"{ID}","at":"2026-11-23T10:00:00.123Z"}}"#);
        for bad in [
            frame("queued", &data, None),
            frame("queued", &data, Some("")),
            frame("queued", &data, Some("a b")),
            frame("queued", "{}", Some("a")),
            frame("snapshot", "{}", Some("a")),
        ] {
            assert!(read(&bad).is_err(), "{bad:?}");
        }
    }
}
