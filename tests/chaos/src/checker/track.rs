//! Where a client stands in one log, and what it holds of it.

use super::event::{Event, is_life_cycle, is_terminal};
use super::finding::Kind;
use super::life::Life;
use super::truth::{Log, LogKey};
use crate::opaque::Cursor;

/// What is wrong, and the evidence.
pub(super) type Problem = (Kind, String);

/// A client's way through one log.
pub(super) struct Track<'r> {
    pub(super) key: LogKey,
    /// The job, or the feed.
    pub(super) about: String,
    pub(super) log: Log<'r>,
    /// The last event told.
    pub(super) at: Cursor,
    /// What it holds since it last began anew.
    pub(super) held: Vec<Held<'r>>,
    /// When it was told the end that it holds.
    pub(super) ended_at_ms: Option<u64>,
    /// When it last began anew: what was written before is late for no one.
    pub(super) anew_at_ms: u64,
    /// When it was told that the job is gone.
    pub(super) gone_at_ms: Option<u64>,
    /// Of a job, not of a feed.
    life: Option<Life>,
    planned: Option<u64>,
}

/// An event that a client holds.
#[derive(Clone, Copy)]
pub(super) struct Held<'r> {
    pub(super) cursor: Cursor,
    pub(super) kind: &'r str,
    pub(super) data: &'r str,
    /// When it was written, in the run's time.
    pub(super) written_ms: u64,
}

impl<'r> Track<'r> {
    pub(super) fn of_job(index: usize, id: &str, log: Log<'r>, planned: Option<u64>) -> Self {
        let life = Some(Life::from_start(planned));
        Self { life, planned, ..Self::of_feed(LogKey::Job(index), id.to_owned(), log) }
    }

    pub(super) fn of_feed(key: LogKey, about: String, log: Log<'r>) -> Self {
        Self {
            key,
            about,
            log,
            at: Cursor::START,
            held: Vec::new(),
            ended_at_ms: None,
            anew_at_ms: 0,
            gone_at_ms: None,
            life: None,
            planned: None,
        }
    }

    pub(super) fn is_feed(&self) -> bool {
        matches!(self.key, LogKey::Feed(..))
    }

    /// Whether nothing more of it is due.
    pub(super) fn is_over(&self) -> bool {
        self.ended_at_ms.is_some() || self.gone_at_ms.is_some()
    }

    /// Whether an id may say `place` of a feed that had told nothing: that it has its beginning, whose number wasn't known.
    pub(super) fn may_begin_at(&self, place: Cursor) -> bool {
        self.is_feed() && self.at == Cursor::START && place.mark == 0
    }

    /// Takes an event that came with `cursor`, and goes on from there whatever is wrong with it.
    pub(super) fn take(&mut self, event: &Event, seen_ms: u64, held: Held<'r>) -> Vec<Problem> {
        let mut problems = Vec::new();
        let (before, cursor) = (std::mem::replace(&mut self.at, held.cursor), held.cursor);
        if self.gone_at_ms.is_some() {
            problems.push((Kind::AfterEnd, format!("`{}` {cursor} after it was said to be gone", held.kind)));
        }
        if self.is_feed() {
            if !is_life_cycle(held.kind) {
                problems.push((Kind::FeedExtra, format!("a feed told `{}`", held.kind)));
            }
        } else if event.seq != Some(cursor.seq) {
            let seq = event.seq;
            problems.push((Kind::Disagrees, format!("the id says {cursor}, the data say seq {seq:?}")));
        }
        // A feed's first number is a time, and its first entry has no mark before it.
        let begins = before == Cursor::START
            && self.is_feed()
            && self.log.at(cursor.seq).is_none_or(|entry| entry.before == "000000");
        if cursor.seq <= before.seq {
            problems.push((Kind::Repeat, format!("`{}` {cursor} came when {before} was told", held.kind)));
        } else if cursor.seq != before.seq + 1 && !begins {
            let missing = cursor.seq - before.seq - 1;
            problems.push((
                Kind::Hole,
                format!("`{}` {cursor} came after {before}: {missing} left out", held.kind),
            ));
        }
        if let Some(Err(problem)) = self.life.as_mut().map(|life| life.take(event)) {
            problems.push(problem);
        }
        self.held.push(held);
        if !self.is_feed() && is_terminal(held.kind) {
            self.ended_at_ms = Some(seen_ms);
        }
        problems
    }

    /// Begins anew at `cursor`. Returns what is void now.
    pub(super) fn begin_anew(&mut self, cursor: Cursor) -> Vec<Held<'r>> {
        self.at = cursor;
        self.ended_at_ms = None;
        if self.life.is_some() {
            let from_start = cursor == Cursor::START;
            let life = if from_start { Life::from_start } else { Life::from_somewhere };
            self.life = Some(life(self.planned));
        }
        std::mem::take(&mut self.held)
    }
}
