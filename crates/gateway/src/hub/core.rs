//! The core of the hub: one log, as one gateway node follows it.
//!
//! **Invariant:** what the core holds, its ring and its pages, is one history: at no seq does it hold two marks. A live entry
//! that contradicts it, or a page that contradicts the ring, is not taken: it is a reason to read the log at its end. Such a
//! read settles what is held.
//!
//! Here is what it hears and what it wants read; [`super::answer`] has what it makes of a read, [`super::streams`] what
//! streams get of it.

use std::collections::VecDeque;

use bytes::Bytes;
use model::replay::{self, Arrival};
use model::{Cursor, Entry, EntryBody, EntryHead, Mark, Position};

use super::chain::Chain;
use super::frame::Frame;
use super::held::Share;
use super::page::Page;
use super::read::{Heard, ReadAt, Reading, Want};
use super::seat::Standing;
pub(crate) use super::streams::{Frames, Taken, WaitFor};

/// What may grow, and how far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The most that the ring keeps, in bytes; it keeps one frame however large.
    pub(crate) ring_bytes: usize,
    /// Whether a terminal event is one like any other, since the log is of many jobs.
    pub(crate) endless: bool,
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

/// One followed log.
#[derive(Debug)]
pub(crate) struct LogCore {
    pub(super) limits: Limits,
    /// Of what all logs hold, this one's [`bytes`](Self::bytes): after each call of the core the two are the same.
    share: Share,
    /// With [`store::Plant::DedupeOff`]: a repeat, to be told before what follows.
    pub(super) echo: Option<Box<Bytes>>,
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
    /// In a box, as it is seldom there, and a node may have tens of thousands of logs.
    pub(super) reading: Option<Box<Reading>>,
    /// The log must be read at its end before anything is believed that doesn't follow.
    pub(super) unsettled: bool,
    /// How many reads have started.
    pub(super) reads: u64,
    /// How many more times [`cool`](Self::cool) is called before the ring drops what every stream has passed: streams come one after
    /// the other now, and who comes next finds there what it would have to read.
    pub(super) warm: u8,
}

/// How often [`LogCore::cool`] is called until a log to which several streams came is as any other.
pub(super) const WARM: u8 = 2;

impl LogCore {
    /// A job's log of which nothing is known. What it holds is counted in `share`.
    pub(crate) const fn of_job(limits: Limits, share: Share) -> Self {
        Self {
            limits,
            share,
            echo: None,
            ring: None,
            ended: false,
            gone: false,
            pages: Vec::new(),
            standing: Standing::new(),
            wants: VecDeque::new(),
            reading: None,
            unsettled: false,
            reads: 0,
            warm: 0,
        }
    }

    /// A feed of which nothing is known.
    pub(crate) const fn of_feed(limits: Limits, share: Share) -> Self {
        let mut core = Self::of_job(limits, share);
        core.limits.endless = true;
        core
    }

    /// The newest event known; `None` until a read has said it.
    pub(crate) fn head(&self) -> Option<Cursor> {
        self.ring.as_ref().map(Chain::end)
    }

    /// Whether the log is known, is there, hasn't ended, and nothing puts that in doubt.
    pub(crate) fn goes_on(&self) -> bool {
        self.ring.is_some() && !self.ended && !self.gone && !self.is_in_doubt()
    }

    /// Whether a read at the log's end is needed, or under way, before what is known of it is believed.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.unsettled || self.reading.as_ref().is_some_and(|reading| reading.settles)
    }

    /// What the frames held take in memory. Bytes that two of them share count twice.
    pub(crate) fn bytes(&self) -> usize {
        self.ring.as_ref().map_or(0, Chain::bytes) + self.pages.iter().map(Page::bytes).sum::<usize>()
    }

    /// Takes an entry from the live channel.
    pub(crate) fn live(&mut self, entry: &Entry) -> Wake {
        if let Some(reading) = &mut self.reading {
            reading.disturbed = true;
        }
        // It seems to be there again; the read tells.
        let was_gone = std::mem::take(&mut self.gone);
        let Some(head) = self.head().filter(|_| !was_gone) else { return self.rumour(&entry.head) };
        let known = self.mark_at(entry.head.seq);
        match (replay::judge(head, &entry.head, known), &entry.body) {
            (Arrival::Repeat, body) => {
                self.repeated(entry.head, body.as_ref());
                Wake::default()
            }
            // A page that was read beyond the head may know better.
            (Arrival::Next, Some(body)) if known.is_none_or(|mark| mark == entry.head.mark) => {
                let frame = self.frame_of(entry.head, body);
                let frame = self.after_echo(frame);
                self.push(frame);
                self.tidy_ring();
                self.count();
                self.wake(true, self.is_waited_for())
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
    ///
    /// Never while the log's end is in doubt: what is missing may have been heard of, and be on its way by a read. No loss
    /// stays hidden so. The read brings all that was lost before it ran, and where it fails it is made again. What is lost
    /// later is brought by the next read, or, when no doubt is left, found by the next reconcile.
    pub(crate) fn differs(&self, asked_at: Option<Cursor>, tip: Cursor) -> bool {
        match self.head() {
            // Whatever isn't known yet is read anyway.
            None => false,
            Some(_) if self.is_in_doubt() => false,
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
        if self.settling_is_wanted()
            && let Some(head) = head
        {
            return Some(self.start(head.into(), None));
        }
        while let Some(want) = self.wants.pop_front() {
            // Who was served meanwhile has been woken.
            let served = self.on_ring(want.position) || self.next(want.position, want.since).is_some();
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
        let reading = Reading { number: self.reads, position, head, settles, want, heard, disturbed: false };
        self.reading = Some(Box::new(reading));
        ReadAt { position, number: self.reads }
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
        self.count();
        freed
    }

    /// Whether it keeps frames for streams that may come: then [`cool`](Self::cool) is to be called.
    pub(crate) const fn is_warm(&self) -> bool {
        self.warm > 0
    }

    /// Time has passed: to be called every second or so.
    pub(crate) fn cool(&mut self) {
        self.warm = self.warm.saturating_sub(1);
        self.tidy_ring();
        self.count();
    }

    /// What is held may have changed.
    pub(super) fn count(&mut self) {
        self.share.set(self.bytes());
    }

    /// The frame of an entry, rendered unless it is already.
    pub(super) fn frame_of(&self, head: EntryHead, body: &EntryBody) -> Frame {
        let held = self.chains().find_map(|chain| chain.ending_at(head.cursor()));
        held.cloned().unwrap_or_else(|| {
            let frame = Frame::render(head, body);
            Frame { terminal: frame.terminal && !self.limits.endless, ..frame }
        })
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

    /// Whether to read at the log's end. While nobody stands there it is for nobody: it would take a permit, and while Redis is
    /// away be made again without end. The doubt stays, and who [opens](Self::open) next is told nothing that was held in it.
    fn settling_is_wanted(&self) -> bool {
        self.unsettled && self.ring.is_some() && !self.standing.is_empty()
    }

    /// Whether streams wait for a read.
    fn is_waited_for(&self) -> bool {
        !self.wants.is_empty() || self.reading.as_ref().is_some_and(|reading| reading.want.is_some())
    }

    pub(super) fn wake(&self, head: bool, behind: bool) -> Wake {
        let read = self.settling_is_wanted() || !self.wants.is_empty();
        Wake { head, behind, read: read && self.reading.is_none() }
    }
}
