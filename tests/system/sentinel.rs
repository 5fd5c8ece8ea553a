//! Behind Sentinels: the primary dies, stops, or is cut off with all who talk to it. Nobody misses anything untold.

use std::time::Duration;

use serde_json::json;
use testkit::redis::SentinelSet;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use whole::{Apart, Remote, Running, SOON, System, data, take};

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

/// Only Sentinels and replicas are cut off from the old primary; a gateway that asks no Sentinel, and a worker of its, still write there.
#[tokio::test]
async fn a_primary_that_goes_on_after_it_was_replaced_is_left() {
    let system = System::builder().sentinel().volatile().gateways(1).start().await;
    let set = system.redis.sentinel();
    let [old, new] = [0, 1];
    let side = Apart::start(&format!("redis://{}", set.nodes()[old].addr()), "").await;
    let client = system.client(0);
    let id = client.submit("remote", json!(null)).await;
    let remote = Remote::claim(&side.client, "remote").await;
    let mut stream = client.stream(id).await;
    let mut writing = JoinSet::new();
    // The log is never silent, so it is never compared.
    writing.spawn(async move {
        loop {
            remote.output("more").await;
            sleep(Duration::from_millis(50)).await;
        }
    });
    take(&mut stream, 10).await;
    set.name_in_silence(new).await;
    let mut told = async |name: &str| loop {
        let event = stream.next_within(SOON).await.expect("the stream goes on");
        if event.event == name {
            break data(&event);
        }
    };
    let snapshot = timeout(Duration::from_secs(30), told("snapshot"))
        .await
        .expect("the gateway hears of the new primary");
    assert_eq!(snapshot["reason"], "rewound");
    assert!(!writing.is_empty() && writing.try_join_next().is_none(), "the old one goes on");
    client.post(&format!("/api/jobs/{id}/cancel"), &json!(null)).await;
    timeout(SOON, told("cancelled")).await.expect("the new one's end is told");
}
