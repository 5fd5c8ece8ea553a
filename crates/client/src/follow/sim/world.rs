//! The job in Redis, and a gateway that keeps its promises.

use model::wire::{JobView, Snapshot, SnapshotReason};
use model::{Cursor, Job, JobId, Mark, Owner, Status, Timestamp};

use crate::follow::Start;
use crate::sse::Frame;

const ID: &str = "019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6000";

pub(super) fn id() -> JobId {
    ID.parse().unwrap()
}

/// An entry of the log: its cursor, the mark before it, and whether it is the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) cursor: Cursor,
    before: Mark,
    end: bool,
}

impl Entry {
    pub(super) fn frame(&self) -> Frame {
        let name = if self.end { "completed" } else { "progress" };
        let (seq, before) = (self.cursor.seq, self.before);
        let data = format!(
            r#"{{"jobId":"{ID}","seq":{seq},"type":"{name}","at":"2026-11-23T10:00:00.000Z","attempt":1,"before":"{before}"}}"#
        );
        Frame { event: name.into(), data, id: Some(self.cursor.to_string()) }
    }
}

/// The job in Redis, and a gateway that keeps its promises.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) log: Vec<Entry>,
    trimmed: usize,
    marks: u32,
}

impl World {
    pub(super) fn last(&self) -> Cursor {
        self.log.last().map_or(Cursor::START, |entry| entry.cursor)
    }

    pub(super) fn ended(&self) -> bool {
        self.log.last().is_some_and(|entry| entry.end)
    }

    pub(super) fn grow(&mut self, end: bool) {
        if self.ended() {
            return;
        }
        self.marks += 1;
        let [_, a, b, c] = self.marks.to_be_bytes();
        let last = self.last();
        let cursor = Cursor::new(last.seq + 1, Mark::from_bytes([a, b, c]));
        self.log.push(Entry { cursor, before: last.mark, end });
    }

    /// Redis loses its newest events.
    pub(super) fn rewind(&mut self, events: usize) {
        self.log.truncate(self.log.len().saturating_sub(events).max(self.trimmed));
    }

    pub(super) fn trim(&mut self, events: usize) {
        self.trimmed = (self.trimmed + events).min(self.log.len());
    }

    pub(super) fn job(&self) -> JobView {
        let zero = Timestamp::default();
        let job = Job {
            id: id(),
            owner: Owner::anonymous(),
            task: "a".parse().unwrap(),
            status: if self.ended() { Status::Completed } else { Status::Processing },
            progress: None,
            message: None,
            result: None,
            error: None,
            error_code: None,
            attempt: 1,
            max_attempts: 1,
            priority: model::Priority::Normal,
            metadata: None,
            created_at: zero,
            updated_at: zero,
            started_at: None,
            finished_at: None,
            expires_at: zero,
            last_event: self.last(),
            cancel_on_disconnect: None,
        };
        JobView::new(job, "")
    }

    fn snapshot(&self, reason: SnapshotReason, at: Cursor) -> Frame {
        let snapshot = Snapshot { job_id: id(), reason, job: self.job() };
        let data = serde_json::to_string(&snapshot).unwrap();
        Frame { event: "snapshot".into(), data, id: Some(at.to_string()) }
    }

    /// The frames of a stream; `None` is the 204.
    pub(super) fn stream(&self, start: Start) -> Option<Vec<Frame>> {
        let kept = &self.log[self.trimmed..];
        let first = match self.log.get(self.trimmed) {
            Some(entry) => Cursor::new(entry.cursor.seq - 1, entry.before),
            None => self.last(),
        };
        let whole = |reason| {
            let frames = kept.iter().map(Entry::frame);
            Some([self.snapshot(reason, first)].into_iter().chain(frames).collect())
        };
        match start {
            Start::Now => Some(vec![self.snapshot(SnapshotReason::Now, self.last())]),
            Start::After(at) if self.ended() && at.is(self.last()) => None,
            Start::After(at) => {
                let known = [first].into_iter().chain(kept.iter().map(|entry| entry.cursor));
                match known.into_iter().position(|cursor| at.is(cursor)) {
                    Some(index) => Some(kept[index..].iter().map(Entry::frame).collect()),
                    None if at.seq < first.seq => whole(SnapshotReason::Trimmed),
                    None => whole(SnapshotReason::Rewound),
                }
            }
        }
    }
}
