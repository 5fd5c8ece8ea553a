//! Polling: the job is the fold of its events, answers are as short as they can be, and waiting costs Redis nothing.

use std::time::{Duration, Instant};

use model::JobId;
use reqwest::Method;
use serde_json::{Value, json};
use testkit::redis::cmd;
use testkit::sse::Event;
use tokio::task::JoinSet;
use whole::{Answer, Client, Remote, SOON, System, data, fold, told};

const LONG: &str = "[jobs]\nmax_wait = \"10m\"";

async fn get(client: &Client, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = client.request(Method::GET, path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Answer::of(request.send().await.unwrap()).await
}

/// Polls in a task of its own, so that the test can go on meanwhile.
fn waiting(client: &Client, path: String, headers: &'static [(&str, &str)]) -> JoinSet<Answer> {
    let (client, mut task) = (client.clone(), JoinSet::new());
    task.spawn(async move { get(&client, &path, headers).await });
    task
}

async fn answer(mut task: JoinSet<Answer>) -> Answer {
    tokio::time::timeout(SOON, task.join_next()).await.expect("an answer").unwrap().unwrap()
}

/// Waits until so many logs are followed: that many polls of different jobs wait.
async fn wait_followed(client: &Client, logs: usize) {
    testkit::eventually(SOON, "the polls wait", async || client.count("jobcast_followed_logs").await == logs)
        .await;
}

#[tokio::test]
async fn a_job_has_these_fields_and_no_others() {
    let system = System::builder().workers(0).start().await;
    let client = system.client(0);
    let id = client.submit("remote", json!(null)).await;
    let job = client.job(id).await;
    let mut fields: Vec<_> = job.as_object().unwrap().keys().map(String::as_str).collect();
    fields.sort_unstable();
    let mut expected = [
        "id",
        "task",
        "status",
        "progress",
        "message",
        "result",
        "error",
        "errorCode",
        "attempt",
        "maxAttempts",
        "priority",
        "metadata",
        "createdAt",
        "updatedAt",
        "startedAt",
        "finishedAt",
        "expiresAt",
        "statusUrl",
        "eventsUrl",
        "lastEventId",
    ];
    expected.sort_unstable();
    assert_eq!(fields, expected);
    assert_eq!(
        (&job["id"], &job["priority"], &job["maxAttempts"]),
        (&json!(id), &json!("normal"), &json!(3))
    );
    let time = job["createdAt"].as_str().unwrap();
    assert_eq!((time.len(), &time[10..11], &time[19..20], &time[23..]), (24, "T", ".", "Z"), "{time}");
}

/// The history of a job, and what the polled job must be after each event of it.
struct Watched<'a> {
    system: &'a System,
    id: JobId,
    stream: testkit::sse::SseStream,
    seen: Vec<(String, Value)>,
}

impl<'a> Watched<'a> {
    async fn submit(system: &'a System) -> Self {
        let id = system.client(0).submit("remote", json!({ "n": 1 })).await;
        Self { system, id, stream: system.client(1).stream(id).await, seen: Vec::new() }
    }

    /// Checks that both gateways' job is now the fold of all events up to this one, of this type.
    async fn check(&mut self, kind: &str) -> Value {
        let event: Event = self.stream.next_within(SOON).await.expect(kind);
        assert_eq!(event.event, kind);
        self.seen.push((event.id.clone().unwrap(), data(&event)));
        let expected = fold(self.seen.iter().map(|(id, event)| (id.as_str(), event)));
        for client in &self.system.clients {
            assert_eq!(told(&client.job(self.id).await), expected, "after {kind}");
        }
        expected
    }

    async fn claim(&self) -> Remote {
        let attempt = Remote::claim(self.system.client(0), "remote").await;
        assert_eq!(attempt.job(), self.id);
        attempt
    }
}

#[tokio::test]
async fn the_job_is_the_fold_of_its_events() {
    let system = System::builder().gateways(2).workers(0).start().await;
    let mut job = Watched::submit(&system).await;
    job.check("queued").await;
    let first = job.claim().await;
    job.check("started").await;
    first.must("progress", json!({ "progress": 41.5, "message": "so \"far\"\n" })).await;
    job.check("progress").await;
    first.output(json!({ "a": null })).await;
    job.check("output").await;
    first.must("heartbeat", json!({})).await;
    first.must("output", json!({ "text": "piece" })).await;
    job.check("output").await;
    first.must("progress", json!({})).await;
    job.check("progress").await;
    first.must("fail", json!({ "error": "not now", "retry": true })).await;
    let retrying = job.check("retrying").await;
    assert_eq!((&retrying["error"], &retrying["errorCode"]), (&json!("not now"), &json!("handler")));
    let second = job.claim().await;
    job.check("started").await;
    second.must("progress", json!({ "progress": 100 })).await;
    job.check("progress").await;
    second.must("release", json!({})).await;
    let retrying = job.check("retrying").await;
    assert_eq!((&retrying["errorCode"], &retrying["attempt"]), (&Value::Null, &json!(2)));
    let third = job.claim().await;
    let started = job.check("started").await;
    assert_eq!(
        (&started["progress"], &started["message"], &started["error"]),
        (&json!(null), &json!(null), &json!(null))
    );
    third.complete(json!({ "words": [1, 2] })).await;
    let done = job.check("completed").await;
    assert_eq!((&done["progress"], &done["result"]), (&json!(100), &json!({ "words": [1, 2] })));
    assert_eq!(job.stream.next_within(SOON).await, None);

    let mut job = Watched::submit(&system).await;
    job.check("queued").await;
    let attempt = job.claim().await;
    job.check("started").await;
    attempt.must("fail", json!({ "error": "never" })).await;
    job.check("failed").await;

    let mut job = Watched::submit(&system).await;
    job.check("queued").await;
    let id = job.id;
    assert_eq!(system.client(1).tell(&format!("/api/jobs/{id}/cancel"), &json!({})).await.status, 202);
    let cancelled = job.check("cancelled").await;
    assert_eq!(cancelled["errorCode"], "cancelled");
    system.nothing_grows().await;
}

#[tokio::test]
async fn a_client_that_has_it_already_is_told_so() {
    let system = System::builder().workers(0).start().await;
    let client = system.client(0);
    let id = client.submit("remote", json!(null)).await;
    let path = format!("/api/jobs/{id}");
    let polled = client.ask(&path).await;
    let etag = polled.header("etag").to_owned();
    assert_eq!(json!(etag.trim_matches('"')), polled.body["lastEventId"]);
    assert!(etag.starts_with('"') && etag.ends_with('"'));
    assert_eq!((polled.header("retry-after"), polled.header("cache-control")), ("1", "private, no-cache"));

    for (none_match, status) in [
        (etag.clone(), 304),
        (format!("W/{etag}"), 304),
        (format!("\"x\", {etag}"), 304),
        ("*".to_owned(), 304),
        ("\"1-000000\"".to_owned(), 200),
        (etag.trim_matches('"').to_owned(), 200),
    ] {
        let answer = get(client, &path, &[("if-none-match", &none_match)]).await;
        assert_eq!(answer.status, status, "{none_match}");
        assert_eq!((answer.header("etag"), answer.header("retry-after")), (etag.as_str(), "1"));
        assert_eq!(answer.body.is_null(), status == 304);
    }
    let head = client.request(Method::HEAD, &path).send().await.unwrap();
    assert_eq!((head.status().as_u16(), head.headers()["etag"].to_str().unwrap()), (200, etag.as_str()));
    assert!(head.headers().contains_key("content-length"));
    assert_eq!(head.bytes().await.unwrap().len(), 0);

    let attempt = Remote::claim(client, "remote").await;
    let answer = get(client, &path, &[("if-none-match", &etag)]).await;
    assert_eq!((answer.status, &answer.body["status"]), (200, &json!("processing")));
    attempt.complete(1).await;
    let ended = client.ask(&path).await;
    assert_eq!(ended.headers.get("retry-after"), None, "there is nothing to come back for");
    let again = get(client, &path, &[("if-none-match", ended.header("etag"))]).await;
    assert_eq!((again.status, again.headers.get("retry-after")), (304, None));
}

#[tokio::test]
async fn the_older_the_job_the_later_to_come_back() {
    let system = System::builder().workers(0).start().await;
    let client = system.client(0);
    let id = client.submit("remote", json!(null)).await;
    let mut redis = system.redis.client().await;
    let key = format!("jc:{{0.325}}:job:{id}");
    let created: i64 = cmd("HGET").arg(&key).arg("createdAt").query_async(&mut redis).await.unwrap();
    for (age, retry_after) in [(0, 1..=2), (55, 6..=9), (150, 15..=18), (100_000, 30..=30)] {
        let earlier = created - age * 1000;
        let _: i64 =
            cmd("HSET").arg(&key).arg("createdAt").arg(earlier).query_async(&mut redis).await.unwrap();
        let answer = client.ask(&format!("/api/jobs/{id}")).await;
        let seconds: u32 = answer.header("retry-after").parse().unwrap();
        assert!(retry_after.contains(&seconds), "{seconds} s for a job of {age} s");
    }
}

#[tokio::test]
async fn a_poll_may_wait_for_a_change() {
    let system = System::builder().gateways(2).workers(0).settings(LONG).start().await;
    let (a, b) = (system.client(0), system.client(1));
    let id = a.submit("remote", json!(null)).await;
    let path = format!("/api/jobs/{id}");
    let attempt = Remote::claim(b, "remote").await;
    let began = Instant::now();

    // Both ways of asking, on both gateways; a change wakes all of them, whoever made it.
    let etag: &'static str = a.ask(&path).await.header("etag").to_owned().leak();
    let none_match: &'static [_] = vec![("if-none-match", etag), ("prefer", "wait=500")].leak();
    let polls = [
        waiting(a, format!("{path}?wait=500"), &[]),
        waiting(a, path.clone(), &[("prefer", "wait=500")]),
        waiting(b, path.clone(), none_match),
        waiting(b, format!("{path}?wait=500"), none_match),
    ];
    for client in [a, b] {
        wait_followed(client, 1).await;
    }
    attempt.must("progress", json!({ "progress": 7 })).await;
    let mut applied = Vec::new();
    for poll in polls {
        let answer = answer(poll).await;
        assert_eq!((answer.status, &answer.body["progress"]), (200, &json!(7)));
        applied.push(answer.header("preference-applied").to_owned());
    }
    assert_eq!(applied, ["", "wait=500", "wait=500", ""], "what was asked in the query is no preference");

    // Who knows less than there is gets it at once; so does who asks about an ended job.
    let old: &'static [_] = vec![("if-none-match", etag)].leak();
    let answer_to_old = get(a, &format!("{path}?wait=500"), old).await;
    assert_eq!((answer_to_old.status, &answer_to_old.body["progress"]), (200, &json!(7)));
    attempt.complete(3).await;
    assert_eq!(get(b, &format!("{path}?wait=500"), &[]).await.body["status"], "completed");
    let etag = a.ask(&path).await.header("etag").to_owned();
    let ended = get(a, &format!("{path}?wait=500"), &[("if-none-match", &etag)]).await;
    assert_eq!(ended.status, 304, "nothing will change");
    assert!(began.elapsed() < Duration::from_secs(400), "nobody waited to the end");
}

#[tokio::test]
async fn a_poll_waits_no_longer_than_it_may() {
    let system = System::builder().workers(0).settings("[jobs]\nmax_wait = \"1s\"").start().await;
    let client = system.client(0);
    let id = client.submit("remote", json!(null)).await;
    let path = format!("/api/jobs/{id}");
    let etag = client.ask(&path).await.header("etag").to_owned();
    for (query, headers, status, applied) in [
        ("?wait=1", vec![], 200, ""),
        ("?wait=86400", vec![], 200, ""),
        ("", vec![("prefer", "wait=86400")], 200, "wait=1"),
        ("?wait=1", vec![("if-none-match", etag.as_str())], 304, ""),
        ("", vec![("if-none-match", etag.as_str()), ("prefer", "handling=strict, wait=1")], 304, "wait=1"),
    ] {
        let began = Instant::now();
        let answer = get(client, &format!("{path}{query}"), &headers).await;
        assert_eq!(
            (answer.status, answer.header("preference-applied")),
            (status, applied),
            "{query} {headers:?}"
        );
        assert_eq!((answer.header("etag"), answer.header("retry-after")), (etag.as_str(), "1"));
        assert!(began.elapsed() >= Duration::from_secs(1), "it waited");
    }
    for (query, headers) in [("?wait=0", vec![]), ("", vec![("prefer", "wait=soon")]), ("?later=1", vec![])] {
        assert_eq!(get(client, &format!("{path}{query}"), &headers).await.status, 200, "{query} {headers:?}");
    }
    for query in ["?wait=-1", "?wait=soon", "?wait=", "?wait=1&wait=2", "?wait=99999999999999999999"] {
        let answer = client.ask(&format!("{path}{query}")).await;
        assert_eq!(answer.problem(), (400, "malformed"), "{query}");
    }
}

#[tokio::test]
async fn waiting_asks_redis_for_nothing() {
    // What is compared with Redis now and then asks it too, which is no part of the waiting.
    let builder = System::builder().workers(0).settings(LONG).settings("[stream]\nreconcile = \"5m\"");
    let system = builder.start().await;
    let client = system.client(0);
    let mut polls = Vec::new();
    let mut ids = Vec::new();
    for _ in 0..100 {
        let id = client.submit("remote", json!(null)).await;
        polls.push(waiting(client, format!("/api/jobs/{id}?wait=500"), &[]));
        ids.push(id);
    }
    wait_followed(client, 100).await;
    // Each look at the metrics asks Redis about the tasks' queues; the sweep asks once a second.
    let before = client.count("jobcast_redis_round_trips_total").await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let asked = client.count("jobcast_redis_round_trips_total").await - before;
    assert!(asked < 50, "{asked} round trips while 100 polls waited for 4 s");
    assert!(polls.iter_mut().all(|poll| poll.try_join_next().is_none()), "all still wait");
    for id in &ids {
        assert_eq!(client.tell(&format!("/api/jobs/{id}/cancel"), &json!({})).await.status, 202);
    }
    for poll in polls {
        assert_eq!(answer(poll).await.body["status"], "cancelled");
    }
    system.nothing_grows().await;
}

#[tokio::test]
async fn a_gateway_that_stops_answers_who_waits() {
    let system = System::builder().workers(0).settings(LONG).start().await;
    let client = system.client(0);
    let id = client.submit("remote", json!(null)).await;
    let poll = waiting(client, format!("/api/jobs/{id}?wait=500"), &[]);
    let claim = {
        let (client, mut task) = (client.clone(), JoinSet::new());
        task.spawn(
            async move { client.tell("/api/work/claim?wait=500", &json!({ "tasks": ["count"] })).await },
        );
        task
    };
    wait_followed(client, 1).await;
    system.gateways[0].terminate();
    assert_eq!(answer(poll).await.body["status"], "pending");
    assert_eq!(answer(claim).await.status, 204);
    assert!(system.gateways[0].wait_exit(SOON).await.success());
}
