//! An event's cost with few streams and with as many as one process may hold.

use rustix::process::{Resource, getrlimit};

use super::Size;
use super::flow::{fanout, gateway_of};
use crate::figure::Record;

/// What a process needs of its open files beside streams.
const OTHER_FILES: u64 = 1000;

/// How many streams a process can hold, of the most that are tried.
pub(super) fn most_streams() -> usize {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(files.saturating_sub(OTHER_FILES)).unwrap_or(usize::MAX).clamp(1000, 19_000)
}

/// A tenth of the usual number, and the most.
pub(super) async fn measure(size: Size, record: &mut Record) -> anyhow::Result<()> {
    let most = if size.streams < 1000 { size.streams } else { most_streams() };
    let few = Size { streams: size.streams / 10, ..size };
    let many = Size { streams: most, ..size };
    let of_few = gateway_of(&fanout(few.streams), few).await?.cpu;
    let of_many = gateway_of(&fanout(many.streams), many).await?.cpu;
    record.add("stream_cpu_per_event_few", of_few);
    record.add("stream_cpu_per_event_many", of_many);
    record.add("many_to_few", of_many / of_few);
    Ok(())
}
