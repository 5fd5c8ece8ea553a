//! claim: the next ready job, and the start of an attempt.

use std::sync::LazyLock;
use std::time::Duration;

use model::{JobId, Json, Owner, Partition, RunLimits, Status, TaskName, Timestamp, Token};

use super::reply::{Reply, unreadable};
use super::{ALL, Lease, millis, random_word};
use crate::connect::Request;
use crate::keys::keys_of;
use crate::script::Script;
use crate::{Store, StoreError};

static CLAIM: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("claim.lua"), ALL));

/// A task that a worker takes jobs of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claimable {
    /// Its name.
    pub task: TaskName,
    /// How many of it may run.
    pub limits: RunLimits,
}

impl From<TaskName> for Claimable {
    /// Without limits.
    fn from(task: TaskName) -> Self {
        Self { task, limits: RunLimits::default() }
    }
}

/// A job that was claimed.
#[derive(Clone, PartialEq, Debug)]
pub struct Claimed {
    /// The right to the attempt.
    pub lease: Lease,
    /// The kind of work.
    pub task: TaskName,
    /// Whose job it is.
    pub owner: Owner,
    /// What it is about.
    pub payload: Json,
    /// The number of this attempt, from 1.
    pub attempt: u32,
    /// How many attempts there may be.
    pub max_attempts: u32,
    /// Until when the lease lasts unless renewed, by Redis' clock.
    pub expires_at: Timestamp,
    /// How long the attempt may run from now: its run limit, or what is left of the job's deadline.
    pub time_left: Duration,
}

impl Claimed {
    /// The claimed job.
    pub fn job(&self) -> JobId {
        self.lease.job
    }
}

impl Store {
    /// Claims the next ready job in `partition` of one of `tasks`, the preferred first, with the caller's `token`, for
    /// `duration`. `None` if nothing is ready, or as many run as may. A repeat with the same token answers with the same job.
    pub async fn claim(
        &self,
        partition: Partition,
        tasks: &[Claimable],
        token: Token,
        duration: Duration,
    ) -> Result<Option<Claimed>, StoreError> {
        let keys = keys_of(self.prefix(), partition)?;
        let mut call =
            CLAIM.call(keys.still()).arg(self.now_word()).arg(random_word()).arg(token).arg(millis(duration));
        let partitions = self.open_partition_count().await?;
        let word = |limit: Option<u32>| limit.map(|limit| limit.to_string()).unwrap_or_default();
        for Claimable { task, limits } in tasks {
            let share = limits.share(partition, partitions);
            call = call.arg(task).arg(word(share.fleet)).arg(word(share.per_owner));
        }
        let mut reply = Reply::new(self.router().call(keys.slot, &Request::Script(&call)).await?)?;
        let mut late = reply.array()?;
        while !late.is_empty() {
            self.count_end(Status::Failed, Some(late.parse()?));
        }
        if reply.is_empty() {
            return Ok(None);
        }
        let job = reply.parse()?;
        let (task, owner) = (reply.parse()?, reply.parse()?);
        let payload = reply.text()?;
        Ok(Some(Claimed {
            lease: Lease { job, token, duration },
            task,
            owner,
            payload: Json::parse(&payload).map_err(|error| unreadable(&error))?,
            attempt: reply.parse()?,
            max_attempts: reply.parse()?,
            expires_at: reply.time()?,
            time_left: Duration::from_millis(reply.parse()?),
        }))
    }
}
