//! A model of one job's log in Redis.

use std::collections::HashMap;
use std::fmt;

use bytes::Bytes;
use model::replay::LogPage;
use model::{Cursor, Entry, EntryBody, EntryHead, Mark, Position};

/// One state of the log: the whole history, and from where on Redis still has it.
#[derive(Clone, Default)]
pub(super) struct Log {
    /// Every event of this history, from seq 1.
    pub(super) history: Vec<Entry>,
    /// How many of them were trimmed.
    pub(super) trimmed: usize,
    /// The job doesn't exist.
    pub(super) gone: bool,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let marks: Vec<_> = self.history.iter().map(|entry| entry.head.mark).collect();
        write!(f, "{marks:?} less {}", self.trimmed)
    }
}

/// Why a client can't go on from where it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lost {
    Trimmed,
    Rewound,
}

impl Log {
    pub(super) fn last(&self) -> Cursor {
        self.history.last().map_or(Cursor::START, |entry| entry.head.cursor())
    }

    pub(super) fn ended(&self) -> bool {
        self.history.last().is_some_and(|entry| entry.body.as_ref().unwrap().is_terminal())
    }

    /// What the read step answers.
    pub(super) fn read(&self, after: u64, limit: usize) -> LogPage {
        let kept = &self.history[self.trimmed..];
        let anchor = kept.iter().find(|entry| entry.head.seq == after).map(|entry| entry.head.mark);
        let entries = kept.iter().filter(|entry| entry.head.seq > after).take(limit).cloned().collect();
        LogPage { first: kept.first().map(|entry| entry.head), last: self.last(), anchor, entries }
    }

    /// The cursor before the first event that Redis still has.
    pub(super) fn start(&self) -> Cursor {
        self.history[..self.trimmed].last().map_or(Cursor::START, |entry| entry.head.cursor())
    }

    /// DESIGN's words on whether a client that has seen `position` can go on, apart from `model::replay`.
    pub(super) fn lost(&self, position: Position) -> Option<Lost> {
        let seq = usize::try_from(position.seq).unwrap();
        if seq > self.history.len() {
            return Some(Lost::Rewound);
        }
        if seq < self.trimmed {
            return Some(Lost::Trimmed);
        }
        let truth = if seq == 0 { Mark::START } else { self.history[seq - 1].head.mark };
        position.mark.is_some_and(|mark| mark != truth).then_some(Lost::Rewound)
    }
}

/// Every event that ever was in Redis, by the cursor after it.
#[derive(Debug, Default)]
pub(super) struct Events {
    by_cursor: HashMap<Cursor, Entry>,
    order: Vec<Cursor>,
}

impl Events {
    /// Makes the next event of `log`.
    pub(super) fn append(&mut self, log: &mut Log, terminal: bool) -> Entry {
        let last = log.last();
        let [.., a, b, c] = (self.order.len() + 1).to_be_bytes();
        let head = EntryHead { seq: last.seq + 1, mark: Mark::from_bytes([a, b, c]), before: last.mark };
        let name = if terminal { "completed" } else { "progress" };
        let json = format!("{{\"seq\":{},\"of\":\"{}\"}}", head.seq, head.mark);
        let body = EntryBody { name: Bytes::from(name), json: Bytes::from(json) };
        let entry = Entry { head, body: Some(body) };
        log.history.push(entry.clone());
        self.by_cursor.insert(head.cursor(), entry.clone());
        self.order.push(head.cursor());
        entry
    }

    pub(super) fn at(&self, cursor: Cursor) -> Option<&Entry> {
        self.by_cursor.get(&cursor)
    }

    /// A cursor that some client may have, or the start.
    pub(super) fn pick(&self, pick: u8) -> Cursor {
        let n = self.order.len();
        // The newest ones more often.
        let back = usize::from(pick) * usize::from(pick) * (n + 1) / (256 * 256);
        if back >= n { Cursor::START } else { self.order[n - 1 - back] }
    }
}
