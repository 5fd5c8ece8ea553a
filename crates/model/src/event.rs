//! Events, and the entries of a log that hold them.

use std::str::FromStr;

use bytes::Bytes;

use crate::{Cursor, Mark};

/// The kinds of events in a job's log. The name is the SSE `event:` and the JSON `type`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum EventType {
    /// The job was accepted.
    Queued,
    /// A worker began an attempt. With attempt 2 or more the outputs of earlier attempts are void.
    Started,
    /// How far the attempt is.
    Progress,
    /// Appended by the handler, never dropped: `output` (any JSON) or `text`.
    Output,
    /// The attempt is over and another one will follow.
    Retrying,
    /// The job ended well. Terminal.
    Completed,
    /// The job ended badly. Terminal.
    Failed,
    /// The job was cancelled. Terminal.
    Cancelled,
}

impl EventType {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Queued,
        Self::Started,
        Self::Progress,
        Self::Output,
        Self::Retrying,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Started => "started",
            Self::Progress => "progress",
            Self::Output => "output",
            Self::Retrying => "retrying",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing follows.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

/// Text that names no kind of event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such event type")]
pub struct BadEventType;

impl FromStr for EventType {
    type Err = BadEventType;
    fn from_str(text: &str) -> Result<Self, BadEventType> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(BadEventType)
    }
}

/// The first three words of a log entry: its place in history.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EntryHead {
    /// The event's number, from 1.
    pub seq: u64,
    /// The event's mark.
    pub mark: Mark,
    /// The mark of the event before; [`Mark::START`] before the first.
    pub before: Mark,
}

impl EntryHead {
    /// The cursor of a client that has seen this event last.
    pub const fn cursor(&self) -> Cursor {
        Cursor::new(self.seq, self.mark)
    }

    /// The cursor of a client whose next event is this one.
    pub const fn cursor_before(&self) -> Cursor {
        Cursor::new(self.seq - 1, self.before)
    }
}

/// The event itself: its type and its JSON, as they go to clients.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EntryBody {
    /// The event's type. Text, since a newer node may write types that this one doesn't know and must still pass on.
    pub name: Bytes,
    /// The event's JSON, on one line.
    pub json: Bytes,
}

impl EntryBody {
    /// Whether nothing follows this event.
    pub fn is_terminal(&self) -> bool {
        std::str::from_utf8(&self.name)
            .is_ok_and(|name| name.parse::<EventType>().is_ok_and(EventType::is_terminal))
    }
}

/// An entry of a log: `<seq> <mark> <mark before> <type> <json>`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its place in history.
    pub head: EntryHead,
    /// The event. `None` on the live channel for a large one: the reader takes it from the log.
    pub body: Option<EntryBody>,
}

/// Bytes that are no log entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a log entry: {0:?}")]
pub struct BadEntry(String);

impl Entry {
    /// Reads an entry; the body shares `bytes`.
    pub fn parse(bytes: &Bytes) -> Result<Self, BadEntry> {
        Self::read(bytes)
            .ok_or_else(|| BadEntry(String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned()))
    }

    fn read(bytes: &Bytes) -> Option<Self> {
        let mut words = bytes.splitn(5, |&b| b == b' ');
        let mut text = || std::str::from_utf8(words.next()?).ok();
        let head = EntryHead {
            seq: text()?.parse().ok().filter(|&seq| seq > 0)?,
            mark: text()?.parse().ok()?,
            before: text()?.parse().ok()?,
        };
        let body = match (words.next(), words.next()) {
            (None, _) => None,
            (Some(_), None) => return None,
            (Some(name), Some(json)) => {
                Some(EntryBody { name: bytes.slice_ref(name), json: bytes.slice_ref(json) })
            }
        };
        Some(Self { head, body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_entries_with_and_without_a_body() {
        let entry = Entry::parse(&Bytes::from_static(b"17 4f2a9c 00ff00 progress {\"a\": 1}")).unwrap();
        assert_eq!(entry.head.cursor().to_string(), "17-4f2a9c");
        assert_eq!(entry.head.cursor_before().to_string(), "16-00ff00");
        let body = entry.body.unwrap();
        assert_eq!((&*body.name, &*body.json), (&b"progress"[..], &b"{\"a\": 1}"[..]));
        assert!(!body.is_terminal());
        assert_eq!(Entry::parse(&Bytes::from_static(b"1 4f2a9c 000000")).unwrap().body, None);
    }

    #[test]
    fn refuses_what_is_no_entry() {
        for bad in [
            "",
            "1",
            "0 4f2a9c 000000",
            "x 4f2a9c 000000",
            "1 4f2a9c",
            "1 4f2a9c 000000 progress",
            "1 4f2a9 000000",
        ] {
            assert!(Entry::parse(&Bytes::from(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_go_both_ways() {
        for kind in EventType::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
    }
}
