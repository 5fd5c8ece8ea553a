//! Every role asks now and then who the primaries are, though nothing has failed.
//!
//! One that was cut off from Sentinels and replicas, and so was replaced, answers whoever still reaches it as before. What it takes will
//! be thrown away, and what it publishes is of a history that will not be.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::Store;

/// Asks the Sentinels, or the primaries of the Cluster, until `stop`: the first time within `every`, then with pauses of half of it to
/// all of it, so that processes that were started together don't ask together. Calls and live channels follow the answer.
pub async fn confirm_until(store: Store, every: Duration, stop: CancellationToken) {
    let asking = async {
        loop {
            sleep(every.mul_f64(rand::random_range(0.5..1.0))).await;
            store.confirm_primaries().await;
        }
    };
    stop.run_until_cancelled(asking).await;
}
