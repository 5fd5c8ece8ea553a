//! Partitions become more while everything runs: no id is answered 404, no job waits, no stream misses an event.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use model::JobId;
use serde_json::{Value, json};
use testkit::process::{Jobcast, JobcastBuilder};
use testkit::sse::{Follower, SseStream, check_history};
use tokio::task::JoinSet;
use whole::{Client, SOON, System, brief, data, turns};

/// How long processes get to read the number anew, which workers do about every ten seconds.
const WAIT: &str = "14s";

/// `jobcast partitions`, on the system's Redis.
fn partitions(system: &System, args: &[&str]) -> JobcastBuilder {
    Jobcast::builder().env("JOBCAST__STORE__URL", system.redis.url()).arg("partitions").args(args)
}

/// How it ended: its exit code, what it printed and what it complained of.
async fn ended(command: JobcastBuilder) -> (Option<i32>, String, String) {
    let running = command.start();
    let status = running.wait_exit(SOON).await;
    (status.code(), running.stdout(), running.stderr())
}

async fn grow(system: &System, number: u16) {
    let number = number.to_string();
    let (code, out, err) = ended(partitions(system, &["grow", &number, "--yes", "--wait", WAIT])).await;
    assert_eq!((code, &*err), (Some(0), ""), "{out}");
    assert!(out.ends_with(&format!("done: new jobs go to all {number} partitions\n")), "{out}");
    assert!(out.contains("may be accepted once more"), "{out}");
    let (code, out, _) = ended(partitions(system, &[])).await;
    assert_eq!((code, out), (Some(0), format!("{number} partitions\n")));
}

/// Submits until there is a job in each of the `all` first partitions. The jobs.
async fn fill(client: &Client, task: &str, all: u16) -> Vec<JobId> {
    let (mut jobs, mut met) = (Vec::new(), BTreeSet::new());
    testkit::eventually(SOON, "there is a job in every partition", async || {
        let id = client.submit(task, json!({ "text": "a b" })).await;
        jobs.push(id);
        met.insert(id.partition().0);
        met.len() == usize::from(all)
    })
    .await;
    assert_eq!(met.last(), Some(&(all - 1)), "{met:?}");
    jobs
}

/// The jobs that a client submitted through one gateway, each asked for at the other at once, and its browsers there.
async fn submit_and_look(one: Client, other: Client, go_on: &AtomicBool) -> Vec<(JobId, Follower)> {
    let mut jobs = Vec::new();
    while go_on.load(Ordering::Relaxed) {
        let n = jobs.len();
        let body = json!({ "task": "wordcount", "payload": { "text": "a b c", "slow": 0.2 } });
        let request = one.request(reqwest::Method::POST, "/api/jobs").json(&body);
        // Every third one has a key: its partition is not a random one.
        let request =
            if n % 3 == 0 { request.header("Idempotency-Key", format!("{:p}-{n}", &one)) } else { request };
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 202);
        let accepted: Value = response.json().await.unwrap();
        let id: JobId = accepted["jobId"].as_str().unwrap().parse().unwrap();
        let polled = other.ask(&format!("/api/jobs/{id}")).await;
        assert_eq!(polled.status, 200, "{id} in partition {}: {polled:?}", id.partition());
        jobs.push((id, other.follow(id)));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    jobs
}

/// One partition becomes four, then sixteen, under submissions through both gateways.
async fn grows_under_load(system: System) {
    let (a, b) = (system.client(0).clone(), system.client(1).clone());
    let go_on = AtomicBool::new(true);
    let growing = async {
        fill(&a, "wordcount", 1).await;
        grow(&system, 4).await;
        fill(&b, "wordcount", 4).await;
        grow(&system, 16).await;
        let jobs = [fill(&a, "wordcount", 16).await, fill(&b, "wordcount", 16).await].concat();
        go_on.store(false, Ordering::Relaxed);
        jobs
    };
    let (mut followed, others, last) = tokio::join!(
        submit_and_look(a.clone(), b.clone(), &go_on),
        submit_and_look(b.clone(), a.clone(), &go_on),
        growing
    );
    followed.extend(others);
    let met: BTreeSet<_> = followed.iter().map(|(id, _)| id.partition().0).collect();
    assert!(met.contains(&0) && met.len() > 4, "the load met new partitions too: {met:?}");
    for (id, browser) in followed {
        let log = browser.wait().await;
        check_history(&log.events).unwrap_or_else(|error| panic!("{id}: {error}; {}", brief(&log)));
        assert_eq!(turns(&log.events), ["queued", "started", "completed"], "{id}");
        assert_eq!((log.ended, log.failures, log.breaks), (Some(204), 0, 0), "{id}: {}", brief(&log));
        assert_eq!(a.job(id).await["attempt"], 1);
    }
    for id in last {
        assert_eq!(b.ended(id).await["status"], "completed");
    }
    system.nothing_grows().await;
}

#[tokio::test]
async fn partitions_grow_under_load() {
    grows_under_load(System::builder().gateways(2).workers(2).store("partitions = 1").start().await).await;
}

#[tokio::test]
async fn partitions_grow_under_load_over_a_cluster() {
    // From one primary to all of them.
    // Nobody is to die, and nobody to take the place of one that a busy machine lets stand still.
    let cluster = System::builder().cluster().node_timeout(Duration::from_secs(5));
    let system = cluster.gateways(2).workers(2).store("partitions = 1").start().await;
    grows_under_load(system).await;
}

#[tokio::test]
async fn a_gateway_that_has_not_heard_yet_knows_every_job() {
    let system = System::builder().gateways(2).workers(0).store("partitions = 1").start().await;
    let (a, b) = (system.client(0), system.client(1));
    // The connections are there already.
    let old = a.submit("remote", Value::Null).await;
    assert_eq!(b.job(old).await["status"], "pending");
    system.gateways[1].pause();
    grow(&system, 16).await;
    let jobs = fill(a, "remote", 16).await;
    system.gateways[1].resume();
    let mut first = JoinSet::new();
    for &id in jobs.iter().rev() {
        let b = b.clone();
        first.spawn(async move {
            let polled = b.ask(&format!("/api/jobs/{id}")).await.status;
            let mut stream = b.stream(id).await;
            let event = stream.next_within(SOON).await.unwrap().event;
            assert_eq!((polled, &*event), (200, "queued"), "{id} in {}", id.partition());
        });
    }
    first.join_all().await;
    let id = jobs.last().unwrap();
    assert_eq!(b.tell(&format!("/api/jobs/{id}/cancel"), &json!({})).await.status, 202);
}

#[tokio::test]
async fn whoever_waits_for_work_hears_of_new_partitions() {
    let waits = "[jobs]\nmax_wait = \"10m\"";
    let system = System::builder().gateways(2).settings(waits).store("partitions = 1").start().await;
    let (a, b) = (system.client(0), system.client(1));
    // Workers over HTTP that wait from before the growth to after it, and an idle worker.
    let mut waiting = JoinSet::new();
    for _ in 0..3 {
        // However long that takes on a busy machine.
        let claim = b.request(reqwest::Method::POST, "/api/work/claim?wait=240").timeout(5 * SOON);
        let claim = claim.json(&json!({ "tasks": ["remote"] }));
        waiting.spawn(async move { claim.send().await.unwrap().status().as_u16() });
    }
    b.ended(a.submit("wordcount", json!({ "text": "a" })).await).await;
    grow(&system, 16).await;
    let jobs = fill(a, "wordcount", 16).await;
    // Less than an idle worker waits at a bell: it hears of the new ones.
    for id in jobs {
        testkit::eventually(SOON, "the job has ended", async || b.job(id).await["status"] == "completed")
            .await;
    }
    assert!(waiting.try_join_next().is_none());
    // Hardly all in the old partition.
    for _ in 0..3 {
        a.submit("remote", Value::Null).await;
    }
    assert_eq!(waiting.join_all().await, [200; 3]);
}

#[tokio::test]
async fn a_feed_goes_on_in_new_partitions() {
    let system = System::builder().gateways(2).workers(0).store("partitions = 1").start().await;
    let (a, b) = (system.client(0), system.client(1));
    let old = a.submit("remote", Value::Null).await;
    let mut feed = SseStream::open(b.url("/api/feed")).await;
    let first = feed.next_within(SOON).await.unwrap();
    assert_eq!(data(&first)["jobId"], json!(old));
    grow(&system, 16).await;
    let jobs = fill(a, "remote", 16).await;
    let wanted: BTreeSet<_> = jobs.iter().map(ToString::to_string).collect();
    let seen = async |feed: &mut SseStream| {
        let mut seen = Vec::new();
        while seen.len() < wanted.len() {
            let event = feed.next_within(SOON).await.expect("a feed doesn't end");
            assert_eq!(event.event, "queued");
            seen.push(data(&event)["jobId"].as_str().unwrap().to_owned());
        }
        let ids: BTreeSet<_> = seen.iter().cloned().collect();
        assert_eq!((&ids, seen.len()), (&wanted, wanted.len()), "each once");
    };
    seen(&mut feed).await;
    // A cursor from before the growth: new partitions from their beginning.
    let mut resumed =
        SseStream::builder(a.url("/api/feed")).last_event_id(first.id.as_ref().unwrap()).open().await;
    seen(&mut resumed).await;
    // A cursor of all sixteen.
    let mut last = SseStream::builder(a.url("/api/feed")).last_event_id(feed.last_event_id()).open().await;
    let next = a.submit("remote", Value::Null).await;
    assert_eq!(data(&last.next_within(SOON).await.unwrap())["jobId"], json!(next));
}

#[tokio::test]
async fn the_command_says_what_it_refuses_and_goes_on_where_it_was() {
    let system = System::builder().workers(0).store("partitions = 4").start().await;
    for (args, code, says) in [
        (&["grow", "4", "--yes"][..], 1, "there are 4 partitions already, and they can only become more"),
        (&["grow", "2", "--yes"], 1, "there are 4 partitions already"),
        (&["grow", "65", "--yes"], 2, "65 is not in 2..=64"),
        (&["grow", "8"], 2, "--yes goes on without"),
    ] {
        let (ended, out, err) = ended(partitions(&system, args)).await;
        assert_eq!((ended, &*out), (Some(code), ""), "{args:?}: {err}");
        assert!(err.contains(says), "{args:?}: {err}");
    }
    // Killed between the phases.
    let command = partitions(&system, &["grow", "8", "--yes", "--wait", "1h"]).start();
    testkit::eventually(SOON, "phase 1 is done", async || command.stdout().contains("announced; waiting"))
        .await;
    command.kill();
    command.wait_exit(SOON).await;
    let (_, out, _) = ended(partitions(&system, &[])).await;
    assert_eq!(out, "8 partitions, of which 4 get new jobs; `jobcast partitions grow 8` ends this growth\n");
    for _ in 0..20 {
        assert!(system.client(0).submit("remote", Value::Null).await.partition().0 < 4);
    }
    let (code, _, err) = ended(partitions(&system, &["grow", "16", "--yes"])).await;
    assert_eq!(code, Some(1));
    assert!(err.contains("growing to 8 already: end that first; `jobcast partitions grow 8` does"), "{err}");
    grow(&system, 8).await;
    fill(system.client(0), "remote", 8).await;

    // Away in the middle, and full.
    let set = ["--set", "store.patience=200ms"];
    let command = partitions(&system, &["grow", "16", "--yes", "--wait", "1s"]).args(set).start();
    testkit::eventually(SOON, "phase 1 is done", async || command.stdout().contains("announced; waiting"))
        .await;
    system.redis.pause();
    assert_eq!(command.wait_exit(SOON).await.code(), Some(3));
    assert!(
        command.stderr().ends_with("get no new jobs yet. The same command goes on.\n"),
        "{}",
        command.stderr()
    );
    let (code, _, err) = ended(partitions(&system, &[]).args(set)).await;
    assert_eq!(code, Some(3), "{err}");
    system.redis.resume();
    grow(&system, 16).await;
}
