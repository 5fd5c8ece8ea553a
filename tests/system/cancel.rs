//! Cancelling: a fact at once wherever the job stands, told to whoever runs it, and never together with another end.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use whole::{Client, Remote, SOON, System, data, programs_of, repository, turns};

async fn cancel(client: &Client, id: model::JobId) -> whole::Answer {
    client.tell(&format!("/api/jobs/{id}/cancel"), &json!({})).await
}

#[tokio::test]
async fn a_pending_job_never_starts() {
    let system = System::builder().gateways(2).workers(0).start().await;
    let client = system.client(0);
    let id = client.submit("remote", json!(null)).await;
    let answer = cancel(client, id).await;
    let (status_url, events_url) = (format!("/api/jobs/{id}"), format!("/api/jobs/{id}/events"));
    let expected =
        json!({ "jobId": id, "status": "cancelled", "statusUrl": status_url, "eventsUrl": events_url });
    assert_eq!((answer.status, &answer.body, answer.header("retry-after")), (202, &expected, ""));
    let job = system.client(1).job(id).await;
    assert_eq!((&job["status"], &job["errorCode"]), (&json!("cancelled"), &json!("cancelled")));
    assert_eq!(job["error"], "the job was cancelled by its owner");
    assert_eq!(turns(&client.events(id).await), ["queued", "cancelled"]);
    assert_eq!(client.tell("/api/work/claim", &json!({ "tasks": ["remote"] })).await.status, 204);
    // No body at all is as good as an empty one.
    let other = client.submit("remote", json!(null)).await;
    let bare =
        client.request(reqwest::Method::POST, &format!("/api/jobs/{other}/cancel")).send().await.unwrap();
    assert_eq!(bare.status(), 202);
    system.nothing_grows().await;
}

#[tokio::test]
async fn a_running_attempt_hears_of_it_and_records_nothing_more() {
    let system = System::builder().gateways(2).workers(0).start().await;
    let client = system.client(0);
    let id = client.submit("remote", json!(null)).await;
    let stream = client.stream(id).await;
    let attempt = Remote::claim(client, "remote").await;
    attempt.output(1).await;
    assert_eq!(cancel(system.client(1), id).await.status, 202);
    let job = client.job(id).await;
    for (name, fields) in [
        ("heartbeat", json!({})),
        ("progress", json!({ "progress": 5 })),
        ("output", json!({ "output": 2, "batch": 2 })),
        ("complete", json!({ "result": 3 })),
        ("fail", json!({ "error": "x" })),
        ("release", json!({})),
        ("heartbeat", json!({})),
    ] {
        let answer = attempt.must(name, fields).await;
        assert_eq!(answer["cancelled"], true, "{name}");
        assert!(answer["leaseExpiresAt"].is_string());
    }
    assert_eq!(client.job(id).await, job, "nothing of that was recorded");
    let mut stream = stream;
    let events = stream.collect_to_end(SOON).await;
    assert_eq!(turns(&events), ["queued", "started", "cancelled"]);
    assert_eq!(data(events.last().unwrap())["errorCode"], "cancelled");
    system.nothing_grows().await;
}

#[tokio::test]
async fn what_has_ended_stays_as_it_is() {
    let system = System::builder().workers(0).start().await;
    let client = system.client(0);
    for (end, fields, status) in
        [("complete", json!({}), "completed"), ("fail", json!({ "error": "x" }), "failed")]
    {
        let id = client.submit("remote", json!(null)).await;
        Remote::claim(client, "remote").await.must(end, fields).await;
        let job = client.job(id).await;
        let answer = cancel(client, id).await;
        assert_eq!(answer.problem(), (409, "job-ended"));
        assert!(answer.body["detail"].as_str().unwrap().contains(status));
        assert_eq!(client.job(id).await, job);
    }
    let id = client.submit("remote", json!(null)).await;
    assert_eq!(cancel(client, id).await.status, 202);
    assert_eq!(cancel(client, id).await.problem(), (409, "job-ended"), "the second time is no fact");
    system.nothing_grows().await;
}

async fn family(kill_after: &str) -> System {
    let program = repository().join("tests/programs/family.py").display().to_string();
    System::builder()
        .settings(&format!("[tasks.family]\ncommand = [\"python3\", {program:?}]"))
        .settings(&format!("[worker]\nkill_after = {kill_after:?}"))
        .start()
        .await
}

/// Cancels a job once its three programs run; how long they went on.
async fn cancelled_family(system: &System, payload: Value) -> Duration {
    let client = system.client(0);
    let id = client.submit("family", payload).await;
    // Each of the three has written its output.
    testkit::eventually(SOON, "all three run", async || {
        programs_of(id, 1).len() == 3
            && client.job(id).await["lastEventId"].as_str().unwrap().starts_with("5-")
    })
    .await;
    let began = Instant::now();
    assert_eq!(cancel(client, id).await.status, 202);
    testkit::eventually(SOON, "none runs any more", async || programs_of(id, 1).is_empty()).await;
    let took = began.elapsed();
    // The worker has its hands free again.
    let next = client.submit("count", json!({ "n": 1 })).await;
    assert_eq!(client.ended(next).await["status"], "completed");
    assert_eq!(client.job(id).await["status"], "cancelled");
    system.nothing_grows().await;
    took
}

#[tokio::test]
async fn a_program_dies_with_its_children() {
    let took = cancelled_family(&family("10m").await, json!({})).await;
    assert!(took < 2 * SOON, "long before it would be killed: {took:?}");
}

#[tokio::test]
async fn a_program_that_ignores_that_is_killed() {
    let took = cancelled_family(&family("1s").await, json!({ "stubborn": true })).await;
    assert!(took >= Duration::from_secs(1), "it had the time that configuration gives it: {took:?}");
}

#[tokio::test]
async fn cancel_and_complete_are_never_both_told_yes() {
    let system = System::builder().gateways(2).workers(0).start().await;
    let (a, b) = (system.client(0), system.client(1));
    let mut wins = [0, 0];
    for n in 0..50 {
        let id = a.submit("remote", json!(n)).await;
        let attempt = Remote::claim(b, "remote").await;
        let (cancelled, completed) = if n % 2 == 0 {
            tokio::join!(cancel(a, id), attempt.must("complete", json!({ "result": n })))
        } else {
            let both = tokio::join!(attempt.must("complete", json!({ "result": n })), cancel(a, id));
            (both.1, both.0)
        };
        let winner = match (cancelled.status, completed["cancelled"].as_bool().unwrap()) {
            (202, true) => "cancelled",
            (409, false) => "completed",
            both => panic!("{both:?}"),
        };
        wins[usize::from(winner == "completed")] += 1;
        let events = b.events(id).await;
        assert_eq!(turns(&events), ["queued", "started", winner]);
        let last = json!(events.last().unwrap().last_event_id);
        for client in [a, b] {
            let job = client.job(id).await;
            assert_eq!((&job["status"], &job["lastEventId"]), (&json!(winner), &last));
            assert_eq!(job["result"].is_null(), winner == "cancelled");
        }
    }
    println!("{wins:?} were cancelled and completed");
    system.nothing_grows().await;
}
