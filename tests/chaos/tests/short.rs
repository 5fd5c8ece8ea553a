//! A few seconds of chaos in each topology: `make chaos` has the long ones.

use std::path::Path;
use std::time::Duration;

use chaos::record::{Durability, Topology};
use chaos::{Orders, drive, outcome};

/// Twelve seconds with a seed whose schedule holds what is worth the time. What is left of it lies in the build's own temporary
/// folder.
async fn survives(topology: Topology, seed: u64) {
    let logs = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("chaos-{}", topology.name()));
    let orders = Orders {
        topology,
        seed,
        seconds: 12,
        durability: Durability::Local,
        clients: 150,
        jobs_a_minute: 180,
        planted: None,
        deadline: Duration::from_mins(1),
        logs: logs.clone(),
    };
    let run = drive(&orders).await;
    let outcome = outcome::judge(&run, &logs, false).expect("the record can be written");
    assert!(outcome.is_as_it_should_be(), "see above, and {}", logs.display());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_redis_killed() {
    survives(Topology::Single, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sentinels_primary_killed() {
    survives(Topology::Sentinel, 8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clusters_slot_moved() {
    survives(Topology::Cluster, 3).await;
}
