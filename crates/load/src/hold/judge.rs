//! What one stream knows, and what a frame of it does to the tally.

use super::tally::Growing;
use crate::check::{Check, Verdict};
use crate::marks::Marks;
use crate::wire::{Frame, Kind};

/// How far a stream has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// It never was open.
    #[default]
    New,
    /// It was open.
    Opened,
    /// The job's last event has come.
    AtEnd,
    /// It will not be opened any more.
    Ended,
}

/// One stream, over all of its connections.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// The place of its log among all.
    pub(super) log: usize,
    /// The last id: what a new connection begins after.
    cursor: Option<(u64, Option<u32>)>,
    check: Check,
    pub(super) stage: Stage,
    /// History was changed, so its log's end isn't known.
    rewound: bool,
}

impl Stream {
    /// A stream of log `log`, of which nothing is known yet.
    pub(super) fn of(log: usize) -> Self {
        Self { log, ..Self::default() }
    }

    /// The header of a request that goes on after the last event; empty at the beginning.
    pub(super) fn last_event_id(&self) -> String {
        match self.cursor {
            None => String::new(),
            Some((seq, None)) => format!("Last-Event-ID: {seq}\r\n"),
            Some((seq, Some(mark))) => format!("Last-Event-ID: {seq}-{mark:06x}\r\n"),
        }
    }

    /// Takes `frame`, that came at `now` (microseconds since the Unix epoch).
    pub(super) fn take(&mut self, frame: Frame, now: u64, marks: &mut Marks, tally: &mut Growing) {
        let counts = &mut tally.counts;
        let Some(seq) = frame.seq else { return };
        self.cursor = Some((seq, frame.mark));
        match frame.kind {
            Kind::Trimmed => counts.trimmed += 1,
            Kind::Rewound => {
                counts.rewound += 1;
                self.rewound = true;
                marks.forget();
            }
            Kind::Now => {}
            Kind::Event | Kind::End => {
                if frame.kind == Kind::End {
                    self.stage = Stage::AtEnd;
                }
                return self.take_event(seq, frame, now, marks, tally);
            }
        }
        self.check.go_on_after(seq);
    }

    /// How many events are missing of a log whose last one is `end`; 0 for a log whose end isn't known.
    pub(super) fn missing(&self, end: u64) -> u64 {
        let end = if self.rewound || end == 0 { self.check.last() } else { end };
        self.check.missing(end)
    }

    fn take_event(&mut self, seq: u64, frame: Frame, now: u64, marks: &mut Marks, tally: &mut Growing) {
        let counts = &mut tally.counts;
        counts.events += 1;
        match self.check.take(seq) {
            Verdict::Next => {}
            Verdict::Hole(missing) => counts.lost += missing,
            Verdict::Repeat => counts.repeated += 1,
            Verdict::Late => {
                counts.reordered += 1;
                counts.lost = counts.lost.saturating_sub(1);
            }
        }
        if frame.mark.is_some_and(|mark| !marks.agrees(seq, mark)) {
            counts.rewritten += 1;
        }
        if let Some(due) = frame.due {
            counts.outputs += 1;
            tally.latency.add_us(now.saturating_sub(due));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hold::Counts;

    fn event(seq: u64) -> Frame {
        let mark = u32::try_from(seq).ok();
        Frame { seq: Some(seq), mark, ..Frame::default() }
    }

    fn told(frames: &[Frame]) -> (Stream, Counts) {
        let (mut stream, mut marks, mut tally) = (Stream::of(0), Marks::default(), Growing::new());
        for &frame in frames {
            stream.take(frame, 1_000_000, &mut marks, &mut tally);
        }
        (stream, tally.counts)
    }

    #[test]
    fn each_fault_has_its_count() {
        let other = Frame { mark: Some(99), ..event(2) };
        let (stream, counts) = told(&[1, 2, 5, 4, 4].map(event));
        assert_eq!((counts.events, counts.lost, counts.reordered, counts.repeated), (5, 1, 1, 1));
        assert_eq!((stream.missing(5), stream.missing(7), stream.missing(0)), (1, 3, 1));
        let (_, counts) = told(&[event(1), event(2), other]);
        assert_eq!((counts.repeated, counts.rewritten), (1, 1));
    }

    #[test]
    fn what_a_stream_says_itself_is_no_loss() {
        let snapshot = |kind, seq| Frame { kind, ..event(seq) };
        let (stream, counts) = told(&[event(1), snapshot(Kind::Trimmed, 7), event(8)]);
        assert_eq!((counts.trimmed, counts.lost, counts.events, stream.missing(8)), (1, 0, 2, 0));
        let again = Frame { mark: Some(77), ..event(1) };
        let (stream, counts) = told(&[event(1), event(2), snapshot(Kind::Rewound, 0), again]);
        assert_eq!((counts.rewound, counts.lost, counts.rewritten, stream.missing(9)), (1, 0, 0, 0));
        assert_eq!(stream.stage, Stage::New);
        let end = Frame { kind: Kind::End, ..event(1) };
        assert_eq!(told(&[end]).0.stage, Stage::AtEnd);
    }

    #[test]
    fn a_new_connection_begins_after_the_last_event() {
        assert_eq!(told(&[]).0.last_event_id(), "");
        assert_eq!(told(&[event(10)]).0.last_event_id(), "Last-Event-ID: 10-00000a\r\n");
        let bare = Frame { mark: None, ..event(3) };
        assert_eq!(told(&[bare]).0.last_event_id(), "Last-Event-ID: 3\r\n");
    }
}
