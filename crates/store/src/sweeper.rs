//! The sweeper: every role runs one, so that time passes even with no worker alive.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use model::{Partition, Token};
use tokio_util::sync::CancellationToken;

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
/// it still does. Redis being away is nothing special: the sweep goes on when it is back. A partition whose server doesn't
/// answer holds up no other.
pub async fn sweep_until(store: Store, options: SweepOptions, stop: CancellationToken) {
    let holder = Token::from_random(rand::random()).to_string();
    let mut ticks = tokio::time::interval(options.interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut sweeping = FuturesUnordered::new();
    let mut busy = HashSet::new();
    let all = async {
        loop {
            tokio::select! {
                Some((partition, swept)) = sweeping.next() => {
                    busy.remove(&partition);
                    if let Err(error) = swept {
                        tracing::debug!(%partition, %error, "the sweep will be tried again");
                    }
                }
                _ = ticks.tick() => match store.partitions().await {
                    Ok(partitions) => {
                        let idle = partitions.filter(|&partition| busy.insert(partition));
                        sweeping.extend(idle.map(|partition| sweep_one(&store, partition, &holder, &options)));
                    }
                    Err(error) => tracing::debug!(%error, "the sweep will be tried again"),
                },
            }
        }
    };
    stop.run_until_cancelled(all).await;
}

async fn sweep_one(
    store: &Store,
    partition: Partition,
    holder: &str,
    options: &SweepOptions,
) -> (Partition, Result<(), StoreError>) {
    loop {
        // More is waiting where a sweep did as much as it may; others get their turn in Redis between the calls.
        match store.sweep(partition, holder, options).await {
            Ok(Swept::More(_)) => {}
            Ok(_) => return (partition, Ok(())),
            Err(error) => return (partition, Err(error)),
        }
    }
}
