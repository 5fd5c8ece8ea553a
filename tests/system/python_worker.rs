//! The Python worker of the examples before real gateways: jobs done, bad payloads, cancellations, and its own end.

use model::JobId;
use serde_json::{Value, json};
use testkit::process::Jobcast;
use testkit::sse::check_history;
use whole::{Client, SOON, System, data, repository, turns};

/// The worker gives a sign of life every two seconds; a busy machine may hold it up, or take its time to start a gateway.
const SETTINGS: &str = "[jobs]\nlease = \"10s\"\nheartbeat = \"1s\"\n[tasks.shout]";
const KEY: &str = "the worker's key";

async fn system(gateways: usize) -> System {
    System::builder().gateways(gateways).workers(0).settings(SETTINGS).start().await
}

/// The worker as a user starts it.
fn start(client: &Client, key: Option<&str>) -> Jobcast {
    let script = repository().join("examples/python/worker.py");
    let worker = Jobcast::builder().program("python3").arg(script).arg(client.url(""));
    match key {
        Some(key) => worker.env("JOBCAST_KEY", key).start(),
        None => worker.start(),
    }
}

/// A text of so many words, each another.
fn words(count: usize) -> String {
    (1..=count).map(|n| format!("word{n}")).collect::<Vec<_>>().join(" ")
}

async fn submit(client: &Client, text: &str) -> JobId {
    client.submit("shout", json!({ "text": text })).await
}

/// Waits until the worker has written some of it.
async fn begun(client: &Client, id: JobId) {
    testkit::eventually(SOON, "the worker is in the middle of it", async || {
        let job = client.job(id).await;
        job["status"] == "processing" && job["progress"].as_f64().is_some_and(|progress| progress > 1.0)
    })
    .await;
}

/// Checks that the job was done, and that the text of its last attempt is whole: each word once, in order.
async fn check_done(client: &Client, id: JobId, text: &str) -> Vec<testkit::sse::Event> {
    let job = client.ended(id).await;
    let expected = json!({ "text": text.to_uppercase(), "words": text.split(' ').count() });
    assert_eq!((&job["status"], &job["result"]), (&json!("completed"), &expected), "{job}");
    let events = client.events(id).await;
    check_history(&events).unwrap();
    let last = events.iter().map(data).filter(|event| event["attempt"] == job["attempt"]);
    let spoken: String = last.filter_map(|event| Some(event["text"].as_str()?.to_owned())).collect();
    assert_eq!(spoken, text.to_uppercase());
    events
}

#[tokio::test]
async fn it_works_through_jobs_of_any_gateway() {
    let system = system(2).await;
    let (a, b) = (system.client(0), system.client(1));
    let _worker = start(a, None);
    for text in ["so quiet", "äöü ß", "one"] {
        let id = submit(b, text).await;
        check_done(b, id, text).await;
    }
    for payload in [json!(null), json!({ "text": 1 }), json!("text")] {
        let id = a.submit("shout", payload).await;
        let job = b.ended(id).await;
        assert_eq!(
            (&job["status"], &job["errorCode"], &job["attempt"]),
            (&json!("failed"), &json!("handler"), &json!(1))
        );
        assert_eq!(job["error"], "ValueError: the payload must be like {\"text\": \"so quiet\"}");
    }
    system.nothing_grows().await;
}

#[tokio::test]
async fn a_cancelled_job_is_left_and_the_next_one_done() {
    let system = system(1).await;
    let client = system.client(0);
    let _worker = start(client, None);
    let id = submit(client, &words(20_000)).await;
    begun(client, id).await;
    assert_eq!(client.tell(&format!("/api/jobs/{id}/cancel"), &json!({})).await.status, 202);
    let next = submit(client, "next").await;
    check_done(client, next, "next").await;
    assert_eq!(turns(&client.events(id).await), ["queued", "started", "cancelled"]);
    system.nothing_grows().await;
}

#[tokio::test]
async fn killed_it_loses_its_attempt_and_nothing_else() {
    let system = system(1).await;
    let client = system.client(0);
    let text = words(2000);
    let first = start(client, None);
    let id = submit(client, &text).await;
    begun(client, id).await;
    first.kill();
    let _second = start(client, None);
    let events = check_done(client, id, &text).await;
    assert_eq!(turns(&events), ["queued", "started", "retrying", "started", "completed"]);
    let retrying = events.iter().map(data).find(|event| event["type"] == "retrying").unwrap();
    assert_eq!(retrying["errorCode"], "lost");
    system.nothing_grows().await;
}

#[tokio::test]
async fn stopped_it_gives_its_job_back_uncounted() {
    let system = system(1).await;
    let client = system.client(0);
    let text = words(2000);
    let id =
        client.submit_with(&json!({ "task": "shout", "payload": { "text": text }, "maxAttempts": 1 })).await;
    for interrupt in [true, false] {
        let worker = start(client, None);
        begun(client, id).await;
        if interrupt {
            worker.interrupt();
        } else {
            worker.terminate();
        }
        assert!(worker.wait_exit(SOON).await.success(), "{}", worker.stderr());
        let job = client.job(id).await;
        assert_eq!((&job["status"], &job["errorCode"]), (&json!("pending"), &Value::Null), "{job}");
    }
    let _third = start(client, None);
    let events = check_done(client, id, &text).await;
    assert_eq!(client.job(id).await["attempt"], 3);
    let given_back = events.iter().map(data).filter(|event| event["type"] == "retrying");
    assert!(given_back.into_iter().all(|event| event["errorCode"].is_null()));
    system.nothing_grows().await;
}

#[tokio::test]
async fn a_gateway_that_dies_and_comes_back_costs_nothing() {
    let mut system = system(1).await;
    let text = words(2000);
    let _worker = start(system.client(0), None);
    let id = submit(system.client(0), &text).await;
    begun(system.client(0), id).await;
    system.gateways[0].kill();
    system.restart_gateway(0);
    system.wait_gateway(0).await;
    let client = system.client(0);
    let events = check_done(client, id, &text).await;
    assert_eq!(turns(&events), ["queued", "started", "completed"], "no word twice, no attempt lost");
    system.nothing_grows().await;
}

#[tokio::test]
async fn it_works_for_all_owners_with_an_operators_key() {
    let hash = {
        let script = format!("printf %s \"{KEY}\" | sha256sum");
        let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()[..64].to_owned()
    };
    let key = format!("[[auth.keys]]\nowner = \"operator\"\nsha256 = {hash:?}\nscopes = [\"work\"]");
    let system = System::builder().workers(0).settings(&key).settings(SETTINGS).start().await;
    let client = system.client(0);
    let refused = start(client, Some("another"));
    assert!(!refused.wait_exit(SOON).await.success(), "a worker that may not work ends");
    assert!(refused.stderr().contains("401"), "{}", refused.stderr());
    let _worker = start(client, Some(KEY));
    let id = submit(client, "so quiet").await;
    check_done(client, id, "so quiet").await;
}
