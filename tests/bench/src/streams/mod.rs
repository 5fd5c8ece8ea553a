//! Streams: what an idle one takes of a gateway's memory, and an event of its processor time, beside a bare epoll loop, and
//! beside others that do the same.

pub mod crowd;
mod fleet;
pub mod floor;
mod flow;
mod growth;
mod http2;
mod latency;
mod memory;
mod peer;
mod process;
pub mod profile;
mod proxy;
mod replay;
mod scene;
mod schedule;
mod storm;
mod throughput;
mod wire;

use std::time::Duration;

use rustix::process::{Resource, getrlimit};

pub use self::peer::Peer;
use crate::cores::OffTheServersCore;
use crate::figure::Record;

/// How large the parts are.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// How many streams there are in each.
    pub streams: usize,
    /// How many logs there are where there are few streams a log.
    pub logs: usize,
    /// How long events come.
    pub time: Duration,
    /// Give the server a core of its own.
    pub pin: bool,
}

/// What a process needs of its open files beside streams.
const OTHER_FILES: u64 = 1000;

impl Size {
    /// How many streams a process can hold, 19,000 at most; few in a short run.
    fn most(&self) -> usize {
        if self.streams < 1000 {
            return self.streams;
        }
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        usize::try_from(files.saturating_sub(OTHER_FILES)).unwrap_or(usize::MAX).clamp(1000, 19_000)
    }
}

/// A part of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    Memory,
    Events,
    /// After the events.
    Latency,
    Storm,
    Growth,
    Proxy,
    Throughput,
    Fleet,
}

impl Part {
    /// All, in their order.
    pub const ALL: [Self; 8] = [
        Self::Memory,
        Self::Events,
        Self::Latency,
        Self::Storm,
        Self::Growth,
        Self::Proxy,
        Self::Throughput,
        Self::Fleet,
    ];
    /// What these others can do too.
    pub const OF_PEERS: [Self; 3] = [Self::Memory, Self::Events, Self::Latency];
}

/// Measures these parts once, beside these others.
pub async fn measure(size: Size, parts: &[Part], peers: &[Peer], record: &mut Record) -> anyhow::Result<()> {
    let _core = size.pin.then(OffTheServersCore::begin).transpose()?;
    for part in parts {
        match part {
            Part::Memory => {
                memory::measure(size, record).await?;
                memory::of_peers(size, peers, record).await;
            }
            Part::Events => {
                flow::measure(size, peers, record).await?;
                flow::in_bursts(size, record).await?;
            }
            Part::Latency => {
                latency::measure(size, record).await?;
                latency::of_peers(size, peers, record).await?;
            }
            Part::Storm => storm::measure(size, record).await?,
            Part::Growth => growth::measure(size, record).await?,
            Part::Proxy => proxy::measure(size, record).await?,
            Part::Throughput => throughput::measure(size, record).await?,
            Part::Fleet => fleet::measure(size, record).await?,
        }
    }
    Ok(())
}
