//! `stream.coalesce`: what comes within that time leaves in one write, and nothing else is different.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;
use whole::{Behind, HEARTBEAT, RawStream, Remote, SOON, System, frames};

/// How many outputs are written one after the other.
const OUTPUTS: usize = 10;

/// A job and its worker, and a stream that has told all there is of it.
async fn running(system: &System) -> (Remote, RawStream) {
    let client = system.client(0);
    let id = client.submit("remote", Value::Null).await;
    let worker = Remote::claim(client, "remote").await;
    let mut stream = RawStream::open(&client.events_url(id), &[]).await;
    assert!(stream.until_frame(|body| body.contains("event: started\n")).await);
    (worker, stream)
}

/// Writes outputs one by one, and reads until the stream has told `all` of the job; in how many chunks it has told them.
async fn in_chunks(worker: &Remote, stream: &mut RawStream, all: usize) -> usize {
    let before = chunks(stream).len();
    for n in 0..OUTPUTS {
        worker.output(n).await;
    }
    assert!(stream.until_frame(|body| body.matches("event: output\n").count() == all).await);
    chunks(stream).len() - before
}

/// The chunks that a stream has come in so far. In a long run a heartbeat may come in between, however seldom they are.
fn chunks(stream: &RawStream) -> Vec<&str> {
    stream.chunks().into_iter().filter(|&chunk| chunk != HEARTBEAT).collect()
}

/// What a stream has told so far: frames, in chunks that hold nothing but whole ones once it has begun.
fn told(stream: &RawStream) -> Vec<String> {
    let chunks = chunks(stream);
    let body = chunks.concat();
    let (retry, body) = body.split_once('\n').unwrap();
    assert!(retry.starts_with("retry: "), "{retry}");
    assert!(chunks[1..].iter().all(|chunk| chunk.ends_with("\n\n")), "{chunks:?}");
    body.split_inclusive("\n\n").map(str::to_owned).collect()
}

#[tokio::test]
async fn what_comes_within_the_time_leaves_together() {
    let system = System::builder()
        .workers(0)
        .settings("[stream]\ncoalesce = \"200ms\"\nheartbeat = \"5m\"")
        .start()
        .await;
    let (worker, mut stream) = running(&system).await;
    // Where the machine is so busy that ten calls take longer than that, they come in more chunks than one.
    let (mut rounds, begun) = (1, Instant::now());
    while in_chunks(&worker, &mut stream, rounds * OUTPUTS).await > 1 {
        assert!(begun.elapsed() < SOON, "never were they together: {:?}", stream.chunks());
        rounds += 1;
    }
    worker.complete(Value::Null).await;
    stream.events_to_end().await;
    assert!(stream.ended(), "the end comes too");
    let truth = Behind::of(&system, worker.job()).await.frames().await;
    assert_eq!(truth.len(), 2 + rounds * OUTPUTS + 1);
    assert_eq!(told(&stream), truth, "each once, in order, with its id");
    system.nothing_grows().await;
}

#[tokio::test]
async fn a_drain_waits_for_nothing_and_loses_nothing() {
    let settings = "[stream]\ncoalesce = \"1s\"\nheartbeat = \"5m\"\ndrain = \"0s\"";
    let system = System::builder().gateways(2).workers(0).settings(settings).start().await;
    let (a, b) = (system.client(0), system.client(1));
    let id = a.submit("remote", Value::Null).await;
    let worker = Remote::claim(b, "remote").await;
    let mut stream = RawStream::open(&a.events_url(id), &[]).await;
    assert!(stream.until_frame(|body| body.contains("event: started\n")).await);
    worker.output("gathered while it stops").await;
    system.gateways[0].terminate();
    let mut seen = stream.events_to_end().await;
    assert!(stream.ended(), "closed in order");
    assert!(stream.retry().is_some_and(|retry| retry <= Duration::from_secs(1)), "{:?}", stream.retry());
    let status = system.gateways[0].wait_exit(SOON).await;
    assert_eq!(status.code(), Some(0), "{status:?}");

    worker.complete(Value::Null).await;
    seen.extend(b.stream_after(id, &seen.last().unwrap().last_event_id).await.collect_to_end(SOON).await);
    assert_eq!(frames(&seen), Behind::of(&system, id).await.frames().await, "nothing lost, nothing twice");
    system.nothing_grows().await;
}

#[tokio::test]
async fn by_default_nothing_is_waited_for() {
    let system = System::builder().workers(0).settings("[stream]\nheartbeat = \"5m\"").start().await;
    let (worker, mut stream) = running(&system).await;
    let many = in_chunks(&worker, &mut stream, OUTPUTS).await;
    assert!(many > 1, "ten calls, one after the other, were told in one write: {:?}", stream.chunks());
    for n in 1..=OUTPUTS {
        worker.output("one alone").await;
        let all = OUTPUTS + n;
        assert!(stream.until_frame(|body| body.matches("event: output\n").count() == all).await);
        assert_eq!(chunks(&stream).last().unwrap().matches("event: ").count(), 1);
    }
    worker.complete(Value::Null).await;
    stream.events_to_end().await;
    assert_eq!(told(&stream), Behind::of(&system, worker.job()).await.frames().await);
    system.nothing_grows().await;
}
