//! A submission with an Idempotency-Key makes one job, however often and wherever it is sent.

use std::collections::HashSet;

use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use whole::{Client, SOON, System};

async fn submit(client: &Client, key: &str, body: String) -> Response {
    let request = client.request(Method::POST, "/api/jobs").header("Idempotency-Key", key);
    request.header("Content-Type", "application/json").body(body).send().await.unwrap()
}

/// The job's id and whether it was made before.
async fn accepted(response: Response) -> (String, bool) {
    let replayed =
        response.headers().get("idempotency-replayed").map(|value| value.to_str().unwrap().to_owned());
    assert!(matches!(replayed.as_deref(), None | Some("true")));
    assert_eq!(response.status(), 202);
    let body: Value = response.json().await.unwrap();
    (body["jobId"].as_str().unwrap().to_owned(), replayed.is_some())
}

async fn problem(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap();
    (status, body["type"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_thousand_equal_submissions_at_once_make_one_job() {
    let system = System::builder().gateways(3).store("partitions = 16").start().await;
    let mut all = JoinSet::new();
    for number in 0..1000 {
        let client = system.client(number % 3).clone();
        // Equal means: as JSON. The order of members and the key's form make no difference.
        let (key, body) = match number % 4 {
            0 | 1 => {
                ("\"once\"", json!({ "task": "count", "payload": { "n": 3, "seconds": 0 } }).to_string())
            }
            _ => ("once", "{ \"payload\": {\"seconds\":0, \"n\":3},\n \"task\":\"count\" }".to_owned()),
        };
        all.spawn(async move { accepted(submit(&client, key, body).await).await });
    }
    let answers = all.join_all().await;
    let ids: HashSet<_> = answers.iter().map(|(id, _)| id.clone()).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_eq!(answers.iter().filter(|(_, replayed)| !replayed).count(), 1, "one made it");
    assert_eq!(system.jobs().await, 1);
    let id = ids.into_iter().next().unwrap().parse().unwrap();
    assert_eq!(system.client(1).ended(id).await["status"], "completed");
    // Also after its end, as long as it is there.
    let again = submit(
        system.client(0),
        "once",
        json!({ "task": "count", "payload": { "n": 3, "seconds": 0 } }).to_string(),
    );
    assert_eq!(accepted(again.await).await, (id.to_string(), true));
    system.nothing_grows().await;
}

#[tokio::test]
async fn a_key_with_another_body_is_refused_and_a_key_whose_job_is_gone_says_so() {
    let system = System::builder().gateways(2).start().await;
    let (a, b) = (system.client(0), system.client(1));
    let body = |n: u64| json!({ "task": "count", "payload": { "n": n }, "retention": 1 }).to_string();
    let (id, replayed) = accepted(submit(a, "\"k\"", body(1)).await).await;
    assert!(!replayed);
    assert_eq!(
        problem(submit(b, "\"k\"", body(2)).await).await,
        (422, "urn:jobcast:idempotency-mismatch".into())
    );
    // A key of its own for each string.
    let (other, replayed) = accepted(submit(b, "\"K\"", body(2)).await).await;
    assert!(!replayed && other != id);
    testkit::eventually(SOON, "the job is gone", async || {
        a.get(&format!("/api/jobs/{id}")).await.status() == 404
    })
    .await;
    for client in [a, b] {
        assert_eq!(
            problem(submit(client, "\"k\"", body(1)).await).await,
            (410, "urn:jobcast:job-expired".into())
        );
    }
    system.nothing_grows().await;
}

#[tokio::test]
async fn owners_keys_are_apart() {
    let key = |owner: &str, key: &str| {
        let hash = model::fingerprint::sha256(key.as_bytes());
        format!("[[auth.keys]]\nowner = {owner:?}\nsha256 = {hash:?}\nscopes = [\"submit\", \"read\"]\n")
    };
    let keys = key("acme", "a") + &key("acme", "b") + &key("other", "c");
    let system = System::builder().gateways(3).workers(0).store("partitions = 16").keys(&keys).start().await;
    let [a, b, c] = [(0, "a"), (1, "b"), (2, "c")].map(|(n, key)| system.client(n).with_key(key));
    let body = |n: u64| json!({ "task": "remote", "payload": n }).to_string();
    let (mine, _) = accepted(submit(&a, "k", body(1)).await).await;
    assert_eq!(accepted(submit(&b, "k", body(1)).await).await, (mine.clone(), true), "one owner, two keys");
    // The other owner's is another one, with whatever body.
    let (theirs, replayed) = accepted(submit(&c, "k", body(2)).await).await;
    assert!(!replayed && theirs != mine);
    let mismatch = (422, "urn:jobcast:idempotency-mismatch".to_owned());
    assert_eq!(problem(submit(&b, "k", body(2)).await).await, mismatch);
    assert_eq!(problem(submit(&c, "k", body(1)).await).await, mismatch);
    assert_eq!(system.jobs().await, 2);
}
