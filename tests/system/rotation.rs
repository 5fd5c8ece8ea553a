//! Planned closes: streams that grow old, and a gateway that stops. Followers notice nothing but a reconnect.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::redis::cmd;
use testkit::sse::{End, SseStream, check_history};
use whole::{Behind, Client, RawStream, Remote, SOON, System, frames};

#[tokio::test]
async fn an_old_stream_is_closed_with_a_short_retry_and_its_client_goes_on() {
    let settings = "[stream]\nmax_age = \"2s\"\nheartbeat = \"500ms\"\nheartbeat_jitter = \"100ms\"";
    let system = System::builder().gateways(2).settings(settings).start().await;
    let (a, b) = (system.client(0), system.client(1));
    // Long enough for some closes, though the machine may stand still for a while.
    let id = a.submit("count", json!({ "n": 60, "seconds": 12 })).await;
    let followers = [a.follow(id), a.follow_also(id, &[b]), b.follow_also(id, &[a])];

    let mut old = RawStream::open(&b.events_url(id), &[]).await;
    assert!(old.until(|body| body.contains('\n')).await);
    let first = old.retry().unwrap();
    let events = old.events_to_end().await;
    assert!(old.ended(), "closed in order");
    assert!(events.iter().all(|event| event.event != "completed"), "before the job's end");
    let second = old.retry().unwrap();
    assert!(old.body().ends_with(&format!("\nretry: {}\n", second.as_millis())), "the last line of all");
    assert!((1000..=3000).contains(&first.as_millis()), "{first:?}");
    assert!((100..=1000).contains(&second.as_millis()), "{second:?} is short");

    let truth = {
        a.ended(id).await;
        Behind::of(&system, id).await.frames().await
    };
    for follower in followers {
        let log = follower.wait().await;
        assert_eq!(log.ended, Some(204));
        assert_eq!((log.breaks, log.failures), (0, 0), "each close is in order");
        assert!(log.connects >= 4, "{} connections", log.connects);
        check_history(&log.events).unwrap();
        assert_eq!(frames(&log.events), truth, "the whole history once");
    }
    system.nothing_grows().await;
}

/// When a stream ended, and whether in order.
async fn end_of(mut stream: SseStream) -> (Instant, Option<Duration>, bool) {
    while stream.next().await.is_some() {}
    (Instant::now(), stream.retry(), stream.end() == Some(&End::Closed))
}

#[tokio::test]
async fn a_gateway_that_stops_closes_its_streams_one_after_the_other_and_exits_with_zero() {
    // What is to be seen of the drain must not pass while a busy machine stands still.
    let system = System::builder().gateways(2).workers(0).settings("[stream]\ndrain = \"8s\"").start().await;
    let (a, b) = (system.client(0), system.client(1));
    let id = a.submit("remote", Value::Null).await;
    let worker = Remote::claim(b, "remote").await;
    let followers = [a.follow_also(id, &[b]), a.follow_also(id, &[b]), b.follow(id)];
    // An event now and then, for as long as the gateway is there.
    let mut writing = tokio::task::JoinSet::new();
    let writer = worker.clone();
    writing.spawn(async move {
        for n in 0.. {
            writer.output(n).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    // And streams on which nothing happens.
    let idle = a.submit("remote", Value::Null).await;
    let mut ends = tokio::task::JoinSet::new();
    for n in 0..30 {
        let mut stream = a.stream(if n % 2 == 0 { id } else { idle }).await;
        stream.next_within(SOON).await.unwrap();
        ends.spawn(end_of(stream));
    }
    testkit::eventually(SOON, "all follow", async || {
        followers.iter().all(|follower| follower.count() > 5)
            && a.metric("jobcast_open_streams").await >= 32.0
    })
    .await;
    assert_eq!(a.get("/readyz").await.status(), 200);

    system.gateways[0].terminate();
    testkit::eventually(SOON, "/readyz says no", async || a.get("/readyz").await.status() == 503).await;
    assert!(a.metric("jobcast_open_streams").await > 0.0, "said before the streams are closed");
    assert_eq!(a.get("/healthz").await.status(), 200, "still served");
    let mut times = Vec::new();
    while let Some(end) = ends.join_next().await {
        let (at, retry, in_order) = end.unwrap();
        assert!(in_order, "closed in order");
        assert!(retry.is_some_and(|retry| retry <= Duration::from_secs(1)), "{retry:?} is short");
        times.push(at);
    }
    times.sort();
    let spread = *times.last().unwrap() - times[0];
    assert!(spread >= Duration::from_secs(1), "spread over the drain, not at once: {spread:?}");
    let status = system.gateways[0].wait_exit(SOON).await;
    assert_eq!(status.code(), Some(0), "{status:?}");

    writing.shutdown().await;
    worker.output("when it is gone").await;
    worker.complete(Value::Null).await;
    let truth = Behind::of(&system, id).await.frames().await;
    for follower in followers {
        let log = follower.wait().await;
        assert_eq!((log.ended, log.breaks), (Some(204), 0));
        assert_eq!(frames(&log.events), truth, "nothing lost, nothing twice");
    }
    cancel(b, idle).await;
    system.nothing_grows().await;
}

#[tokio::test]
async fn a_gateway_that_stops_serves_those_that_come_while_it_drains() {
    let system = System::builder().gateways(2).workers(0).settings("[stream]\ndrain = \"8s\"").start().await;
    let (a, b) = (system.client(0), system.client(1));
    let id = a.submit("remote", Value::Null).await;
    let worker = Remote::claim(b, "remote").await;
    let held = a.stream(id).await;
    system.gateways[0].terminate();
    testkit::eventually(SOON, "/readyz says no", async || a.get("/readyz").await.status() == 503).await;
    // A balancer needs a moment to hear of it: a follower that lands here is served, closed soon, and comes back elsewhere.
    let follower = a.follow_also(id, &[b]);
    testkit::eventually(SOON, "it follows", async || follower.count() == 2).await;
    worker.output("while it drains").await;
    testkit::eventually(SOON, "it hears", async || follower.count() == 3).await;
    assert_eq!(system.gateways[0].wait_exit(SOON).await.code(), Some(0));
    worker.output("when it is gone").await;
    worker.complete(Value::Null).await;
    let log = follower.wait().await;
    assert_eq!((log.ended, log.breaks), (Some(204), 0));
    assert_eq!(frames(&log.events), Behind::of(&system, id).await.frames().await);
    drop(held);
    system.nothing_grows().await;
}

#[tokio::test]
async fn a_gateway_whose_reads_have_no_answer_stops_in_time() {
    let system = System::builder().gateways(1).workers(0).settings("[stream]\ndrain = \"1s\"").start().await;
    let client = system.client(0);
    let id = client.submit("remote", Value::Null).await;
    let mut stream = client.stream(id).await;
    stream.next_within(SOON).await.unwrap();
    // Subscriptions stand; what is to be read then is refused.
    let mut redis = system.redis.client().await;
    cmd("ACL").arg(&["SETUSER", "default", "-@scripting"]).exec_async(&mut redis).await.unwrap();
    cmd("CLIENT").arg(&["KILL", "TYPE", "pubsub"]).exec_async(&mut redis).await.unwrap();
    testkit::eventually(SOON, "it has subscribed again", async || {
        !system.redis.shard_channels().await.is_empty()
    })
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    system.gateways[0].terminate();
    let status = system.gateways[0].wait_exit(SOON).await;
    assert_eq!(status.code(), Some(0), "{}", system.gateways[0].stderr());
    cmd("ACL").arg(&["SETUSER", "default", "+@scripting"]).exec_async(&mut redis).await.unwrap();
}

async fn cancel(client: &Client, id: model::JobId) {
    assert_eq!(client.post(&format!("/api/jobs/{id}/cancel"), &json!({})).await.status(), 202);
}

#[tokio::test]
async fn a_client_that_takes_nothing_does_not_hold_up_the_end() {
    let settings = "[stream]\ndrain = \"1s\"\nstall = \"10m\"\n[tasks.long]\nlog_bytes = \"64 MiB\"";
    let system = System::builder().gateways(2).workers(0).settings(settings).start().await;
    let (a, b) = (system.client(0), system.client(1));
    let id = a.submit("long", Value::Null).await;
    let worker = Remote::claim(b, "long").await;
    let mut lazy = RawStream::with_buffer(&a.events_url(id), &[], Some(4096)).await;
    assert!(lazy.until(|body| body.contains("event: started")).await);
    let mut quick = a.stream(id).await;
    for _ in 0..60 {
        worker.outputs((0..5).map(|_| "x".repeat(60_000))).await;
    }
    let count = Behind::of(&system, id).await.entries().await.len();
    for _ in 0..count {
        quick.next_within(SOON).await.unwrap();
    }
    system.gateways[0].terminate();
    let status = system.gateways[0].wait_exit(SOON).await;
    assert_eq!(status.code(), Some(0), "{}", system.gateways[0].stderr());
    worker.complete(Value::Null).await;

    // What it missed it gets elsewhere.
    let mut events = lazy.events_to_end().await;
    let last = events.last().unwrap().last_event_id.clone();
    events.extend(b.stream_after(id, &last).await.collect_to_end(SOON).await);
    assert_eq!(frames(&events).len(), count + 1);
    check_history(&events).unwrap();
    system.nothing_grows().await;
}
