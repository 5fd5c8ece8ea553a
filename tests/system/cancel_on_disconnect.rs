//! `cancelOnDisconnect`: a job that nobody has followed for so long is cancelled; one that somebody follows isn't, wherever
//! and however, and whatever dies meanwhile.

use std::time::Duration;

use model::{JobId, Timestamp};
use serde_json::{Value, json};
use testkit::sse::SseStream;
use tokio::time::{Instant, sleep, sleep_until};
use whole::{Answer, Client, RawStream, Remote, SOON, System, data, turns};

/// The shortest that can be asked for.
const WITHIN: Duration = Duration::from_secs(5);

/// Longer than a job lives that nobody follows, even where the machine is slow: a third more, and a few sweeps.
const LONG: Duration = Duration::from_secs(12);

/// How often somebody asks who keeps a job by that: so often that a busy machine may stand still in between.
const OFTEN: Duration = Duration::from_millis(400);

async fn submit(client: &Client) -> JobId {
    client.submit_with(&json!({ "task": "remote", "cancelOnDisconnect": WITHIN.as_secs() })).await
}

fn time(job: &Value, field: &str) -> Timestamp {
    serde_json::from_value(job[field].clone()).unwrap()
}

/// The end of a job that nobody follows, as the feed tells it, which follows nothing.
async fn end_by_feed(client: &Client, id: JobId) -> Value {
    let mut feed = SseStream::open(&client.url("/api/feed")).await;
    loop {
        let event = feed.next_within(SOON).await.unwrap();
        let event = data(&event);
        let ends = ["completed", "failed", "cancelled"].contains(&event["type"].as_str().unwrap());
        if ends && event["jobId"] == json!(id) {
            return event;
        }
    }
}

#[tokio::test]
async fn what_nobody_follows_is_cancelled_and_what_does_not_ask_for_it_goes_on() {
    let system = System::builder().gateways(2).workers(0).store("partitions = 4").start().await;
    let (a, b) = (system.client(0), system.client(1));
    let other = a.submit("remote", json!(null)).await;
    let (pending, running) = (submit(a).await, submit(a).await);
    // One of the two runs; whichever it is, and the other job's attempt.
    let attempts = [Remote::claim(b, "remote").await, Remote::claim(b, "remote").await];
    // The feed is interest in the owner's jobs, not in this one; and so is the list.
    let (event, _) = tokio::join!(end_by_feed(a, pending), end_by_feed(b, running));
    assert_eq!((&event["type"], &event["errorCode"]), (&json!("cancelled"), &json!("cancelled")));
    assert_eq!(event["error"], "nobody followed the job for 5 s (cancelOnDisconnect)");
    for id in [pending, running] {
        let job = a.job(id).await;
        assert_eq!(job["status"], "cancelled");
        let lived = time(&job, "finishedAt").since(time(&job, "createdAt"));
        assert!(lived >= WITHIN, "{lived:?}");
    }
    for attempt in attempts {
        let answer = attempt.must("heartbeat", json!({})).await;
        assert_eq!(answer["cancelled"], attempt.job() != other, "the attempt hears of it");
        attempt.must("complete", json!({})).await;
    }
    assert_ne!(a.job(other).await["status"], "cancelled");
    let _ = a.tell(&format!("/api/jobs/{other}/cancel"), &json!({})).await;
    system.nothing_grows().await;
}

/// Follows in one way, for longer than it would live else; when it still did.
async fn kept(client: &Client, id: JobId, how: &str) -> Instant {
    let until = Instant::now() + LONG;
    let mut asked = until;
    match how {
        "a stream" => {
            let _stream = client.stream(id).await;
            sleep_until(until).await;
        }
        "a stream from now on" => {
            let _stream = SseStream::open(&client.url(&format!("/api/jobs/{id}/events?from=now"))).await;
            sleep_until(until).await;
        }
        "a stream of several" => {
            let gone = "019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6000";
            let _stream = SseStream::open(&client.url(&format!("/api/events?job={gone}&job={id}"))).await;
            sleep_until(until).await;
        }
        "polls" => {
            while Instant::now() < until {
                asked = Instant::now();
                assert_eq!(client.job(id).await["status"], "pending", "{how}");
                sleep(OFTEN).await;
            }
        }
        "pages of the log" => {
            while Instant::now() < until {
                asked = Instant::now();
                let request = client.request(reqwest::Method::GET, &format!("/api/jobs/{id}/events"));
                let page =
                    Answer::of(request.header("accept", "application/json").send().await.unwrap()).await;
                assert_eq!(page.body["events"].as_array().unwrap().len(), 1, "{how}");
                sleep(OFTEN).await;
            }
        }
        "a long poll" => {
            let answer = client.ask(&format!("/api/jobs/{id}?wait={}", LONG.as_secs())).await;
            assert_eq!(answer.status, 200);
        }
        other => panic!("{other}"),
    }
    asked
}

#[tokio::test]
async fn every_way_to_follow_keeps_it() {
    let system = System::builder().gateways(2).workers(0).store("partitions = 4").start().await;
    let (a, b) = (system.client(0), system.client(1));
    let each = async |how: &str| {
        let id = submit(a).await;
        let left = kept(b, id, how).await;
        // A look at it would be interest again; the list isn't.
        let listed = a.ask("/api/jobs?status=pending").await;
        assert!(listed.body["jobs"].as_array().unwrap().iter().any(|job| job["id"] == json!(id)), "{how}");
        let event = end_by_feed(a, id).await;
        assert_eq!(event["type"], "cancelled", "{how}");
        assert!(left.elapsed() > WITHIN * 2 / 5, "{how}: {:?}", left.elapsed());
    };
    // The submission's own stream, and its own wait, are no less.
    let request = |accept: &str, prefer: &str| {
        let body = json!({ "task": "remote", "cancelOnDisconnect": 5 });
        let request = a.request(reqwest::Method::POST, "/api/jobs").json(&body);
        request.header("accept", accept).header("prefer", prefer).send()
    };
    let own = async || {
        let (streamed, waited) = tokio::join!(request("text/event-stream", ""), request("*/*", "wait=12"));
        let waited: Value = waited.unwrap().json().await.unwrap();
        assert_eq!(waited["status"], "pending", "12 s later");
        let streamed = streamed.unwrap();
        let location = streamed.headers()["location"].to_str().unwrap().to_owned();
        assert_eq!(a.ask(&location).await.body["status"], "pending");
    };
    tokio::join!(
        each("a stream"),
        each("a stream from now on"),
        each("a stream of several"),
        each("polls"),
        each("pages of the log"),
        each("a long poll"),
        own()
    );
    system.nothing_grows().await;
}

#[tokio::test]
async fn a_follower_that_goes_to_another_gateway_keeps_it() {
    let mut system = System::builder().gateways(2).workers(0).start().await;
    let (a, b) = (system.client(0).clone(), system.client(1).clone());
    let id = submit(&a).await;
    let attempt = Remote::claim(&b, "remote").await;
    let follower = a.follow_also(id, &[&b]);
    testkit::eventually(SOON, "it follows", async || follower.count() >= 2).await;
    system.gateways[0].kill();
    sleep(LONG).await;
    assert_eq!(attempt.must("heartbeat", json!({})).await["cancelled"], false);
    attempt.complete(1).await;
    let log = follower.wait().await;
    assert_eq!(turns(&log.events), ["queued", "started", "completed"]);

    // When its gateway dies and it doesn't come back, nothing that died keeps the job.
    let id = submit(&b).await;
    let stream = b.stream(id).await;
    sleep(WITHIN).await;
    system.gateways[1].kill();
    drop(stream);
    system.restart_gateway(0);
    system.wait_gateway(0).await;
    assert_eq!(end_by_feed(&a, id).await["type"], "cancelled");
    system.nothing_grows().await;
}

#[tokio::test]
async fn a_stream_whose_first_snapshots_take_long_keeps_the_jobs_after_them() {
    let system = System::builder().workers(0).start().await;
    let client = system.client(0);
    // More than the system holds on its way to a client that takes nothing.
    let mut query = String::new();
    for _ in 0..12 {
        query += &format!("job={}&", client.submit("remote", json!(null)).await);
        Remote::claim(client, "remote").await.complete("x".repeat(1_000_000)).await;
    }
    let id = submit(client).await;
    let url = client.url(&format!("/api/events?{query}job={id}&from=now"));
    let mut stream = RawStream::with_buffer(&url, &[], Some(4096)).await;
    stream.take(64 * 1024).await;
    sleep(LONG).await;
    assert_eq!(client.job(id).await["status"], "pending");
    drop(stream);
    assert_eq!(end_by_feed(client, id).await["type"], "cancelled");
    system.nothing_grows().await;
}

#[tokio::test]
async fn only_times_that_can_be_kept_are_taken() {
    let system = System::builder().workers(0).start().await;
    let client = system.client(0);
    for (time, status, name) in [
        (json!(4.999), 422, "out-of-range"),
        (json!(0), 422, "out-of-range"),
        (json!(-5), 422, "out-of-range"),
        (json!(1e9), 422, "out-of-range"),
        (json!(8 * 24 * 3600), 422, "out-of-range"),
        (json!("5"), 400, "malformed"),
        (json!(true), 400, "malformed"),
    ] {
        let body = json!({ "task": "remote", "cancelOnDisconnect": time });
        let answer = client.tell("/api/jobs", &body).await;
        assert_eq!(answer.problem(), (status, name), "{time}");
        assert!(
            name == "malformed" || answer.body["detail"].as_str().unwrap().contains("cancelOnDisconnect")
        );
    }
    let off = client.tell("/api/jobs", &json!({ "task": "remote", "cancelOnDisconnect": null })).await;
    assert_eq!(off.status, 202);
    assert_eq!(system.jobs().await, 1);
}
