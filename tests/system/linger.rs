//! One subscription per log and gateway, however many streams; none after the linger.

use serde_json::{Value, json};
use testkit::redis::{MultiplexedConnection, cmd};
use testkit::sse::SseStream;
use whole::{Behind, Client, Remote, SOON, System, frames};

async fn subscribers(redis: &mut MultiplexedConnection, channel: &str) -> u64 {
    let (_, count): (String, u64) =
        cmd("PUBSUB").arg("SHARDNUMSUB").arg(channel).query_async(redis).await.unwrap();
    count
}

async fn opens(client: &Client, url: &str, count: usize) -> Vec<SseStream> {
    let mut streams = Vec::new();
    for _ in 0..count {
        let mut stream = SseStream::open(url).await;
        assert_eq!(stream.next_within(SOON).await.unwrap().event, "queued");
        streams.push(stream);
    }
    testkit::eventually(SOON, "all are counted as open", async || {
        client.count("jobcast_open_streams").await == count
    })
    .await;
    streams
}

#[tokio::test]
async fn fifty_streams_are_one_subscription_and_none_is_left() {
    let system = System::builder().gateways(2).workers(0).settings("[stream]\nlinger = \"1s\"").start().await;
    let mut redis = system.redis.client().await;
    assert_eq!(system.redis.shard_channels().await, [""; 0]);
    let id = system.client(0).submit("remote", Value::Null).await;
    // Of jobs of one millisecond none is the older one.
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    let other = system.client(0).submit("remote", Value::Null).await;
    let channel = Behind::of(&system, id).await.channel();

    let mut all = Vec::new();
    for client in &system.clients {
        assert_eq!(client.count("jobcast_open_streams").await, 0);
        all.push(opens(client, &client.events_url(id), 50).await);
        assert_eq!(client.count("jobcast_followed_logs").await, 1);
    }
    assert_eq!(subscribers(&mut redis, &channel).await, 2, "one per gateway");
    assert_eq!(system.redis.shard_channels().await, std::slice::from_ref(&channel), "and of no other log");

    // Streams of one log that leave while others stay take nothing away.
    for streams in &mut all {
        streams.truncate(20);
    }
    for client in &system.clients {
        // Who leaves unnoticed is still told what comes.
        testkit::eventually(SOON, "those that left are noticed", async || {
            client.count("jobcast_open_streams").await == 20
        })
        .await;
    }
    let worker = Remote::claim(system.client(1), "remote").await;
    assert_eq!(worker.job(), id, "the older one comes first");
    worker.outputs(1..=3).await;
    worker.complete(Value::Null).await;
    let truth = Behind::of(&system, id).await.frames().await;
    for stream in all.iter_mut().flatten() {
        assert_eq!(frames(&stream.collect_to_end(SOON).await), truth[1..]);
    }
    for client in &system.clients {
        testkit::eventually(SOON, "none is open", async || client.count("jobcast_open_streams").await == 0)
            .await;
        testkit::eventually(SOON, "nothing is followed", async || {
            client.count("jobcast_followed_logs").await == 0
        })
        .await;
        // 30 saw one event and left; 20 saw them all.
        let sent = client.count("jobcast_events_sent_total").await;
        assert_eq!(sent, 30 + 20 * truth.len());
    }
    testkit::eventually(SOON, "no subscription is left", async || {
        system.redis.shard_channels().await.is_empty()
    })
    .await;
    assert_eq!(system.client(0).post(&format!("/api/jobs/{other}/cancel"), &json!({})).await.status(), 202);
    system.nothing_grows().await;
}

#[tokio::test]
async fn a_subscription_lingers_for_who_comes_back() {
    let system = System::builder().workers(0).settings("[stream]\nlinger = \"10m\"").start().await;
    let client = system.client(0);
    let mut redis = system.redis.client().await;
    let id = client.submit("remote", Value::Null).await;
    let behind = Behind::of(&system, id).await;
    let streams = opens(client, &client.events_url(id), 3).await;
    drop(streams);
    testkit::eventually(SOON, "none is open", async || client.count("jobcast_open_streams").await == 0).await;
    assert_eq!(client.count("jobcast_followed_logs").await, 1);
    assert_eq!(subscribers(&mut redis, &behind.channel()).await, 1);

    // What happens meanwhile is heard, and nothing of it is missed by who comes now.
    let worker = Remote::claim(client, "remote").await;
    worker.outputs(1..=3).await;
    let mut early = client.stream(id).await;
    let mut late = client.stream_after(id, client.job(id).await["lastEventId"].as_str().unwrap()).await;
    worker.complete(Value::Null).await;
    let truth = behind.frames().await;
    assert_eq!(frames(&early.collect_to_end(SOON).await), truth);
    assert_eq!(frames(&late.collect_to_end(SOON).await), truth[5..]);
    assert_eq!(subscribers(&mut redis, &behind.channel()).await, 1);
    system.nothing_grows().await;
}

#[tokio::test]
async fn without_a_linger_nothing_is_left_at_once() {
    let system = System::builder().workers(0).settings("[stream]\nlinger = \"0s\"").start().await;
    let client = system.client(0);
    let id = client.submit("remote", Value::Null).await;
    let mut stream = client.stream(id).await;
    let worker = Remote::claim(client, "remote").await;
    worker.outputs(1..=3).await;
    worker.complete(Value::Null).await;
    assert_eq!(frames(&stream.collect_to_end(SOON).await), Behind::of(&system, id).await.frames().await);
    testkit::eventually(SOON, "nothing is followed", async || {
        client.count("jobcast_followed_logs").await == 0
    })
    .await;
    testkit::eventually(SOON, "no subscription is left", async || {
        system.redis.shard_channels().await.is_empty()
    })
    .await;
    system.nothing_grows().await;
}

#[tokio::test]
async fn a_poll_that_waits_leaves_nothing_either() {
    let system = System::builder().workers(0).settings("[stream]\nlinger = \"1s\"").start().await;
    let client = system.client(0);
    let id = client.submit("remote", Value::Null).await;
    let path = format!("/api/jobs/{id}?wait=50");
    let (polled, ()) = tokio::join!(client.get(&path), async {
        testkit::eventually(SOON, "it waits", async || !system.redis.shard_channels().await.is_empty()).await;
        Remote::claim(client, "remote").await.complete("done").await;
    });
    assert_eq!(polled.status(), 200);
    testkit::eventually(SOON, "no subscription is left", async || {
        system.redis.shard_channels().await.is_empty()
    })
    .await;
    testkit::eventually(SOON, "nothing is followed", async || {
        client.count("jobcast_followed_logs").await == 0
    })
    .await;
    system.nothing_grows().await;
}
