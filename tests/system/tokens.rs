//! Stream tokens: what they open, and what they don't, on any gateway and without a look-up.

use std::collections::HashSet;
use std::time::Duration;

use model::stream_token::{Allows, StreamToken};
use model::{Clock, JobId, SystemClock};
use reqwest::Method;
use serde_json::{Value, json};
use testkit::eventually;
use testkit::sse::{Event, SseStream, check_history};
use whole::{Answer, Builder, Client, Remote, SOON, System};

/// The keys that tokens are signed with: the first one signs.
const NEW: [u8; 32] = [0x11; 32];
const OLD: [u8; 32] = [0x22; 32];

/// A system whose callers have keys: `acme` and `other` may all but `admin`, `writer` of acme may only submit.
fn with_keys(ttl: &str) -> Builder {
    let hex = |key: [u8; 32]| key.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut toml = format!("token_keys = [\"{}\", \"{}\"]\ntoken_ttl = \"{ttl}\"\n", hex(NEW), hex(OLD));
    for (key, owner, scopes) in [
        ("acme-key", "acme", r#"["submit", "read", "work"]"#),
        ("other-key", "other", r#"["submit", "read", "work"]"#),
        ("writer-key", "acme", r#"["submit"]"#),
    ] {
        let hash = model::fingerprint::sha256(key.as_bytes());
        toml += &format!("[[auth.keys]]\nowner = \"{owner}\"\nsha256 = \"{hash}\"\nscopes = {scopes}\n");
    }
    System::builder().keys(&toml)
}

/// A token, as `POST /api/tokens` gives it.
async fn token(client: &Client, request: &Value) -> String {
    let answer = client.tell("/api/tokens", request).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("cache-control"), "no-store");
    answer.body["token"].as_str().unwrap().to_owned()
}

fn stream_path(id: JobId, token: &str) -> String {
    format!("/api/jobs/{id}/events?token={token}")
}

/// The stream that a browser gets, which has nothing but the token.
async fn open(client: &Client, id: JobId, token: &str) -> SseStream {
    SseStream::open(client.url(&stream_path(id, token))).await
}

/// The problem that it gets instead.
async fn refusal(client: &Client, id: JobId, token: &str) -> (u16, String) {
    let answer = client.ask(&stream_path(id, token)).await;
    let (status, name) = answer.problem();
    assert_eq!(answer.header("www-authenticate") == "Bearer", status == 401, "{answer:?}");
    (status, name.to_owned())
}

async fn cancel(client: &Client, id: JobId) {
    assert_eq!(client.tell(&format!("/api/jobs/{id}/cancel"), &json!({})).await.status, 202);
}

fn names(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.event.as_str()).collect()
}

#[tokio::test]
async fn a_token_opens_the_streams_that_it_is_for() {
    let system = with_keys("1h").workers(0).gateways(2).start().await;
    let (a, b) = (system.client(0), system.client(1));
    let (acme, other) = (a.with_key("acme-key"), a.with_key("other-key"));
    let (one, two, three) = (
        acme.submit("remote", Value::Null).await,
        acme.submit("remote", Value::Null).await,
        acme.submit("remote", Value::Null).await,
    );
    // Given by one gateway, believed by the other.
    let own = token(&acme, &json!({ "job": one })).await;
    let several = token(&acme, &json!({ "jobs": [one, two] })).await;
    for (id, token) in [(one, &own), (one, &several), (two, &several)] {
        let mut stream = open(b, id, token).await;
        assert_eq!(stream.status(), 200);
        assert_eq!(stream.next_within(SOON).await.unwrap().event, "queued");
    }
    let wrong = (403, "wrong-token".to_owned());
    assert_eq!(refusal(b, two, &own).await, wrong);
    assert_eq!(refusal(b, three, &several).await, wrong);
    let feed = token(&acme, &json!({ "feed": true })).await;
    assert_eq!(refusal(b, one, &feed).await, wrong);

    // Streams of several jobs, and the feed.
    let jobs = |ids: &[JobId], token: &str| {
        let list: String = ids.iter().map(|id| format!("job={id}&")).collect();
        format!("/api/events?{list}token={token}")
    };
    let feed_path = |token: &str| format!("/api/feed?token={token}");
    for path in [jobs(&[two, one], &several), jobs(&[one], &own), feed_path(&feed)] {
        let mut stream = SseStream::open(&b.url(&path)).await;
        assert_eq!(stream.next_within(SOON).await.unwrap().event, "queued", "{path}");
    }
    for path in [
        jobs(&[one, two], &own),
        jobs(&[one, three], &several),
        jobs(&[one], &feed),
        feed_path(&own),
        feed_path(&several),
    ] {
        assert_eq!(b.ask(&path).await.problem(), (403, "wrong-token"), "{path}");
    }

    // Whoever asks for a token of somebody else's job gets one, and learns nothing by it: the stream isn't theirs.
    let foreign = token(&other, &json!({ "job": one })).await;
    assert_eq!(refusal(b, one, &foreign).await, (404, "not-found".into()));
    let unknown: JobId = "019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6000".parse().unwrap();
    let of_none = token(&acme, &json!({ "job": unknown })).await;
    assert_eq!(refusal(b, unknown, &of_none).await, (404, "not-found".into()));

    // It is for streams, and for nothing else.
    for (method, path) in [
        (Method::GET, format!("/api/jobs/{one}?token={own}")),
        (Method::POST, format!("/api/jobs/{one}/cancel?token={own}")),
        (Method::POST, format!("/api/tokens?token={own}")),
    ] {
        let answer =
            Answer::of(b.request(method, &path).json(&json!({ "job": one })).send().await.unwrap()).await;
        assert_eq!(answer.problem(), (401, "unauthenticated"), "{path}");
    }
    let as_key = b.with_key(&own).ask(&format!("/api/jobs/{one}")).await;
    assert_eq!(as_key.problem(), (401, "unauthenticated"));
    // A key says more: with both, the key is asked.
    let both = b.with_key("other-key").ask(&stream_path(one, &own)).await;
    assert_eq!(both.problem(), (404, "not-found"));

    for id in [one, two, three] {
        cancel(&acme, id).await;
    }
    system.nothing_grows().await;
}

#[tokio::test]
async fn an_altered_token_is_none() {
    let system = with_keys("1h").workers(0).start().await;
    let client = system.client(0);
    let acme = client.with_key("acme-key");
    let id = acme.submit("remote", Value::Null).await;
    let good = token(&acme, &json!({ "job": id })).await;
    let (claims, signature) = good.split_once('.').unwrap();
    let swapped = |at: usize| {
        let mut bytes = good.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).unwrap()
    };
    let foreign = token(&client.with_key("other-key"), &json!({ "job": id })).await;
    let signed_with = |key: [u8; 32]| {
        let expires_at = SystemClock.now().plus(Duration::from_mins(1));
        let owner = "acme".parse().unwrap();
        StreamToken { owner, allows: Allows::Jobs(vec![id]), expires_at }.sign(&key)
    };
    for bad in [
        swapped(0),
        swapped(claims.len() / 2),
        swapped(good.len() - 10),
        claims.to_owned(),
        format!("{claims}."),
        format!(".{signature}"),
        format!("{good}A"),
        format!("{claims}.{}", foreign.split_once('.').unwrap().1),
        signed_with([0x33; 32]),
        "x".into(),
        String::new(),
    ] {
        assert_eq!(refusal(client, id, &bad).await, (401, "invalid-token".into()), "{bad}");
    }
    // Both keys are believed, so that one can follow the other; the first one signs.
    for good in [good.clone(), signed_with(NEW), signed_with(OLD)] {
        assert_eq!(open(client, id, &good).await.status(), 200, "{good}");
    }
    let keys = |key: &'static [u8; 32]| [&key[..]];
    assert!(StreamToken::verify(&good, keys(&NEW), SystemClock.now()).is_ok());
    assert!(StreamToken::verify(&good, keys(&OLD), SystemClock.now()).is_err());
    // Sent twice it could be either.
    let twice = client.ask(&format!("{}&token={good}", stream_path(id, &good))).await;
    assert_eq!(twice.problem(), (400, "malformed"));
    cancel(&acme, id).await;
    system.nothing_grows().await;
}

#[tokio::test]
async fn an_expired_token_opens_nothing_and_closes_nothing() {
    let system = with_keys("1h").workers(0).start().await;
    let client = system.client(0);
    let acme = client.with_key("acme-key");
    let id = acme.submit("remote", Value::Null).await;
    let worker = Remote::claim(&acme, "remote").await;
    // Long enough to open a stream with it on a busy machine.
    let short = token(&acme, &json!({ "job": id, "ttl": 5 })).await;
    let mut stream = open(client, id, &short).await;
    assert_eq!(stream.status(), 200);
    eventually(SOON, "the token has expired", async || open(client, id, &short).await.status() != 200).await;
    assert_eq!(refusal(client, id, &short).await, (401, "expired-token".into()));
    // Who has the stream keeps it; who was cut off goes on with a new token where it was.
    let first = stream.next_within(SOON).await.unwrap();
    worker.output(1).await;
    assert_eq!(stream.next_within(SOON).await.unwrap().event, "started");
    assert_eq!(stream.next_within(SOON).await.unwrap().event, "output");
    worker.complete(json!(true)).await;
    let new = token(&acme, &json!({ "job": id })).await;
    let again = SseStream::builder(client.url(&stream_path(id, &new))).last_event_id(&first.last_event_id);
    let rest = again.open().await.collect_to_end(SOON).await;
    assert_eq!(names(&rest), ["started", "output", "completed"]);
    check_history(&[vec![first], rest].concat()).unwrap();
    assert_eq!(names(&stream.collect_to_end(SOON).await), ["completed"]);
    system.nothing_grows().await;
}

#[tokio::test]
async fn who_may_have_a_token_and_for_how_long() {
    let system = with_keys("10m").workers(0).start().await;
    let client = system.client(0);
    let acme = client.with_key("acme-key");
    let id = "019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6000";
    let job = json!({ "job": id });
    assert_eq!(client.tell("/api/tokens", &job).await.problem(), (401, "unauthenticated"));
    assert_eq!(
        client.with_key("nobody's").tell("/api/tokens", &job).await.problem(),
        (401, "unauthenticated")
    );
    assert_eq!(
        client.with_key("writer-key").tell("/api/tokens", &job).await.problem(),
        (403, "missing-scope")
    );

    let ids = |n: usize| (0..n).map(|_| id).collect::<Vec<_>>();
    for (body, want) in [
        (json!({ "job": id, "ttl": 600 }), (200, "")),
        (json!({ "job": id, "ttl": 0.5 }), (200, "")),
        (json!({ "jobs": ids(100) }), (200, "")),
        (json!({ "job": id, "ttl": 600.001 }), (422, "out-of-range")),
        (json!({ "job": id, "ttl": 1e300 }), (422, "out-of-range")),
        (json!({ "job": id, "ttl": -1 }), (422, "out-of-range")),
        (json!({ "job": id, "ttl": "1h" }), (400, "malformed")),
        (json!({}), (400, "malformed")),
        (json!({ "job": "x" }), (400, "malformed")),
        (json!({ "job": id, "feed": true }), (400, "malformed")),
        (json!({ "job": id, "jobs": [id] }), (400, "malformed")),
        (json!({ "jobs": [] }), (400, "malformed")),
        (json!({ "jobs": ids(101) }), (400, "malformed")),
        (json!({ "feed": false }), (400, "malformed")),
        (json!({ "job": id, "owner": "other" }), (400, "malformed")),
        (Value::Null, (400, "malformed")),
    ] {
        let answer = acme.tell("/api/tokens", &body).await;
        let got = if answer.status == 200 { (200, "") } else { answer.problem() };
        assert_eq!(got, want, "{body}: {answer:?}");
    }

    // What it says of its end is what it holds.
    for (body, seconds) in [(job, 600.0), (json!({ "job": id, "ttl": 90 }), 90.0)] {
        let before = SystemClock.now();
        let answer = acme.tell("/api/tokens", &body).await;
        let held = StreamToken::verify(answer.body["token"].as_str().unwrap(), [&NEW[..]], before).unwrap();
        assert_eq!(answer.body["expiresAt"], json!(held.expires_at));
        let lasts = held.expires_at.since(before).as_secs_f64();
        assert!((seconds..seconds + 60.0).contains(&lasts), "{lasts}");
    }
}

#[tokio::test]
async fn without_a_key_to_sign_with_there_are_no_tokens() {
    let system = System::builder().workers(0).start().await;
    let answer = system.client(0).tell("/api/tokens", &json!({ "feed": true })).await;
    assert_eq!(answer.problem(), (422, "tokens-off"));
}

#[tokio::test]
async fn no_log_line_holds_a_token_or_a_key() {
    let system = with_keys("1h").settings("[log]\nlevel = \"trace\"\n[stream]\ndrain = \"0s\"").start().await;
    let client = system.client(0);
    let acme = client.with_key("acme-key");
    let id = acme.submit("count", json!({ "n": 3 })).await;
    let mut secrets: HashSet<String> = ["acme-key", "stolen-key"].map(String::from).into();
    let good = token(&acme, &json!({ "job": id })).await;
    let expired = token(&acme, &json!({ "job": id, "ttl": 0.001 })).await;
    let events = open(client, id, &good).await.collect_to_end(SOON).await;
    assert_eq!(names(&events).last(), Some(&"completed"));
    assert_eq!(refusal(client, id, &expired).await, (401, "expired-token".into()));
    let altered = format!("{}A", &good[..good.len() - 1]);
    for token in [&good, &altered, &expired] {
        drop(open(client, id, token).await);
        let (claims, signature) = token.split_once('.').unwrap();
        secrets.extend([claims.to_owned(), signature.to_owned()]);
    }
    client.with_key("stolen-key").ask(&format!("/api/jobs/{id}")).await;

    // The last of what was logged before this is there once this is.
    system.gateways[0].terminate();
    assert!(system.gateways[0].wait_exit(SOON).await.success());
    let log = system.gateways[0].stderr() + &system.gateways[0].stdout();
    assert!(log.contains("DEBUG") && log.contains(&id.to_string()), "it logs what it does: {log}");
    for secret in &secrets {
        let line = log.lines().find(|line| line.contains(secret.as_str()));
        assert_eq!(line, None, "{secret}");
    }
}
