//! What the streams of a log get from its core.
//!
//! A stream stands at a position and takes only frames that begin there, so order and once-ness need no other care. It looks
//! into the ring first, then into the pages; where neither has its next frame, it waits at the log's end for live events, or
//! behind it for a read of the log at its position.

use bytes::Bytes;
use model::{Cursor, Position};
use smallvec::SmallVec;

use super::core::{LogCore, WARM};
use super::page::Page;
use super::read::Want;
use super::seat::Seat;

/// The most frames that a stream takes together.
const FRAMES: usize = 4;
/// Frames that a stream takes together. They need no memory of their own.
pub(crate) type Frames = SmallVec<[Told; FRAMES]>;

/// What a stream gets.
#[expect(
    clippy::large_enum_variant,
    reason = "it is on the stack for a moment; a box would be memory for each event of each stream"
)]
#[derive(Debug)]
pub(crate) enum Taken {
    /// What to write, in this order; at least one.
    Frames(Frames),
    /// Nothing now.
    Wait(WaitFor),
    /// Nothing will follow: the stream has seen the terminal event.
    End,
    /// Nothing will follow: the job doesn't exist, or no longer.
    Gone,
}

/// A frame for a stream, and where the stream stands then.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    /// The whole frame, whose id is `after`; or nothing, where the stream only comes to stand elsewhere.
    pub(crate) bytes: Bytes,
    /// The cursor after it.
    pub(crate) after: Cursor,
}

/// What wakes a waiting stream.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum WaitFor {
    /// [`super::core::Wake::head`].
    Head,
    /// [`super::core::Wake::behind`]. The shell looks at [`LogCore::wanted`] now.
    Read,
}

impl LogCore {
    /// A stream begins at `position`.
    pub(crate) fn open(&mut self, position: Position) -> Seat {
        if self.unsettled && self.standing.is_empty() {
            self.forget();
        }
        let at_end = self.ended && self.head().is_some_and(|head| position.is(head));
        if self.gone || at_end {
            // It may be there by now, or go on: who has seen an end that Redis still has opens no stream.
            self.gone = false;
            self.ended = false;
            self.unsettled = true;
        }
        if !self.standing.is_empty() {
            self.warm = WARM;
        }
        self.standing.add(position);
        Seat { position, since: self.reads, ended: false }
    }

    /// What was held when nobody stood there, and nothing was read, may be of a history that Redis has lost. The first read of
    /// whoever comes says what the log is, as that of a log of which nothing is known.
    fn forget(&mut self) {
        self.ring = None;
        self.pages.clear();
        (self.ended, self.gone) = (false, false);
        self.count();
    }

    /// A stream is over.
    pub(crate) fn close(&mut self, seat: Seat) {
        self.leave(seat.position);
    }

    /// What the stream in `seat` may write now: frames up to `budget` bytes, at least one if there is one and no more than need no
    /// memory of their own.
    ///
    /// All that it waits for wakes it again; frames don't, so after frames it asks again when it has written them.
    pub(crate) fn take(&mut self, seat: &mut Seat, budget: usize) -> Taken {
        if seat.ended {
            return Taken::End;
        }
        let (mut frames, mut size, mut at, mut since) = (Frames::new(), 0, seat.position, seat.since);
        while frames.len() < FRAMES
            && let Some((bytes, after, terminal)) = self.next(at, since)
        {
            size += bytes.len();
            if size > budget && !frames.is_empty() {
                break;
            }
            frames.push(Told { bytes: bytes.clone(), after });
            (at, since) = (after.into(), self.reads);
            if terminal {
                seat.ended = true;
                break;
            }
        }
        if !frames.is_empty() {
            seat.since = since;
            self.moved(seat, at);
            return Taken::Frames(frames);
        }
        if self.gone {
            return Taken::Gone;
        }
        match self.head() {
            Some(head) if at.is(head) => {
                // From now on a bare seq means this event.
                self.moved(seat, head.into());
                seat.ended = self.ended;
                if self.ended { Taken::End } else { Taken::Wait(WaitFor::Head) }
            }
            _ => {
                self.want(Want { position: at, since: seat.since });
                Taken::Wait(WaitFor::Read)
            }
        }
    }

    /// What a stream at `position` takes next: bytes, its place then, and whether nothing follows.
    pub(super) fn next(&self, position: Position, since: u64) -> Option<(&Bytes, Cursor, bool)> {
        if let Some(ring) = &self.ring {
            if let Some(frame) = ring.next(position) {
                return Some((&frame.bytes, frame.after, frame.terminal));
            }
            if position.is(ring.end()) {
                return None;
            }
        }
        self.pages.iter().rev().find_map(|page| page.next(position, since))
    }

    /// Whether the ring says what comes after `position`, be it only that nothing has come yet.
    pub(super) fn on_ring(&self, position: Position) -> bool {
        self.ring.as_ref().is_some_and(|ring| ring.next(position).is_some() || position.is(ring.end()))
    }

    fn want(&mut self, want: Want) {
        let in_flight = self.reading.iter_mut().filter_map(|reading| reading.want.as_mut());
        match in_flight.chain(&mut self.wants).find(|other| other.position == want.position) {
            Some(other) => other.since = other.since.max(want.since),
            None => self.wants.push_back(want),
        }
    }

    fn moved(&mut self, seat: &mut Seat, to: Position) {
        let from = std::mem::replace(&mut seat.position, to);
        if from != to {
            self.standing.add(to);
            self.leave(from);
        }
    }

    /// One less stands at `position`: drops what nobody needs any more.
    fn leave(&mut self, position: Position) {
        if self.standing.remove(position) {
            self.wants.retain(|want| want.position != position);
            self.tidy_ring();
            self.tidy_pages(|page| page.serves(position));
            self.count();
        }
    }

    /// Drops the frames that every stream has passed, unless others may come for them now, and the oldest beyond the limit.
    pub(super) fn tidy_ring(&mut self) {
        if let Some(ring) = &mut self.ring {
            if self.warm == 0 {
                ring.pop_to(self.standing.lowest().unwrap_or(u64::MAX));
            }
            while ring.bytes() > self.limits.ring_bytes && ring.len() > 1 {
                ring.pop();
            }
        }
    }

    /// Drops those of the `suspected` pages from which no stream will take anything.
    pub(super) fn tidy_pages(&mut self, suspected: impl Fn(&Page) -> bool) {
        let mut i = 0;
        while let Some(page) = self.pages.get(i) {
            if suspected(page) && !self.needs(i) {
                self.pages.remove(i);
            } else {
                i += 1;
            }
        }
    }

    /// Whether some stream takes its next frame from that page.
    fn needs(&self, index: usize) -> bool {
        let (page, newer) = (&self.pages[index], &self.pages[index + 1..]);
        self.standing.between(page.range()).any(|position| {
            page.serves(position)
                && !self.on_ring(position)
                && !newer.iter().any(|page| page.serves(position))
        })
    }
}
