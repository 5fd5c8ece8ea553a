//! Submissions that name a webhook: where it may point, what signs it, and what is kept of it.

use std::path::Path;

use model::JobId;
use model::webhook::sign;
use reqwest::Method;
use serde_json::{Value, json};
use whole::command::{command, end};
use whole::{Answer, Builder, Client, Got, Hook, Remote, System};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const PLAIN: &str = "a secret of another kind";
/// What a reader of Redis must not find.
const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

fn settings(allow: &str, more: &str) -> Builder {
    let webhooks = format!("[webhooks]\nallow = [{allow}]\nencryption_keys = [\"{KEY}\"]\n{more}");
    System::builder().workers(0).settings(&webhooks)
}

/// A system that delivers to this machine.
async fn delivering(more: &str) -> System {
    settings("\"127.0.0.1\"", more).couriers(1).start().await
}

fn told(url: &str, secret: Option<&str>) -> Value {
    json!({ "task": "remote", "webhook": { "url": url, "secret": secret } })
}

async fn refused(client: &Client, webhook: Value) -> (u16, String, String) {
    let answer = client.tell("/api/jobs", &json!({ "task": "remote", "webhook": webhook })).await;
    let (status, name) = answer.problem();
    (status, name.to_owned(), answer.body["detail"].as_str().unwrap().to_owned())
}

/// Panics unless `arrival` is signed as `secrets` do.
fn assert_signed(arrival: &Got, secrets: &[&str]) {
    let secrets: Vec<_> = secrets.iter().map(|text| text.parse().unwrap()).collect();
    let timestamp = arrival.header("webhook-timestamp").parse().unwrap();
    let signed = sign(arrival.header("webhook-id"), timestamp, &arrival.body, &secrets);
    assert_eq!(arrival.header("webhook-signature"), signed.signature.unwrap());
    assert_eq!(arrival.header("x-webhook-signature"), signed.plain);
}

async fn deliveries(client: &Client, id: JobId) -> Value {
    let answer = client.ask(&format!("/api/jobs/{id}/deliveries")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body["deliveries"].clone()
}

#[tokio::test]
async fn the_end_is_told_signed_by_the_jobs_own_secret() {
    let system = delivering("").await;
    let (client, receiver) = (system.client(0), Hook::start().await);
    for (number, secret) in [SECRET, PLAIN].into_iter().enumerate() {
        let id = client.submit_with(&told(&receiver.at("/hook?a=ü"), Some(secret))).await;
        assert_eq!(deliveries(client, id).await, json!([]), "none before its end");
        Remote::claim(client, "remote").await.complete(json!({ "words": 7 })).await;
        let arrival = receiver.wait(number + 1).await.remove(number);
        assert_signed(&arrival, &[secret]);
        let job = client.ended(id).await;
        let said = arrival.json();
        assert_eq!(
            (&said["type"], &said["data"], &said["jobId"]),
            (&json!("job.completed"), &job, &json!(id))
        );
        assert_eq!(arrival.header("webhook-id"), format!("{id}.{}", job["lastEventId"].as_str().unwrap()));
        let delivered = testkit::eventually_some(whole::SOON, "it is delivered", async || {
            let delivery = deliveries(client, id).await[0].clone();
            (delivery["status"] == "delivered").then_some(delivery)
        })
        .await;
        assert_eq!(delivered["url"], receiver.at("/hook?a=%C3%BC"));
        assert_eq!((&delivered["jobId"], &delivered["id"]), (&json!(id), &json!(format!("{id}.1"))));
        assert_eq!(delivered["attempts"][0]["status"], 204);
        assert!(!delivered.to_string().contains(secret));
    }
    assert_eq!(receiver.got().len(), 2, "each once");
}

#[tokio::test]
async fn a_secret_is_nowhere_in_redis_and_in_no_log() {
    let system = settings("\"127.0.0.1\"", "").start().await;
    let client = system.client(0);
    let request = client.request(Method::POST, "/api/jobs").header("Idempotency-Key", "once");
    let answer = request.json(&told("http://127.0.0.1:8080/", Some(PLAIN))).send().await.unwrap();
    let id: JobId = Answer::of(answer).await.body["jobId"].as_str().unwrap().parse().unwrap();
    client.tell(&format!("/api/jobs/{id}/cancel"), &json!({})).await;
    let stored = written(system.redis.folder());
    assert!(stored.contains("http://127.0.0.1:8080/"), "{stored}");
    for secret in [PLAIN, &hash(PLAIN), KEY] {
        assert!(!stored.contains(secret), "{stored}");
    }
    // Nor can it be guessed from what is known of the request.
    let body = told("http://127.0.0.1:8080/", Some(PLAIN));
    assert!(!stored.contains(&model::fingerprint::of(&body).unwrap()));
    assert!(!system.gateways[0].stderr().contains(PLAIN));
    assert!(!client.job(id).await.to_string().contains("127.0.0.1:8080"), "a poll tells nothing of webhooks");
}

/// All that the server has ever written in its append-only file.
fn written(folder: &Path) -> String {
    let files = std::fs::read_dir(folder.join("appendonlydir")).unwrap();
    let texts = files.map(|file| std::fs::read(file.unwrap().path()).unwrap());
    texts.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).collect()
}

fn hash(text: &str) -> String {
    model::fingerprint::sha256(text.as_bytes())
}

#[tokio::test]
async fn only_the_public_internet_and_what_is_listed_may_be_told() {
    let system = settings("\"::1\", \"10.1.0.0/16\", \"hooks.internal:8443\"", "").start().await;
    let client = system.client(0);
    for (url, says) in [
        ("http://127.0.0.1:8080/", "127.0.0.1 is a loopback address; webhooks.allow doesn't list it"),
        ("http://2130706433/", "127.0.0.1 is a loopback address"),
        ("http://0177.0.0.1/", "127.0.0.1 is a loopback address"),
        ("http://0x7f.1/", "127.0.0.1 is a loopback address"),
        ("http://[::ffff:169.254.169.254]/", "is a link-local address"),
        ("http://[64:ff9b::10.0.0.1]/", "is a private address"),
        ("http://10.2.0.1/", "10.2.0.1 is a private address"),
        ("https://user:pw@example.com/", "user name"),
        ("https://example.com@127.0.0.1/", "user name"),
        ("file:///etc/passwd", "its scheme is `file`"),
        ("gopher://example.com/", "its scheme is `gopher`"),
        ("http://example.com:22/", "its port is 22"),
        ("http://example.com:6379/", "its port is 6379"),
        ("/hook", "it isn't a URL"),
        // It may lead to ::1, and its name has 127.0.0.1 too: that is found by asking.
        ("http://localhost:8080/", "127.0.0.1 is a loopback address"),
    ] {
        let (status, name, detail) = refused(client, json!({ "url": url, "secret": SECRET })).await;
        assert_eq!((status, &*name), (422, "webhook-refused"), "{url}: {detail}");
        assert!(detail.contains(says), "{url}: {detail}");
    }
    for (webhook, says) in [
        (json!({ "url": "https://example.com/", "secret": "whsec_short" }), "webhook.secret"),
        (json!({ "url": 1 }), "webhook.url"),
        (json!({ "secret": SECRET }), "missing field `url`"),
        (json!({ "url": "https://example.com/", "secrets": [] }), "unknown field"),
    ] {
        let (status, name, detail) = refused(client, webhook).await;
        assert_eq!((status, &*name), (400, "malformed"), "{detail}");
        assert!(detail.contains(says) && !detail.contains("whsec_short"), "{detail}");
    }
    assert_eq!(system.jobs().await, 0);
    for url in [
        "http://[::1]:8080/",
        "http://10.1.2.3/",
        "https://no-such-host.invalid/",
        "https://hooks.internal:8443/",
    ] {
        client.submit_with(&told(url, Some(SECRET))).await;
    }
    assert_eq!(system.jobs().await, 4);
}

#[tokio::test]
async fn without_a_secret_the_owners_signs_and_its_endpoints_are_told_of_the_rest() {
    let receiver = Hook::start().await;
    let (new, old) = (SECRET, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaAA");
    let owner = format!(
        "[webhooks.owners.anonymous]\nsecrets = [{new:?}, {old:?}]\nendpoints = [{:?}, {:?}]",
        receiver.at("/one"),
        receiver.at("/two"),
    );
    let system = delivering(&owner).await;
    let client = system.client(0);
    let own =
        client.submit_with(&json!({ "task": "remote", "webhook": { "url": receiver.at("/own") } })).await;
    client.tell(&format!("/api/jobs/{own}/cancel"), &json!({})).await;
    let arrival = receiver.wait(1).await.remove(0);
    assert_eq!((&*arrival.path, &arrival.json()["type"]), ("/own", &json!("job.cancelled")));
    assert_signed(&arrival, &[new, old]);

    let rest = client.submit("remote", Value::Null).await;
    Remote::claim(client, "remote").await.must("fail", json!({ "error": "no" })).await;
    let arrivals = receiver.wait(3).await;
    let mut paths: Vec<_> = arrivals[1..].iter().map(|arrival| &*arrival.path).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["/one", "/two"]);
    for arrival in &arrivals[1..] {
        assert_signed(arrival, &[new, old]);
        assert_eq!((&arrival.json()["type"], &arrival.json()["error"]), (&json!("job.failed"), &json!("no")));
        assert_eq!(arrival.json()["jobId"], json!(rest));
    }
    assert_eq!(deliveries(client, rest).await.as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn an_endpoint_that_may_not_be_told_is_warned_of_and_holds_up_no_submission() {
    let owner = format!(
        "[webhooks.owners.anonymous]\nsecrets = [{SECRET:?}]\nendpoints = [\"http://10.0.0.1/token\"]"
    );
    let system = settings("", &owner).couriers(1).start().await;
    let client = system.client(0);
    let said = system.gateways[0].stderr();
    assert!(
        said.contains("webhooks.owners.anonymous.endpoints[0]") && said.contains("a private address"),
        "{said}"
    );
    assert!(!said.contains("token"), "{said}");
    let id = client.submit("remote", Value::Null).await;
    client.tell(&format!("/api/jobs/{id}/cancel"), &json!({})).await;
    testkit::eventually(whole::SOON, "it is a dead letter", async || {
        let letters = client.ask("/api/dead-letters").await.body["deadLetters"].clone();
        letters[0]["attempts"][0]["error"].as_str().is_some_and(|error| error.contains("a private address"))
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_signed_or_kept_is_refused() {
    let system = System::builder().workers(0).start().await;
    let client = system.client(0);
    let url = "https://no-such-host.invalid/";
    let (status, name, detail) = refused(client, json!({ "url": url })).await;
    assert_eq!((status, &*name), (422, "no-webhook-secret"));
    assert!(detail.contains("webhooks.owners.anonymous.secrets"), "{detail}");
    let (status, name, detail) = refused(client, json!({ "url": url, "secret": SECRET })).await;
    assert_eq!((status, &*name), (422, "webhook-secrets-off"));
    assert!(detail.contains("webhooks.encryption_keys"), "{detail}");
    assert_eq!(system.jobs().await, 0);
}

#[tokio::test]
async fn a_replay_keeps_the_first_secret_and_a_retry_keeps_the_webhook() {
    let system = delivering("").await;
    let (client, receiver) = (system.client(0), Hook::start().await);
    let submit = async |url: &str, secret| {
        let request = client.request(Method::POST, "/api/jobs").header("Idempotency-Key", "once");
        Answer::of(request.json(&told(url, secret)).send().await.unwrap()).await
    };
    let url = receiver.at("/hook");
    let first = submit(&url, Some(SECRET)).await;
    let id = first.body["jobId"].clone();
    for secret in [Some(SECRET), Some(PLAIN)] {
        let again = submit(&url, secret).await;
        assert_eq!((&again.body["jobId"], again.header("idempotency-replayed")), (&id, "true"));
    }
    let other = submit(&receiver.at("/other"), Some(SECRET)).await;
    assert_eq!(other.problem(), (422, "idempotency-mismatch"));
    Remote::claim(client, "remote").await.must("fail", json!({ "error": "no" })).await;
    assert_signed(&receiver.wait(1).await[0], &[SECRET]);

    let retried = client.tell(&format!("/api/jobs/{}/retry", id.as_str().unwrap()), &Value::Null).await;
    assert_eq!(retried.status, 202, "{retried:?}");
    Remote::claim(client, "remote").await.complete(1).await;
    let arrival = receiver.wait(2).await.remove(1);
    assert_eq!((&*arrival.path, &arrival.json()["jobId"]), ("/hook", &retried.body["jobId"]));
    assert_signed(&arrival, &[SECRET]);
}

#[tokio::test]
async fn the_command_takes_the_secret_from_where_nobody_sees_it() {
    let system = delivering("").await;
    let (client, receiver) = (system.client(0), Hook::start().await);
    let url = client.url("");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{SECRET}\n")).unwrap();
    let path = file.path().display().to_string();
    for (number, from) in
        [["--webhook-secret-env", "HOOK_SECRET"], ["--webhook-secret-file", &path]].into_iter().enumerate()
    {
        let hook = receiver.at("/hook");
        let args = ["submit", "remote", "--webhook", &hook, from[0], from[1]];
        let ended = end(command(&url, &args).env("HOOK_SECRET", SECRET)).await;
        assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{from:?}");
        Remote::claim(client, "remote").await.complete(1).await;
        assert_signed(&receiver.wait(number + 1).await[number], &[SECRET]);
    }
    let args = ["submit", "remote", "--webhook", &url, "--webhook-secret-env", "HOOK_SECRET"];
    let bad = end(command(&url, &args).env("HOOK_SECRET", "whsec_oops")).await;
    assert_eq!(bad.code, Some(2), "{bad:?}");
    assert!(bad.stderr.contains("HOOK_SECRET") && !bad.stderr.contains("oops"), "{bad:?}");
}

#[tokio::test]
async fn an_external_job_and_one_of_a_stream_are_told_too() {
    let system = delivering("").await;
    let (client, receiver) = (system.client(0), Hook::start().await);
    let mut body = told(&receiver.at("/external"), Some(SECRET));
    body["external"] = json!(true);
    let accepted = client.tell("/api/jobs", &body).await.body;
    let id = accepted["jobId"].as_str().unwrap();
    let report = json!({ "leaseToken": accepted["leaseToken"], "result": 7 });
    assert_eq!(client.tell(&format!("/api/work/{id}/complete"), &report).await.status, 200);
    let arrival = receiver.wait(1).await.remove(0);
    assert_eq!((&arrival.json()["jobId"], &arrival.json()["result"]), (&json!(id), &json!(7)));
    assert!(!arrival.json().to_string().contains(accepted["leaseToken"].as_str().unwrap()));
    let deliveries = deliveries(client, id.parse().unwrap()).await;
    assert_eq!(deliveries[0]["url"], receiver.at("/external"));
}
