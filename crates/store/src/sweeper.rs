//! The sweeper: every role runs one, so that time passes even with no worker alive.

use std::time::Duration;

use model::{Partition, Token};
use tokio_util::sync::CancellationToken;

use crate::step::sweep::MOST_CHANGES;
use crate::{Store, StoreError, Swept};

/// How a process sweeps.
#[derive(Clone, Copy, Debug)]
pub struct SweepOptions {
    /// How often each partition is swept.
    pub interval: Duration,
    /// The usual length of a lease: after Redis was away no lease expires for that long.
    pub lease: Duration,
}

/// Sweeps all partitions, each `interval`, until `stop`. Only one process at a time sweeps a partition; the others look whether
/// it still does. Redis being away is nothing special: the sweep goes on when it is back.
pub async fn sweep_until(store: Store, options: SweepOptions, stop: CancellationToken) {
    let holder = Token::from_random(rand::random()).to_string();
    let mut ticks = tokio::time::interval(options.interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let all = async {
        loop {
            ticks.tick().await;
            if let Err(error) = sweep_all(&store, &holder, &options).await {
                tracing::debug!(%error, "the sweep will be tried again");
            }
        }
    };
    stop.run_until_cancelled(all).await;
}

async fn sweep_all(store: &Store, holder: &str, options: &SweepOptions) -> Result<(), StoreError> {
    for partition in store.partitions().await? {
        sweep_one(store, partition, holder, options).await?;
    }
    Ok(())
}

async fn sweep_one(
    store: &Store,
    partition: Partition,
    holder: &str,
    options: &SweepOptions,
) -> Result<(), StoreError> {
    // More is waiting where a sweep did as much as it may; others get their turn in Redis between the calls.
    while store.sweep(partition, holder, options).await? == Swept::Changed(MOST_CHANGES) {}
    Ok(())
}
