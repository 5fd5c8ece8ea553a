//! One thing that is done to the world.

use std::fmt;

use crate::record::Target;

/// A deed with its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// When it begins, in ms since the run's start.
    pub at_ms: u64,
    /// For how long; what is killed is started again after that.
    pub lasts_ms: u64,
    /// What.
    pub deed: Deed,
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// SIGKILL to a gateway or worker.
    Kill(Target),
    /// SIGTERM to it.
    Stop(Target),
    /// SIGSTOP to it.
    Pause(Target),
    /// Its way to Redis is closed, and closed to new connections.
    Refuse(Target),
    /// Nothing passes on its way to Redis, and nobody is told.
    Blackhole(Target),
    /// In place of every so many replies its connection is closed.
    CloseReplies(Target, u64),
    /// Live messages of so many of a hundred channels are swallowed; the salt says which.
    DropMessages(Target, u64, u64),
    /// SIGKILL to the primary that has the partition; its replicas have not heard of what it took in the last so many ms.
    RedisKill(u16, u64),
    /// SIGSTOP to the primary that has the partition.
    RedisPause(u16),
    /// The primary that has the partition is cut off from clients.
    RedisCut(u16),
    /// SIGKILL to a replica of the primary that has the partition.
    ReplicaKill(u16),
    /// SIGSTOP to a replica of the primary that has the partition.
    ReplicaPause(u16),
    /// SIGKILL to the Sentinel with this number, from 1.
    SentinelKill(u16),
    /// The slot of the partition moves to another primary, key by key, over the whole time.
    SlotMove(u16),
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |ms: u64| format!("{}.{} s", ms / 1_000, ms % 1_000 / 100);
        write!(f, "{:>8}  {} for {}", seconds(self.at_ms), self.deed, seconds(self.lasts_ms))
    }
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |target: &Target| format!("{} {}", target.role.name(), target.n);
        match self {
            Self::Kill(target) => write!(f, "kill {}", name(target)),
            Self::Stop(target) => write!(f, "stop {}", name(target)),
            Self::Pause(target) => write!(f, "pause {}", name(target)),
            Self::Refuse(target) => write!(f, "close the way to Redis of {}", name(target)),
            Self::Blackhole(target) => write!(f, "cut the way to Redis of {}", name(target)),
            Self::CloseReplies(target, every) => {
                write!(f, "close connections in place of one reply in {every} at {}", name(target))
            }
            Self::DropMessages(target, share, _) => {
                write!(f, "drop live messages of {share} % of channels at {}", name(target))
            }
            Self::RedisKill(partition, 0) => write!(f, "kill the primary of partition {partition}"),
            Self::RedisKill(partition, lag) => {
                write!(f, "kill the primary of partition {partition}, its replicas {lag} ms behind")
            }
            Self::RedisPause(partition) => write!(f, "pause the primary of partition {partition}"),
            Self::RedisCut(partition) => write!(f, "cut off the primary of partition {partition}"),
            Self::ReplicaKill(partition) => write!(f, "kill a replica of partition {partition}"),
            Self::ReplicaPause(partition) => write!(f, "pause a replica of partition {partition}"),
            Self::SentinelKill(n) => write!(f, "kill Sentinel {n}"),
            Self::SlotMove(partition) => write!(f, "move the slot of partition {partition}"),
        }
    }
}
