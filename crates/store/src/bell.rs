//! Bells: how an idle process hears that there is work.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use model::{Partition, TaskName};

use crate::connect::Request;
use crate::keys::{Keys, keys_of};
use crate::script::Script;
use crate::step::QUEUE;
use crate::{Store, StoreError};

static RING: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("step/ring.lua"), &[QUEUE]));

/// How long Redis is asked to wait at a time: an answer shows that it is there.
const ONE_WAIT: Duration = Duration::from_mins(3);

/// How much longer than its wait a bell's reply may take before the connection counts as dead.
const REPLY_GRACE: Duration = Duration::from_secs(2);

impl Store {
    /// Waits at the bells of `tasks` in `partition`, for `wait` at most, and takes the first ring: the caller must now claim, or
    /// ring for somebody else. `None` if nothing rang. Uses a connection of its own meanwhile.
    pub async fn wait_for_bell(
        &self,
        partition: Partition,
        tasks: &[TaskName],
        wait: Duration,
    ) -> Result<Option<TaskName>, StoreError> {
        let keys = keys_of(self.prefix(), partition)?;
        let bells: Vec<_> = tasks.iter().map(|task| keys.bell(task)).collect();
        let rang = self.wait_at(&keys, &bells, wait).await?;
        Ok(rang.map(|at| tasks[at].clone()))
    }

    /// Waits until a delivery of `partition` is due, for `wait` at most: whether the bell rang. Those that wait for their time
    /// ring no bell: [`DueDeliveries::next`](crate::DueDeliveries::next) says when. Uses a connection of its own meanwhile.
    pub async fn wait_for_due(&self, partition: Partition, wait: Duration) -> Result<bool, StoreError> {
        let keys = keys_of(self.prefix(), partition)?;
        Ok(self.wait_at(&keys, &[keys.due_bell()], wait).await?.is_some())
    }

    /// Waits at `bells`, for `wait` at most: which of them rang.
    async fn wait_at(
        &self,
        keys: &Keys,
        bells: &[String],
        wait: Duration,
    ) -> Result<Option<usize>, StoreError> {
        let end = Instant::now() + wait;
        let (connection, cut) = self.router().waiting(keys.slot).await?;
        let mut waiting = Waiting(Some(connection));
        let Some(connection) = &mut waiting.0 else { return Ok(None) };
        // On one connection to the end: a pool asks each that it lends out whether it is well, which costs more than the wait.
        let rang = loop {
            // Jittered: what began together need not end together.
            let one = ONE_WAIT.mul_f64(rand::random_range(0.8..=1.0));
            let left = end.saturating_duration_since(Instant::now()).min(one);
            let mut cmd = redis::cmd("BLPOP");
            // To Redis no wait at all is one without end.
            cmd.arg(bells).arg(left.as_secs_f64().max(0.01));
            let reply = cmd.query_async::<Option<(String, String)>>(connection);
            let rang = match cut.run_until_cancelled(tokio::time::timeout(left + REPLY_GRACE, reply)).await {
                Some(Ok(Ok(rang))) => rang,
                Some(Ok(Err(error))) => {
                    // Maybe the server is no longer the primary.
                    self.router().confirm().await;
                    return Err(StoreError::Unavailable(error.to_string()));
                }
                Some(Err(_)) => return Err(StoreError::Unavailable("no answer at the bell".into())),
                None => return Err(StoreError::Unavailable("the bell's server doesn't answer".into())),
            };
            self.counters().round_trips.inc();
            if rang.is_some() || Instant::now() >= end {
                break rang;
            }
        };
        // The reply came: the connection goes back to its pool.
        drop(waiting.0.take());
        Ok(rang.and_then(|(bell, _)| bells.iter().position(|own| *own == bell)))
    }

    /// Rings for one idle worker of `task`: for a caller that took a ring and can't use it.
    pub async fn ring(&self, partition: Partition, task: &TaskName) -> Result<(), StoreError> {
        let keys = keys_of(self.prefix(), partition)?;
        let call = RING.call(keys.still()).arg(task);
        self.router().call(keys.slot, &Request::Script(&call)).await?;
        Ok(())
    }
}

/// A connection on which a reply is outstanding. Unless it came, the connection is closed: whoever got it from the pool
/// would take that reply for the answer to a command of its own.
struct Waiting(Option<deadpool_redis::Connection>);

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(deadpool_redis::Connection::take(connection));
        }
    }
}
