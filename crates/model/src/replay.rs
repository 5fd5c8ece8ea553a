//! Replay: how a log and its live channel become one history, in order and once; or a hole, or a rewind.
//!
//! An entry is an edge from one cursor to the next. A client at cursor `c` may take an entry only where the edge begins at
//! `c`: with that, order, once-ness and the discovery of a changed history are one rule.

use crate::{Cursor, Entry, EntryHead, Mark, Position};

/// What a live entry is to a reader whose newest event is `head`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arrival {
    /// The next event.
    Next,
    /// One that was seen already.
    Repeat,
    /// A hole, or another history: the log must be read before anything later is taken.
    Unsettled,
}

/// Judges a live entry against the newest event known, and against the mark known at the entry's own seq, if any.
pub fn judge(head: Cursor, entry: &EntryHead, known_at_seq: Option<Mark>) -> Arrival {
    if entry.seq == head.seq + 1 {
        return if entry.before == head.mark { Arrival::Next } else { Arrival::Unsettled };
    }
    if entry.seq > head.seq {
        return Arrival::Unsettled;
    }
    let known = if entry.seq == head.seq { Some(head.mark) } else { known_at_seq };
    if known.is_some_and(|mark| mark != entry.mark) { Arrival::Unsettled } else { Arrival::Repeat }
}

/// One atomic read of a log after some seq.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogPage {
    /// The first entry that the log still has; `None` if it has none.
    pub first: Option<EntryHead>,
    /// The newest event.
    pub last: Cursor,
    /// The mark at the seq that was asked for, if the log still has that entry.
    pub anchor: Option<Mark>,
    /// The entries after that seq, or from the first that there is; maybe not up to the last.
    pub entries: Vec<Entry>,
}

impl LogPage {
    /// The cursor before the first entry that the log still has: where a client starts that lost its place.
    pub fn start(&self) -> Cursor {
        self.first.map_or(self.last, |first| first.cursor_before())
    }
}

/// What a read of the log says of a reader's position.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The position is in this history; the page's entries follow it.
    Follows,
    /// The log no longer reaches back to the position.
    Trimmed,
    /// The history up to the position isn't this one.
    Rewound,
    /// The position is before a log's first event, and the log has it still, at a seq that wasn't known.
    Begins,
}

/// Judges a position in a feed. Its seq starts at a time, so its beginning is known by the mark before its first entry; and it may
/// expire, so one that has no entry says nothing of what it had.
///
/// From [`Position::START`], a feed that still has its first event, or none yet, [`Verdict::Begins`].
pub fn settle_feed(position: Position, page: &LogPage) -> Verdict {
    let Some(first) = page.first else {
        return if position == Position::START { Verdict::Follows } else { Verdict::Trimmed };
    };
    match position == Position::START {
        true if first.before == Mark::START => Verdict::Begins,
        true => Verdict::Trimmed,
        false => settle(position, page),
    }
}

/// Judges `position` by a page that was read after `position.seq`.
///
/// A position more than one before the first entry is trimmed, whatever happened to the history. One just before it is
/// checked by that entry's mark before. A bare seq is only checked for lying past the end.
pub fn settle(position: Position, page: &LogPage) -> Verdict {
    if position.seq > page.last.seq {
        return Verdict::Rewound;
    }
    let start = page.start();
    if position.seq < start.seq {
        return Verdict::Trimmed;
    }
    let mark = if position.seq == start.seq { Some(start.mark) } else { page.anchor };
    match mark {
        Some(mark) if position.agrees(mark) => Verdict::Follows,
        _ => Verdict::Rewound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(n: u8) -> Mark {
        if n == 0 { Mark::START } else { Mark::from_bytes([n, n, n]) }
    }

    fn head(seq: u8) -> EntryHead {
        EntryHead { seq: seq.into(), mark: mark(seq), before: mark(seq - 1) }
    }

    #[test]
    fn a_live_entry_is_taken_only_where_it_follows() {
        let at = |seq: u8| head(seq).cursor();
        let foreign = EntryHead { mark: mark(99), before: mark(98), ..head(5) };
        for (known, entry, at_seq, want) in [
            (at(4), head(5), None, Arrival::Next),
            (Cursor::START, head(1), None, Arrival::Next),
            (at(4), foreign, None, Arrival::Unsettled),
            (at(4), head(6), None, Arrival::Unsettled),
            (at(5), head(5), None, Arrival::Repeat),
            (at(5), foreign, None, Arrival::Unsettled),
            (at(9), head(5), Some(mark(5)), Arrival::Repeat),
            (at(9), head(5), None, Arrival::Repeat),
            (at(9), foreign, Some(mark(5)), Arrival::Unsettled),
        ] {
            assert_eq!(judge(known, &entry, at_seq), want, "{known:?} {entry:?}");
        }
    }

    #[test]
    fn a_position_follows_is_trimmed_or_is_rewound() {
        // A log that has 4 to 6.
        let page = |asked: u8| LogPage {
            first: Some(head(4)),
            last: head(6).cursor(),
            anchor: (4..=6).contains(&asked).then(|| mark(asked)),
            entries: vec![],
        };
        let with = |seq: u64, mark: Option<Mark>| Position { seq, mark };
        for (seq, m, want) in [
            (0, Some(mark(0)), Verdict::Trimmed),
            (2, Some(mark(2)), Verdict::Trimmed),
            (2, Some(mark(77)), Verdict::Trimmed),
            (3, Some(mark(3)), Verdict::Follows),
            (3, Some(mark(77)), Verdict::Rewound),
            (3, None, Verdict::Follows),
            (4, Some(mark(4)), Verdict::Follows),
            (5, Some(mark(77)), Verdict::Rewound),
            (6, Some(mark(6)), Verdict::Follows),
            (6, None, Verdict::Follows),
            (7, Some(mark(7)), Verdict::Rewound),
            (7, None, Verdict::Rewound),
        ] {
            #[expect(clippy::cast_possible_truncation, reason = "small numbers")]
            let page = page(seq as u8);
            assert_eq!(settle(with(seq, m), &page), want, "{seq} {m:?}");
        }
    }

    #[test]
    fn a_feed_begins_at_any_seq_and_an_expired_one_says_nothing() {
        let page = |before| {
            let first = EntryHead { before, ..head(40) };
            LogPage { first: Some(first), last: head(42).cursor(), anchor: Some(mark(41)), entries: vec![] }
        };
        let empty = LogPage { first: None, last: Cursor::START, anchor: None, entries: vec![] };
        let at = |seq| Position::from(head(seq).cursor());
        for (position, page, want) in [
            (Position::START, &empty, Verdict::Follows),
            (at(40), &empty, Verdict::Trimmed),
            (Position::START, &page(Mark::START), Verdict::Begins),
            (Position::START, &page(mark(39)), Verdict::Trimmed),
            (Cursor::new(39, Mark::START).into(), &page(Mark::START), Verdict::Follows),
            (at(41), &page(Mark::START), Verdict::Follows),
            (at(20), &page(Mark::START), Verdict::Trimmed),
            (at(39), &page(Mark::START), Verdict::Rewound),
            (at(43), &page(mark(39)), Verdict::Rewound),
        ] {
            assert_eq!(settle_feed(position, page), want, "{position:?} {page:?}");
        }
    }

    #[test]
    fn a_log_that_is_gone_is_trimmed_up_to_its_end() {
        let page = LogPage { first: None, last: head(6).cursor(), anchor: None, entries: vec![] };
        assert_eq!(settle(Position::START, &page), Verdict::Trimmed);
        assert_eq!(settle(head(6).cursor().into(), &page), Verdict::Follows);
        assert_eq!(settle(head(7).cursor().into(), &page), Verdict::Rewound);
    }
}
