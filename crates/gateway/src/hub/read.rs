//! Reads of the log: what the core asks for, what it gets, and what it hears meanwhile.

use model::{Cursor, EntryHead, Position};

use super::page::ReadPage;

/// A read that the core wants: of the log's entries after `position`. The shell answers each exactly once, with
/// [`ReadOutcome::Failed`] if it gives up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ReadAt {
    /// After which event.
    pub(crate) position: Position,
    /// The read's number.
    pub(super) number: u64,
}

/// What a read said.
#[derive(Debug)]
pub(crate) enum ReadOutcome {
    /// A page of the log.
    Page(ReadPage),
    /// The job doesn't exist, or no longer.
    Gone,
    /// Not known. The core wants the read again; the shell waits a while before it asks what is wanted.
    Failed,
}

/// The read in flight.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) number: u64,
    pub(super) position: Position,
    /// The newest event known when it started.
    pub(super) head: Option<Cursor>,
    /// It asks at that event, or none was known: it settles what the log's end is.
    pub(super) settles: bool,
    /// The streams' wish that it fulfils, if it isn't only to settle.
    pub(super) want: Option<Want>,
    /// What live told since it started and couldn't be taken.
    pub(super) heard: Heard,
    /// Live told anything since it started.
    pub(super) disturbed: bool,
}

/// Streams stand at `position` and have nothing to take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Want {
    pub(super) position: Position,
    /// The number of the last read that had started when the latest of them came there.
    pub(super) since: u64,
}

/// What live told since a read started and couldn't be taken. The read may have run before it, so unless the answer has it
/// the log must be read again. A read that starts later sees it for sure, so a rumour that is stale is followed once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Heard {
    Nothing,
    /// Entries in a row, up to this one: who knows it knows them all.
    UpTo(Cursor),
    /// Entries of which none stands for the others.
    Confused,
}

impl Heard {
    pub(super) fn add(&mut self, entry: &EntryHead) {
        *self = match *self {
            Self::Nothing => Self::UpTo(entry.cursor()),
            Self::UpTo(end) if end == entry.cursor() || end == entry.cursor_before() => {
                Self::UpTo(entry.cursor())
            }
            _ => Self::Confused,
        };
    }
}
