//! A worker that dies, or stands still for too long, loses its attempt and nothing else.

use std::time::Duration;

use serde_json::{Value, json};
use whole::{Remote, SOON, System, assert_counted, data, programs_of, repository, turns};

const LEASE: &str = "[jobs]\nlease = \"5s\"\nheartbeat = \"1s\"\n";
const COUNT: u64 = 30;
/// How long a job takes that is to be met in its middle: longer than a busy machine stands still.
const SECONDS: u64 = 8;

/// The one event of that name.
fn the(name: &str, events: &[testkit::sse::Event]) -> Value {
    let mut found = events.iter().filter(|event| event.event == name);
    let event = found.next().unwrap();
    assert!(found.next().is_none(), "one {name}");
    data(event)
}

#[tokio::test]
async fn a_killed_workers_job_is_finished_by_another() {
    let mut system = System::builder().settings(LEASE).start().await;
    let id = system.client(0).submit("count", json!({ "n": COUNT, "seconds": SECONDS })).await;
    let browser = system.client(0).follow(id);
    testkit::eventually(SOON, "the job is in its middle", async || browser.count() > 10).await;
    system.start_worker();
    system.workers[0].kill();

    let log = browser.wait().await;
    assert_eq!((log.ended, log.connects), (Some(204), 2), "the stream stood all the time");
    assert_counted(&log.events, COUNT);
    assert_eq!(turns(&log.events), ["queued", "started", "retrying", "started", "completed"]);
    let retrying = the("retrying", &log.events);
    assert_eq!((&retrying["errorCode"], &retrying["attempt"]), (&json!("lost"), &json!(1)), "{retrying}");
    let job = system.client(0).ended(id).await;
    assert_eq!((&job["status"], &job["attempt"]), (&json!("completed"), &json!(2)), "{job}");
    system.nothing_grows().await;
}

#[tokio::test]
async fn the_last_attempt_that_is_lost_ends_the_job() {
    let system = System::builder().settings(LEASE).start().await;
    let payload = json!({ "n": COUNT, "seconds": 60 });
    let id =
        system.client(0).submit_with(&json!({ "task": "count", "payload": payload, "maxAttempts": 1 })).await;
    let browser = system.client(0).follow(id);
    testkit::eventually(SOON, "the job has begun", async || browser.count() > 3).await;
    system.workers[0].kill();
    let log = browser.wait().await;
    assert_eq!(turns(&log.events), ["queued", "started", "failed"]);
    assert_eq!(data(log.events.last().unwrap())["errorCode"], "lost");
    assert_eq!(system.client(0).job(id).await["errorCode"], "lost");
    system.nothing_grows().await;
}

#[tokio::test]
async fn a_worker_that_shuts_down_gives_its_attempt_back_and_that_does_not_count() {
    let mut system =
        System::builder().settings("[worker]\ngrace = \"0s\"\nkill_after = \"1s\"\n").start().await;
    let payload = json!({ "n": COUNT, "seconds": SECONDS });
    let body = json!({ "task": "count", "payload": payload, "maxAttempts": 1 });
    let id = system.client(0).submit_with(&body).await;
    let browser = system.client(0).follow(id);
    testkit::eventually(SOON, "the job is in its middle", async || browser.count() > 10).await;
    system.start_worker();
    system.workers[0].terminate();
    assert!(system.workers[0].wait_exit(SOON).await.success());
    assert!(programs_of(id, 1).is_empty(), "it leaves no program behind");

    // The lease is 30 s: nobody waited for it.
    let log = browser.wait().await;
    assert_counted(&log.events, COUNT);
    assert_eq!(turns(&log.events), ["queued", "started", "retrying", "started", "completed"]);
    assert_eq!(the("retrying", &log.events)["errorCode"], Value::Null);
    assert_eq!(system.client(0).job(id).await["attempt"], 2);
    system.nothing_grows().await;
}

#[tokio::test]
async fn a_stopped_worker_has_no_say_once_its_lease_is_lost() {
    let program = repository().join("tests/programs/forever.py").display().to_string();
    let task = format!("[tasks.forever]\ncommand = [\"python3\", {program:?}]\n");
    let mut system = System::builder().settings(LEASE).settings(&task).start().await;
    let id = system.client(0).submit("forever", json!({ "n": COUNT })).await;
    let browser = system.client(0).follow(id);
    testkit::eventually(SOON, "the job is in its middle", async || browser.count() > 10).await;
    system.workers[0].pause();
    system.start_worker();
    let has_started = |attempt| {
        let log = browser.log();
        log.events.iter().any(|event| event.event == "started" && data(event)["attempt"] == attempt)
    };
    testkit::eventually(SOON, "another worker has taken over", async || has_started(2)).await;
    assert!(!programs_of(id, 1).is_empty(), "the stopped worker's program counts on");
    system.workers[0].resume();

    let log = browser.wait().await;
    // Strictly one after the other: no output of attempt 1 after the second `started`.
    assert_counted(&log.events, COUNT);
    assert_eq!(turns(&log.events), ["queued", "started", "retrying", "started", "completed"]);
    assert_eq!(the("retrying", &log.events)["errorCode"], "lost");
    testkit::eventually(SOON, "the program of attempt 1 is killed", async || programs_of(id, 1).is_empty())
        .await;

    // The worker goes on: alone, it serves what comes.
    let other = system.workers.pop().unwrap();
    other.terminate();
    assert!(other.wait_exit(SOON).await.success());
    let next = system.client(0).submit("count", json!({ "n": COUNT })).await;
    assert_counted(&system.client(0).events(next).await, COUNT);
    assert_eq!(system.client(0).job(next).await["attempt"], 1);
    assert!(system.workers[0].exited().is_none());
    system.nothing_grows().await;
}

/// Every work call, as a live attempt may make it.
fn calls() -> [(&'static str, Value); 6] {
    [
        ("heartbeat", json!({})),
        ("progress", json!({ "progress": 50, "message": "half" })),
        ("output", json!({ "text": "words" })),
        ("complete", json!({ "result": 1 })),
        ("fail", json!({ "error": "it broke" })),
        ("release", json!({})),
    ]
}

#[tokio::test]
async fn every_call_with_a_dead_attempts_token_answers_lease_lost() {
    let system = System::builder().gateways(2).workers(0).settings(LEASE).start().await;
    let (a, b) = (system.client(0), system.client(1));
    let id = a.submit("remote", json!(null)).await;
    let dead = Remote::claim(a, "remote").await;
    for (name, fields) in &calls()[..3] {
        dead.must(name, fields.clone()).await;
    }
    testkit::eventually(SOON, "the lease is lost", async || a.job(id).await["status"] == "pending").await;
    let refused = async || {
        for (name, fields) in calls() {
            let (status, problem) = dead.call(name, fields).await;
            assert_eq!(
                (status, problem["type"].as_str()),
                (409, Some("urn:jobcast:lease-lost")),
                "{name}: {problem}"
            );
        }
    };
    refused().await;
    let live = Remote::claim(b, "remote").await;
    assert_eq!(live.job(), id);
    assert_ne!(live.token(), dead.token());
    refused().await;
    live.output("of attempt 2").await;
    live.complete(2).await;
    refused().await;

    let events = a.events(id).await;
    testkit::sse::check_history(&events).unwrap();
    assert_eq!(turns(&events), ["queued", "started", "retrying", "started", "completed"]);
    let job = b.job(id).await;
    assert_eq!(
        (&job["status"], &job["result"], &job["attempt"]),
        (&json!("completed"), &json!(2), &json!(2))
    );
    system.nothing_grows().await;
}

#[tokio::test]
async fn heartbeats_alone_keep_an_attempt() {
    let system = System::builder().workers(0).settings(LEASE).start().await;
    let client = system.client(0);
    let id = client.submit("remote", json!(null)).await;
    let remote = Remote::claim(client, "remote").await;
    let end = tokio::time::Instant::now() + Duration::from_secs(12);
    while tokio::time::Instant::now() < end {
        remote.must("heartbeat", json!({})).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    remote.complete(json!("kept")).await;
    assert_eq!(turns(&client.events(id).await), ["queued", "started", "completed"]);
    system.nothing_grows().await;
}
