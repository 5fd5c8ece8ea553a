//! queue: how long the line is, for metrics and for people.

use std::sync::LazyLock;

use model::{Partition, TaskName, Timestamp};

use super::reply::Reply;
use super::{CLOCK, JOB, QUEUE};
use crate::connect::Request;
use crate::keys::keys_of;
use crate::script::Script;
use crate::{Store, StoreError};

static READ_QUEUE: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("queue.lua"), &[CLOCK, JOB, QUEUE]));

/// The most owners whose jobs are counted: a metric must not hold Redis up.
const MOST_OWNERS: u32 = 1000;

/// One task's queue in one partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QueueState {
    /// Jobs that could start now (of the first thousand owners).
    pub ready: u64,
    /// When the oldest of them was submitted.
    pub oldest: Option<Timestamp>,
    /// Attempts that run.
    pub running: u64,
    /// Nothing of it starts.
    pub paused: bool,
}

impl Store {
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
