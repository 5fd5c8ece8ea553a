//! A model of one log in Redis: a job's, or an owner's feed.

use std::collections::HashMap;
use std::fmt;

use bytes::Bytes;
use model::replay::LogPage;
use model::{Cursor, Entry, EntryBody, EntryHead, Mark, Position};

/// Of what the log is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// It begins at seq 1 and ends with a terminal event; the job knows its newest event even when all of it is trimmed.
    Job,
    /// It begins at any seq, and anew when it has expired; it never ends, and knows of nothing but its entries.
    Feed,
}

/// One state of the log: the whole history, and from where on Redis still has it.
#[derive(Clone)]
pub(super) struct Log {
    pub(super) kind: Kind,
    /// The seq before the first event.
    pub(super) base: u64,
    /// Every event of this history.
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
    /// Without events.
    pub(super) const fn of(kind: Kind) -> Self {
        Self { kind, base: 0, history: Vec::new(), trimmed: 0, gone: false }
    }

    pub(super) fn last(&self) -> Cursor {
        self.history.last().map_or(Cursor::START, |entry| entry.head.cursor())
    }

    pub(super) fn ended(&self) -> bool {
        self.kind == Kind::Job
            && self.history.last().is_some_and(|entry| entry.body.as_ref().unwrap().is_terminal())
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
        match self.history[..self.trimmed].last() {
            Some(entry) => entry.head.cursor(),
            None if self.history.is_empty() => Cursor::START,
            None => Cursor::new(self.base, Mark::START),
        }
    }

    /// DESIGN's words on whether a client that has seen `position` can go on, apart from `model::replay`.
    pub(super) fn lost(&self, position: Position) -> Option<Lost> {
        let trimmed = (self.trimmed > 0).then_some(Lost::Trimmed);
        match self.kind {
            Kind::Feed if position == Position::START => return trimmed,
            // Whatever the client has seen isn't there any more.
            Kind::Feed if self.history.is_empty() => return Some(Lost::Trimmed),
            _ => {}
        }
        let Some(seen) = position.seq.checked_sub(self.base) else { return Some(Lost::Trimmed) };
        let seen = usize::try_from(seen).unwrap();
        if seen > self.history.len() {
            return Some(Lost::Rewound);
        }
        if seen < self.trimmed {
            return Some(Lost::Trimmed);
        }
        let truth = if seen == 0 { Mark::START } else { self.history[seen - 1].head.mark };
        position.mark.is_some_and(|mark| mark != truth).then_some(Lost::Rewound)
    }
}

/// The entry as it is published.
pub(super) fn line(Entry { head, body }: &Entry) -> Bytes {
    let (body, text) = (body.as_ref().unwrap(), String::from_utf8_lossy);
    let (name, json) = (text(&body.name), text(&body.json));
    format!("{} {} {} {name} {json}", head.seq, head.mark, head.before).into()
}

/// Every event that ever was in Redis, by the cursor after it.
#[derive(Debug, Default)]
pub(super) struct Events {
    by_cursor: HashMap<Cursor, Entry>,
    order: Vec<Cursor>,
    /// The marks of another salt are others.
    salt: u8,
}

impl Events {
    /// None yet.
    pub(super) fn salted(salt: u8) -> Self {
        Self { salt, ..Self::default() }
    }

    /// Makes the next event of `log`.
    pub(super) fn append(&mut self, log: &mut Log, terminal: bool) -> Entry {
        let last = if log.history.is_empty() { Cursor::new(log.base, Mark::START) } else { log.last() };
        let [.., b, c] = (self.order.len() + 1).to_be_bytes();
        let head =
            EntryHead { seq: last.seq + 1, mark: Mark::from_bytes([self.salt, b, c]), before: last.mark };
        let name = if terminal { "completed" } else { "progress" };
        let json = format!("{{\"seq\":{},\"of\":\"{}\"}}", head.seq, head.mark);
        let body = EntryBody { name: Bytes::from(name), json: Bytes::from(json) };
        let entry = Entry { head, body: Some(body) };
        log.history.push(entry.clone());
        self.by_cursor.insert(head.cursor(), entry.clone());
        self.order.push(head.cursor());
        entry
    }

    /// The highest seq that ever was; 0 if none was.
    pub(super) fn highest(&self) -> u64 {
        self.order.iter().map(|cursor| cursor.seq).max().unwrap_or(0)
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
