//! What the micro-benchmarks drive (`benches/`, `make bench-micro`): the pure parts, without Redis and without a socket. Only with
//! the feature `bench`, which nothing that is shipped has.

use bytes::Bytes;
use model::replay::LogPage;
use model::{Cursor, Entry, Position};

use crate::hub::bench::{Frame, Held, Limits, LogCore, ReadOutcome, ReadPage, Seat, Taken};

/// What a stream takes at once, in bytes: as in the hub.
const BUDGET: usize = 64 * 1024;

/// A log as a gateway follows it, and streams that stand at its end.
pub struct Log {
    core: LogCore,
    seats: Vec<Seat>,
}

impl Log {
    /// One without an event, with that many streams. Its ring keeps up to `ring_bytes`.
    #[must_use]
    pub fn new(streams: usize, ring_bytes: usize) -> Self {
        let limits = Limits { ring_bytes, endless: false };
        let mut log = Self { core: LogCore::of_job(limits, Held::default().share()), seats: Vec::new() };
        log.seats.extend((0..streams.max(1)).map(|_| log.core.open(Cursor::START.into())));
        // The first stream asks for a read, which finds nothing.
        log.deliver();
        if let Some(read) = log.core.wanted() {
            let page = LogPage { first: None, last: Cursor::START, anchor: None, entries: Vec::new() };
            if let Ok(page) = ReadPage::follows(read.position, page, false) {
                let _ = log.core.answer(read, ReadOutcome::Page(page));
            }
        }
        log.deliver();
        log
    }

    /// Takes a live entry as it was published; whether it wakes the streams.
    pub fn hear(&mut self, entry: &Bytes) -> bool {
        Entry::parse(entry).is_ok_and(|entry| self.core.live(&entry).head)
    }

    /// Gives every stream what there is, until it waits; how many bytes that were.
    pub fn deliver(&mut self) -> usize {
        let Self { core, seats } = self;
        seats.iter_mut().map(|seat| take_all(core, seat)).sum()
    }

    /// Gives all that follows `cursor` to a stream that comes with it and goes again; how many bytes that were.
    pub fn seek(&mut self, cursor: Cursor) -> usize {
        let mut seat = self.core.open(Position::from(cursor));
        let bytes = take_all(&mut self.core, &mut seat);
        self.core.close(seat);
        bytes
    }
}

fn take_all(core: &mut LogCore, seat: &mut Seat) -> usize {
    let mut bytes = 0;
    while let Taken::Frames(frames) = core.take(seat, BUDGET) {
        bytes += frames.iter().map(|told| told.bytes.len()).sum::<usize>();
    }
    bytes
}

/// The frame of a live entry, which every stream is sent; empty if it isn't one.
#[must_use]
pub fn frame(entry: &Bytes) -> Bytes {
    let Ok(Entry { head, body: Some(body) }) = Entry::parse(entry) else { return Bytes::new() };
    Frame::render(head, &body).bytes
}
