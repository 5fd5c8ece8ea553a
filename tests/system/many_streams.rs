//! Many jobs in all partitions, many streams, and a gateway that may hold little and read one log at a time.

use std::collections::{BTreeSet, HashMap};

use serde_json::json;
use testkit::sse::check_history;
use tokio::task::JoinSet;
use whole::{SOON, System, frames};

#[tokio::test]
async fn streams_of_all_partitions_are_whole_with_little_memory_and_one_read_at_a_time() {
    const JOBS: usize = 24;
    let settings = "[stream]\nring_log = \"1 KiB\"\nrings = \"8 KiB\"\npage = \"1 KiB\"\nreads_in_flight = 1\n\
                    linger = \"1s\"\nmax_age = \"1s\"\nheartbeat = \"500ms\"\nheartbeat_jitter = \"100ms\"";
    let system =
        System::builder().gateways(2).workers(2).store("partitions = 16").settings(settings).start().await;
    let (a, b) = (system.client(0), system.client(1));
    let (mut jobs, mut partitions) = (Vec::new(), BTreeSet::new());
    for _ in 0..JOBS {
        let id = a.submit("narrate", json!({ "tokens": 300, "perSecond": 150 })).await;
        partitions.insert(id.partition());
        jobs.push(id);
    }
    assert!(partitions.len() > 8, "spread: {partitions:?}");
    let mut following = JoinSet::new();
    for &id in &jobs {
        for follower in [a.follow_also(id, &[b]), b.follow(id), b.follow_also(id, &[a])] {
            following.spawn(async move { (id, follower.wait().await) });
        }
    }
    let mut histories = HashMap::new();
    while let Some(followed) = following.join_next().await {
        let (id, log) = followed.unwrap();
        assert_eq!((log.ended, log.breaks), (Some(204), 0), "{id}");
        check_history(&log.events).unwrap();
        let seen = histories.entry(id).or_insert_with(|| frames(&log.events));
        assert_eq!(*seen, frames(&log.events), "{id}");
    }
    for client in &system.clients {
        assert_eq!(client.count("jobcast_reconciled_losses_total").await, 0);
        testkit::eventually(SOON, "nothing is followed", async || {
            client.count("jobcast_followed_logs").await == 0
        })
        .await;
    }
    system.nothing_grows().await;
}
