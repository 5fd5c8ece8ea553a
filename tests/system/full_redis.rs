//! A Redis without memory takes no new jobs; those that run end, and all goes on when there is memory again.

use std::time::Duration;

use model::JobId;
use reqwest::Response;
use serde_json::{Value, json};
use testkit::redis::{AsyncCommands, MultiplexedConnection, cmd};
use tokio::time::{Instant, sleep};
use whole::{SOON, System, assert_counted_at_once, brief};

const COUNT: u64 = 30;

async fn limit(redis: &mut MultiplexedConnection, bytes: u64) {
    cmd("CONFIG").arg("SET").arg("maxmemory").arg(bytes).exec_async(redis).await.unwrap();
}

async fn assert_full(response: Response) {
    assert_eq!(response.status(), 503);
    assert!(response.headers().contains_key("retry-after"));
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["type"], "urn:jobcast:store-full");
}

#[tokio::test]
async fn running_jobs_end_and_new_ones_are_refused_until_there_is_room() {
    let system = System::builder().gateways(2).settings("[stream]\nreconcile = \"1s\"\n").start().await;
    let (a, b) = (system.client(0), system.client(1));
    let mut redis = system.redis.client().await;
    let id = a.submit("count", json!({ "n": COUNT, "seconds": 3 })).await;
    let waiting = a.submit("remote", json!(null)).await;
    let browser = b.follow(id);
    testkit::eventually(SOON, "the job is in its middle", async || browser.count() > 5).await;

    limit(&mut redis, 1).await;
    let body = json!({ "task": "count", "payload": { "n": 1 } });
    for client in [a, b] {
        assert_full(client.post("/api/jobs", &body).await).await;
        assert_eq!(client.get("/readyz").await.status(), 200);
    }
    // Its end takes along what could not be written.
    let log = browser.wait().await;
    assert_eq!((log.ended, log.connects), (Some(204), 2), "{}", brief(&log));
    assert_counted_at_once(&log.events, COUNT);
    // What frees memory, and what only reads, goes on as ever.
    assert_eq!(b.job(id).await["attempt"], 1);
    assert_eq!(a.post(&format!("/api/jobs/{waiting}/cancel"), &json!({})).await.status(), 202);
    assert_eq!(b.ended(waiting).await["status"], "cancelled");
    assert_full(a.post("/api/jobs", &body).await).await;

    limit(&mut redis, 0).await;
    let next = b.submit("count", json!({ "n": COUNT })).await;
    assert_counted_at_once(&a.events(next).await, COUNT);
    for process in system.gateways.iter().chain(&system.workers) {
        assert!(process.stderr().lines().count() < 100, "{}", process.stderr());
    }
    system.nothing_grows().await;
}

#[tokio::test]
async fn who_starts_while_it_is_full_serves_what_is_there() {
    let mut system = System::builder().workers(0).settings("[jobs]\nsweep = \"200ms\"\n").start().await;
    let client = system.client(0).clone();
    let mut redis = system.redis.client().await;
    let id = client.submit("count", json!({ "n": 0 })).await;
    limit(&mut redis, 1).await;
    system.gateways[0].kill();
    system.restart_gateway(0);
    testkit::wait_http_ok(&client.url("/readyz"), SOON).await;
    system.start_worker();
    assert_eq!(client.ended(id).await["status"], "completed", "claimed and ended, which frees memory");
    assert_counted_at_once(&client.events(id).await, 0);
    assert_full(client.post("/api/jobs", &json!({ "task": "count" })).await).await;
    system.nothing_grows().await;
}

#[tokio::test]
async fn it_fills_up_under_load_and_recovers_by_itself() {
    let settings = "[jobs]\nretention = \"3s\"\nsweep = \"200ms\"\n[worker]\nconcurrency = 8\n";
    let system = System::builder().gateways(2).workers(2).settings(settings).start().await;
    let mut redis = system.redis.client().await;
    let info: String = cmd("INFO").arg("memory").query_async(&mut redis).await.unwrap();
    let used = info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap();
    // Room for some dozens of the payloads below.
    limit(&mut redis, used.trim().parse::<u64>().unwrap() + 4 * 1024 * 1024).await;

    // It fills up, frees memory as ended jobs expire, and fills up again: nobody but time helps it.
    let body = json!({ "task": "count", "payload": { "n": 1, "filler": "x".repeat(100_000) } });
    let (mut accepted, mut refused, mut recovered) = (Vec::new(), 0, 0);
    let mut is_full = false;
    let begun = Instant::now();
    while recovered < 2 {
        assert!(begun.elapsed() < 2 * SOON, "{} accepted, {refused} refused", accepted.len());
        let response = system.client(accepted.len() % 2).post("/api/jobs", &body).await;
        if response.status() == 202 {
            let told: Value = response.json().await.unwrap();
            let id: JobId = told["jobId"].as_str().unwrap().parse().unwrap();
            accepted.push(id);
            recovered += usize::from(is_full);
            is_full = false;
        } else {
            assert_full(response).await;
            (refused, is_full) = (refused + 1, true);
            sleep(Duration::from_millis(50)).await;
        }
    }
    assert!(accepted.len() > 20, "{} accepted, {refused} refused", accepted.len());
    // Every job that was accepted has its end: the feed tells it, when the job itself may be forgotten already.
    let feeds: Vec<String> = redis.keys("*}:feedof:*").await.unwrap();
    testkit::eventually_ok(SOON, "all have ended", async || {
        let told: Vec<String> = redis.clone().lrange(&feeds[0], 0, -1).await.unwrap();
        let ends = told.iter().filter(|entry| entry.contains(r#""type":"completed""#)).count();
        let is_told = |id: &JobId| told.iter().any(|entry| entry.contains(&id.to_string()));
        if ends == accepted.len() && accepted.iter().all(is_told) {
            Ok(())
        } else {
            Err(format!("{ends} of {}", accepted.len()))
        }
    })
    .await;
    system.nothing_grows().await;
}

#[tokio::test]
async fn a_long_attempt_waits_for_room_and_loses_nothing() {
    let system = System::builder().settings("[jobs]\nlease = \"7s\"\nheartbeat = \"1s\"\n").start().await;
    let client = system.client(0);
    let mut redis = system.redis.client().await;
    let id = client.submit("count", json!({ "n": 2 * COUNT, "seconds": 16 })).await;
    let browser = client.follow(id);
    testkit::eventually(SOON, "the job is in its middle", async || browser.count() > 5).await;
    limit(&mut redis, 1).await;
    // For longer than a lease: heartbeats are taken all the time.
    let end = Instant::now() + Duration::from_secs(10);
    while Instant::now() < end {
        assert_eq!(client.job(id).await["status"], "processing");
        sleep(Duration::from_millis(200)).await;
    }
    limit(&mut redis, 0).await;
    let log = browser.wait().await;
    assert_counted_at_once(&log.events, 2 * COUNT);
    assert_eq!(client.job(id).await["attempt"], 1);
    system.nothing_grows().await;
}
