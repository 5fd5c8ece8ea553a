//! What an event costs a gateway beside its socket: parsing, rendering, the hub's core, and where a stream begins.
#![expect(clippy::unwrap_used, reason = "a benchmark stops at what doesn't work")]

use bytes::Bytes;
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use gateway::bench::{Log, frame};
use model::several::{ListHash, Seen, decode, encode};
use model::{Cursor, Mark};

#[cfg(not(feature = "instructions"))]
#[global_allocator]
static ALLOCATIONS: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    divan::main();
}

/// `scripts/count-instructions` counts what runs in here, which it knows by this name.
#[inline(never)]
fn counted<T>(part: impl FnOnce() -> T) -> T {
    part()
}

/// More than any of them keeps.
const RING: usize = 64 << 20;

fn mark(seq: u64) -> Mark {
    let [low, middle, high, ..] = seq.to_le_bytes();
    Mark::from_bytes([high, middle, low])
}

/// Event `seq` as it is published.
fn entry(seq: u64) -> Bytes {
    format!(
        "{seq} {} {} progress {{\"jobId\":\"019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6000\",\"seq\":{seq},\"type\":\"progress\",\
         \"at\":\"2026-11-23T10:00:00.123Z\",\"attempt\":1,\"progress\":42.5,\"message\":\"encoding\"}}",
        mark(seq),
        mark(seq - 1)
    )
    .into()
}

/// SSE: from what is published to the bytes that all streams share.
#[divan::bench]
fn frame_of_an_entry(bencher: Bencher) {
    let entry = entry(1_000_000);
    let size = BytesCount::new(entry.len());
    bencher.counter(size).bench_local(|| counted(|| frame(black_box(&entry))));
}

/// From what is published to what the streams of its log write, each by itself.
#[divan::bench(args = [1, 10, 1000])]
fn append_to_frames(bencher: Bencher, streams: usize) {
    let mut log = Log::new(streams, RING);
    let mut seq = 0;
    bencher
        .counter(ItemsCount::new(streams))
        .with_inputs(|| {
            seq += 1;
            entry(seq)
        })
        .bench_local_refs(|entry| {
            counted(|| {
                assert!(log.hear(entry), "it is the next one");
                assert!(log.deliver() > 0, "everybody gets it");
            });
        });
}

/// A stream that comes with a cursor so far behind the newest event, which the ring still has.
#[divan::bench(args = [1, 100, 10_000])]
fn cursor_seek(bencher: Bencher, behind: u64) {
    const NEWEST: u64 = 100_000;
    let mut log = Log::new(1, RING);
    for seq in 1..=NEWEST {
        assert!(log.hear(&entry(seq)), "it is the next one");
    }
    let seq = NEWEST - behind;
    let cursor = Cursor::new(seq, mark(seq));
    assert!(log.seek(cursor) > 0, "something follows");
    bencher.counter(ItemsCount::new(behind)).bench_local(|| counted(|| log.seek(black_box(cursor))));
}

fn seen(logs: u64) -> Vec<Seen> {
    (0..logs).map(|log| Seen::UpTo(Cursor::new(100 + log, mark(log)))).collect()
}

/// The id of a frame on a stream of so many logs: each frame has one.
#[divan::bench(args = [2, 20, 200])]
fn id_of_several_logs(bencher: Bencher, logs: u64) {
    let (list, seen) = (ListHash::of_feed(seen(logs).len()), seen(logs));
    bencher.bench_local(|| counted(|| encode(list, black_box(&seen).iter().copied())));
}

/// The same, read from a client that comes back.
#[divan::bench(args = [2, 20, 200])]
fn id_of_several_logs_read(bencher: Bencher, logs: u64) {
    let (list, seen) = (ListHash::of_feed(seen(logs).len()), seen(logs));
    let id = encode(list, seen);
    bencher.bench_local(|| counted(|| decode(black_box(&id), |_| Some(list)).unwrap()));
}
