//! sweep: what time alone brings.

use std::sync::LazyLock;
use std::time::Duration;

use model::{Partition, Status, Timestamp};

use super::reply::{Reply, unreadable};
use super::{ALL, millis, random_word};
use crate::connect::Request;
use crate::keys::keys_of;
use crate::script::Script;
use crate::{Store, StoreError, SweepOptions};

static SWEEP: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("sweep.lua"), ALL));

/// The most members of queues and indexes that one sweep touches: a script holds up everybody else.
const MOST: u64 = 100;

/// What a sweep came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Swept {
    /// Another process sweeps this partition until then.
    Held(Timestamp),
    /// So many changes, and nothing more is to be done now.
    Changed(u64),
    /// So many changes; there may be more: a sweep does no more than so much at once, since a script holds up everybody else.
    More(u64),
}

/// The longest that a sweep may be late before it counts as a break, where leases are long.
const LATE: Duration = Duration::from_secs(4);

/// How many intervals the turns of those who look may be apart where there are so many partitions. Who finds one orphaned looks
/// at all: so the more there are, the less often each of them has to be looked at for somebody to find out in time.
fn turns_apart(partitions: u16) -> u32 {
    u32::from(partitions / 2).clamp(1, 8)
}

impl SweepOptions {
    /// How old the last sweep is when Redis must have been away: 5 s by default. Heartbeats come each half lease at the
    /// latest, so a break that is longer may have ended the lease of a worker that is well.
    fn stale(&self) -> Duration {
        self.interval.saturating_add(LATE.min(self.lease / 2))
    }
}

impl Store {
    /// Sweeps `partition` once as `holder`.
    pub async fn sweep(
        &self,
        partition: Partition,
        holder: &str,
        options: &SweepOptions,
    ) -> Result<Swept, StoreError> {
        self.sweep_and_plan(partition, holder, options).await.map(|(swept, _)| swept)
    }

    /// The same; and how long the caller has time until it should come again.
    pub(crate) async fn sweep_and_plan(
        &self,
        partition: Partition,
        holder: &str,
        options: &SweepOptions,
    ) -> Result<(Swept, Duration), StoreError> {
        let keys = keys_of(self.prefix(), partition)?;
        let apart = turns_apart(self.open_partition_count().await?);
        let call = SWEEP
            .call(keys.still())
            .arg(self.now_word())
            .arg(random_word())
            .arg(holder)
            .arg(millis(options.interval.saturating_mul(3)))
            .arg(millis(options.lease))
            .arg(millis(options.stale()))
            .arg(MOST)
            .arg(millis(options.interval))
            .arg(millis(options.interval.saturating_mul(apart)));
        let mut reply = Reply::new(self.router().call(keys.slot, &Request::Script(&call)).await?)?;
        let word = reply.text()?;
        match word.as_str() {
            "held" => {
                let until = reply.time()?;
                Ok((Swept::Held(until), Duration::from_millis(reply.parse()?)))
            }
            "quiet" => Ok((Swept::Changed(0), options.interval.saturating_mul(2))),
            "swept" => {
                let changes = reply.parse()?;
                let is_more = reply.text()? == "1";
                let mut ended = reply.array()?;
                while !ended.is_empty() {
                    let (status, code) = (ended.text()?, ended.text()?);
                    if let Some(status) = status.parse().ok().filter(|status: &Status| status.is_terminal()) {
                        self.count_end(status, code.parse().ok());
                    }
                }
                Ok(if is_more {
                    (Swept::More(changes), Duration::ZERO)
                } else {
                    (Swept::Changed(changes), options.interval)
                })
            }
            _ => Err(unreadable(&word)),
        }
    }
}
