//! Behind Sentinels: the primary dies, stops, or is cut off with all who talk to it. Nobody misses anything untold.

use serde_json::json;
use testkit::redis::SentinelSet;
use whole::{Running, System};

/// Many more jobs at once than there are cores: they mostly wait.
const WORKERS: &str = "[worker]\nconcurrency = 16\n";

async fn start() -> System {
    // Nothing is written to disk: a busy one would hold up every answer. Who dies comes back empty, as a replica.
    System::builder().sentinel().volatile().gateways(2).workers(2).settings(WORKERS).start().await
}

async fn submissions_work(system: &System) {
    for client in &system.clients {
        let id = client.submit("wordcount", json!({ "text": "a b a" })).await;
        assert_eq!(client.ended(id).await["status"], "completed");
    }
}

/// Under running jobs the primary goes, as `leave` lets it, and later is there again, as `come_back` lets it.
async fn the_primary_is_replaced(
    leave: fn(&SentinelSet, usize),
    come_back: impl AsyncFnOnce(&SentinelSet, usize),
) {
    let system = start().await;
    let set = system.redis.sentinel();
    let running = Running::start(&system, 8, 150, 15).await;
    let old = set.primary().await;
    leave(set, old);
    set.wait_other_primary(old).await;
    running.see_more().await;
    submissions_work(&system).await;
    come_back(set, old).await;
    let told = running.end_told(&system).await;
    println!("{told} browsers were told that Redis had lost what they had seen");
    set.wait_healthy().await;
    assert_ne!(set.primary().await, old);
    submissions_work(&system).await;
    system.nothing_grows().await;
}

#[tokio::test]
async fn the_primary_dies() {
    the_primary_is_replaced(SentinelSet::kill, async |set, n| set.restart(n).await).await;
}

#[tokio::test]
async fn what_the_primary_took_with_it_is_told() {
    let system = start().await;
    let set = system.redis.sentinel();
    let running = Running::start(&system, 8, 300, 30).await;
    let old = set.primary().await;
    let replicas = (0..3).filter(|&n| n != old);
    replicas.clone().for_each(|replica| set.pause(replica));
    set.nodes()[old].drop_replicas().await;
    running.see_more().await;
    set.kill(old);
    replicas.for_each(|replica| set.resume(replica));
    set.wait_other_primary(old).await;
    set.restart(old).await;
    assert_eq!(running.end_told(&system).await, 16, "every browser had seen what was lost");
    set.wait_healthy().await;
    submissions_work(&system).await;
    system.nothing_grows().await;
}

#[tokio::test]
async fn the_primary_stops() {
    the_primary_is_replaced(SentinelSet::pause, async |set, n| set.resume(n)).await;
}

#[tokio::test]
async fn the_primary_is_cut_off_with_all_its_connections_open() {
    the_primary_is_replaced(SentinelSet::cut, async |set, n| set.heal(n)).await;
}
