//! The worker API: any program that speaks HTTP is a worker.

use std::time::Duration;

use model::JobId;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use whole::{Answer, Client, Remote, SOON, System, data, turns};

/// Nothing sweeps while a test runs, so nothing but a bell wakes who waits.
const NO_SWEEP: &str = "[jobs]\nlease = \"10m\"\nsweep = \"1m\"\nmax_wait = \"10m\"";

fn claim(tasks: &[&str]) -> Value {
    json!({ "tasks": tasks })
}

/// Claims in a task of its own.
fn waiting(client: &Client) -> JoinSet<Answer> {
    let (client, mut task) = (client.clone(), JoinSet::new());
    task.spawn(async move { client.tell("/api/work/claim?wait=500", &claim(&["remote"])).await });
    task
}

async fn claimed(waiting: &mut JoinSet<Answer>) -> Value {
    let answer = tokio::time::timeout(SOON / 2, waiting.join_next()).await.expect("a claim is answered");
    let answer = answer.unwrap().unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

/// Waits until so many connections wait at bells.
async fn wait_at_bells(system: &System, connections: usize) {
    let mut redis = system.redis.client().await;
    testkit::eventually(SOON, "workers wait at the bells", async || {
        let info: String = testkit::redis::cmd("INFO").arg("clients").query_async(&mut redis).await.unwrap();
        info.lines().any(|line| line == format!("blocked_clients:{connections}"))
    })
    .await;
}

#[tokio::test]
async fn the_calls_and_their_words() {
    let system = System::builder().gateways(2).workers(0).start().await;
    let (a, b) = (system.client(0), system.client(1));
    let none = b.tell("/api/work/claim", &claim(&["remote"])).await;
    assert_eq!((none.status, &none.body), (204, &Value::Null));

    let id = a.submit_with(&json!({ "task": "remote", "payload": [1, 2], "maxAttempts": 2 })).await;
    let answer = b.tell("/api/work/claim", &claim(&["count", "remote"])).await;
    let token = answer.body["leaseToken"].as_str().unwrap().to_owned();
    let expires = answer.body["leaseExpiresAt"].as_str().unwrap().to_owned();
    let expected = json!({ "jobId": id, "task": "remote", "payload": [1, 2], "attempt": 1, "maxAttempts": 2,
        "leaseToken": token, "leaseExpiresAt": expires });
    assert_eq!((answer.status, &answer.body), (200, &expected));
    assert!(token.len() == 32 && token.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));

    // Any gateway takes the calls of any attempt; each renews the lease.
    let mut last = expires;
    for (n, (name, fields)) in [
        ("heartbeat", json!({})),
        ("progress", json!({ "progress": 12.5, "message": "on it" })),
        ("progress", json!({})),
        ("output", json!({ "output": { "a": [null] } })),
        ("output", json!({ "output": null })),
        ("output", json!({ "text": "ä\u{0}\n" })),
        ("output", json!({ "outputs": [{ "output": 1 }, { "text": "2" }, { "output": "3" }] })),
    ]
    .into_iter()
    .enumerate()
    {
        let client = system.client(n % 2);
        let mut body = json!({ "leaseToken": token });
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let answer = client.tell(&format!("/api/work/{id}/{name}"), &body).await;
        assert_eq!(answer.status, 200, "{name} {fields}: {answer:?}");
        let now = answer.body["leaseExpiresAt"].as_str().unwrap().to_owned();
        assert_eq!(answer.body, json!({ "leaseExpiresAt": now, "cancelled": false }));
        assert!(now >= last, "{now} {last}");
        last = now;
    }
    let done = json!({ "leaseToken": token, "result": "ok" });
    assert_eq!(a.tell(&format!("/api/work/{id}/complete"), &done).await.status, 200);

    let events = a.events(id).await;
    let outputs: Vec<_> = events
        .iter()
        .filter(|event| event.event == "output")
        .map(|event| {
            let event = data(event);
            let own = ["output", "text"].map(|name| event.get(name).cloned());
            assert_eq!(own.iter().flatten().count(), 1, "{event}");
            own.into_iter().flatten().next().unwrap()
        })
        .collect();
    assert_eq!(json!(outputs), json!([{ "a": [null] }, null, "ä\u{0}\n", 1, "2", "3"]));
    let progress: Vec<_> = events.iter().filter(|event| event.event == "progress").map(data).collect();
    assert_eq!((&progress[0]["progress"], &progress[0]["message"]), (&json!(12.5), &json!("on it")));
    assert_eq!((&progress[1]["progress"], &progress[1]["message"]), (&Value::Null, &Value::Null));
    assert_eq!(a.job(id).await["result"], "ok");
    system.nothing_grows().await;
}

#[tokio::test]
async fn a_failure_is_final_unless_it_says_otherwise() {
    let system = System::builder().workers(0).start().await;
    let client = system.client(0);
    let id = client.submit_with(&json!({ "task": "remote", "maxAttempts": 2 })).await;
    let first = Remote::claim(client, "remote").await;
    first.must("fail", json!({ "error": "busy", "retry": true })).await;
    first.must("fail", json!({ "error": "busy", "retry": true })).await;
    let second = Remote::claim(client, "remote").await;
    // Given back, it doesn't count: there is still a last attempt.
    second.must("release", json!({})).await;
    second.must("release", json!({})).await;
    let third = Remote::claim(client, "remote").await;
    third.must("fail", json!({ "error": "still busy", "retry": true })).await;
    let events = client.events(id).await;
    let expected = ["queued", "started", "retrying", "started", "retrying", "started", "failed"];
    assert_eq!(turns(&events), expected);
    let told: Vec<_> = events.iter().map(data).filter(|event| !event["error"].is_null()).collect();
    assert!(told[0]["retryAt"].as_str() > told[0]["at"].as_str(), "not at once: {}", told[0]);
    assert_eq!(told[1]["retryAt"], told[1]["at"], "given back, it is ready at once");
    assert_eq!((&told[0]["error"], &told[0]["errorCode"]), (&json!("busy"), &json!("handler")));
    assert_eq!(told[1]["errorCode"], Value::Null);
    assert_eq!((&told[2]["error"], &told[2]["errorCode"]), (&json!("still busy"), &json!("handler")));
    assert_eq!(client.job(id).await["attempt"], 3);

    let id = client.submit("remote", json!(null)).await;
    Remote::claim(client, "remote").await.must("fail", json!({ "error": "never" })).await;
    let job = client.job(id).await;
    assert_eq!(
        (&job["status"], &job["attempt"], &job["error"]),
        (&json!("failed"), &json!(1), &json!("never"))
    );
    system.nothing_grows().await;
}

#[tokio::test]
async fn what_is_sent_again_is_written_once() {
    let system = System::builder().workers(0).start().await;
    let client = system.client(0);
    let id = client.submit("remote", json!(null)).await;
    let attempt = Remote::claim(client, "remote").await;
    for (batch, output) in [(1, "a"), (1, "a"), (2, "b"), (2, "b"), (1, "a"), (3, "c")] {
        attempt.must("output", json!({ "batch": batch, "output": output })).await;
    }
    for _ in 0..2 {
        attempt.must("progress", json!({ "batch": 4, "progress": 50 })).await;
    }
    for (name, fields) in [
        ("output", json!({ "batch": 6, "output": "gap" })),
        ("progress", json!({ "batch": u64::MAX, "progress": 1 })),
        ("complete", json!({ "batch": 6 })),
        ("fail", json!({ "batch": 7, "error": "gap" })),
    ] {
        let (status, answer) = attempt.call(name, fields).await;
        assert_eq!((status, &answer["type"]), (409, &json!("urn:jobcast:batch-gap")), "{name}");
    }
    for name in ["output", "progress", "heartbeat", "complete", "fail", "release"] {
        let fields = if name == "fail" { json!({ "batch": 0, "error": "x" }) } else { json!({ "batch": 0 }) };
        let fields = if name == "output" { json!({ "batch": 0, "text": "x" }) } else { fields };
        let (status, answer) = attempt.call(name, fields).await;
        assert_eq!((status, &answer["type"]), (422, &json!("urn:jobcast:out-of-range")), "{name}");
    }
    attempt.must("heartbeat", json!({ "batch": 99 })).await;
    for _ in 0..3 {
        attempt.must("complete", json!({ "batch": 5, "result": 1 })).await;
    }
    // It ended so, and can't end otherwise as well.
    for (name, fields) in [
        ("fail", json!({ "error": "x" })),
        ("release", json!({})),
        ("output", json!({ "output": "late" })),
        ("heartbeat", json!({})),
    ] {
        let (status, answer) = attempt.call(name, fields).await;
        assert_eq!((status, &answer["type"]), (409, &json!("urn:jobcast:lease-lost")), "{name}");
    }
    let events = client.events(id).await;
    let names: Vec<_> = events.iter().map(|event| event.event.as_str()).collect();
    assert_eq!(names, ["queued", "started", "output", "output", "output", "progress", "completed"]);
    system.nothing_grows().await;
}

#[tokio::test]
async fn a_lost_lease_is_told_to_every_call() {
    let settings = "[jobs]\nlease = \"5s\"\nheartbeat = \"1s\"\nsweep = \"100ms\"";
    let system = System::builder().workers(0).settings(settings).start().await;
    let client = system.client(0);
    let id = client.submit("remote", json!(null)).await;
    let dead = Remote::claim(client, "remote").await;
    let every_call = [
        ("heartbeat", json!({})),
        ("progress", json!({ "progress": 1 })),
        ("output", json!({ "output": 1 })),
        ("complete", json!({})),
        ("fail", json!({ "error": "x", "retry": true })),
        ("release", json!({})),
    ];
    testkit::eventually(SOON, "the lease is swept", async || client.job(id).await["status"] == "pending")
        .await;
    let alive = Remote::claim(client, "remote").await;
    let before = client.job(id).await;
    for (name, fields) in &every_call {
        assert_eq!(alive.call("heartbeat", json!({})).await.0, 200, "it lives on");
        let (status, answer) = dead.call(name, fields.clone()).await;
        assert_eq!((status, &answer["type"]), (409, &json!("urn:jobcast:lease-lost")), "{name}");
        // A job that there isn't has no lease to lose.
        for unknown in ["019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6000", "019ab3c4-5d6e-7f80-9a1b-2c3d4e5f63ff", "x"] {
            let mut body = fields.clone();
            body["leaseToken"] = json!(dead.token());
            let answer = client.tell(&format!("/api/work/{unknown}/{name}"), &body).await;
            assert_eq!(answer.problem(), (404, "not-found"), "{name} {unknown}");
        }
        for bad in [json!("x"), json!(dead.token().to_uppercase()), json!(1), json!(null)] {
            let mut body = fields.clone();
            body["leaseToken"] = bad;
            let answer = client.tell(&format!("/api/work/{id}/{name}"), &body).await;
            assert_eq!(answer.problem(), (400, "malformed"), "{name}");
        }
    }
    let after = client.job(id).await;
    assert_eq!(after["lastEventId"], before["lastEventId"], "nothing was written");
    alive.complete(1).await;
    assert_eq!(client.job(id).await["attempt"], 2);
    system.nothing_grows().await;
}

#[tokio::test]
async fn what_is_too_large_or_makes_no_sense_is_refused() {
    let system = System::builder().workers(0).start().await;
    let client = system.client(0);
    let id = client.submit("remote", json!(null)).await;
    let attempt = Remote::claim(client, "remote").await;
    let big = "x".repeat(64 * 1024);
    let before = client.job(id).await;
    for (name, fields, status, problem) in [
        ("output", json!({ "text": big }), 413, "too-large"),
        ("output", json!({ "outputs": [{ "text": "ok" }, { "output": big }] }), 413, "too-large"),
        ("progress", json!({ "message": big }), 413, "too-large"),
        ("complete", json!({ "result": "x".repeat(1024 * 1024) }), 413, "too-large"),
        ("progress", json!({ "progress": 100.1 }), 422, "out-of-range"),
        ("progress", json!({ "progress": -1 }), 422, "out-of-range"),
        ("progress", json!({ "progress": "half" }), 400, "malformed"),
        ("output", json!({}), 400, "malformed"),
        ("output", json!({ "output": 1, "text": "2" }), 400, "malformed"),
        ("output", json!({ "outputs": [] }), 400, "malformed"),
        ("output", json!({ "outputs": [{}] }), 400, "malformed"),
        ("output", json!({ "outputs": [{ "output": 1 }], "text": "2" }), 400, "malformed"),
        ("output", json!({ "outputs": vec![json!({ "output": 1 }); 1001] }), 400, "malformed"),
        ("fail", json!({}), 400, "malformed"),
        ("fail", json!({ "error": "x", "retry": "yes" }), 400, "malformed"),
        ("heartbeat", json!({ "colour": 1 }), 400, "malformed"),
    ] {
        let (code, answer) = attempt.call(name, fields).await;
        assert_eq!(
            (code, &answer["type"]),
            (status, &json!(format!("urn:jobcast:{problem}"))),
            "{name}: {answer}"
        );
    }
    for (body, status, problem) in [
        (json!({ "tasks": [] }), 422, "out-of-range"),
        (json!({ "tasks": vec!["remote"; 1001] }), 422, "out-of-range"),
        (json!({ "tasks": ["nosuch"] }), 422, "unknown-task"),
        (json!({ "tasks": ["a b"] }), 400, "malformed"),
        (json!({ "tasks": "remote" }), 400, "malformed"),
        (json!({}), 400, "malformed"),
    ] {
        assert_eq!(client.tell("/api/work/claim", &body).await.problem(), (status, problem), "{body:.99}");
    }
    assert_eq!(
        client.tell("/api/work/claim?wait=x", &claim(&["remote"])).await.problem(),
        (400, "malformed")
    );
    assert_eq!(client.job(id).await, before, "nothing was written");

    // The largest that fits; and a result that fits the job and not its event.
    attempt.must("output", json!({ "outputs": vec![json!({ "output": 1 }); 1000] })).await;
    attempt.must("output", json!({ "text": "x".repeat(64 * 1024 - 300) })).await;
    let result = "y".repeat(1024 * 1024 - 2);
    attempt.complete(result.clone()).await;
    assert_eq!(client.job(id).await["result"], json!(result));
    let end = data(client.events(id).await.last().unwrap());
    assert_eq!((&end["resultOmitted"], end.get("result")), (&json!(true), None));
    system.nothing_grows().await;
}

#[tokio::test]
async fn an_error_may_be_long() {
    let system = System::builder().workers(0).start().await;
    let client = system.client(0);
    let id = client.submit("remote", json!(null)).await;
    Remote::claim(client, "remote").await.must("fail", json!({ "error": "ä".repeat(500_000) })).await;
    let job = client.job(id).await;
    let error = job["error"].as_str().unwrap();
    assert!(error.starts_with("ää") && error.ends_with('…') && error.len() < 2100, "{}", error.len());
    assert_eq!(data(client.events(id).await.last().unwrap())["error"], error);
}

#[tokio::test]
async fn one_job_wakes_one_worker() {
    let system = System::builder().gateways(2).workers(0).settings(NO_SWEEP).start().await;
    let (a, b) = (system.client(0), system.client(1));
    // Two of each gateway, so that the bell has somebody to wake elsewhere too.
    let mut workers = [waiting(a), waiting(a), waiting(b), waiting(b)];
    wait_at_bells(&system, 2).await;
    let mut seen = Vec::new();
    for left in (0..4).rev() {
        let id = a.submit("remote", json!(left)).await;
        let woken = testkit::eventually_some(SOON / 2, "one worker wakes", async || {
            workers.iter_mut().find_map(JoinSet::try_join_next)
        })
        .await;
        let body = woken.unwrap().body;
        assert_eq!((&body["jobId"], &body["attempt"]), (&json!(id), &json!(1)));
        seen.push(id);
        let still = workers.iter().filter(|worker| !worker.is_empty()).count();
        assert_eq!(still, left, "the others go on waiting");
    }
    let id = b.submit("remote", json!(null)).await;
    let late = b.tell("/api/work/claim?wait=500", &claim(&["count", "remote"])).await;
    assert_eq!(late.body["jobId"], json!(id), "what is ready already needs no bell");
}

#[tokio::test]
async fn a_wait_ends_with_nothing() {
    let system = System::builder().workers(0).settings("[jobs]\nmax_wait = \"1s\"").start().await;
    let began = std::time::Instant::now();
    let answer = system.client(0).tell("/api/work/claim?wait=3600", &claim(&["remote"])).await;
    assert_eq!((answer.status, answer.body), (204, Value::Null));
    assert!(began.elapsed() >= Duration::from_secs(1));
}

/// A claim that waits on a bare connection, to be cut.
async fn claim_on_the_wire(client: &Client) -> whole::Wire {
    let mut wire = whole::Wire::open(client).await;
    let body = claim(&["remote"]).to_string();
    let head = "POST /api/work/claim?wait=500 HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    wire.send(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())).await;
    wire
}

#[tokio::test]
async fn a_worker_that_left_gets_no_job() {
    let system = System::builder().workers(0).settings(NO_SWEEP).start().await;
    let client = system.client(0);
    for _ in 0..5 {
        let gone = claim_on_the_wire(client).await;
        wait_at_bells(&system, 1).await;
        drop(gone);
        let mut next = waiting(client);
        let id = client.submit("remote", json!(null)).await;
        let body = claimed(&mut next).await;
        assert_eq!(body["jobId"], json!(id));
        let token = json!({ "leaseToken": body["leaseToken"] });
        assert_eq!(client.tell(&format!("/api/work/{id}/complete"), &token).await.status, 200);
        // Where the gateway heard of the job before it heard that the worker had left, it gave the job back at once.
        let events = client.events(id).await;
        for given_back in events.iter().map(data).filter(|event| event["type"] == "retrying") {
            assert_eq!(given_back["errorCode"], Value::Null, "{given_back}");
        }
    }
}

#[tokio::test]
async fn a_worker_that_leaves_just_then_keeps_no_job() {
    let settings = "[jobs]\nlease = \"5s\"\nheartbeat = \"1s\"\nsweep = \"100ms\"\nmax_wait = \"10m\"";
    let system = System::builder().workers(0).settings(settings).start().await;
    let client = system.client(0);
    let mut ids = Vec::new();
    for n in 0..30 {
        let leaves = claim_on_the_wire(client).await;
        let (id, ()) = tokio::join!(client.submit("remote", json!(n)), async {
            tokio::time::sleep(Duration::from_millis(n % 6)).await;
            drop(leaves);
        });
        ids.push(id);
    }
    let mut done = 0;
    while done < ids.len() {
        let attempt = Remote::claim(client, "remote").await;
        attempt.complete(1).await;
        done += 1;
    }
    // Given back, or, where the answer was on its way when the worker left, lost with its lease.
    let (mut given_back, mut lost) = (0, 0);
    for id in ids {
        let events = client.events(id).await;
        assert_eq!(events.last().unwrap().event, "completed");
        for retrying in events.iter().map(data).filter(|event| event["type"] == "retrying") {
            if retrying["errorCode"].is_null() { given_back += 1 } else { lost += 1 }
        }
    }
    println!("{given_back} given back, {lost} lost");
    system.nothing_grows().await;
}

#[tokio::test]
async fn no_ring_is_lost_among_many_workers() {
    let system = System::builder().gateways(2).workers(0).settings(NO_SWEEP).start().await;
    const JOBS: usize = 300;
    let mut workers: JoinSet<Vec<JobId>> = JoinSet::new();
    for n in 0..8 {
        let client = system.client(n % 2).clone();
        workers.spawn(async move {
            let mut done = Vec::new();
            loop {
                let answer = client.tell("/api/work/claim?wait=500", &claim(&["remote"])).await;
                let (id, token) = (answer.body["jobId"].as_str().unwrap(), &answer.body["leaseToken"]);
                let body = json!({ "leaseToken": token });
                assert_eq!(client.tell(&format!("/api/work/{id}/complete"), &body).await.status, 200);
                if answer.body["payload"] == "stop" {
                    return done;
                }
                done.push(id.parse().unwrap());
            }
        });
    }
    // One at a time, each only when the one before is done: all workers wait, and one ring is all that there is.
    for n in 0..JOBS {
        let client = system.client(n % 2);
        let id = client.submit("remote", json!(n)).await;
        if n % 3 == 0 {
            client.ended(id).await;
        }
    }
    for _ in 0..8 {
        system.client(0).submit("remote", json!("stop")).await;
    }
    let done = tokio::time::timeout(SOON, workers.join_all()).await.expect("all is done in time").concat();
    let distinct: std::collections::HashSet<_> = done.iter().collect();
    assert_eq!((done.len(), distinct.len()), (JOBS, JOBS), "each job once");
    system.nothing_grows().await;
}

#[tokio::test]
async fn a_wait_outlives_a_redis_that_restarts() {
    // Whoever's connection is closed in the moment of a ring has swallowed it: the sweep rings again.
    let system = System::builder().workers(0).settings("[jobs]\nmax_wait = \"10m\"").start().await;
    let client = system.client(0);
    let mut worker = waiting(client);
    wait_at_bells(&system, 1).await;
    system.redis.kill();
    system.redis.restart().await;
    wait_at_bells(&system, 1).await;
    let id = client.submit("remote", json!(null)).await;
    assert_eq!(claimed(&mut worker).await["jobId"], json!(id));
}

#[tokio::test]
async fn each_worker_gets_a_job_however_they_come_together() {
    let system = System::builder().gateways(2).workers(0).settings(NO_SWEEP).start().await;
    for round in 0..100 {
        let mut together: JoinSet<Option<Value>> = JoinSet::new();
        for n in 0..4 {
            let client = system.client(n % 2).clone();
            together.spawn(async move { Some(claimed(&mut waiting(&client)).await) });
            let client = system.client((n + round) % 2).clone();
            together.spawn(async move {
                client.submit("remote", json!(n)).await;
                None
            });
        }
        // Nobody is done before all have begun, so nobody takes a second job.
        let attempts: Vec<_> = together.join_all().await.into_iter().flatten().collect();
        assert_eq!(attempts.len(), 4);
        for attempt in attempts {
            let id = attempt["jobId"].as_str().unwrap();
            let body = json!({ "leaseToken": attempt["leaseToken"] });
            let answer = system.client(0).tell(&format!("/api/work/{id}/complete"), &body).await;
            assert_eq!((answer.status, &attempt["attempt"]), (200, &json!(1)));
        }
    }
    system.nothing_grows().await;
}
