//! The core of the hub: one log, as one gateway node follows it.
//!
//! **Invariant:** what the core holds, its ring and its pages, is one history: at no seq does it hold two marks. What
//! contradicts it is either the answer of a read that settles the log's end, and then what contradicts that is dropped; or it is
//! a reason for such a read.
//!
//! A stream stands at a position and takes only frames that begin there, so order and once-ness need no other care. It looks
//! into the ring first, then into the pages; where neither has its next frame, it waits at the log's end for live events, or
//! behind it for a read of the log at its position.

use std::collections::VecDeque;

use bytes::Bytes;
use model::replay::{self, Arrival};
use model::{Cursor, Entry, EntryHead, Mark, Position};

use super::chain::Chain;
use super::frame::Frame;
use super::page::Page;
use super::read::{Heard, ReadAt, Reading, Want};
use super::seat::{Seat, Standing};

/// What may grow, and how far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The most that the ring keeps, in bytes; it keeps one frame however large.
    pub(crate) ring_bytes: usize,
}

/// What the shell should do now.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[must_use = "a stream that isn't woken waits forever"]
pub(crate) struct Wake {
    /// Wake the streams that wait at the log's end, and the polls that wait for a change.
    pub(crate) head: bool,
    /// Wake the streams that wait for a read.
    pub(crate) behind: bool,
    /// Look at [`LogCore::wanted`].
    pub(crate) read: bool,
}

/// What a stream gets.
#[derive(Debug)]
pub(crate) enum Taken {
    /// Frames to write, in this order; at least one.
    Frames(Vec<Bytes>),
    /// Nothing now.
    Wait(WaitFor),
    /// Nothing will follow: the stream has seen the terminal event.
    End,
    /// Nothing will follow: the job doesn't exist, or no longer.
    Gone,
}

/// What wakes a waiting stream.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum WaitFor {
    /// [`Wake::head`].
    Head,
    /// [`Wake::behind`]. The shell looks at [`LogCore::wanted`] now.
    Read,
}

/// One followed log.
#[derive(Debug)]
pub(crate) struct LogCore {
    limits: Limits,
    /// The newest frames, up to the newest event known; `None` until a read has said where the log ends.
    pub(super) ring: Option<Chain>,
    /// The newest event known is terminal.
    pub(super) ended: bool,
    /// The last read found no job.
    pub(super) gone: bool,
    /// Oldest first; a stream looks into the newest first.
    pub(super) pages: Vec<Page>,
    pub(super) standing: Standing,
    /// Where streams wait for a read, each place once.
    pub(super) wants: VecDeque<Want>,
    pub(super) reading: Option<Reading>,
    /// The log must be read at its end before anything is believed that doesn't follow.
    pub(super) unsettled: bool,
    reads: u64,
    pub(super) changes: u64,
}

impl LogCore {
    /// A log of which nothing is known.
    pub(crate) const fn new(limits: Limits) -> Self {
        Self {
            limits,
            ring: None,
            ended: false,
            gone: false,
            pages: Vec::new(),
            standing: Standing::new(),
            wants: VecDeque::new(),
            reading: None,
            unsettled: false,
            reads: 0,
            changes: 0,
        }
    }

    /// The newest event known; `None` until a read has said it.
    pub(crate) fn head(&self) -> Option<Cursor> {
        self.ring.as_ref().map(Chain::end)
    }

    /// Whether the newest event known is terminal.
    pub(crate) const fn ended(&self) -> bool {
        self.ended
    }

    /// Whether the job doesn't exist, or no longer, as far as is known.
    pub(crate) const fn gone(&self) -> bool {
        self.gone
    }

    /// A number that grows whenever the newest event known, or whether there is one, changes.
    pub(crate) const fn changes(&self) -> u64 {
        self.changes
    }

    /// What the frames held take in memory. Bytes that two of them share count twice.
    pub(crate) fn bytes(&self) -> usize {
        self.ring.as_ref().map_or(0, Chain::bytes) + self.pages.iter().map(Page::bytes).sum::<usize>()
    }

    /// Takes an entry from the live channel.
    pub(crate) fn live(&mut self, entry: &Entry) -> Wake {
        let Some(head) = self.head().filter(|_| !self.gone) else { return self.rumour(&entry.head) };
        let known = self.mark_at(entry.head.seq);
        match (replay::judge(head, &entry.head, known), &entry.body) {
            (Arrival::Repeat, _) => Wake::default(),
            // A page that was read beyond the head may know better.
            (Arrival::Next, Some(body)) if known.is_none_or(|mark| mark == entry.head.mark) => {
                let frame =
                    self.frame(entry.head.cursor()).unwrap_or_else(|| Frame::render(entry.head, body));
                self.push(frame);
                self.tidy_ring();
                self.wake(true, !self.wants.is_empty())
            }
            _ => self.rumour(&entry.head),
        }
    }

    /// Live messages may have been lost: the subscription was (re)confirmed, or a reconcile found a difference.
    pub(crate) fn unsettle(&mut self) -> Wake {
        self.unsettled = true;
        self.wake(false, false)
    }

    /// Whether Redis' newest cursor `tip` (the start for a job that isn't there) says that live messages were lost, if
    /// `asked_at` was the [`head`](Self::head) when it was asked for. Some may only be on their way: the shell lets the
    /// live connection answer a PING, asks this again, and if it is still so counts a loss and calls
    /// [`unsettle`](Self::unsettle).
    pub(crate) fn differs(&self, asked_at: Option<Cursor>, tip: Cursor) -> bool {
        match self.head() {
            // Whatever isn't known yet is read anyway.
            None => false,
            Some(head) if Some(head) == asked_at => tip != if self.gone { Cursor::START } else { head },
            // Live went on meanwhile, so an older tip says nothing.
            Some(head) => tip.seq > head.seq,
        }
    }

    /// The next read that the core wants done, now in flight. One at a time: what it finds may serve the others.
    pub(crate) fn wanted(&mut self) -> Option<ReadAt> {
        if self.reading.is_some() {
            return None;
        }
        let head = self.head();
        if self.unsettled
            && let Some(head) = head
        {
            return Some(self.start(head.into(), None));
        }
        while let Some(want) = self.wants.pop_front() {
            // Who was served meanwhile has been woken.
            let served = self.next(want.position, want.since).is_some()
                || head.is_some_and(|head| want.position.is(head));
            if self.standing.has(want.position) && !served {
                return Some(self.start(want.position, Some(want)));
            }
        }
        None
    }

    fn start(&mut self, position: Position, want: Option<Want>) -> ReadAt {
        self.reads += 1;
        let head = self.head();
        let settles = head.is_none_or(|head| position == head.into());
        if settles {
            self.unsettled = false;
        }
        let heard = Heard::Nothing;
        self.reading = Some(Reading { number: self.reads, position, head, settles, want, heard });
        ReadAt { position, number: self.reads }
    }

    /// A stream begins at `position`.
    pub(crate) fn open(&mut self, position: Position) -> Seat {
        if self.gone {
            // It may be there by now.
            self.gone = false;
            self.unsettled = true;
        }
        self.standing.add(position);
        Seat { position, since: self.reads, ended: false }
    }

    /// A stream is over.
    pub(crate) fn close(&mut self, seat: Seat) {
        self.standing.remove(seat.position);
        self.tidy_after(seat.position);
    }

    /// What the stream in `seat` may write now: frames up to `budget` bytes, at least one if there is one.
    ///
    /// All that it waits for wakes it again; frames don't, so after frames it asks again when it has written them.
    pub(crate) fn take(&mut self, seat: &mut Seat, budget: usize) -> Taken {
        if seat.ended {
            return Taken::End;
        }
        let (mut frames, mut size, mut at, mut since) = (Vec::new(), 0, seat.position, seat.since);
        while let Some((bytes, after, terminal)) = self.next(at, since) {
            size += bytes.len();
            if size > budget && !frames.is_empty() {
                break;
            }
            frames.push(bytes.clone());
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

    /// Frees the oldest frames, and then pages, until `bytes` are freed or none are left; says how many were. Streams that
    /// needed them go on by reads.
    pub(crate) fn shed(&mut self, bytes: usize) -> usize {
        let mut freed = 0;
        while freed < bytes {
            if let Some(size) = self.ring.as_mut().and_then(Chain::pop) {
                freed += size;
            } else if self.pages.is_empty() {
                break;
            } else {
                freed += self.pages.remove(0).bytes();
            }
        }
        freed
    }

    /// What a stream at `position` takes next: bytes, its place then, and whether nothing follows.
    pub(super) fn next(&self, position: Position, since: u64) -> Option<(&Bytes, Cursor, bool)> {
        let ring = self.ring.as_ref().and_then(|ring| ring.next(position));
        ring.map(|frame| (&frame.bytes, frame.after, frame.terminal))
            .or_else(|| self.pages.iter().rev().find_map(|page| page.next(position, since)))
    }

    /// The frame that ends at `cursor`, if it is rendered already.
    pub(super) fn frame(&self, cursor: Cursor) -> Option<Frame> {
        self.chains().find_map(|chain| chain.ending_at(cursor)).cloned()
    }

    /// The mark at `seq` in the history held.
    pub(super) fn mark_at(&self, seq: u64) -> Option<Mark> {
        self.chains().find_map(|chain| chain.mark_at(seq))
    }

    fn chains(&self) -> impl Iterator<Item = &Chain> {
        self.ring.iter().chain(self.pages.iter().map(|page| &page.chain))
    }

    /// Adds a frame that follows the newest event known.
    pub(super) fn push(&mut self, frame: Frame) {
        if let Some(ring) = &mut self.ring {
            self.ended = frame.terminal;
            self.changes += 1;
            ring.push(frame);
        }
    }

    fn rumour(&mut self, entry: &EntryHead) -> Wake {
        match &mut self.reading {
            Some(reading) => {
                reading.heard.add(entry);
                self.unsettled |= !reading.settles;
            }
            None => self.unsettled = true,
        }
        self.wake(false, false)
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
            self.standing.remove(from);
            self.tidy_after(from);
        }
    }

    pub(super) fn wake(&self, head: bool, behind: bool) -> Wake {
        let read = self.unsettled && self.ring.is_some() || !self.wants.is_empty();
        Wake { head, behind, read: read && self.reading.is_none() }
    }

    /// Drops what nobody needs any more, now that one less stands at `position`.
    fn tidy_after(&mut self, position: Position) {
        if !self.standing.has(position) {
            self.tidy_ring();
            self.tidy_pages(|page| page.serves(position));
        }
    }

    /// Drops the frames that every stream has passed, and the oldest beyond the limit.
    pub(super) fn tidy_ring(&mut self) {
        if let Some(ring) = &mut self.ring {
            ring.pop_to(self.standing.lowest().unwrap_or(u64::MAX));
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
                && !self.ring.as_ref().is_some_and(|ring| ring.next(position).is_some())
                && !newer.iter().any(|page| page.serves(position))
        })
    }
}
