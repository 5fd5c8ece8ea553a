//! A client as an EventSource would see it: a position, and what may come next.

use bytes::Bytes;
use model::{Cursor, Position};

use super::log::{Events, Kind, Log, Lost};

/// A read that told of a position from which the log can't go on.
#[derive(Debug)]
pub(super) struct Verdict {
    /// When it ran.
    pub(super) at: u64,
    /// The log at that time.
    pub(super) log: Log,
    /// What was told; nothing where a feed begins.
    pub(super) lost: Option<Lost>,
    /// Where the log began when the snapshot was made.
    pub(super) start: Cursor,
}

/// What a client knows.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) position: Position,
    /// When it came there.
    pub(super) since: u64,
    /// It has seen a terminal event.
    pub(super) ended: bool,
}

impl Client {
    /// Takes a frame, which must be the one that comes next.
    pub(super) fn take(
        &mut self,
        kind: Kind,
        frame: &Bytes,
        now: u64,
        events: &Events,
        verdicts: &[Verdict],
    ) {
        let text = std::str::from_utf8(frame).unwrap();
        assert!(!self.ended, "{text} after the end");
        let [name, data, id] = fields(text);
        if name == "snapshot" {
            let verdict = &verdicts[data.parse::<usize>().unwrap()];
            assert!(verdict.at >= self.since, "told {verdict:?} at {self:?}, of an earlier time");
            assert_eq!(verdict.log.lost(self.position), verdict.lost, "told {verdict:?} at {self:?}");
            assert_eq!(id, verdict.start.to_string());
            assert!(!self.position.is(verdict.start), "told {verdict:?} though it goes on from there");
            self.position = verdict.start.into();
        } else {
            let Ok(Position { seq, mark: Some(mark) }) = id.parse() else { panic!("id {id}") };
            let entry = events.at(Cursor::new(seq, mark)).unwrap_or_else(|| panic!("{id} never was"));
            let body = entry.body.as_ref().unwrap();
            assert_eq!((name.as_bytes(), data.as_bytes()), (&*body.name, &*body.json));
            assert!(self.position.is(entry.head.cursor_before()), "{id} taken at {self:?}");
            self.position = entry.head.cursor().into();
            self.ended = body.is_terminal() && kind == Kind::Job;
        }
        self.since = now;
    }

    /// Comes to stand at `after` without being told: where a feed begins, for who has seen nothing of it.
    pub(super) fn begin(&mut self, after: Cursor, now: u64, verdicts: &[Verdict]) {
        assert_eq!(self.position, Position::START, "comes to {after:?} untold");
        let told =
            |verdict: &Verdict| verdict.at >= self.since && verdict.lost.is_none() && verdict.start == after;
        assert!(verdicts.iter().any(told), "no feed began at {after:?} since {self:?}");
        self.position = after.into();
        self.since = now;
    }
}

fn fields(frame: &str) -> [&str; 3] {
    let lines: Vec<_> = frame.split('\n').collect();
    let [name, data, id, "", ""] = lines[..] else { panic!("frame {frame:?}") };
    [
        name.strip_prefix("event: ").unwrap(),
        data.strip_prefix("data: ").unwrap(),
        id.strip_prefix("id: ").unwrap(),
    ]
}
