//! Events too large for the live channel, which then carries but their place in the log, arrive once and in order.

use serde_json::{Value, json};
use testkit::sse::check_history;
use whole::{Behind, Remote, SOON, System, frames};

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
