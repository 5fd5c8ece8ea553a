//! queue: how long the line is, for metrics and for people.

use std::sync::LazyLock;

use model::{Partition, TaskName, Timestamp};

use super::reply::Reply;
use super::{CLOCK, QUEUE};
use crate::connect::Request;
use crate::keys::keys_of;
use crate::script::Script;
use crate::{Store, StoreError};

static READ_QUEUE: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("queue.lua"), &[CLOCK, QUEUE]));

/// The most owners whose jobs are counted: a metric must not hold Redis up.
const MOST_OWNERS: u32 = 1000;

/// One task's queue, in one partition or in all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct QueueState {
    /// Jobs that could start now (of the first thousand owners of each partition).
    pub ready: u64,
    /// When the oldest of them was submitted.
    pub oldest: Option<Timestamp>,
    /// Attempts that run.
    pub running: u64,
    /// Nothing of it starts; of all partitions together, in one of them at least.
    pub paused: bool,
}

impl QueueState {
    /// This one and `other` together.
    fn and(self, other: Self) -> Self {
        Self {
            ready: self.ready + other.ready,
            oldest: [self.oldest, other.oldest].into_iter().flatten().min(),
            running: self.running + other.running,
            paused: self.paused || other.paused,
        }
    }
}

impl Store {
    /// The queue of `task` in all partitions together.
    pub async fn whole_queue(&self, task: &TaskName) -> Result<QueueState, StoreError> {
        let mut whole = QueueState::default();
        for partition in self.partitions().await? {
            whole = whole.and(self.queue(partition, task).await?);
        }
        Ok(whole)
    }

    /// The queue of `task` in `partition`.
    pub async fn queue(&self, partition: Partition, task: &TaskName) -> Result<QueueState, StoreError> {
        let keys = keys_of(self.prefix(), partition)?;
        let call = READ_QUEUE.call(keys.still()).arg(task).arg(MOST_OWNERS);
        let mut reply = Reply::new(self.router().call(keys.slot, &Request::Script(&call)).await?)?;
        let ready = reply.parse()?;
        let oldest = reply.time()?;
        let oldest = (oldest.as_millis() > 0).then_some(oldest);
        Ok(QueueState { ready, oldest, running: reply.parse()?, paused: reply.text()? == "1" })
    }
}
