//! Submitting: what is answered, what each field does, what is refused, and what makes two submissions one.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use whole::{Answer, Client, Remote, SOON, System};

async fn submit(client: &Client, headers: &[(&str, &str)], body: &Value) -> Answer {
    let mut request = client.request(Method::POST, "/api/jobs").json(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Answer::of(request.send().await.unwrap()).await
}

#[tokio::test]
async fn the_answer_says_where_to_go_on() {
    let system = System::builder().workers(0).start().await;
    let client = system.client(0);
    let answer = client.tell("/api/jobs", &json!({ "task": "remote" })).await;
    let id = answer.body["jobId"].as_str().unwrap();
    let (status_url, events_url) = (format!("/api/jobs/{id}"), format!("/api/jobs/{id}/events"));
    assert_eq!(answer.status, 202);
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("location"), status_url);
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(answer.header("idempotency-replayed"), "");
    assert_eq!(answer.header("preference-applied"), "");
    let expected =
        json!({ "jobId": id, "status": "pending", "statusUrl": status_url, "eventsUrl": events_url });
    assert_eq!(answer.body, expected);
    assert_eq!(client.ask(&status_url).await.status, 200);
}

#[tokio::test]
async fn urls_are_absolute_where_the_public_one_is_known() {
    let system = System::builder()
        .workers(0)
        .settings("[gateway]\npublic_url = \"https://jobs.example.com/x\"")
        .start()
        .await;
    let client = system.client(0);
    let answer = client.tell("/api/jobs", &json!({ "task": "remote" })).await;
    let id = answer.body["jobId"].as_str().unwrap().parse().unwrap();
    let url = format!("https://jobs.example.com/x/api/jobs/{id}");
    assert_eq!(answer.header("location"), url);
    let job = client.job(id).await;
    for view in [&answer.body, &job] {
        assert_eq!((&view["statusUrl"], &view["eventsUrl"]), (&json!(url), &json!(format!("{url}/events"))));
    }
}

#[tokio::test]
async fn every_field_does_what_it_says() {
    let system = System::builder().workers(0).settings("[jobs]\nsweep = \"100ms\"").start().await;
    let client = system.client(0);
    let submitted = |more: Value| async move {
        let mut body = json!({ "task": "remote", "payload": { "n": 1.50, "text": "ä" } });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        client.submit_with(&body).await
    };

    // What a job has, and what its worker gets.
    let id = submitted(json!({ "maxAttempts": 7, "metadata": { "order": [1, null] } })).await;
    let job = client.job(id).await;
    assert_eq!((&job["maxAttempts"], &job["metadata"]), (&json!(7), &json!({ "order": [1, null] })));
    let claimed = client.tell("/api/work/claim", &json!({ "tasks": ["remote"] })).await.body;
    assert_eq!(claimed["payload"], json!({ "n": 1.50, "text": "ä" }));
    assert_eq!((&claimed["attempt"], &claimed["maxAttempts"]), (&json!(1), &json!(7)));
    client.tell(&format!("/api/work/{id}/complete"), &json!({ "leaseToken": claimed["leaseToken"] })).await;

    // Limits.
    let id = submitted(json!({ "queueTimeout": 0.5 })).await;
    let job = client.ended(id).await;
    assert_eq!(
        (&job["status"], &job["errorCode"], &job["attempt"]),
        (&json!("failed"), &json!("unclaimed"), &json!(0))
    );
    assert_eq!(job["error"], "no worker took the job within 0.5 s (queueTimeout)");

    // A job must be claimed within its deadline, however busy the machine is.
    for (limit, seconds, error) in [
        ("timeout", 0.5, "attempt 1 ran longer than 0.5 s (timeout)"),
        ("deadline", 5.0, "the job did not end within 5 s (deadline)"),
    ] {
        let id = submitted(json!({ limit: seconds })).await;
        Remote::claim(client, "remote").await;
        let job = client.ended(id).await;
        assert_eq!((&job["status"], &job["errorCode"]), (&json!("failed"), &json!("timeout")), "{limit}");
        assert_eq!(job["error"], error);
    }
    let id = submitted(json!({ "deadline": 0.5 })).await;
    assert_eq!(client.ended(id).await["errorCode"], "unclaimed", "never started within its deadline");

    // How long the ended job is kept, to the end of that.
    let id = submitted(json!({ "retention": 5 })).await;
    Remote::claim(client, "remote").await.complete(1).await;
    let job = client.job(id).await;
    let time = |field: &str| serde_json::from_value::<model::Timestamp>(job[field].clone()).unwrap();
    assert_eq!(time("expiresAt").since(time("finishedAt")), Duration::from_secs(5));
    testkit::eventually(SOON, "the job is forgotten", async || {
        client.ask(&format!("/api/jobs/{id}")).await.status == 404
    })
    .await;
    system.nothing_grows().await;
}

#[tokio::test]
async fn what_cannot_be_is_refused_and_nothing_is_stored() {
    let system = System::builder().workers(0).start().await;
    let client = system.client(0);
    client.submit("remote", json!(1)).await;
    let before = system.stored().await;
    let week = 7 * 24 * 3600;
    for (body, status, problem, says) in [
        (json!({ "task": "nosuch" }), 422, "unknown-task", "count, narrate, remote, wordcount"),
        (
            json!({ "task": "remote", "webhook": { "url": "https://example.com" } }),
            422,
            "no-webhook-secret",
            "webhook.secret",
        ),
        (json!({ "task": "remote", "delay": 0 }), 422, "out-of-range", "delay"),
        (
            json!({ "task": "remote", "delay": 5, "deadline": 5 }),
            422,
            "out-of-range",
            "shorter than the deadline",
        ),
        (json!({ "task": "remote", "priority": "urgent" }), 400, "malformed", "priority"),
        (json!({ "task": "remote", "maxAttempts": 0 }), 422, "out-of-range", "1 to 100"),
        (json!({ "task": "remote", "maxAttempts": 101 }), 422, "out-of-range", "1 to 100"),
        (json!({ "task": "remote", "maxAttempts": -1 }), 422, "out-of-range", "1 to 100"),
        (json!({ "task": "remote", "maxAttempts": 5_000_000_000_u64 }), 422, "out-of-range", "1 to 100"),
        (json!({ "task": "remote", "timeout": 0 }), 422, "out-of-range", "timeout"),
        (json!({ "task": "remote", "timeout": -3.5 }), 422, "out-of-range", "timeout"),
        (json!({ "task": "remote", "timeout": week + 1 }), 422, "out-of-range", "timeout is at most 604800"),
        (json!({ "task": "remote", "deadline": week + 1 }), 422, "out-of-range", "deadline"),
        (json!({ "task": "remote", "deadline": 1e300 }), 422, "out-of-range", "deadline"),
        (json!({ "task": "remote", "queueTimeout": week + 1 }), 422, "out-of-range", "queueTimeout"),
        (json!({ "task": "remote", "retention": week + 1 }), 422, "out-of-range", "retention"),
        (json!({ "task": "remote", "metadata": "text" }), 400, "malformed", "map"),
        (json!({ "task": "remote", "maxAttempts": "3" }), 400, "malformed", "maxAttempts"),
        (json!({ "task": "remote", "colour": 1 }), 400, "malformed", "colour"),
        (json!({ "payload": 1 }), 400, "malformed", "task"),
        (json!([]), 400, "malformed", ""),
        (json!({ "task": "remote", "payload": "x".repeat(1024 * 1024) }), 413, "too-large", "payload"),
        (json!({ "task": "remote", "metadata": { "x": "x".repeat(4096) } }), 413, "too-large", "metadata"),
    ] {
        let answer = client.tell("/api/jobs", &body).await;
        assert_eq!(answer.problem(), (status, problem), "{body:.200}");
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(detail.contains(says), "{body:.200}: {detail}");
    }
    assert_eq!(system.stored().await, before);
}

#[tokio::test]
async fn the_largest_payload_arrives_whole() {
    let system = System::builder().workers(0).start().await;
    let client = system.client(0);
    let payload = json!("ä".repeat((1024 * 1024 - 2) / 2));
    let metadata = json!({ "x": "y".repeat(4096 - 8) });
    let id = client.submit_with(&json!({ "task": "remote", "payload": payload, "metadata": metadata })).await;
    let claimed = client.tell("/api/work/claim", &json!({ "tasks": ["remote"] })).await.body;
    assert_eq!((&claimed["payload"], client.job(id).await["metadata"].clone()), (&payload, metadata));
}

#[tokio::test]
async fn who_prefers_to_wait_gets_the_finished_job() {
    let system = System::builder().settings("[jobs]\nmax_wait = \"20s\"").start().await;
    let client = system.client(0);

    let quick = json!({ "task": "count", "payload": { "n": 3 } });
    let answer = submit(client, &[("prefer", "respond-async, wait=3600")], &quick).await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    assert_eq!(answer.header("preference-applied"), "wait=20", "never longer than jobs.max_wait");
    assert_eq!(answer.header("retry-after"), "");
    assert_eq!(
        (&answer.body["status"], &answer.body["result"]),
        (&json!("completed"), &json!({ "count": 3 }))
    );
    assert_eq!(answer.header("location"), format!("/api/jobs/{}", answer.body["id"].as_str().unwrap()));
    let polled = client.job(answer.body["id"].as_str().unwrap().parse().unwrap()).await;
    assert_eq!(answer.body, polled);

    let endless = json!({ "task": "remote" });
    let answer = submit(client, &[("prefer", "wait=1")], &endless).await;
    assert_eq!((answer.status, &answer.body["status"]), (202, &json!("pending")));
    assert_eq!((answer.header("preference-applied"), answer.header("retry-after")), ("wait=1", "1"));
    assert!(answer.header("location").ends_with(answer.body["jobId"].as_str().unwrap()));

    // A client that goes away cancels nothing. It goes once its job is there.
    let id = Remote::claim(client, "remote").await.job();
    let before = system.jobs().await;
    let request = client.request(Method::POST, "/api/jobs").header("prefer", "wait=20").json(&endless);
    tokio::select! {
        answer = request.send() => panic!("it waits for the end: {answer:?}"),
        () = testkit::eventually(SOON, "its job is made", async || system.jobs().await > before) => {}
    }
    assert_eq!(client.job(id).await["status"], "processing");
    let second = Remote::claim(client, "remote").await;
    second.complete(2).await;
    assert_eq!(client.job(second.job()).await["status"], "completed");
}

#[tokio::test]
async fn an_idempotency_key_makes_one_job() {
    let system = System::builder().gateways(2).workers(0).start().await;
    let client = system.client(0);
    let body = json!({ "task": "remote", "payload": { "a": 1, "b": [2, 3] }, "timeout": 60 });
    let first = submit(client, &[("idempotency-key", "\"key-1\"")], &body).await;
    assert_eq!((first.status, first.header("idempotency-replayed")), (202, ""));

    // A quoted string and a bare token are the same; so is a request that means the same; so is another gateway.
    let same =
        json!({ "timeout": 60.0, "payload": { "b": [2, 3], "a": 1 }, "task": "remote", "metadata": null });
    for (key, body, client) in
        [("\"key-1\"", &body, client), ("key-1", &body, client), ("\"key-1\"", &same, system.client(1))]
    {
        let again = submit(client, &[("idempotency-key", key)], body).await;
        assert_eq!((again.status, again.header("idempotency-replayed")), (202, "true"), "{key}");
        assert_eq!(again.body, first.body);
        assert_eq!(again.header("location"), first.header("location"));
    }

    let stored = system.stored().await;
    let other = json!({ "task": "remote", "payload": { "a": 2 } });
    let refused = submit(client, &[("idempotency-key", "\"key-1\"")], &other).await;
    assert_eq!(refused.problem(), (422, "idempotency-mismatch"));
    for bad in ["\"\"", "\"open", "a b", "\"a\" b", "\"a\\b\"", &format!("\"{}\"", "x".repeat(257))] {
        let refused = submit(client, &[("idempotency-key", bad)], &body).await;
        assert_eq!(refused.problem(), (400, "malformed"), "{bad}");
    }
    assert_eq!(system.stored().await, stored);
    let longest = submit(client, &[("idempotency-key", &"x".repeat(256))], &body).await;
    assert_eq!(longest.status, 202);
    assert_ne!(longest.body["jobId"], first.body["jobId"], "another key is another job");

    // A replay says where the job stands now, and may wait for it.
    let attempt = Remote::claim(client, "remote").await;
    assert_eq!(json!(attempt.job()), first.body["jobId"]);
    let again = submit(client, &[("idempotency-key", "key-1")], &body).await;
    assert_eq!((again.status, &again.body["status"]), (202, &json!("processing")));
    attempt.complete(5).await;
    let again = submit(client, &[("idempotency-key", "key-1")], &body).await;
    assert_eq!(
        (again.status, &again.body["status"], again.header("retry-after")),
        (202, &json!("completed"), "")
    );
    let again = submit(client, &[("idempotency-key", "key-1"), ("prefer", "wait=5")], &body).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (200, "true"));
    assert_eq!((&again.body["id"], &again.body["result"]), (&first.body["jobId"], &json!(5)));
}

#[tokio::test]
async fn a_key_whose_job_is_gone_is_told_so() {
    let system = System::builder().workers(0).start().await;
    let client = system.client(0);
    let body = json!({ "task": "remote", "retention": 1 });
    submit(client, &[("idempotency-key", "k")], &body).await;
    Remote::claim(client, "remote").await.complete(1).await;
    let gone = testkit::eventually_some(SOON, "the job has expired", async || {
        let again = submit(client, &[("idempotency-key", "k")], &body).await;
        (again.status != 202).then_some(again)
    })
    .await;
    assert_eq!(gone.problem(), (410, "job-expired"));
}

#[tokio::test]
async fn a_thousand_equal_submissions_make_one_job() {
    let system = System::builder().gateways(2).workers(0).start().await;
    let mut submissions = tokio::task::JoinSet::new();
    for n in 0..1000 {
        let client = system.client(n % 2).clone();
        submissions.spawn(async move {
            let body = json!({ "task": "remote", "payload": { "n": 1 } });
            let answer = submit(&client, &[("idempotency-key", "one")], &body).await;
            assert_eq!(answer.status, 202, "{:?}", answer.body);
            (
                answer.body["jobId"].as_str().unwrap().to_owned(),
                answer.header("idempotency-replayed") == "true",
            )
        });
    }
    let answers = submissions.join_all().await;
    assert!(answers.iter().all(|(id, _)| *id == answers[0].0));
    assert_eq!(answers.iter().filter(|(_, replayed)| !replayed).count(), 1);
    assert_eq!(system.jobs().await, 1);
    Remote::claim(system.client(0), "remote").await.complete(1).await;
    assert_eq!(system.client(1).tell("/api/work/claim", &json!({ "tasks": ["remote"] })).await.status, 204);
    system.nothing_grows().await;
}
