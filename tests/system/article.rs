//! The article's calls, used as its clients use them: by polls, and by an EventSource.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use model::JobId;
use reqwest::Method;
use serde_json::{Value, json};
use testkit::sse::{Event, FollowOptions, SseStream, follow};
use testkit::{eventually, eventually_some};
use whole::{Answer, Builder, Client, Hook, RawStream, Remote, SOON, System, data};

/// A system that serves them, for `task`.
fn serving(task: &str) -> Builder {
    System::builder().settings(&format!("[gateway]\narticle = true\ndefault_task = {task:?}"))
}

fn sse_url(client: &Client) -> String {
    client.url("/api/process-sse?data=%7B%22n%22%3A1%7D")
}

/// The stream that an EventSource gets which comes back with `id`.
async fn come_back(client: &Client, id: &str) -> SseStream {
    SseStream::builder(sse_url(client)).last_event_id(id).open().await
}

fn names(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.event.as_str()).collect()
}

/// The job that a stream is of, once its head has come.
async fn job_of(stream: &mut RawStream) -> JobId {
    assert!(stream.until(|body| body.contains("\n\n")).await);
    let id = stream.body().lines().find_map(|line| line.strip_prefix("id: ")).unwrap();
    id.strip_suffix(":0").unwrap_or_else(|| panic!("{id}")).parse().unwrap()
}

#[tokio::test]
async fn submitted_and_polled_with_backoff() {
    let system = serving("count").start().await;
    let client = system.client(0);
    let answer = client.tell("/api/process", &json!({ "n": 20, "seconds": 0.5 })).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let id: JobId = answer.body["jobId"].as_str().unwrap().parse().unwrap();
    // All that its clients know of.
    assert_eq!(answer.body, json!({ "jobId": id, "statusUrl": format!("/api/jobs/{id}") }));
    let status_url = answer.body["statusUrl"].as_str().unwrap();
    let (mut wait, mut seen) = (Duration::from_millis(20), Vec::new());
    let job = eventually_some(SOON, "a poll finds it completed", async || {
        tokio::time::sleep(wait).await;
        wait = (wait * 3 / 2).min(Duration::from_secs(1));
        let answer = client.ask(status_url).await;
        assert_eq!(answer.status, 200);
        seen.push(answer.body["progress"].as_f64().unwrap_or_default());
        (answer.body["status"] == "completed").then_some(answer.body)
    })
    .await;
    assert!(seen.is_sorted(), "{seen:?}");
    assert_eq!((&job["result"], &job["progress"]), (&json!({ "count": 20 }), &json!(100)));
    system.nothing_grows().await;
}

#[tokio::test]
async fn the_whole_body_is_the_payload() {
    let system = serving("remote").workers(0).start().await;
    let client = system.client(0);
    for payload in
        [json!({ "task": "count", "payload": 1 }), json!([1, "two", null]), json!("text"), Value::Null]
    {
        assert_eq!(client.tell("/api/process", &payload).await.status, 202);
        let claimed = client.tell("/api/work/claim", &json!({ "tasks": ["remote"] })).await;
        assert_eq!((claimed.status, &claimed.body["payload"]), (200, &payload));
    }
    // The same press of a button, sent again because nobody answered.
    let again = async || {
        let request = client.request(Method::POST, "/api/process").header("Idempotency-Key", "\"once\"");
        Answer::of(request.json(&json!({ "n": 1 })).send().await.unwrap()).await.body["jobId"].clone()
    };
    assert_eq!(again().await, again().await);
    assert_eq!(system.jobs().await, 5);
    let no_json =
        client.request(Method::POST, "/api/process").body("{").header("Content-Type", "application/json");
    assert_eq!(Answer::of(no_json.send().await.unwrap()).await.problem(), (400, "malformed"));
}

#[tokio::test]
async fn a_receiver_of_the_articles_is_told_and_checks_the_signature_as_there() {
    let settings =
        format!("[webhooks]\nallow = [\"127.0.0.1\"]\nencryption_keys = [\"{}\"]", "0f".repeat(32));
    let system = serving("remote").workers(0).couriers(1).settings(&settings).start().await;
    let (client, receiver) = (system.client(0), Hook::start().await);
    let url = receiver.at("/webhook");
    for (number, secret) in [json!("your-secret"), json!(""), Value::Null].into_iter().enumerate() {
        let body = json!({ "n": number, "webhookUrl": url, "webhookSecret": secret });
        let answer = client.tell("/api/process-webhook", &body).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        let id = &answer.body["jobId"];
        let status_url = format!("/api/jobs/{}", id.as_str().unwrap());
        assert_eq!(answer.body, json!({ "jobId": id, "statusUrl": status_url }));
        let claimed = client.tell("/api/work/claim", &json!({ "tasks": ["remote"] })).await.body;
        assert_eq!(claimed["payload"], json!({ "n": number }), "the rest");
        let report = json!({ "leaseToken": claimed["leaseToken"], "result": { "words": number } });
        client.tell(&format!("/api/work/{}/complete", id.as_str().unwrap()), &report).await;

        let arrival = receiver.wait(number + 1).await.remove(number);
        let said = arrival.json();
        assert_eq!((&said["jobId"], &said["status"]), (id, &json!("completed")));
        assert_eq!((&said["result"], &said["error"]), (&json!({ "words": number }), &Value::Null));
        // crypto.createHmac('sha256', secret || '').update(body).digest('hex')
        let key = secret.as_str().unwrap_or_default();
        assert_eq!(arrival.header("x-webhook-signature"), hmac(key, &arrival.body));
        assert_eq!(!arrival.headers.contains_key("webhook-signature"), key.is_empty());
    }
    let nobody = client.tell("/api/process-webhook", &json!({ "n": 1 })).await;
    assert_eq!(nobody.status, 202);
    for (body, problem) in [
        (json!({ "webhookUrl": "http://10.0.0.1/" }), (422, "webhook-refused")),
        (json!({ "webhookUrl": 1 }), (400, "malformed")),
        (json!([1]), (400, "malformed")),
    ] {
        assert_eq!(client.tell("/api/process-webhook", &body).await.problem(), problem, "{body}");
    }
    assert_eq!((receiver.got().len(), system.jobs().await), (3, 4));
}

/// The hex HMAC-SHA256 of `body`, by another hand than ours.
fn hmac(key: &str, body: &[u8]) -> String {
    let program = "import hashlib, hmac, sys; \
                   print(hmac.new(sys.argv[1].encode(), sys.stdin.buffer.read(), hashlib.sha256).hexdigest(), end='')";
    let mut python = Command::new("python3")
        .args(["-c", program, key])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(body).unwrap();
    String::from_utf8(python.wait_with_output().unwrap().stdout).unwrap()
}

#[tokio::test]
async fn an_event_source_is_told_in_the_articles_words() {
    let system = serving("remote").workers(0).start().await;
    let client = system.client(0);
    let mut stream = RawStream::open(&sse_url(client), &["Accept: text/event-stream"]).await;
    assert!(stream.head().starts_with("HTTP/1.1 200 "), "{}", stream.head());
    assert_eq!(stream.header("content-type"), ["text/event-stream"]);
    // At once, before anything has happened: the id by which a reconnect finds the job.
    let id = job_of(&mut stream).await;
    let head: Vec<_> = stream.body().split('\n').collect();
    assert!(head[0].starts_with("retry: "), "{head:?}");
    assert_eq!(head[1..], [&format!("id: {id}:0"), "", ""]);
    assert_eq!(stream.events(), [], "and it fires nothing");

    let worker = Remote::claim(client, "remote").await;
    assert_eq!(worker.job(), id);
    worker.must("progress", json!({ "progress": 42.5, "message": "half-way" })).await;
    worker.output(1).await;
    worker.complete(json!({ "words": 7 })).await;
    let events = stream.events_to_end().await;
    assert_eq!(names(&events), ["started", "progress", "completed"]);
    let said = |progress: Value, result: Value| json!({ "jobId": id, "progress": progress, "result": result, "error": null });
    assert_eq!(data(&events[0]), said(Value::Null, Value::Null));
    assert_eq!(data(&events[1]), said(json!(42.5), Value::Null));
    assert_eq!(data(&events[2]), said(json!(100), json!({ "words": 7 })));
    // The cursors are those of the job's own stream.
    let cursors: Vec<_> = client.events(id).await.into_iter().map(|event| event.last_event_id).collect();
    let ids: Vec<_> = events.iter().map(|event| event.last_event_id.clone()).collect();
    assert_eq!(ids, [1, 2, 4].map(|at: usize| format!("{id}:{}", cursors[at])));
    assert_eq!(system.jobs().await, 1);
    system.nothing_grows().await;
}

#[tokio::test]
async fn failed_and_cancelled_are_errors() {
    let system = serving("remote").workers(0).start().await;
    let client = system.client(0);
    let mut failing = RawStream::open(&sse_url(client), &[]).await;
    let failed = job_of(&mut failing).await;
    let worker = Remote::claim(client, "remote").await;
    worker.must("progress", json!({ "progress": 10 })).await;
    worker.must("fail", json!({ "error": "no such file" })).await;
    let mut cancelling = RawStream::open(&sse_url(client), &[]).await;
    let cancelled = job_of(&mut cancelling).await;
    assert_eq!(client.tell(&format!("/api/jobs/{cancelled}/cancel"), &json!({})).await.status, 202);

    let events = failing.events_to_end().await;
    assert_eq!(names(&events), ["started", "progress", "error"]);
    let last = data(&events[2]);
    assert_eq!(
        (&last["jobId"], &last["error"], &last["result"]),
        (&json!(failed), &json!("no such file"), &Value::Null)
    );
    let events = cancelling.events_to_end().await;
    assert_eq!(names(&events), ["error"]);
    assert!(data(&events[0])["error"].as_str().unwrap().contains("cancelled"));
    system.nothing_grows().await;
}

#[tokio::test]
async fn who_comes_back_never_submits() {
    let system = serving("remote").workers(0).gateways(2).start().await;
    let (a, b) = (system.client(0), system.client(1));
    let mut first = RawStream::open(&sse_url(a), &[]).await;
    let id = job_of(&mut first).await;
    drop(first);

    // Queued: the stream waits for the start, on any gateway.
    let mut waiting = come_back(b, &format!("{id}:0")).await;
    assert_eq!(waiting.status(), 200);
    let worker = Remote::claim(a, "remote").await;
    let started = waiting.next_within(SOON).await.unwrap();
    assert_eq!((started.event.as_str(), worker.job()), ("started", id));
    worker.must("progress", json!({ "progress": 50 })).await;
    let half = waiting.next_within(SOON).await.unwrap();
    assert_eq!(half.event, "progress");

    // Running: what came after.
    let mut running = come_back(a, &started.last_event_id).await;
    assert_eq!(running.next_within(SOON).await.as_ref(), Some(&half));
    worker.complete(json!(1)).await;
    for stream in [&mut waiting, &mut running] {
        assert_eq!(names(&stream.collect_to_end(SOON).await), ["completed"]);
    }

    // Ended while it was away: it is told the end; then there is nothing more, and it stops.
    let mut late = come_back(b, &half.last_event_id).await;
    let end = late.collect_to_end(SOON).await;
    assert_eq!(names(&end), ["completed"]);
    let over = come_back(b, &end[0].last_event_id).await;
    assert_eq!((over.status().as_u16(), over.body().await.as_str()), (204, ""));
    let unknown = come_back(b, "019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6000:4-4f2a9c").await;
    assert_eq!(unknown.status(), 204);

    // What was never an id of such a stream is no reason to submit either.
    for bad in ["4-4f2a9c", "x:0", &format!("{id}:x"), &id.to_string()] {
        let answer = a.request(Method::GET, "/api/process-sse?data=1").header("Last-Event-ID", bad);
        let answer = Answer::of(answer.send().await.unwrap()).await;
        assert_eq!(answer.problem(), (400, "bad-cursor"), "{bad}");
    }
    assert_eq!(system.jobs().await, 1);
    system.nothing_grows().await;
}

#[tokio::test]
async fn an_event_source_outlives_its_gateway_without_a_second_job() {
    let mut system = serving("count").start().await;
    let options =
        FollowOptions { max_retry: Duration::from_millis(300), deadline: 2 * SOON, ..Default::default() };
    // It takes longer than a busy machine stands still before the gateway is killed.
    let url = system.client(0).url("/api/process-sse?data=%7B%22n%22%3A60%2C%22seconds%22%3A8%7D");
    let browser = follow(url, options);
    eventually(SOON, "the bar moves", async || browser.count() > 5).await;
    system.gateways[0].kill();
    system.restart_gateway(0);
    let seen = browser.wait().await;
    assert_eq!(seen.ended, Some(204), "{seen:?}");
    assert!(seen.connects > 2, "it was cut off, and came back: {seen:?}");
    assert_eq!(
        (seen.events[0].event.as_str(), seen.events.last().unwrap().event.as_str()),
        ("started", "completed")
    );
    let bar: Vec<_> = seen.events.iter().filter_map(|event| data(event)["progress"].as_f64()).collect();
    assert!(bar.is_sorted(), "the bar never goes back: {bar:?}");
    let ids: std::collections::HashSet<_> = seen.events.iter().map(|event| &event.last_event_id).collect();
    assert_eq!(ids.len(), seen.events.len(), "nothing comes twice");
    assert_eq!(system.jobs().await, 1);
    system.nothing_grows().await;
}

#[tokio::test]
async fn data_is_json_or_absent() {
    let system = serving("remote").workers(0).start().await;
    let client = system.client(0);
    for (query, payload) in
        [("", Value::Null), ("?data=%5B1%5D", json!([1])), ("?data=null&more=1", Value::Null)]
    {
        let mut stream =
            RawStream::open(&client.url(&format!("/api/process-sse{query}")), &["Last-Event-ID:"]).await;
        let id = job_of(&mut stream).await;
        let claimed = client.tell("/api/work/claim?wait=10", &json!({ "tasks": ["remote"] })).await;
        assert_eq!((&claimed.body["jobId"], &claimed.body["payload"]), (&json!(id), &payload));
    }
    for query in ["?data=", "?data=%7B", "?data=1&data=2"] {
        let answer = client.ask(&format!("/api/process-sse{query}")).await;
        assert_eq!(answer.problem(), (400, "malformed"), "{query}");
    }
    assert_eq!(system.jobs().await, 3);
}

#[tokio::test]
async fn only_where_configured() {
    let off = System::builder().workers(0).start().await;
    let no_task = System::builder().workers(0).settings("[gateway]\narticle = true").start().await;
    for (system, want) in [(&off, (404, "not-found")), (&no_task, (422, "no-default-task"))] {
        let client = system.client(0);
        assert_eq!(client.tell("/api/process", &json!({})).await.problem(), want);
        assert_eq!(client.ask("/api/process-sse?data=1").await.problem(), want);
        assert_eq!(system.jobs().await, 0);
    }
}

#[tokio::test]
async fn somebody_elses_job_is_as_unknown_as_any() {
    let mut keys = String::new();
    for owner in ["acme", "other"] {
        let hash = model::fingerprint::sha256(owner.as_bytes());
        keys += &format!(
            "[[auth.keys]]\nowner = {owner:?}\nsha256 = \"{hash}\"\nscopes = [\"submit\", \"read\"]\n"
        );
    }
    let system = serving("remote").keys(&keys).workers(0).start().await;
    let client = system.client(0);
    assert_eq!(client.ask("/api/process-sse?data=1").await.problem(), (401, "unauthenticated"));
    let answer = client.with_key("acme").tell("/api/process", &json!(1)).await;
    let id = answer.body["jobId"].as_str().unwrap();
    let come_back = async |key: &str| {
        let request = SseStream::builder(sse_url(client)).last_event_id(&format!("{id}:0"));
        request.bearer(key).open().await.status().as_u16()
    };
    assert_eq!((come_back("acme").await, come_back("other").await), (200, 204));
    assert_eq!(system.jobs().await, 1);
}
