//! What a publication costs the reader of a live connection: from RESP3 to who listens.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use store::LiveSink;
use store::live::bench::Subscriber;

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

#[derive(Default)]
struct Counted(AtomicUsize);

impl LiveSink for Counted {
    fn subscribed(&self) {}
    fn entry(&self, entry: Bytes) {
        self.0.fetch_add(entry.len(), Ordering::Relaxed);
    }
    fn lost(&self) {}
}

/// How many publications come in one read.
const TOGETHER: usize = 50;

fn channel(n: usize) -> String {
    format!("jc:{{0.325}}:live:019ab3c4-5d6e-7f80-9a1b-{n:012x}")
}

fn publication(n: usize) -> String {
    let (channel, entry) = (channel(n), format!("17 4f2a9c 00ff00 progress {}", "x".repeat(140)));
    format!(">3\r\n$8\r\nsmessage\r\n${}\r\n{channel}\r\n${}\r\n{entry}\r\n", channel.len(), entry.len())
}

/// Of so many channels, one after the other.
#[divan::bench(args = [1, 1000, 20_000])]
fn subscription_reader(bencher: Bencher, channels: usize) {
    let sink: Arc<dyn LiveSink> = Arc::<Counted>::default();
    let mut subscriber = Subscriber::new((0..channels).map(|n| channel(n).into()), &sink);
    let mut next = 0;
    bencher
        .counter(ItemsCount::new(TOGETHER))
        .with_inputs(|| {
            next += TOGETHER;
            (next - TOGETHER..next).map(|n| publication(n * 7919 % channels)).collect::<String>()
        })
        .bench_local_refs(|bytes| {
            let heard = counted(|| subscriber.hear(black_box(bytes.as_bytes())));
            assert_eq!(heard, TOGETHER, "all of them are whole");
        });
}
