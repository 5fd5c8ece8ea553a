//! Owners and scopes: who may do what, and that another owner's job is as unknown as none.

use reqwest::Method;
use serde_json::{Value, json};
use testkit::sse::SseStream;
use whole::{Answer, Client, Remote, System};

const ACME: &str = "acme-key";
const READER: &str = "acme-reader";
const OTHER: &str = "other-key";
const WORKER: &str = "worker-key";
const ADMIN: &str = "admin-key";

fn keys() -> String {
    let key = |owner: &str, key: &str, scopes: &str| {
        let hash = sha256(key);
        format!("[[auth.keys]]\nowner = {owner:?}\nsha256 = {hash:?}\nscopes = [{scopes}]\n")
    };
    key("acme", ACME, r#""submit", "read""#)
        + &key("acme", READER, r#""read""#)
        + &key("other", OTHER, r#""submit", "read""#)
        + &key("operator", WORKER, r#""work""#)
        + &key("operator", ADMIN, r#""admin""#)
}

/// As an operator makes it: `printf %s "$KEY" | sha256sum`.
fn sha256(key: &str) -> String {
    let script = format!("printf %s {key} | sha256sum");
    let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned()
}

async fn with_header(client: &Client, path: &str, authorization: &str) -> Answer {
    let request = client.request(Method::GET, path).header("authorization", authorization);
    Answer::of(request.send().await.unwrap()).await
}

async fn remove(client: &Client, id: impl std::fmt::Display) -> Answer {
    Answer::of(client.request(Method::DELETE, &format!("/api/jobs/{id}")).send().await.unwrap()).await
}

const UNKNOWN: &str = "019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6000";

#[tokio::test]
async fn nobody_gets_in_without_a_key_that_is_one() {
    let system = System::builder().workers(0).keys(&keys()).start().await;
    let client = system.client(0);
    let id = client.with_key(ACME).submit("remote", json!(null)).await;
    let path = format!("/api/jobs/{id}");
    assert_eq!(with_header(client, &path, &format!("Bearer {ACME}")).await.status, 200);
    assert_eq!(with_header(client, &path, &format!("bearer {ACME}")).await.status, 200);
    assert_eq!(with_header(client, &path, &format!("BEARER   {ACME} ")).await.status, 200);

    let stored = system.stored().await;
    for wrong in [
        format!("Bearer {ACME}x"),
        format!("Bearer {}", &ACME[1..]),
        format!("Bearer {ACME} {ACME}"),
        format!("Basic {ACME}"),
        format!("Bearer{ACME}"),
        format!("Bearer {}", sha256(ACME)),
        ACME.to_owned(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        String::new(),
    ] {
        let answer = with_header(client, &path, &wrong).await;
        assert_eq!(answer.problem(), (401, "unauthenticated"), "{wrong}");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
    // Every call asks, and before it looks at anything else of the request.
    let calls = [
        (Method::POST, "/api/jobs".to_owned()),
        (Method::GET, path.clone()),
        (Method::GET, format!("{path}/events")),
        (Method::POST, format!("{path}/cancel")),
        (Method::GET, "/api/jobs".to_owned()),
        (Method::POST, format!("{path}/retry")),
        (Method::DELETE, path.clone()),
        (Method::POST, "/api/work/claim".to_owned()),
    ];
    let work = ["heartbeat", "progress", "output", "complete", "fail", "release"];
    let work = work.map(|name| (Method::POST, format!("/api/work/{id}/{name}")));
    for (method, path) in calls.into_iter().chain(work) {
        let answer = Answer::of(client.request(method, &path).send().await.unwrap()).await;
        assert_eq!(answer.problem(), (401, "unauthenticated"), "{path}");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(client.get(path).await.status(), 200, "{path}");
        let wrong = client.with_key("wrong").get(path).await;
        assert_eq!(wrong.status(), 200, "{path} asks nobody");
    }
    assert_eq!(system.stored().await, stored);
}

#[tokio::test]
async fn a_key_may_do_what_its_scopes_say() {
    let system = System::builder().workers(0).keys(&keys()).start().await;
    let bare = system.client(0);
    let [acme, reader, worker, admin] = [ACME, READER, WORKER, ADMIN].map(|key| bare.with_key(key));
    let id = acme.submit("remote", json!("payload")).await;
    let path = format!("/api/jobs/{id}");
    let token = "0".repeat(32);
    for (client, may) in
        [(&acme, ["submit", "read"].as_slice()), (&reader, &["read"]), (&worker, &["work"]), (&admin, &[])]
    {
        let lease = json!({ "leaseToken": token });
        let calls = [
            ("submit", client.tell("/api/jobs", &json!({ "task": "nosuch" })).await),
            ("submit", client.tell(&format!("/api/jobs/{UNKNOWN}/cancel"), &json!({})).await),
            ("submit", client.tell(&format!("/api/jobs/{UNKNOWN}/retry"), &json!({})).await),
            ("submit", remove(client, UNKNOWN).await),
            ("read", client.ask("/api/jobs").await),
            ("read", client.ask(&format!("/api/jobs/{UNKNOWN}")).await),
            ("read", client.ask(&format!("/api/jobs/{UNKNOWN}/events")).await),
            ("work", client.tell("/api/work/claim", &json!({ "tasks": ["count"] })).await),
            ("work", client.tell(&format!("/api/work/{id}/heartbeat"), &lease).await),
            ("work", client.tell(&format!("/api/work/{id}/progress"), &lease).await),
            (
                "work",
                client
                    .tell(&format!("/api/work/{id}/output"), &json!({ "leaseToken": token, "text": "" }))
                    .await,
            ),
            ("work", client.tell(&format!("/api/work/{id}/complete"), &lease).await),
            (
                "work",
                client
                    .tell(&format!("/api/work/{id}/fail"), &json!({ "leaseToken": token, "error": "x" }))
                    .await,
            ),
            ("work", client.tell(&format!("/api/work/{id}/release"), &lease).await),
        ];
        for (scope, answer) in calls {
            if may.contains(&scope) {
                assert!(![401, 403].contains(&answer.status), "{scope} of {may:?}: {answer:?}");
            } else {
                assert_eq!(answer.problem(), (403, "missing-scope"), "{scope} of {may:?}");
                assert!(answer.body["detail"].as_str().unwrap().contains(scope));
            }
        }
    }
    // A worker works for every owner; all keys of one owner see the same jobs.
    let attempt = Remote::claim(&worker, "remote").await;
    assert_eq!(attempt.job(), id);
    attempt.complete("done").await;
    for client in [&acme, &reader] {
        assert_eq!(client.job(id).await["result"], "done");
        assert_eq!(client.ask(&path).await.status, 200);
    }
}

#[tokio::test]
async fn another_owners_job_is_as_unknown_as_none() {
    let system = System::builder().workers(0).keys(&keys()).start().await;
    let bare = system.client(0);
    let [acme, other, worker] = [ACME, OTHER, WORKER].map(|key| bare.with_key(key));
    let id = acme.submit("remote", json!(null)).await;
    let attempt = Remote::claim(&worker, "remote").await;
    for status in ["processing", "completed"] {
        let seen = acme.job(id).await;
        assert_eq!(seen["status"], status);
        let cursor = seen["lastEventId"].as_str().unwrap();
        for suffix in ["", "?wait=1", "/events", "/events?from=now", &format!("/events?lastEventId={cursor}")]
        {
            let theirs = other.ask(&format!("/api/jobs/{id}{suffix}")).await;
            let none = other.ask(&format!("/api/jobs/{UNKNOWN}{suffix}")).await;
            assert_eq!(theirs.problem(), (404, "not-found"), "{suffix}");
            assert_eq!(same(theirs), same(none), "{suffix}");
        }
        for call in ["cancel", "retry"] {
            let theirs = other.tell(&format!("/api/jobs/{id}/{call}"), &json!({})).await;
            let none = other.tell(&format!("/api/jobs/{UNKNOWN}/{call}"), &json!({})).await;
            assert_eq!(theirs.problem(), (404, "not-found"), "{call}");
            assert_eq!(same(theirs), same(none), "{call}");
        }
        let (theirs, none) = (remove(&other, id).await, remove(&other, UNKNOWN).await);
        assert_eq!(theirs.problem(), (404, "not-found"));
        assert_eq!(same(theirs), same(none));
        assert_eq!(other.ask("/api/jobs").await.body["jobs"], json!([]), "and in no list");
        assert_eq!(acme.ask("/api/jobs").await.body["jobs"][0], seen);
        assert_eq!(acme.job(id).await, seen, "untouched");
        if status == "processing" {
            attempt.complete(1).await;
        }
    }
    // While one follows, the other still may not.
    let id = acme.submit("remote", json!(null)).await;
    let mut stream = SseStream::builder(acme.events_url(id)).bearer(ACME).open().await;
    assert_eq!(stream.next().await.unwrap().event, "queued");
    let theirs = SseStream::builder(acme.events_url(id)).bearer(OTHER).open().await;
    assert_eq!(theirs.status(), 404);

    // The same Idempotency-Key of two owners is two keys.
    let mut ids = Vec::new();
    for client in [&acme, &other, &acme] {
        let request = client.request(Method::POST, "/api/jobs").header("idempotency-key", "k");
        let answer = Answer::of(request.json(&json!({ "task": "remote" })).send().await.unwrap()).await;
        ids.push(answer.body["jobId"].clone());
    }
    assert!(ids[0] == ids[2] && ids[0] != ids[1]);
}

/// What must not differ: all but the time.
fn same(answer: Answer) -> (u16, Value, Vec<(String, String)>) {
    let headers = answer.headers.iter().filter(|(name, _)| *name != "date");
    let headers =
        headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
    (answer.status, answer.body, headers)
}

#[tokio::test]
async fn where_keys_are_optional_a_wrong_one_is_still_wrong() {
    let system = System::builder().workers(0).settings(&keys()).start().await;
    let bare = system.client(0);
    let id = bare.submit("remote", json!(null)).await;
    assert_eq!(bare.job(id).await["status"], "pending");
    let path = format!("/api/jobs/{id}");
    assert_eq!(bare.with_key("wrong").ask(&path).await.problem(), (401, "unauthenticated"));
    assert_eq!(with_header(bare, &path, "Basic YTpi").await.problem(), (401, "unauthenticated"));
    assert_eq!(
        bare.with_key(ACME).ask(&path).await.problem(),
        (404, "not-found"),
        "anonymous is an owner of its own"
    );
    Remote::claim(bare, "remote").await.complete(1).await;
    let acmes = bare.with_key(ACME).submit("remote", json!(null)).await;
    assert_eq!(bare.ask(&format!("/api/jobs/{acmes}")).await.status, 404);
}
