//! What always holds, and what holds when a run is over.

use model::Cursor;

use super::super::chain::Chain;
use super::super::core::{WARM, WaitFor};
use super::ops::{Ending, Fate};
use super::world::World;

impl World {
    pub(super) fn check_core(&self) {
        let ring = self.core.ring.as_ref();
        assert!(ring.is_none_or(|ring| ring.bytes() <= self.setting.ring_bytes || ring.len() == 1));
        assert_eq!(self.held.bytes(), self.core.bytes(), "what is held is counted otherwise");
        assert!(self.core.pages.len() <= self.streams.len(), "more pages than streams");
        assert!(self.core.wants.len() <= self.streams.len(), "more wants than streams");
        // Equal marks at one seq mean equal history up to there, so one look at the highest seq of both is enough.
        let chains: Vec<_> = ring.into_iter().chain(self.core.pages.iter().map(|page| &page.chain)).collect();
        for (i, one) in chains.iter().enumerate() {
            for other in &chains[i + 1..] {
                let seq = one.end().seq.min(other.end().seq);
                let (a, b) = (one.mark_at(seq), other.mark_at(seq));
                assert!(a == b || a.is_none() || b.is_none(), "two histories at {seq}: {a:?}, {b:?}");
                let frame =
                    |chain: &Chain| chain.ending_at(Cursor::new(seq, a?)).map(|frame| frame.bytes.as_ptr());
                let (a, b) = (frame(one), frame(other));
                assert!(a == b || a.is_none() || b.is_none(), "rendered twice");
            }
        }
    }

    /// Nothing fails any more, and nothing happens but the ending: each stream comes to the log's end.
    pub(super) fn settle_down(&mut self) {
        self.now += 1;
        match self.setting.ending {
            Ending::Reconcile => {}
            Ending::Live => self.go_beyond(),
            Ending::Nothing => {
                self.hear_all();
            }
        }
        self.answer(false);
        self.reads = 0;
        loop {
            while let Some(i) = (0..self.streams.len()).find(|&i| self.streams[i].is_awake()) {
                self.take(i, 150);
            }
            self.ask();
            if self.reading.is_some() {
                self.answer(false);
            } else if self.setting.ending == Ending::Reconcile && self.differs() {
                let wake = self.core.unsettle();
                self.wake(wake);
            } else {
                break;
            }
            self.check_core();
            // Each place of a stream, and each page from there to the end, is read once, and the end a few times.
            assert!(self.reads <= 8 + self.streams.len() * (self.log.history.len() + 2), "reads without end");
        }
        for stream in self.streams.iter().filter(|stream| !stream.over) {
            assert!(!self.log.gone && !self.log.ended(), "{stream:?} waits for nothing");
            assert!(stream.client.position.is(self.log.last()), "{stream:?} isn't at {:?}", self.log.last());
            assert_eq!(stream.waits, Some(WaitFor::Head), "{stream:?} won't hear what comes");
        }
        for stream in std::mem::take(&mut self.streams) {
            self.core.close(stream.seat);
        }
        for _ in 0..WARM {
            self.core.cool();
        }
        assert_eq!((self.core.bytes(), self.held.bytes()), (0, 0), "kept for nobody");
    }

    /// Appends and hears events until one lies beyond what the core knows.
    pub(super) fn go_beyond(&mut self) {
        self.log.gone = false;
        if self.log.ended() {
            self.log.history.pop();
            self.log.trimmed = self.log.trimmed.min(self.log.history.len());
        }
        let head = self.core.head();
        while head.is_some_and(|head| self.log.last().seq < head.seq + 1) {
            self.append(false, false, Fate::Heard);
        }
        self.append(false, self.now.is_multiple_of(2), Fate::Heard);
    }

    /// A reconcile.
    pub(super) fn differs(&self) -> bool {
        let head = self.core.head();
        if self.log.gone {
            head.is_some() && !self.core.gone && !self.core.is_in_doubt()
        } else {
            self.core.differs(head, self.log.last())
        }
    }
}
