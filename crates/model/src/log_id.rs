//! Which log: every log has a list in Redis, a live channel, and cursors.

use crate::{JobId, Owner, Partition};

/// The name of a log.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum LogId {
    /// The events of a job; its seq starts at 1.
    Job(JobId),
    /// The life-cycle events of all of an owner's jobs in one partition; its seq starts at the time in milliseconds.
    Feed(Partition, Owner),
}

impl LogId {
    /// The partition that it lives in.
    pub fn partition(&self) -> Partition {
        match self {
            Self::Job(job) => job.partition(),
            Self::Feed(partition, _) => *partition,
        }
    }
}

impl From<JobId> for LogId {
    fn from(job: JobId) -> Self {
        Self::Job(job)
    }
}

impl std::fmt::Display for LogId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Job(job) => job.fmt(f),
            Self::Feed(partition, owner) => write!(f, "feed of {owner} in partition {partition}"),
        }
    }
}
