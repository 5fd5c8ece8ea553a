//! What an event takes of memory at each of its log's streams: nothing. From what is heard of Redis to the bytes that a socket is
//! given, woken as a gateway's streams are, by a runtime; only the socket is none.

use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use crate::carrier::framing::Framing;
use crate::rig::{Event, Rig, Take};

/// A client that takes everything and says nothing. Clones count together how many events they were given, by their last lines.
#[derive(Clone, Default)]
struct Client(Arc<AtomicUsize>);

impl Client {
    fn events(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Take for Client {
    fn take(&mut self, _: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<usize> {
        for piece in pieces {
            let text = std::str::from_utf8(piece).unwrap_or_default();
            self.0.fetch_add(text.matches("id: ").count(), Ordering::Relaxed);
        }
        Poll::Ready(pieces.iter().map(|piece| piece.len()).sum())
    }
}

/// How many allocations it takes until `events` are written to all streams.
fn allocations_of(rig: &Rig, clients: &Client, events: &[Event]) -> u64 {
    let wanted = clients.events() + rig.streams() * events.len();
    let taken = allocation_counter::measure(|| rig.hear(events, || clients.events() == wanted));
    taken.count_total
}

/// How many allocations events take that come so many together, of that size, where such came before. The rig has such clients.
fn allocations_where(
    rig: impl FnOnce(Vec<Client>) -> Rig,
    streams: usize,
    together: usize,
    size: usize,
    before: usize,
) -> u64 {
    let clients = Client::default();
    let rig = rig(vec![clients.clone(); streams]);
    for _ in 0..before {
        allocations_of(&rig, &clients, &rig.events(vec![size; together]));
    }
    allocations_of(&rig, &clients, &rig.events(vec![size; together]))
}

fn allocations(framing: Framing, streams: usize, together: usize, size: usize) -> u64 {
    allocations_where(|clients| Rig::new(framing, clients), streams, together, size, 3)
}

#[test]
fn an_event_takes_no_more_allocations_for_a_thousand_streams_than_for_one() {
    // Small ones, as most are; such that are too large to be copied; several that leave in one write; more than that.
    for (together, size) in [(1, 200), (1, 10_000), (1, 60_000), (10, 200), (10, 1000), (200, 200)] {
        for framing in [Framing::Chunked, Framing::UntilClose] {
            let [one, ten, thousand] =
                [1, 10, 1000].map(|streams| allocations(framing, streams, together, size));
            assert!(one > 0, "they are counted");
            assert_eq!((one, one), (ten, thousand), "{framing:?}, {together} events of {size} bytes");
        }
    }
}

#[test]
fn nor_does_it_where_each_stream_is_of_several_logs() {
    for logs in [2, 20, 200] {
        for (together, size) in [(1, 200), (1, 10_000), (10, 200), (50, 200)] {
            // Each log had events before, and each stream ids.
            let before = 3 + 2 * usize::from(logs) / together;
            let rig = |clients| Rig::of_several(clients, logs);
            let [one, ten] = [1, 10].map(|streams| allocations_where(rig, streams, together, size, before));
            assert_eq!(one, ten, "{logs} logs, {together} events of {size} bytes");
        }
    }
}
