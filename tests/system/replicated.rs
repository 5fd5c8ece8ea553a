//! `store.durability = "replicated"`: what is answered with yes is on a replica, and what isn't is said so, and found again.

use std::time::Duration;

use model::JobId;
use reqwest::{Method, StatusCode};
use serde_json::json;
use testkit::redis::{RedisServer, cmd};
use tokio::task::JoinSet;
use tokio::time::Instant;
use whole::{Answer, Client, Remote, SOON, System};

/// How long replicas are waited for where a test waits for that: longer than one stands still by itself on a busy machine.
const WITHIN: Duration = Duration::from_secs(4);

/// A system of two gateways whose Redis has a replica, which counts and is waited for so long.
async fn start(workers: usize, within: Duration, settings: &str) -> (System, RedisServer) {
    let store = format!("durability = \"replicated\"\nreplication_timeout = \"{}s\"", within.as_secs());
    let builder = System::builder().gateways(2).workers(workers).store(&store);
    let system = builder.settings(settings).start().await;
    let follow = format!("127.0.0.1 {}", system.redis.port());
    let replica = RedisServer::builder().append_only(false).setting("replicaof", &follow).start().await;
    let mut redis = system.redis.client().await;
    testkit::eventually(SOON, "the replica follows", async || {
        cmd("PUBLISH").arg("any").arg("").exec_async(&mut redis).await.unwrap();
        cmd("WAIT").arg(1).arg(100).query_async::<u64>(&mut redis).await.unwrap() == 1
    })
    .await;
    (system, replica)
}

async fn submit(client: &Client, key: &str) -> Answer {
    submit_to(client, "remote", key).await
}

async fn submit_to(client: &Client, task: &str, key: &str) -> Answer {
    let body = json!({ "task": task, "payload": { "n": 1, "key": key } });
    let request = client.request(Method::POST, "/api/jobs").header("Idempotency-Key", key);
    Answer::of(request.json(&body).send().await.unwrap()).await
}

fn id(answer: &Answer) -> JobId {
    assert_eq!(answer.status, 202, "{answer:?}");
    answer.body["jobId"].as_str().unwrap().parse().unwrap()
}

/// The job's status on a server.
async fn status_on(server: &RedisServer, id: JobId) -> Option<String> {
    let key = format!("jc:{{0.325}}:job:{id}");
    cmd("HGET").arg(key).arg("status").query_async(&mut server.client().await).await.unwrap()
}

/// How many jobs have ended well on a server.
async fn completed_on(server: &RedisServer) -> usize {
    let mut ids = cmd("ZRANGE");
    ids.arg("jc:{0.325}:jobsof:anonymous").arg(0).arg(-1);
    let ids: Vec<String> = ids.query_async(&mut server.client().await).await.unwrap();
    let mut count = 0;
    for id in ids {
        count += usize::from(status_on(server, id.parse().unwrap()).await.as_deref() == Some("completed"));
    }
    count
}

/// The answer is 503 `not-replicated`, and took as long as replicas are waited for.
#[track_caller]
fn assert_not_replicated(answer: &Answer, began: Instant) {
    let took = began.elapsed();
    assert_eq!(answer.problem(), (503, "not-replicated"), "{answer:?}");
    assert!(!answer.header("retry-after").is_empty());
    assert!((WITHIN..Duration::from_secs(15)).contains(&took), "{took:?}");
}

#[tokio::test]
async fn submissions_ends_and_cancellations_wait_for_the_replica_and_are_found_again() {
    let (system, replica) = start(0, WITHIN, "").await;
    let (a, b) = (system.client(0), system.client(1));
    let first = id(&submit(a, "first").await);
    assert_eq!(status_on(&replica, first).await.as_deref(), Some("pending"));
    let work = Remote::claim(b, "remote").await;
    assert_eq!(work.job(), first);
    let cancelled = id(&submit(a, "third").await);

    replica.pause();
    // The first of its kind, and then again through both gateways at once.
    let submitted = async |client: &Client| {
        let began = Instant::now();
        assert_not_replicated(&submit(client, "second").await, began);
    };
    submitted(a).await;
    tokio::join!(submitted(b), submitted(a));
    let ended = async |client: &Client| {
        let began = Instant::now();
        let end = json!({ "leaseToken": work.token(), "result": 7 });
        assert_not_replicated(&client.tell(&format!("/api/work/{first}/complete"), &end).await, began);
        let began = Instant::now();
        assert_not_replicated(
            &client.tell(&format!("/api/jobs/{cancelled}/cancel"), &json!({})).await,
            began,
        );
    };
    tokio::join!(ended(a), ended(b));
    // All of it has happened on the primary, and nothing else is held up.
    assert_eq!(b.job(first).await["status"], "completed");
    assert_eq!(b.job(cancelled).await["status"], "cancelled");
    assert_eq!(a.get("/readyz").await.status(), StatusCode::OK);
    assert_eq!(status_on(&system.redis, first).await.as_deref(), Some("completed"));

    replica.resume();
    let found = testkit::eventually_some(SOON, "the replica has caught up", async || {
        let answer = submit(a, "second").await;
        (answer.status == 202).then_some(answer)
    })
    .await;
    assert_eq!(found.header("idempotency-replayed"), "true");
    assert_eq!(status_on(&replica, id(&found)).await.as_deref(), Some("pending"));
    work.must("complete", json!({ "result": 7 })).await;
    assert_eq!(status_on(&replica, first).await.as_deref(), Some("completed"));
    let again = a.tell(&format!("/api/jobs/{cancelled}/cancel"), &json!({})).await;
    assert_eq!(again.problem(), (409, "job-ended"));
    assert_eq!(system.jobs().await, 3, "however often it was told");
    let kinds: Vec<_> = a.events(first).await.into_iter().map(|event| event.event).collect();
    assert_eq!(kinds, ["queued", "started", "completed"]);
}

#[tokio::test]
async fn a_worker_repeats_its_end_until_the_replica_has_it() {
    let (system, replica) = start(1, WITHIN, "").await;
    let client = system.client(0);
    let running = client.submit("count", json!({ "n": 20, "seconds": 2 })).await;
    testkit::eventually(SOON, "it runs", async || client.job(running).await["status"] == "processing").await;
    replica.pause();
    assert_eq!(client.ended(running).await["status"], "completed", "on the primary");
    testkit::eventually(SOON, "somebody says that replicas are missing", async || {
        system.workers[0].stderr().contains("only 0 of 1 replicas have it")
    })
    .await;
    replica.resume();
    testkit::eventually(SOON, "the replica has it", async || {
        status_on(&replica, running).await.as_deref() == Some("completed")
    })
    .await;
    testkit::eventually(SOON, "the worker has heard of it", async || {
        system.workers[0].stderr().contains("works again")
    })
    .await;
    let job = client.job(running).await;
    assert_eq!(job["attempt"], 1, "{job}");
    let next = client.submit("count", json!({ "n": 1 })).await;
    assert_eq!(client.ended(next).await["status"], "completed");
    system.nothing_grows().await;
}

#[tokio::test]
async fn a_worker_doesnt_wait_for_ever_for_a_replica() {
    let settings = "[worker]\nconcurrency = 1\n[jobs]\nlease = \"2s\"\nheartbeat = \"500ms\"\n";
    let (system, replica) = start(1, Duration::from_secs(2), settings).await;
    let client = system.client(0);
    replica.pause();
    // They are made, and nobody is told; each end is repeated for one lease, and then the place is for the next job.
    for n in 0..2 {
        let answer = client.tell("/api/jobs", &json!({ "task": "count", "payload": { "n": n } })).await;
        assert_eq!(answer.problem(), (503, "not-replicated"));
    }
    testkit::eventually(SOON, "both end on the primary", async || completed_on(&system.redis).await == 2)
        .await;
    testkit::eventually(SOON, "the worker says so", async || {
        system.workers[0].stderr().contains("left to a primary without replicas")
    })
    .await;
    replica.resume();
    let next = testkit::eventually_some(SOON, "the replica has caught up", async || {
        let answer = submit_to(client, "count", "next").await;
        (answer.status == 202).then_some(answer)
    })
    .await;
    assert_eq!(client.ended(id(&next)).await["status"], "completed");
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_with_the_primary() {
    // No submitter gives up before the primary is gone.
    let (system, replica) = start(0, Duration::from_secs(30), "").await;
    let mut submitters = JoinSet::new();
    for n in 0..8 {
        let client = system.client(n % 2).clone();
        submitters.spawn(async move {
            let mut acknowledged = Vec::new();
            for number in 0.. {
                let answer = submit(&client, &format!("{n}/{number}")).await;
                match answer.status {
                    202 => acknowledged.push(id(&answer)),
                    503 => break,
                    _ => panic!("{answer:?}"),
                }
            }
            acknowledged
        });
    }
    testkit::eventually(SOON, "200 are made", async || system.jobs().await >= 200).await;
    system.redis.kill();
    cmd("REPLICAOF").arg("NO").arg("ONE").exec_async(&mut replica.client().await).await.unwrap();
    let acknowledged: Vec<_> = submitters.join_all().await.into_iter().flatten().collect();
    assert!(acknowledged.len() > 150, "{}", acknowledged.len());
    for id in acknowledged {
        assert_eq!(status_on(&replica, id).await.as_deref(), Some("pending"), "{id} was acknowledged");
    }
}

#[tokio::test]
async fn a_redis_without_replicas_is_warned_of_at_start() {
    let system =
        System::builder().workers(0).store("durability = \"replicated\"\nreplicas = 2").start().await;
    testkit::eventually(SOON, "the warning", async || {
        let said = system.gateways[0].stderr();
        said.contains("has 0 replicas of the 2 that `store.replicas` asks for") && said.contains("WARN")
    })
    .await;
    let answer = submit(system.client(0), "k").await;
    assert_eq!(answer.problem(), (503, "not-replicated"));
    let sentence = answer.body["detail"].as_str().unwrap();
    assert!(sentence.contains("Idempotency-Key"), "{sentence}");
}
