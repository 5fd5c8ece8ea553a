//! Pages: what a read of the log said, for the streams that stand outside of the ring.

use bytes::Bytes;
use model::replay::LogPage;
use model::{Cursor, Entry, EntryBody, EntryHead, Position};

use super::chain::Chain;

/// A page of the log, as the shell read and judged it.
#[derive(Debug)]
pub(crate) struct ReadPage {
    /// Where its entries begin.
    pub(crate) start: Cursor,
    /// The entries, in a row.
    pub(crate) entries: Vec<(EntryHead, EntryBody)>,
    /// The log's newest event at that time.
    pub(crate) last: Cursor,
    /// The frame that leads from the position asked for to `start`, where the log can't go on from that position.
    pub(crate) snapshot: Option<Bytes>,
    /// `last` is a terminal event.
    pub(crate) ended: bool,
}

/// A page that is no part of a history: entries out of order, without a body, or none though there must be some.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the log's entries from {start} to {last} are not in a row")]
pub(crate) struct BrokenPage {
    start: Cursor,
    last: Cursor,
}

impl ReadPage {
    /// A page that goes on from `position`, as [`model::replay::settle`] found.
    pub(crate) fn follows(position: Position, page: LogPage, ended: bool) -> Result<Self, BrokenPage> {
        let start = page.entries.first().map_or(page.last, |entry| entry.head.cursor_before());
        let broken = BrokenPage { start, last: page.last };
        if !position.is(start) {
            return Err(broken);
        }
        let entries = in_a_row(start, page).ok_or(broken)?;
        Ok(Self { start, entries, last: broken.last, snapshot: None, ended })
    }

    /// A page from the log's first entry, for a position from which the log can't go on. `snapshot` is the whole frame
    /// that says so; its id is `page.start()`.
    pub(crate) fn restart(snapshot: Bytes, page: LogPage, ended: bool) -> Result<Self, BrokenPage> {
        let (start, last) = (page.start(), page.last);
        let entries = in_a_row(start, page).ok_or(BrokenPage { start, last })?;
        Ok(Self { start, entries, last, snapshot: Some(snapshot), ended })
    }
}

/// The page's entries, if they lead from `start` on and there are some unless that is the end.
fn in_a_row(start: Cursor, page: LogPage) -> Option<Vec<(EntryHead, EntryBody)>> {
    let mut end = start;
    let mut entries = Vec::with_capacity(page.entries.len());
    for Entry { head, body } in page.entries {
        if head.cursor_before() != end {
            return None;
        }
        end = head.cursor();
        entries.push((head, body?));
    }
    let whole = end == page.last || (end.seq < page.last.seq && !entries.is_empty());
    whole.then_some(entries)
}

/// A page that some streams still need.
#[derive(Debug)]
pub(crate) struct Page {
    /// Which read it is from: reads are numbered in the order in which they start.
    pub(crate) read: u64,
    /// The position that was asked for.
    pub(crate) asked: Position,
    /// The frame from there to the chain's start, where the log can't go on from there.
    pub(crate) snapshot: Option<Bytes>,
    /// The page's frames.
    pub(crate) chain: Chain,
}

impl Page {
    /// What a stream that stands at `position` takes next: bytes, its place then, and whether nothing follows. `since` is the
    /// number of the last read that had started when it came there.
    ///
    /// A verdict counts only for those who stood there before the read started: what others know may be newer than it.
    pub(crate) fn next(&self, position: Position, since: u64) -> Option<(&Bytes, Cursor, bool)> {
        if position == self.asked
            && since < self.read
            && let Some(snapshot) = &self.snapshot
        {
            return Some((snapshot, self.chain.start(), false));
        }
        self.chain.next(position).map(|frame| (&frame.bytes, frame.after, frame.terminal))
    }

    /// Whether it has something for some stream at `position`.
    pub(crate) fn serves(&self, position: Position) -> bool {
        self.next(position, 0).is_some()
    }

    /// The lowest and the highest seq at which it can serve a stream.
    pub(crate) fn range(&self) -> (u64, u64) {
        let (start, end) = (self.chain.start().seq, self.chain.end().seq);
        match self.snapshot {
            Some(_) => (start.min(self.asked.seq), end.max(self.asked.seq)),
            None => (start, end),
        }
    }

    /// What it takes in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.chain.bytes() + self.snapshot.as_ref().map_or(0, Bytes::len)
    }
}

#[cfg(test)]
mod tests {
    use model::Mark;

    use super::*;

    fn mark(n: u64) -> Mark {
        Mark::from_bytes([0, 0, u8::try_from(n).unwrap()])
    }

    fn entry(seq: u64) -> Entry {
        let body = EntryBody { name: "progress".into(), json: "{}".into() };
        Entry { head: EntryHead { seq, mark: mark(seq), before: mark(seq - 1) }, body: Some(body) }
    }

    #[test]
    fn a_page_is_a_row_of_entries_from_the_position() {
        let bare = Entry { body: None, ..entry(3) };
        for (position, entries, last, fits) in [
            (2, vec![entry(3), entry(4)], 4, true),
            (2, vec![entry(3)], 4, true),
            (4, vec![], 4, true),
            (2, vec![], 4, false),
            (2, vec![entry(4)], 4, false),
            (2, vec![entry(3), entry(5)], 5, false),
            (2, vec![entry(3), entry(4)], 3, false),
            (2, vec![bare], 3, false),
        ] {
            let at = |seq| Cursor::new(seq, mark(seq));
            let page = LogPage { first: Some(entry(1).head), last: at(last), anchor: None, entries };
            let read = ReadPage::follows(at(position).into(), page.clone(), false);
            assert_eq!(read.is_ok(), fits, "{position} {page:?}");
        }
    }
}
