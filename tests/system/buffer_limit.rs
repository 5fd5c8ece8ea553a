//! Redis gives up on a subscriber that doesn't read, and all that it had buffered is gone: one more lost connection, which loses
//! nothing.

use serde_json::{Value, json};
use testkit::eventually;
use testkit::redis::{MultiplexedConnection, cmd};
use whole::{Apart, Behind, Remote, SOON, System, frames};

/// How many connections with subscriptions Redis has.
async fn subscribers(redis: &mut MultiplexedConnection) -> usize {
    let list: String = cmd("CLIENT").arg(&["LIST", "TYPE", "PUBSUB"]).query_async(redis).await.unwrap();
    list.lines().count()
}

#[tokio::test]
async fn a_gateway_that_stood_still_under_megabytes_of_events_goes_on_with_all_of_them() {
    let settings = "[tasks.long]\nlog_bytes = \"64 MiB\"";
    let system = System::builder().workers(0).settings(settings).start().await;
    let apart = Apart::start(&system.redis.url(), "reconcile = \"5m\"").await;
    let client = system.client(0);
    let mut redis = system.redis.client().await;
    cmd("CONFIG")
        .arg(&["SET", "client-output-buffer-limit", "pubsub 256kb 0 0"])
        .exec_async(&mut redis)
        .await
        .unwrap();
    let (mut workers, mut streams, mut seen) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..5 {
        let id = client.submit("long", Value::Null).await;
        workers.push(Remote::claim(client, "long").await);
        let mut stream = apart.client.stream(id).await;
        seen.push(vec![stream.next_within(SOON).await.unwrap(), stream.next_within(SOON).await.unwrap()]);
        streams.push(stream);
    }
    assert_eq!(subscribers(&mut redis).await, 1);
    let before = apart.client.count("jobcast_redis_reconnects_total").await;

    apart.gateway.pause();
    // One job is loud, until Redis has enough of it. What is quiet beside it is lost with it.
    let mut batches = 0;
    eventually(SOON, "Redis ends the connection", async || {
        for worker in &workers[1..] {
            worker.output("quiet").await;
        }
        // Each just small enough to be published whole.
        workers[0].outputs((0..100).map(|n| json!([batches, n, "x".repeat(3800)]))).await;
        batches += 1;
        subscribers(&mut redis.clone()).await == 0
    })
    .await;
    println!("ended after {batches} batches of 380 KB");
    for worker in &workers {
        worker.output("when the connection was gone").await;
    }
    apart.gateway.resume();
    for worker in &workers {
        worker.output("when it ran again").await;
        worker.complete(Value::Null).await;
    }
    for ((worker, mut stream), mut seen) in workers.iter().zip(streams).zip(seen) {
        seen.extend(stream.collect_to_end(SOON).await);
        assert_eq!(frames(&seen), Behind::of(&system, worker.job()).await.frames().await);
    }
    let after = apart.client.count("jobcast_redis_reconnects_total").await;
    assert!(after > before, "a lost connection like any other");
    assert_eq!(apart.client.count("jobcast_reconciled_losses_total").await, 0);
    system.nothing_grows().await;
}
