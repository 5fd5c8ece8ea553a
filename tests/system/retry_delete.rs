//! Jobs that have ended: tried again as new ones, and deleted.

use model::JobId;
use reqwest::Method;
use serde_json::{Value, json};
use testkit::sse::SseStream;
use whole::{Answer, Client, RawStream, Remote, SOON, System, turns};

const UNKNOWN: &str = "019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6000";

async fn retry(client: &Client, id: impl std::fmt::Display, key: Option<&str>) -> Answer {
    let mut request = client.request(Method::POST, &format!("/api/jobs/{id}/retry"));
    if let Some(key) = key {
        request = request.header("Idempotency-Key", key);
    }
    Answer::of(request.send().await.unwrap()).await
}

async fn delete(client: &Client, id: impl std::fmt::Display) -> Answer {
    Answer::of(client.request(Method::DELETE, &format!("/api/jobs/{id}")).send().await.unwrap()).await
}

fn id_of(answer: &Answer) -> JobId {
    assert_eq!(answer.status, 202, "{answer:?}");
    answer.body["jobId"].as_str().unwrap().parse().unwrap()
}

/// A job that failed, and the one thing that it was given.
async fn failed(client: &Client) -> JobId {
    let id = client
        .submit_with(&json!({
            "task": "remote", "payload": { "deep": [1, { "b": 2, "a": 1.50 }] }, "metadata": { "who": "me" },
            "maxAttempts": 7, "priority": "high", "timeout": 60.5, "deadline": 900, "retention": 3600,
            "queueTimeout": 300, "delay": 0.001,
        }))
        .await;
    Remote::claim(client, "remote").await.must("fail", json!({ "error": "x" })).await;
    id
}

#[tokio::test]
async fn a_failed_job_is_tried_again_as_a_new_one() {
    let system = System::builder().gateways(2).workers(0).store("partitions = 4").start().await;
    let (a, b) = (system.client(0), system.client(1));
    let id = failed(a).await;
    let old = a.job(id).await;
    let answer = retry(b, id, None).await;
    let again = id_of(&answer);
    assert_ne!(again, id);
    let url = format!("/api/jobs/{again}");
    let expected = json!({ "jobId": again, "status": "pending", "statusUrl": url, "eventsUrl": format!("{url}/events") });
    assert_eq!((answer.header("location"), &answer.body), (&*url, &expected));
    assert_eq!((answer.header("retry-after"), answer.header("idempotency-replayed")), ("1", ""));

    let job = a.job(again).await;
    for field in ["task", "metadata", "maxAttempts", "priority"] {
        assert_eq!(job[field], old[field], "{field}");
    }
    assert_eq!(
        (&job["status"], &job["attempt"], &job["error"]),
        (&json!("pending"), &json!(0), &Value::Null)
    );
    let claimed = b.tell("/api/work/claim?wait=10", &json!({ "tasks": ["remote"] })).await;
    assert_eq!((&claimed.body["jobId"], &claimed.body["maxAttempts"]), (&json!(again), &json!(7)));
    assert_eq!(claimed.body["payload"], json!({ "deep": [1, { "b": 2, "a": 1.50 }] }));
    assert_eq!(a.job(id).await, old, "the old one stays as it is");

    // And the new one's again, once it has ended; cancelled is as good as failed.
    assert_eq!(retry(a, again, None).await.problem(), (409, "job-living"));
    assert_eq!(a.tell(&format!("{url}/cancel"), &json!({})).await.status, 202);
    let stopped = json!({ "leaseToken": claimed.body["leaseToken"] });
    assert_eq!(b.tell(&format!("/api/work/{again}/complete"), &stopped).await.body["cancelled"], true);
    let third = id_of(&retry(a, again, None).await);
    Remote::claim(b, "remote").await.complete(1).await;
    assert_eq!(retry(a, third, None).await.problem(), (409, "job-completed"));
    assert_eq!(retry(a, UNKNOWN, None).await.problem(), (404, "not-found"));
    assert_eq!(retry(a, "x", None).await.problem(), (404, "not-found"));
    assert_eq!(system.jobs().await, 3);
    system.nothing_grows().await;
}

#[tokio::test]
async fn a_retry_with_a_key_makes_one_job() {
    let system = System::builder().gateways(2).workers(0).store("partitions = 4").start().await;
    let (a, b) = (system.client(0), system.client(1));
    let (one, two) = (failed(a).await, failed(a).await);
    let first = retry(a, one, Some("\"again\"")).await;
    let again = id_of(&first);
    let replay = retry(b, one, Some("again")).await;
    assert_eq!((id_of(&replay), replay.header("idempotency-replayed")), (again, "true"));
    assert_eq!((first.header("idempotency-replayed"), system.jobs().await), ("", 3));
    // The key stands for that retry, and for nothing else.
    assert_eq!(retry(b, two, Some("again")).await.problem(), (422, "idempotency-mismatch"));
    let request = b.request(Method::POST, "/api/jobs").header("Idempotency-Key", "again");
    let submitted = Answer::of(request.json(&json!({ "task": "remote" })).send().await.unwrap()).await;
    assert_eq!(submitted.problem(), (422, "idempotency-mismatch"));
    assert_eq!(retry(b, two, Some("a b")).await.problem(), (400, "malformed"));
    assert_eq!(system.jobs().await, 3);
}

/// The gateway is started anew, with another configuration.
async fn restart(system: &mut System, from: &str, to: &str) {
    system.reconfigure(|config| config.replace(from, to));
    system.gateways[0].kill();
    system.restart_gateway(0);
    system.wait_gateway(0).await;
}

#[tokio::test]
async fn what_is_no_longer_allowed_is_cut_or_refused() {
    let settings = "[jobs]\ndeadline = \"1h\"\nmax_deadline = \"1h\"\n";
    let mut system = System::builder().workers(0).settings(settings).start().await;
    let client = system.client(0).clone();
    let id = failed(&client).await;
    restart(&mut system, "\"1h\"", "\"10s\"").await;
    let again = id_of(&retry(&client, id, None).await);
    // It lives for ten seconds at most, where the first one could for fifteen minutes.
    let job = client.ended(again).await;
    assert_eq!((&job["status"], &job["errorCode"]), (&json!("failed"), &json!("unclaimed")));
    restart(&mut system, "[tasks.remote]", "[tasks.renamed]").await;
    assert_eq!(retry(&client, id, None).await.problem(), (422, "unknown-task"));
}

#[tokio::test]
async fn a_deleted_job_is_gone_everywhere() {
    let system = System::builder().gateways(2).workers(0).store("partitions = 4").start().await;
    let (a, b) = (system.client(0), system.client(1));
    let body = json!({ "task": "remote", "payload": 1 });
    let submit = async |client: &Client| {
        let request = client.request(Method::POST, "/api/jobs").header("Idempotency-Key", "k");
        Answer::of(request.json(&body).send().await.unwrap()).await
    };
    let id = id_of(&submit(a).await);
    let kept = a.submit("remote", json!(2)).await;
    assert_eq!(delete(b, id).await.problem(), (409, "job-living"));
    let mut remote = Remote::claim(a, "remote").await;
    let mut other = Remote::claim(a, "remote").await;
    if remote.job() != id {
        std::mem::swap(&mut remote, &mut other);
    }
    assert_eq!(delete(b, id).await.problem(), (409, "job-living"));
    remote.must("fail", json!({ "error": "x" })).await;
    let end = a.events(id).await.last().unwrap().last_event_id.clone();

    let answer = delete(b, id).await;
    assert_eq!((answer.status, &answer.body), (204, &Value::Null));
    for client in [a, b] {
        for path in ["", "/events", &format!("/events?lastEventId={end}")] {
            assert_eq!(
                client.ask(&format!("/api/jobs/{id}{path}")).await.problem(),
                (404, "not-found"),
                "{path}"
            );
        }
        assert_eq!(
            client.tell(&format!("/api/jobs/{id}/cancel"), &json!({})).await.problem(),
            (404, "not-found")
        );
        assert_eq!(retry(client, id, None).await.problem(), (404, "not-found"));
        assert_eq!(delete(client, id).await.problem(), (404, "not-found"), "told once");
        assert_eq!(submit(client).await.problem(), (410, "job-expired"));
        let listed = client.ask("/api/jobs").await;
        assert_eq!(listed.body["jobs"].as_array().unwrap().len(), 1);
        assert_eq!(client.ask("/api/jobs?status=failed").await.body, json!({ "jobs": [], "next": null }));
    }
    assert_eq!(remote.call("fail", json!({ "error": "x" })).await.0, 404, "its attempt has nothing to end");
    // On a stream of several, the others go on.
    let url = a.url(&format!("/api/events?job={id}&job={kept}"));
    let mut several = SseStream::open(&url).await;
    other.complete(3).await;
    let events = several.collect_to_end(SOON).await;
    assert_eq!(turns(&events), ["gone", "queued", "started", "completed"]);
    let left = system.stored().await;
    let left: Vec<_> = left.iter().filter(|key| key.contains(&id.to_string())).collect();
    assert_eq!(left.len(), 1, "what knows a repeat: {left:?}");
    for bad in [UNKNOWN, "x", "019AB3C4-5D6E-7F80-9A1B-2C3D4E5F6000"] {
        assert_eq!(delete(a, bad).await.problem(), (404, "not-found"), "{bad}");
    }
    system.nothing_grows().await;
}

#[tokio::test]
async fn a_stream_that_is_still_reading_is_told_that_its_job_is_gone() {
    let settings = "[stream]\nring_log = \"64 KiB\"\n[tasks.long]\nlog_bytes = \"64 MiB\"";
    let system = System::builder().workers(0).settings(settings).start().await;
    let client = system.client(0);
    let id = client.submit("long", json!(null)).await;
    let remote = Remote::claim(client, "long").await;
    // It takes the first events, and no more for now.
    let mut slow = RawStream::with_buffer(&client.events_url(id), &[], Some(4096)).await;
    assert!(slow.until(|body| body.contains("event: started")).await);
    for batch in 0..50 {
        remote.outputs((0..100).map(|n| json!([100 * batch + n, "x".repeat(1000)]))).await;
    }
    remote.complete(1).await;
    assert_eq!(delete(client, id).await.status, 204);
    let events = slow.events_to_end().await;
    assert!(slow.ended() && slow.body().ends_with(": the job is gone\n"));
    assert!(events.iter().all(|event| event.event != "completed"));
}
