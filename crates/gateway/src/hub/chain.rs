//! A chain: frames in a row, each beginning where the one before it ended.

use std::collections::VecDeque;

use model::{Cursor, Mark, Position};

use super::frame::Frame;

/// A stretch of one history. The hub's ring is one, and so is each page of the log that it read.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    start: Cursor,
    frames: VecDeque<Frame>,
    bytes: usize,
}

impl Chain {
    /// A chain without frames, which begins and ends at `at`.
    pub(crate) const fn empty(at: Cursor) -> Self {
        Self { start: at, frames: VecDeque::new(), bytes: 0 }
    }

    /// Where it begins.
    pub(crate) const fn start(&self) -> Cursor {
        self.start
    }

    /// Where it ends.
    pub(crate) fn end(&self) -> Cursor {
        self.frames.back().map_or(self.start, |frame| frame.after)
    }

    /// How many frames it has.
    pub(crate) fn len(&self) -> usize {
        self.frames.len()
    }

    /// What its frames take in memory.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The frame that a stream at `position` takes next.
    pub(crate) fn next(&self, position: Position) -> Option<&Frame> {
        self.nth(position.seq.checked_sub(self.start.seq)?).filter(|frame| position.is(frame.before))
    }

    /// The frame that ends at `cursor`.
    pub(crate) fn ending_at(&self, cursor: Cursor) -> Option<&Frame> {
        self.nth(cursor.seq.checked_sub(self.start.seq + 1)?).filter(|frame| frame.after == cursor)
    }

    /// The mark at `seq`, from the chain's start to its end.
    pub(crate) fn mark_at(&self, seq: u64) -> Option<Mark> {
        if seq == self.start.seq {
            return Some(self.start.mark);
        }
        self.nth(seq.checked_sub(self.start.seq + 1)?).map(|frame| frame.after.mark)
    }

    /// Whether `cursor` is one of the chain's places.
    pub(crate) fn has(&self, cursor: Cursor) -> bool {
        self.mark_at(cursor.seq) == Some(cursor.mark)
    }

    /// The chain's places, from its start to its end.
    pub(crate) fn cursors(&self) -> impl Iterator<Item = Cursor> {
        std::iter::once(self.start).chain(self.frames.iter().map(|frame| frame.after))
    }

    /// Adds a frame. One that doesn't follow isn't added; nobody offers one.
    pub(crate) fn push(&mut self, frame: Frame) {
        let follows = frame.before == self.end();
        debug_assert!(follows, "{:?} after {:?}", frame.before, self.end());
        if follows {
            self.bytes += frame.size();
            self.frames.push_back(frame);
        }
    }

    /// Drops the oldest frame and says how many bytes that freed; `None` if there is none.
    pub(crate) fn pop(&mut self) -> Option<usize> {
        let frame = self.frames.pop_front()?;
        self.start = frame.after;
        self.bytes -= frame.size();
        if self.frames.is_empty() {
            // An idle log costs nothing.
            self.frames = VecDeque::new();
        }
        Some(frame.size())
    }

    /// Drops the frames that end at or before `seq`.
    pub(crate) fn pop_to(&mut self, seq: u64) {
        while self.frames.front().is_some_and(|frame| frame.after.seq <= seq) {
            self.pop();
        }
    }

    fn nth(&self, index: u64) -> Option<&Frame> {
        self.frames.get(usize::try_from(index).ok()?)
    }
}
