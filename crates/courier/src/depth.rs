//! How many deliveries wait, and for how long: looked up now and then, for metrics.

use std::time::Duration;

use model::{Clock, SystemClock};
use store::StoreError;
use tokio::time::sleep;

use crate::courier::Courier;

/// The time between two looks.
const EVERY: Duration = Duration::from_secs(10);

/// Keeps the metrics of what waits, and forgets idle hosts. Never returns.
pub(crate) async fn look_now_and_then(courier: &Courier) {
    loop {
        let broken = courier.hosts.tidy();
        courier.metrics.broken_hosts.set(gauge(broken));
        // While Redis is away they keep their last values.
        if let Err(error) = look(courier).await {
            tracing::debug!(%error, "how many deliveries wait is not known");
        }
        sleep(EVERY.mul_f64(rand::random_range(0.8..=1.2))).await;
    }
}

async fn look(courier: &Courier) -> Result<(), StoreError> {
    let (mut pending, mut first) = (0, None);
    for partition in courier.store.partitions().await? {
        let (count, due) = courier.store.due_depth(partition).await?;
        pending += count;
        first = first.into_iter().chain(due).min();
    }
    let oldest = first.map(|first| SystemClock.now().since(first)).unwrap_or_default();
    courier.metrics.pending.set(gauge(pending));
    courier.metrics.oldest.set(gauge(oldest.as_secs()));
    Ok(())
}

fn gauge(value: impl TryInto<i64>) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}
