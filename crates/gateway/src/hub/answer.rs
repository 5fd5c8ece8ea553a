//! What the core makes of a read's answer.

use model::Cursor;

use super::chain::Chain;
use super::core::{LogCore, Wake};
use super::page::{Page, ReadPage};
use super::plant::unless_hushed;
use super::read::{Heard, ReadAt, ReadOutcome, Reading};

impl LogCore {
    /// Takes the answer of a read that [`wanted`](Self::wanted) asked for.
    pub(crate) fn answer(&mut self, read: ReadAt, outcome: ReadOutcome) -> Wake {
        let Some(reading) = self.reading.take_if(|reading| reading.number == read.number) else {
            return self.wake(false, false);
        };
        let wake = match outcome {
            ReadOutcome::Failed => self.again(*reading),
            ReadOutcome::Gone => self.vanished(*reading),
            ReadOutcome::Page(page) => self.page(*reading, page),
        };
        self.count();
        wake
    }

    /// The same must be read again.
    fn again(&mut self, reading: Reading) -> Wake {
        self.unsettled |= reading.settles;
        self.wants.extend(reading.want.filter(|want| self.standing.has(want.position)));
        self.wake(false, false)
    }

    fn vanished(&mut self, reading: Reading) -> Wake {
        if reading.disturbed {
            // The read may have run before the job was there.
            return self.again(reading);
        }
        self.gone = true;
        self.unsettled = false;
        self.wants.clear();
        self.wake(true, true)
    }

    fn page(&mut self, reading: Reading, mut page: ReadPage) -> Wake {
        // Between the verdict and the page the log may have changed so that the position is in it again.
        page.snapshot.take_if(|_| reading.position.is(page.start));
        let before = (self.head(), self.ended, self.gone);
        // Asked at the newest event known, which still is the newest known: this is the last word on it.
        let last_word = reading.settles && reading.head == self.head();
        if reading.settles && !last_word && page.snapshot.is_some() {
            // Live went on meanwhile; only the end that it told of can be lost.
            return self.again(reading);
        }
        if last_word && page.snapshot.is_some() {
            self.ring = None;
            self.pages.clear();
        }
        let chain = unless_hushed(self.render(&page), &reading);
        if last_word {
            self.conclude(&chain, page.last);
        } else if self.ring.as_ref().is_some_and(|ring| contradicts(ring, &chain, page.last)) {
            // Live may be older than this, or newer: only a read at the log's end tells.
            self.unsettled = true;
            return self.again(reading);
        } else {
            self.extend(&chain);
            self.reach_back(&chain);
        }
        // The other pages are older for sure, since reads don't overlap.
        self.pages.retain(|held| !contradicts(&held.chain, &chain, page.last));
        self.gone = false;
        if self.head() == Some(page.last) {
            self.ended |= page.ended;
        }
        self.unsettled |= self.leaves_doubt(&reading, &chain, page.last);
        self.keep(&reading, page, chain);
        let moved = before != (self.head(), self.ended, self.gone);
        self.wake(moved, true)
    }

    /// The page's frames; those that are held already aren't rendered again.
    fn render(&self, page: &ReadPage) -> Chain {
        let mut chain = Chain::empty(page.start);
        for (head, body) in &page.entries {
            chain.push(self.frame_of(*head, body));
        }
        chain
    }

    /// Believes that the log's newest event is `last`, and that `chain` leads to it or towards it.
    fn conclude(&mut self, chain: &Chain, last: Cursor) {
        if chain.end() != last {
            // Too much for one page. Streams go on by pages until they come to where the ring begins anew.
            self.ring = Some(Chain::empty(last));
            self.ended = false;
        } else if self.ring.is_some() {
            self.extend(chain);
        } else {
            self.ring = Some(Chain::empty(chain.start()));
            self.ended = false;
            self.extend(chain);
        }
    }

    /// Adds to the ring what of `chain` follows its end.
    fn extend(&mut self, chain: &Chain) {
        while let Some(frame) = self.head().and_then(|head| chain.next(head.into())) {
            self.push(frame.clone());
        }
    }

    /// Lets the ring begin where `chain` does, if both end alike and others may come for what is before the ring.
    fn reach_back(&mut self, chain: &Chain) {
        if self.warm > 0
            && let Some(ring) = &mut self.ring
            && ring.end() == chain.end()
            && ring.start().seq > chain.start().seq
        {
            *ring = chain.clone();
        }
    }

    /// Whether it takes a read at the log's end to know what the end is.
    fn leaves_doubt(&self, reading: &Reading, chain: &Chain, last: Cursor) -> bool {
        let known = |cursor| self.ring.as_ref().is_some_and(|ring| ring.has(cursor));
        if reading.settles {
            return !known(last)
                || match reading.heard {
                    Heard::Nothing => false,
                    Heard::UpTo(cursor) => !known(cursor),
                    Heard::Confused => true,
                };
        }
        // A stream that has taken the whole page would stand where the log ends and the ring doesn't.
        !known(last) && (chain.end() == last || self.head().is_some_and(|head| last.seq < head.seq))
    }

    /// Keeps the page if streams need it.
    fn keep(&mut self, reading: &Reading, page: ReadPage, chain: Chain) {
        self.pages.push(Page {
            read: reading.number,
            asked: reading.position,
            snapshot: page.snapshot,
            chain,
        });
        self.tidy_ring();
        self.tidy_pages(|_| true);
    }
}

/// Whether `held` has another mark than `chain`, or than `last`, at one seq.
fn contradicts(held: &Chain, chain: &Chain, last: Cursor) -> bool {
    chain
        .cursors()
        .chain([last])
        .any(|cursor| held.mark_at(cursor.seq).is_some_and(|mark| mark != cursor.mark))
}
