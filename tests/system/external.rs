//! External jobs over HTTP, through two gateways: a queue that is there already does the work, and reports of it.

use model::{JobId, Timestamp};
use reqwest::Method;
use serde_json::{Value, json};
use testkit::sse::check_history;
use whole::{Answer, Client, SOON, System, data, turns};

const SETTINGS: &str = "[jobs]\nsweep = \"100ms\"\nexternal_lease = \"50s\"";

async fn system() -> System {
    System::builder().gateways(2).workers(0).settings(SETTINGS).start().await
}

/// An external job that was accepted.
struct External {
    id: JobId,
    token: String,
}

impl External {
    fn of(answer: &Answer) -> Self {
        assert_eq!(answer.status, 202, "{answer:?}");
        let text = |name: &str| answer.body[name].as_str().unwrap_or_else(|| panic!("{name}: {answer:?}"));
        Self { id: text("jobId").parse().unwrap(), token: text("leaseToken").to_owned() }
    }

    async fn submit(client: &Client) -> Self {
        Self::of(&client.tell("/api/jobs", &json!({ "task": "remote", "external": true })).await)
    }

    async fn call(&self, client: &Client, name: &str, mut fields: Value) -> Answer {
        fields["leaseToken"] = json!(self.token);
        client.tell(&format!("/api/work/{}/{name}", self.id), &fields).await
    }

    async fn must(&self, client: &Client, name: &str, fields: Value) -> Value {
        let answer = self.call(client, name, fields).await;
        assert_eq!((answer.status, &answer.body["cancelled"]), (200, &json!(false)), "{name}: {answer:?}");
        answer.body
    }
}

async fn submit_with(client: &Client, headers: &[(&str, &str)], body: &Value) -> Answer {
    let mut request = client.request(Method::POST, "/api/jobs").json(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Answer::of(request.send().await.unwrap()).await
}

/// Milliseconds from an event's or a job's time to a lease's end.
fn lasts(from: &Value, to: &Value) -> i128 {
    let at = |value: &Value| serde_json::from_value::<Timestamp>(value.clone()).unwrap().as_millis();
    i128::from(at(to)) - i128::from(at(from))
}

#[tokio::test]
async fn it_is_pending_until_its_first_report_and_every_view_tells_the_same() {
    let system = system().await;
    let (a, b) = (system.client(0), system.client(1));
    let body = json!({ "task": "remote", "payload": [1], "external": true, "metadata": { "k": 1 } });
    let answer = submit_with(a, &[], &body).await;
    assert_eq!(answer.body["status"], "pending");
    assert_eq!(answer.header("cache-control"), "no-store");
    let job = External::of(&answer);
    let follower = b.follow(job.id);
    // A worker that asks gets nothing.
    for client in [a, b] {
        let none = client.tell("/api/work/claim?wait=1", &json!({ "tasks": ["remote"] })).await;
        assert_eq!(none.status, 204, "{none:?}");
    }
    let polled = b.job(job.id).await;
    assert_eq!((&polled["status"], &polled["attempt"]), (&json!("pending"), &json!(0)), "{polled}");
    assert_eq!((&polled["maxAttempts"], &polled["startedAt"]), (&json!(1), &Value::Null), "{polled}");
    assert!(!polled.to_string().contains(&job.token), "who reads can't report");

    let told = job.must(b, "progress", json!({ "batch": 1, "progress": 10, "message": "on it" })).await;
    let started = a.job(job.id).await;
    assert_eq!((&started["status"], &started["attempt"]), (&json!("processing"), &json!(1)), "{started}");
    assert!((49_900..=60_000).contains(&lasts(&started["startedAt"], &told["leaseExpiresAt"])), "{told}");
    job.must(a, "output", json!({ "batch": 2, "outputs": [{ "output": 1 }, { "text": "two" }] })).await;
    job.must(b, "heartbeat", json!({})).await;
    job.must(a, "complete", json!({ "batch": 3, "result": { "n": 2 } })).await;

    let log = follower.wait().await;
    check_history(&log.events).unwrap();
    let names: Vec<_> = log.events.iter().map(|event| event.event.as_str()).collect();
    assert_eq!(names, ["queued", "started", "progress", "output", "output", "completed"]);
    let attempts: Vec<_> = log.events.iter().map(|event| data(event)["attempt"].clone()).collect();
    assert_eq!(json!(attempts), json!([0, 1, 1, 1, 1, 1]));
    let ended = b.job(job.id).await;
    assert_eq!((&ended["status"], &ended["result"]), (&json!("completed"), &json!({ "n": 2 })));
    system.nothing_grows().await;
}

#[tokio::test]
async fn each_call_may_be_the_first_and_a_repeat_of_it_is_harmless() {
    let system = system().await;
    let (a, b) = (system.client(0), system.client(1));
    for (name, fields, expected) in [
        ("heartbeat", json!({}), &["queued", "started"][..]),
        ("progress", json!({ "batch": 1, "progress": 1 }), &["queued", "started", "progress"]),
        ("output", json!({ "batch": 1, "text": "x" }), &["queued", "started", "output"]),
        ("complete", json!({ "batch": 1 }), &["queued", "started", "completed"]),
        ("fail", json!({ "batch": 1, "error": "no" }), &["queued", "started", "failed"]),
        ("fail", json!({ "error": "no", "retry": true }), &["queued", "started", "failed"]),
    ] {
        let job = External::submit(a).await;
        // Both at once: whichever comes first starts it, and the other finds it started.
        let (first, second) =
            tokio::join!(job.call(a, name, fields.clone()), job.call(b, name, fields.clone()));
        assert_eq!((first.status, second.status), (200, 200), "{name}: {first:?} {second:?}");
        let told = a.ask(&format!("/api/jobs/{}", job.id)).await.body;
        assert_eq!((&told["attempt"], &told["maxAttempts"]), (&json!(1), &json!(1)), "{name}");
        if !["completed", "failed"].contains(&expected[2.min(expected.len() - 1)]) {
            let skips = job.call(a, "output", json!({ "batch": 3, "text": "x" })).await;
            assert_eq!(skips.problem(), (409, "batch-gap"), "{name}");
            job.must(b, "complete", json!({})).await;
        }
        let events = b.events(job.id).await;
        let names: Vec<_> = events.iter().map(|event| event.event.as_str()).collect();
        assert_eq!(names[..expected.len()], *expected, "{name}");
        assert_eq!(names.iter().filter(|name| **name == "started").count(), 1);
        let late = job.call(a, "output", json!({ "text": "late" })).await;
        assert_eq!(late.problem(), (409, "lease-lost"), "{name}");
    }
    system.nothing_grows().await;
}

#[tokio::test]
async fn a_replay_answers_with_the_same_token() {
    let system = system().await;
    let (a, b) = (system.client(0), system.client(1));
    let body = json!({ "task": "remote", "external": { "lease": 30 } });
    let key = ("Idempotency-Key", "\"k\"");
    let first = submit_with(a, &[key], &body).await;
    assert_eq!(first.header("idempotency-replayed"), "");
    let job = External::of(&first);
    let mut status = "pending";
    for step in ["", "heartbeat", "complete"] {
        if !step.is_empty() {
            job.must(b, step, json!({})).await;
            status = if step == "complete" { "completed" } else { "processing" };
        }
        for prefer in ["respond-async", "wait=50"] {
            let again = submit_with(b, &[key, ("Prefer", prefer)], &body).await;
            assert_eq!(again.header("idempotency-replayed"), "true");
            assert_eq!((again.status, &again.body["status"]), (202, &json!(status)));
            let again = External::of(&again);
            assert_eq!((again.id, &again.token), (job.id, &job.token));
        }
    }
    for other in [json!({ "task": "remote" }), json!({ "task": "remote", "external": true })] {
        assert_eq!(submit_with(b, &[key], &other).await.problem(), (422, "idempotency-mismatch"));
    }
    // Many at once make one job, and each can report of it.
    let mut answers = tokio::task::JoinSet::new();
    for n in 0..50 {
        let (client, body) = (system.client(n % 2).clone(), body.clone());
        answers.spawn(async move { submit_with(&client, &[("Idempotency-Key", "\"many\"")], &body).await });
    }
    let all: Vec<_> = answers.join_all().await.iter().map(External::of).collect();
    assert!(all.iter().all(|job| (job.id, &job.token) == (all[0].id, &all[0].token)));
    all[0].must(a, "complete", json!({})).await;
    system.nothing_grows().await;
}

#[tokio::test]
async fn it_is_answered_at_once_whatever_is_preferred() {
    let system = system().await;
    let client = system.client(0);
    let body = json!({ "task": "remote", "external": true });
    // It would take longer than this test may.
    let answer = submit_with(client, &[("Prefer", "wait=60")], &body).await;
    assert_eq!(answer.header("preference-applied"), "");
    External::of(&answer).must(client, "complete", json!({})).await;

    let before = system.jobs().await;
    let answer = submit_with(client, &[("Accept", "text/event-stream")], &body).await;
    assert_eq!(answer.problem(), (422, "out-of-range"));
    assert!(answer.body["detail"].as_str().unwrap().contains("eventsUrl"), "{answer:?}");
    assert_eq!(system.jobs().await, before);
}

#[tokio::test]
async fn what_makes_no_sense_of_an_external_job_is_refused() {
    let system = system().await;
    let client = system.client(0);
    for (fields, status, problem, says) in [
        (json!({ "external": true, "maxAttempts": 2 }), 422, "out-of-range", "one attempt"),
        (json!({ "external": { "lease": 30 }, "maxAttempts": 100 }), 422, "out-of-range", "one attempt"),
        (json!({ "external": true, "maxAttempts": 0 }), 422, "out-of-range", "1 to 100"),
        (json!({ "external": true, "delay": 1 }), 422, "out-of-range", "delay"),
        (json!({ "external": { "lease": 0.999 } }), 422, "out-of-range", "1 to 3600 seconds"),
        (json!({ "external": { "lease": 3600.1 } }), 422, "out-of-range", "1 to 3600 seconds"),
        (json!({ "external": { "lease": -1 } }), 422, "out-of-range", "1 to 3600 seconds"),
        (json!({ "external": { "lease": "30s" } }), 400, "malformed", "external"),
        (json!({ "external": {} }), 400, "malformed", "external"),
        (json!({ "external": { "lease": 30, "colour": 1 } }), 400, "malformed", "external"),
        (json!({ "external": "yes" }), 400, "malformed", "external"),
        (json!({ "external": 1 }), 400, "malformed", "external"),
    ] {
        let mut body = json!({ "task": "remote" });
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let answer = client.tell("/api/jobs", &body).await;
        assert_eq!(answer.problem(), (status, problem), "{body}");
        assert!(answer.body["detail"].as_str().unwrap().contains(says), "{body}: {answer:?}");
    }
    assert_eq!(system.jobs().await, 0);
    for fields in [json!({ "external": true, "maxAttempts": 1 }), json!({ "external": { "lease": 3600 } })] {
        let mut body = json!({ "task": "remote" });
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let job = External::of(&client.tell("/api/jobs", &body).await);
        job.must(client, "complete", json!({})).await;
    }
    // `false` is a job like any other.
    let answer = client.tell("/api/jobs", &json!({ "task": "remote", "external": false })).await;
    assert_eq!((answer.status, answer.body.get("leaseToken")), (202, None));
    let claimed = client.tell("/api/work/claim", &json!({ "tasks": ["remote"] })).await;
    assert_eq!(claimed.body["jobId"], answer.body["jobId"]);
    assert_eq!(claimed.body["maxAttempts"], 3);
}

#[tokio::test]
async fn it_can_not_be_given_back() {
    let system = system().await;
    let client = system.client(0);
    let job = External::submit(client).await;
    for first in [true, false] {
        let refused = job.call(client, "release", json!({})).await;
        assert_eq!(refused.problem(), (422, "out-of-range"));
        assert!(refused.body["detail"].as_str().unwrap().contains("can't be given back"), "{refused:?}");
        if first {
            job.must(client, "heartbeat", json!({})).await;
        }
    }
    client.tell(&format!("/api/jobs/{}/cancel", job.id), &json!({})).await;
    // Of a cancelled one it says that the work has stopped.
    let stopped = job.call(client, "release", json!({})).await;
    assert_eq!((stopped.status, &stopped.body["cancelled"]), (200, &json!(true)));
    assert_eq!(turns(&client.events(job.id).await), ["queued", "started", "cancelled"]);
    system.nothing_grows().await;
}

#[tokio::test]
async fn silence_ends_it() {
    let settings = "[jobs]\nlease = \"1s\"\nheartbeat = \"200ms\"\nsweep = \"100ms\"";
    let system = System::builder().gateways(2).workers(0).settings(settings).start().await;
    let (a, b) = (system.client(0), system.client(1));
    let submit = async |fields: Value| {
        let mut body = json!({ "task": "remote", "external": { "lease": 1 } });
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        External::of(&a.tell("/api/jobs", &body).await)
    };
    let unclaimed = submit(json!({ "queueTimeout": 0.5 })).await;
    let lost = submit(json!({})).await;
    let slow = submit(json!({ "timeout": 2, "external": { "lease": 5 } })).await;
    // Time for its first report, however busy the machine is.
    let late = submit(json!({ "deadline": 6, "external": { "lease": 5 } })).await;
    lost.must(b, "output", json!({ "text": "then nothing" })).await;
    // Those two are renewed as long as they may be.
    testkit::eventually(SOON, "a limit ends each", async || {
        let (slow, late) =
            tokio::join!(slow.call(b, "heartbeat", json!({})), late.call(a, "heartbeat", json!({})));
        slow.status != 200 && late.status != 200
    })
    .await;
    for (job, code, events) in [
        (&unclaimed, "unclaimed", &["queued", "failed"][..]),
        (&lost, "lost", &["queued", "started", "failed"]),
        (&slow, "timeout", &["queued", "started", "failed"]),
        (&late, "timeout", &["queued", "started", "failed"]),
    ] {
        let ended = b.ended(job.id).await;
        assert_eq!((&ended["status"], &ended["errorCode"]), (&json!("failed"), &json!(code)), "{ended}");
        assert_eq!(turns(&a.events(job.id).await), events);
        for name in ["heartbeat", "complete"] {
            assert_eq!(job.call(a, name, json!({})).await.problem(), (409, "lease-lost"));
        }
    }
    system.nothing_grows().await;
}

async fn retry(client: &Client, id: JobId, headers: &[(&str, &str)]) -> Answer {
    let mut request = client.request(Method::POST, &format!("/api/jobs/{id}/retry"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Answer::of(request.send().await.unwrap()).await
}

#[tokio::test]
async fn a_retry_is_another_external_job_with_a_token_of_its_own() {
    let system = system().await;
    let (a, b) = (system.client(0), system.client(1));
    let body = json!({
        "task": "remote", "payload": [1], "external": { "lease": 20 }, "metadata": { "k": 1 }, "queueTimeout": 600,
    });
    let failed = External::of(&a.tell("/api/jobs", &body).await);
    assert_eq!(retry(b, failed.id, &[]).await.problem(), (409, "job-living"));
    failed.must(a, "output", json!({ "batch": 1, "text": "so far" })).await;
    assert_eq!(retry(b, failed.id, &[]).await.problem(), (409, "job-living"));
    failed.must(b, "fail", json!({ "batch": 2, "error": "no", "retry": true })).await;
    let old = a.job(failed.id).await;
    let told = a.events(failed.id).await;

    // The answer is that of a submission, and may be asked for once more by its key.
    let key = [("Idempotency-Key", "again")];
    let answer = retry(b, failed.id, &key).await;
    assert_eq!((answer.header("cache-control"), &answer.body["status"]), ("no-store", &json!("pending")));
    let again = External::of(&answer);
    assert!(again.id != failed.id && again.token != failed.token);
    let replay = retry(a, failed.id, &key).await;
    assert_eq!(replay.header("idempotency-replayed"), "true");
    let replay = External::of(&replay);
    assert_eq!((replay.id, &replay.token), (again.id, &again.token));
    // One whose answer can't carry a token makes none.
    let streamed = [("Accept", "text/event-stream")];
    assert_eq!(retry(a, failed.id, &streamed).await.problem().0, 422);
    assert_eq!(system.jobs().await, 2);

    // No worker takes it, and who worked at the first one has no say in it.
    let none = a.tell("/api/work/claim", &json!({ "tasks": ["remote"] })).await;
    assert_eq!(none.status, 204, "{none:?}");
    let stale = External { id: again.id, token: failed.token.clone() };
    assert_eq!(stale.call(a, "heartbeat", json!({})).await.problem(), (409, "lease-lost"));
    let polled = a.job(again.id).await;
    for field in ["task", "metadata", "maxAttempts"] {
        assert_eq!(polled[field], old[field], "{field}");
    }
    assert_eq!((&polled["status"], &polled["attempt"]), (&json!("pending"), &json!(0)));

    // Its reports count from 1, and renew a lease as long as the first one's.
    let held = again.must(b, "output", json!({ "batch": 1, "text": "anew" })).await;
    let started = &a.job(again.id).await["startedAt"];
    assert!((19_900..=40_000).contains(&lasts(started, &held["leaseExpiresAt"])), "{held}");
    again.must(a, "complete", json!({ "batch": 2, "result": 2 })).await;
    assert_eq!(b.job(again.id).await["result"], 2);
    assert_eq!((a.job(failed.id).await, a.events(failed.id).await.len()), (old, told.len()));
    assert_eq!(retry(b, again.id, &[]).await.problem(), (409, "job-completed"));

    // Also one that nothing was ever reported of.
    let cancelled = External::submit(a).await;
    assert_eq!(a.tell(&format!("/api/jobs/{}/cancel", cancelled.id), &json!({})).await.status, 202);
    External::of(&retry(b, cancelled.id, &[]).await).must(a, "complete", json!({ "result": 1 })).await;
    system.nothing_grows().await;
}

#[tokio::test]
async fn a_cancellation_is_told_to_whoever_reports() {
    let system = system().await;
    let (a, b) = (system.client(0), system.client(1));
    for before in [false, true] {
        let job = External::submit(a).await;
        if before {
            job.must(b, "heartbeat", json!({})).await;
        }
        assert_eq!(a.tell(&format!("/api/jobs/{}/cancel", job.id), &json!({})).await.status, 202);
        for (name, fields) in [
            ("heartbeat", json!({})),
            ("progress", json!({ "batch": 1, "progress": 1 })),
            ("output", json!({ "batch": 1, "text": "x" })),
            ("fail", json!({ "error": "stopped" })),
            ("complete", json!({})),
        ] {
            let answer = job.call(b, name, fields).await;
            assert_eq!((answer.status, &answer.body["cancelled"]), (200, &json!(true)), "{name}: {answer:?}");
        }
        let expected =
            if before { &["queued", "started", "cancelled"][..] } else { &["queued", "cancelled"] };
        assert_eq!(turns(&b.events(job.id).await), expected);
    }
    system.nothing_grows().await;
}

#[tokio::test]
async fn whoever_reports_needs_the_scope_and_the_token() {
    let hash = |key: &str| {
        let script = format!("printf %s '{key}' | sha256sum");
        let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()[..64].to_owned()
    };
    let key = |owner: &str, scopes: &str| {
        format!("[[auth.keys]]\nowner = {owner:?}\nsha256 = {:?}\nscopes = [{scopes}]\n", hash(owner))
    };
    let keys = key("shop", "\"submit\", \"read\"") + &key("workers", "\"work\"");
    let system = System::builder().gateways(2).workers(0).keys(&keys).settings(SETTINGS).start().await;
    let (shop, workers) = (system.client(0).with_key("shop"), system.client(1).with_key("workers"));
    let job = External::submit(&shop).await;
    assert_eq!(job.call(&shop, "heartbeat", json!({})).await.problem(), (403, "missing-scope"));
    let stranger = External { id: job.id, token: "0".repeat(32) };
    assert_eq!(stranger.call(&workers, "heartbeat", json!({})).await.problem(), (409, "lease-lost"));
    assert_eq!(shop.job(job.id).await["status"], "pending");
    job.must(&workers, "complete", json!({ "result": 1 })).await;
    assert_eq!(shop.job(job.id).await["status"], "completed");
}

#[tokio::test]
async fn replies_of_redis_that_are_lost_lose_and_double_nothing() {
    const OUTPUTS: u32 = 20;
    let system = System::builder()
        .gateways(2)
        .workers(0)
        .store("patience = \"50s\"")
        .settings("[stream]\nreconcile = \"1s\"")
        .proxied()
        .start()
        .await;
    let proxy = system.proxy.as_ref().unwrap();
    proxy.close_every_nth_reply(4);
    let mut reporters = tokio::task::JoinSet::new();
    for n in 0..10 {
        let (near, far) = (system.client(n % 2).clone(), system.client((n + 1) % 2).clone());
        reporters.spawn(async move {
            let job = External::submit(&near).await;
            for batch in 1..=OUTPUTS {
                job.must(&far, "output", json!({ "batch": batch, "output": batch })).await;
            }
            job.must(&near, "complete", json!({ "batch": OUTPUTS + 1, "result": n })).await;
            job.id
        });
    }
    let jobs = reporters.join_all().await;
    assert!(proxy.replies_swallowed() > 30, "only {} lost", proxy.replies_swallowed());
    proxy.pass();
    assert_eq!(system.jobs().await, 10, "no job twice");
    for id in jobs {
        let events = system.client(0).events(id).await;
        check_history(&events).unwrap();
        assert_eq!(turns(&events), ["queued", "started", "completed"]);
        let outputs: Vec<_> =
            events.iter().map(data).filter_map(|event| event.get("output").cloned()).collect();
        assert_eq!(json!(outputs), json!((1..=OUTPUTS).collect::<Vec<_>>()));
    }
    system.nothing_grows().await;
}
