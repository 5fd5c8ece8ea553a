//! What was lost on the way is told before anything later is: a hole is filled from the log at once, by what comes after it.

use serde_json::{Value, json};
use testkit::sse::SseStream;
use whole::{Apart, Behind, Remote, SOON, System, data, frames};

/// The seq of a live entry.
fn seq(entry: &[u8]) -> u64 {
    let word = entry.split(|&byte| byte == b' ').next().unwrap();
    std::str::from_utf8(word).unwrap().parse().unwrap()
}

#[tokio::test]
async fn one_lost_message_or_many_in_a_row_are_told_before_what_comes_next() {
    let system = System::builder().workers(0).start().await;
    let (apart, proxy) = Apart::proxied(&system, "reconcile = \"5m\"\npage = \"4 KiB\"").await;
    let id = system.client(0).submit("remote", Value::Null).await;
    let worker = Remote::claim(system.client(0), "remote").await;
    let mut single = apart.client.stream(id).await;
    let mut several = SseStream::open(apart.client.url(&format!("/api/events?job={id}"))).await;
    let (mut seen, mut of_several) = (Vec::new(), Vec::new());
    let mut next = 2;
    let mut read = async |to: u64| {
        for (stream, seen) in [(&mut single, &mut seen), (&mut several, &mut of_several)] {
            while seen.last().is_none_or(|event| data(event)["seq"].as_u64().unwrap() < to) {
                seen.push(stream.next_within(SOON).await.expect("told by what comes after it"));
            }
        }
    };
    read(next).await;
    // How many are lost in a row, and how large each is: more than a page of the log, larger than what is published whole.
    for (lost, size) in [(1, 10), (2, 10), (40, 1000), (3, 6000), (1, 0)] {
        let range = next + 1..=next + lost;
        proxy.drop_messages(move |_, entry| range.contains(&seq(entry)));
        for n in 0..=lost {
            worker.output(json!({ "n": n, "text": "x".repeat(size) })).await;
        }
        next += lost + 1;
        read(next).await;
    }
    assert_eq!(proxy.messages_dropped(), 47);
    worker.complete(Value::Null).await;
    read(next + 1).await;
    assert_eq!(frames(&seen), Behind::of(&system, id).await.frames().await);
    let data = |events: &[_]| events.iter().map(data).collect::<Vec<_>>();
    assert_eq!(data(&of_several), data(&seen));
    assert_eq!(apart.client.count("jobcast_reconciled_losses_total").await, 0, "nobody had to look for it");
    system.nothing_grows().await;
}
