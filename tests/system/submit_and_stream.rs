//! Submit and stream in one response: `POST /api/jobs` with `Accept: text/event-stream`.

use reqwest::Method;
use serde_json::{Value, json};
use testkit::sse::{Event, SseBuilder, check_history};
use whole::{Answer, Client, Remote, SOON, System, assert_counted_at_once, frames};

fn submission(client: &Client, body: &Value) -> SseBuilder {
    testkit::sse::SseStream::builder(client.url("/api/jobs")).post_json(body)
}

fn header(headers: &reqwest::header::HeaderMap, name: &str) -> String {
    headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

fn names(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.event.as_str()).collect()
}

#[tokio::test]
async fn the_answer_is_the_jobs_whole_history() {
    let system = System::builder().gateways(2).start().await;
    let (a, b) = (system.client(0), system.client(1));
    let mut stream =
        submission(a, &json!({ "task": "count", "payload": { "n": 30, "seconds": 0.5 } })).open().await;
    assert_eq!(stream.status(), 200);
    let headers = stream.headers().clone();
    assert_eq!(header(&headers, "content-type"), "text/event-stream");
    assert_eq!(header(&headers, "cache-control"), "no-cache, no-transform");
    assert_eq!(header(&headers, "idempotency-replayed"), "");
    let id = header(&headers, "location").strip_prefix("/api/jobs/").unwrap().parse().unwrap();
    let events = stream.collect_to_end(SOON).await;
    assert_counted_at_once(&events, 30);
    assert_eq!(frames(&events), frames(&b.events(id).await), "the same bytes as the job's own stream");
    assert_eq!(system.jobs().await, 1);
    system.nothing_grows().await;
}

#[tokio::test]
async fn who_was_cut_off_goes_on_at_the_jobs_stream() {
    let system = System::builder().workers(0).gateways(2).start().await;
    let (a, b) = (system.client(0), system.client(1));
    let mut stream = submission(a, &json!({ "task": "remote" })).open().await;
    let first = stream.next_within(SOON).await.unwrap();
    assert_eq!(first.event, "queued");
    let worker = Remote::claim(b, "remote").await;
    let second = stream.next_within(SOON).await.unwrap();
    // A client that goes away cancels nothing.
    drop(stream);
    worker.output(1).await;
    worker.complete(json!(2)).await;
    let mut rest = b.stream_after(worker.job(), &second.last_event_id).await;
    let events = [vec![first, second], rest.collect_to_end(SOON).await].concat();
    assert_eq!(names(&events), ["queued", "started", "output", "completed"]);
    check_history(&events).unwrap();
    system.nothing_grows().await;
}

#[tokio::test]
async fn a_repeat_streams_the_same_job_from_its_beginning() {
    let system = System::builder().workers(0).gateways(2).start().await;
    let (a, b) = (system.client(0), system.client(1));
    let body = json!({ "task": "remote", "payload": 1 });
    let once = async |client: &Client, body: &Value| {
        submission(client, body).header("Idempotency-Key", "\"once\"").open().await
    };
    let mut first = once(a, &body).await;
    let location = header(first.headers(), "location");
    assert_eq!(header(first.headers(), "idempotency-replayed"), "");
    let worker = Remote::claim(a, "remote").await;
    let mut again = once(b, &body).await;
    worker.complete(json!(true)).await;
    let mut ended = once(b, &body).await;
    for stream in [&again, &ended] {
        assert_eq!(stream.status(), 200);
        assert_eq!(header(stream.headers(), "location"), location);
        assert_eq!(header(stream.headers(), "idempotency-replayed"), "true");
    }
    let history = first.collect_to_end(SOON).await;
    check_history(&history).unwrap();
    assert_eq!(names(&history), ["queued", "started", "completed"]);
    for stream in [&mut again, &mut ended] {
        assert_eq!(frames(&stream.collect_to_end(SOON).await), frames(&history));
    }
    let other = once(b, &json!({ "task": "remote", "payload": 2 })).await;
    assert_eq!(other.status(), 422);
    assert!(other.body().await.contains("urn:jobcast:idempotency-mismatch"));
    assert_eq!(system.jobs().await, 1);
    system.nothing_grows().await;
}

#[tokio::test]
async fn what_is_refused_is_a_problem_and_no_stream() {
    let system = System::builder().workers(0).start().await;
    let client = system.client(0);
    for (body, want) in [
        (json!({ "task": "absent" }), (422, "unknown-task")),
        (json!({ "task": "remote", "timeout": -1 }), (422, "out-of-range")),
        (json!({ "tusk": "remote" }), (400, "malformed")),
    ] {
        let request = client.request(Method::POST, "/api/jobs").header("Accept", "text/event-stream");
        let answer = Answer::of(request.json(&body).send().await.unwrap()).await;
        assert_eq!(answer.problem(), want, "{body}");
        assert_eq!(answer.header("location"), "");
    }
    assert_eq!(system.jobs().await, 0);
}

#[tokio::test]
async fn only_who_asks_for_a_stream_gets_one() {
    let system = System::builder().workers(0).start().await;
    let client = system.client(0);
    for (accept, streams) in [
        ("text/event-stream", true),
        ("Text/Event-Stream; charset=utf-8", true),
        ("application/json, text/event-stream", true),
        ("*/*", false),
        ("text/*", false),
        ("application/json", false),
    ] {
        let request = client.request(Method::POST, "/api/jobs").header("Accept", accept);
        let answer = request.json(&json!({ "task": "remote" })).send().await.unwrap();
        let content_type = header(answer.headers(), "content-type");
        let want = if streams { (200, "text/event-stream") } else { (202, "application/json") };
        assert_eq!((answer.status().as_u16(), content_type.as_str()), want, "{accept}");
        assert!(header(answer.headers(), "location").starts_with("/api/jobs/"), "{accept}");
    }
}
