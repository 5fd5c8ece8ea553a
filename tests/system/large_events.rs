//! Events too large for the live channel, which then carries but their place in the log, arrive once and in order.

use serde_json::{Value, json};
use testkit::sse::check_history;
use whole::{Apart, Behind, Remote, SOON, System, frames};

#[tokio::test]
async fn outputs_of_sixty_kilobytes_arrive_once_in_order() {
    let system = System::builder().gateways(2).workers(0).start().await;
    let client = system.client(0);
    let id = client.submit("remote", Value::Null).await;
    let worker = Remote::claim(client, "remote").await;
    let mut streams = Vec::new();
    for client in &system.clients {
        for _ in 0..5 {
            streams.push(client.stream(id).await);
        }
    }
    let mut reading = tokio::task::JoinSet::new();
    for mut stream in streams {
        reading.spawn(async move { stream.collect_to_end(2 * SOON).await });
    }
    let large = |n: u64| json!({ "n": n, "filler": "é".repeat(30_000) });
    let small = |n: u64| json!({ "n": n });
    let mut written = 0;
    let mut next = |large_one: bool| {
        written += 1;
        if large_one { large(written) } else { small(written) }
    };
    // One by one; several in one step; small ones between and after large ones, in the same step.
    for _ in 0..10 {
        worker.output(next(true)).await;
    }
    worker.outputs((0..10).map(|_| next(true))).await;
    worker.outputs((0..40).map(|n| next(n % 4 == 1))).await;
    for n in 0..40 {
        worker.output(next(n % 4 == 2)).await;
    }
    // Around the size at which the live channel stops to carry the event.
    for size in 3800..4100 {
        if size % 10 == 0 {
            written += 1;
            worker.output(json!({ "n": written, "filler": "x".repeat(size) })).await;
        }
    }
    worker.complete(Value::Null).await;
    let truth = Behind::of(&system, id).await.frames().await;
    let count = truth.iter().filter(|frame| frame.starts_with("event: output")).count();
    assert_eq!(count, usize::try_from(written).unwrap());
    while let Some(events) = reading.join_next().await {
        let events = events.unwrap();
        check_history(&events).unwrap();
        assert!(frames(&events) == truth, "{} of {} events", events.len(), truth.len());
    }
    system.nothing_grows().await;
}

/// Of large events the live channel carries but their place. Until they are read, Redis is ahead of the gateway, and that is no loss:
/// one that were seen in it would cost all logs of that primary their subscription.
#[tokio::test]
async fn what_waits_to_be_read_is_not_taken_for_lost() {
    const JOBS: usize = 20;
    let system = System::builder().workers(0).start().await;
    // The reads of all logs stand in one line, and each log is often looked at meanwhile.
    let stream = "reconcile = \"100ms\"\nreads_in_flight = 1";
    // Who waits for an answer longer than usual goes on waiting, so that every connection made anew is one that was thought to lose.
    let patient = "response_timeout = \"30s\"\npatience = \"1m\"";
    let apart = Apart::with(&system.redis.url(), patient, stream).await;
    let mut working = tokio::task::JoinSet::new();
    for _ in 0..JOBS {
        let id = system.client(0).submit("remote", Value::Null).await;
        let worker = Remote::claim(system.client(0), "remote").await;
        let mut stream = apart.client.stream(id).await;
        working.spawn(async move {
            let writes = async {
                for n in 0..60 {
                    worker.output(json!({ "n": n, "filler": "x".repeat(20_000) })).await;
                }
                worker.complete(Value::Null).await;
            };
            let (events, ()) = tokio::join!(stream.collect_to_end(2 * SOON), writes);
            check_history(&events).unwrap();
            assert_eq!(events.iter().filter(|event| event.event == "output").count(), 60);
        });
    }
    let reconnects = apart.client.count("jobcast_redis_reconnects_total").await;
    while let Some(worked) = working.join_next().await {
        worked.unwrap();
    }
    assert_eq!(apart.client.count("jobcast_reconciled_losses_total").await, 0);
    assert_eq!(apart.client.count("jobcast_redis_reconnects_total").await, reconnects);
    system.nothing_grows().await;
}
