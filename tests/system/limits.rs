//! A job ends in bounded time: by its queue limit, its run limit or its deadline, whoever lives.

use serde_json::{Value, json};
use testkit::sse::{Event, check_history};
use whole::{Client, Remote, SOON, System, data, programs_of, turns};

/// The history of a job that is to fail with `code`; its last event.
async fn failed(client: &Client, body: &Value, code: &str) -> (model::JobId, Vec<Event>) {
    let id = client.submit_with(body).await;
    let events = client.events(id).await;
    check_history(&events).unwrap();
    let last = data(events.last().unwrap());
    assert_eq!((&last["type"], &last["errorCode"]), (&json!("failed"), &json!(code)), "{last}");
    let job = client.job(id).await;
    for field in ["error", "errorCode", "attempt"] {
        assert_eq!(job[field], last[field], "{job}");
    }
    assert_eq!(job["status"], "failed");
    (id, events)
}

#[tokio::test]
async fn with_no_worker_alive_a_job_ends_unclaimed() {
    let system = System::builder().workers(0).start().await;
    let body = json!({ "task": "count", "payload": { "n": 1 }, "queueTimeout": 1 });
    let (_, events) = failed(system.client(0), &body, "unclaimed").await;
    assert_eq!(turns(&events), ["queued", "failed"]);
    let said = data(&events[1]);
    assert_eq!(
        (&said["attempt"], &said["error"]),
        (&json!(0), &json!("no worker took the job within 1 s (queueTimeout)"))
    );
    // A worker that comes too late finds nothing.
    let late = system.client(0).post("/api/work/claim", &json!({ "tasks": ["count"] })).await;
    assert_eq!(late.status(), 204);
    system.nothing_grows().await;
}

#[tokio::test]
async fn a_job_claimed_in_time_has_no_queue_limit_any_more() {
    let system = System::builder()
        .workers(0)
        .settings("[jobs]\nlease = \"5s\"\nheartbeat = \"500ms\"\n")
        .start()
        .await;
    let client = system.client(0);
    let id = client.submit_with(&json!({ "task": "remote", "queueTimeout": 6 })).await;
    let _lost = Remote::claim(client, "remote").await;
    testkit::eventually(SOON, "attempt 1 is lost", async || client.job(id).await["status"] == "pending")
        .await;
    // Past the limit, and waiting again: the sweep has looked at its limits meanwhile, since it ended another job for that.
    let (_, _) = failed(client, &json!({ "task": "count", "queueTimeout": 5 }), "unclaimed").await;
    assert_eq!(client.job(id).await["status"], "pending");
    let second = Remote::claim(client, "remote").await;
    assert_eq!(second.job(), id);
    second.complete(json!("done")).await;
    assert_eq!(client.ended(id).await["attempt"], 2);
    system.nothing_grows().await;
}

#[tokio::test]
async fn an_attempt_that_runs_too_long_is_ended_for_good() {
    let system = System::builder().start().await;
    let body = json!({ "task": "count", "payload": { "n": 600, "seconds": 600 }, "timeout": 1 });
    let (id, events) = failed(system.client(0), &body, "timeout").await;
    assert_eq!(turns(&events), ["queued", "started", "failed"], "no second attempt");
    testkit::eventually(SOON, "its program is killed", async || programs_of(id, 1).is_empty()).await;
    system.nothing_grows().await;
}

#[tokio::test]
async fn a_deadline_ends_a_job_in_the_middle_of_an_attempt_and_between_two() {
    let settings = "[jobs]\nlease = \"4s\"\nheartbeat = \"500ms\"\n";
    let mut system = System::builder().settings(settings).start().await;
    // Once its worker has begun.
    let first = system.client(0).submit("count", json!({ "n": 1 })).await;
    system.client(0).ended(first).await;
    let client = system.client(0).clone();
    let middle = json!({ "task": "count", "payload": { "n": 600, "seconds": 600 }, "deadline": 6 });
    // Time to be claimed late on a busy machine, and to lose a lease after that.
    let between = json!({ "task": "remote", "deadline": 10 });
    let ((id, events), (_, of_two), _lost) = tokio::join!(
        failed(&client, &middle, "timeout"),
        failed(&client, &between, "timeout"),
        Remote::claim(&client, "remote")
    );
    assert_eq!(turns(&events), ["queued", "started", "failed"]);
    testkit::eventually(SOON, "its program is killed", async || programs_of(id, 1).is_empty()).await;
    assert_eq!(turns(&of_two), ["queued", "started", "retrying", "failed"]);
    assert_eq!(data(of_two.last().unwrap())["error"], "the job did not end within 10 s (deadline)");

    let worker = system.workers.pop().unwrap();
    worker.terminate();
    assert!(worker.wait_exit(SOON).await.success());
    system.nothing_grows().await;
}
