//! What goes over the wire, to the byte: the head, `retry:`, frames, heartbeats.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use whole::{Behind, Http, RawStream, Remote, SOON, System};

/// No heartbeat within a test's time.
const SILENT: &str = "[stream]\nheartbeat = \"5m\"";

/// The milliseconds of a body that is a `retry:` line alone.
fn retry(body: &str) -> Option<u64> {
    body.strip_prefix("retry: ")?.strip_suffix('\n')?.parse().ok()
}

#[tokio::test]
async fn the_head_and_retry_come_at_once() {
    let system = System::builder().workers(0).settings(SILENT).start().await;
    let client = system.client(0);
    let id = client.submit("remote", Value::Null).await;
    let queued = client.job(id).await["lastEventId"].as_str().unwrap().to_owned();
    let mut retries = BTreeSet::new();
    for n in 0..20 {
        let http = Http::ALL[n % 2];
        // Of a job of which nothing more is to come, so that nothing but the stream's own beginning can make it speak.
        let after = format!("Last-Event-ID: {queued}");
        let mut stream = RawStream::asked(http, &client.events_url(id), &[&after], None).await;
        let lines = stream.head().lines().map(str::to_owned);
        let (mut lines, date): (Vec<_>, Vec<_>) = lines.partition(|line| !line.starts_with("date: "));
        lines[1..].sort();
        let status = format!("{} 200 OK", http.name());
        let mut want = vec![
            &*status,
            "cache-control: no-cache, no-transform",
            "connection: close",
            "content-type: text/event-stream",
            "transfer-encoding: chunked",
            "x-accel-buffering: no",
        ];
        // HTTP/1.0 knows no chunks.
        want.retain(|line| http == Http::V1_1 || !line.starts_with("transfer-encoding"));
        assert_eq!((lines, date.len()), (want.into_iter().map(str::to_owned).collect(), 1));
        assert!(stream.until(|body| body.contains('\n')).await);
        let after = retry(stream.body()).unwrap_or_else(|| panic!("{:?}", stream.body()));
        assert!((1000..=3000).contains(&after), "{after}");
        retries.insert(after);
    }
    assert!(retries.len() > 5, "each its own: {retries:?}");
    assert_eq!(client.post(&format!("/api/jobs/{id}/cancel"), &json!({})).await.status(), 202);
    system.nothing_grows().await;
}

#[tokio::test]
async fn frames_are_name_data_and_last_the_id() {
    let system = System::builder().workers(0).settings(SILENT).start().await;
    let client = system.client(0);
    let id = client.submit("remote", json!({ "any": "thing" })).await;
    let worker = Remote::claim(client, "remote").await;
    worker.must("progress", json!({ "progress": 42.5, "message": "encoding \"é\"\r\n\u{2028}" })).await;
    worker.must("output", json!({ "text": "two\nlines, a \r and \u{1f600}" })).await;
    worker.output(json!({ "data": "\n\ndata: x\nid: 9\n\n" })).await;
    worker.complete(Value::Null).await;
    let frames = Behind::of(&system, id).await.frames().await.concat();
    for http in Http::ALL {
        let mut stream = RawStream::asked(http, &client.events_url(id), &[], None).await;
        stream.events_to_end().await;
        assert!(stream.ended(), "it says that it is over");
        let (first, rest) = stream.body().split_once('\n').unwrap();
        assert!(retry(&format!("{first}\n")).is_some(), "{first}");
        assert_eq!(rest, frames, "nothing beside the frames");
    }
    for frame in frames.split_terminator("\n\n") {
        let fields: Vec<_> = frame.lines().map(|line| line.split(": ").next().unwrap()).collect();
        assert_eq!(fields, ["event", "data", "id"], "{frame}");
        let data = frame.lines().nth(1).unwrap().strip_prefix("data: ").unwrap();
        let event: Value = serde_json::from_str(data).unwrap();
        let name = frame.lines().next().unwrap().strip_prefix("event: ").unwrap();
        assert_eq!((&event["jobId"], &event["type"]), (&json!(id), &json!(name)));
        assert!(event["seq"].is_u64() && event["attempt"].is_u64(), "{event}");
        let at = event["at"].as_str().unwrap();
        assert!(at.len() == "2026-11-23T10:00:00.123Z".len() && at.ends_with('Z'), "{at}");
    }
    system.nothing_grows().await;
}

#[tokio::test]
async fn silent_streams_get_comments_without_an_empty_line() {
    let settings = "[stream]\nheartbeat = \"1s\"\nheartbeat_jitter = \"200ms\"";
    let system = System::builder().workers(0).settings(settings).start().await;
    let client = system.client(0);
    let id = client.submit("remote", Value::Null).await;
    let worker = Remote::claim(client, "remote").await;
    let started = client.job(id).await["lastEventId"].as_str().unwrap().to_owned();
    let mut stream = RawStream::open(&client.events_url(id), &[&format!("Last-Event-ID: {started}")]).await;
    assert!(stream.until(|body| body.matches("\n:").count() >= 3 && body.ends_with('\n')).await);
    let (first, comments) = stream.body().split_once('\n').unwrap();
    assert!(first.starts_with("retry: ") && comments.lines().all(|line| line == ":"), "{:?}", stream.body());
    assert!(!comments.contains("\n\n"), "some clients would fire an empty event");

    worker.output("after the comments").await;
    assert!(stream.until(|body| body.contains("\n\n")).await);
    let events = stream.events();
    let names: Vec<_> = events.iter().map(|event| event.event.as_str()).collect();
    assert_eq!(names, ["output"], "comments fire nothing");
    worker.complete(Value::Null).await;
    let rest = stream.events_to_end().await;
    assert_eq!(rest.last().map(|event| event.event.as_str()), Some("completed"));
    assert!(
        stream.retry().is_some_and(|after| after >= Duration::from_secs(1)),
        "an end is no planned close"
    );
    system.nothing_grows().await;
}

#[tokio::test]
async fn the_head_alone_and_other_methods_open_no_stream() {
    let system = System::builder().workers(0).settings(SILENT).start().await;
    let client = system.client(0);
    let id = client.submit("remote", Value::Null).await;
    let path = format!("/api/jobs/{id}/events");
    for (method, status) in [("HEAD", 200), ("POST", 405), ("PUT", 405), ("DELETE", 405)] {
        let response = client.request(method.parse().unwrap(), &path).send().await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{method}");
        assert!(status == 405 || response.text().await.unwrap().is_empty());
    }
    testkit::eventually(SOON, "none is open", async || client.count("jobcast_open_streams").await == 0).await;
    assert_eq!(client.post(&format!("/api/jobs/{id}/cancel"), &json!({})).await.status(), 202);
    system.nothing_grows().await;
}
