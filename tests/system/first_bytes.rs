//! A stream's first bytes: with the log's events in one piece where Redis answers soon, and alone where it doesn't.

use serde_json::{Value, json};
use tokio::time::timeout;
use whole::{Behind, RawStream, Remote, SOON, System, Wire, frames};

/// No heartbeat within a test's time, which would make a stream speak.
const SILENT: &str = "[stream]\nheartbeat = \"5m\"";

#[tokio::test]
async fn they_do_not_wait_for_a_redis_that_stands_still() {
    // No call gives up meanwhile: one that fails would make the stream speak too.
    let system = System::builder().workers(0).settings(SILENT).store("patience = \"1m\"").start().await;
    let client = system.client(0);
    let id = client.submit("remote", Value::Null).await;
    let worker = Remote::claim(client, "remote").await;
    // Its gateway knows the job now. The log it forgets, as far as this one has seen it.
    let mut first = RawStream::open(&client.events_url(id), &[]).await;
    assert!(first.until_frame(|body| body.contains("event: started")).await);

    system.redis.pause();
    let url = client.events_url(id);
    let opening = RawStream::open(&url, &[]);
    let mut second = timeout(SOON / 2, opening).await.expect("its head, before any call gives up");
    assert!(second.until(|body| body.contains('\n')).await);
    assert!(second.body().starts_with("retry: ") && second.body().lines().count() == 1, "{}", second.body());
    system.redis.resume();

    assert!(second.until(|body| body.contains("event: started")).await);
    worker.complete(Value::Null).await;
    let truth = Behind::of(&system, id).await.frames().await;
    for stream in [&mut first, &mut second] {
        assert_eq!(frames(&stream.events_to_end().await), truth);
    }
    system.nothing_grows().await;
}

#[tokio::test]
async fn they_are_one_piece_with_the_events_that_are_there() {
    const STREAMS: usize = 50;
    let system = System::builder().workers(0).settings(SILENT).start().await;
    let client = system.client(0);
    let mut whole = 0;
    for _ in 0..STREAMS {
        // Each of a log of its own, which its gateway has to read.
        let id = client.submit("remote", Value::Null).await;
        let mut wire = Wire::open(client).await;
        wire.send(format!("GET /api/jobs/{id}/events HTTP/1.1\r\nHost: here\r\n\r\n")).await;
        let first = wire.piece().await;
        whole += usize::from(first.starts_with("HTTP/1.1 200 OK\r\n") && first.contains("event: queued\n"));
        assert_eq!(client.post(&format!("/api/jobs/{id}/cancel"), &json!({})).await.status(), 202);
    }
    println!("{whole} of {STREAMS} streams began in one piece");
    // On a machine that stands still a Redis is slow.
    assert!(whole > 0, "where they are apart, who waits for them gets them one by one");
    system.nothing_grows().await;
}
