//! On a Cluster: slots that move while jobs run in them, primaries that die, stop, or aren't reached. Nobody misses anything.

use std::collections::BTreeSet;
use std::time::Duration;

use model::{JobId, Partition};
use reqwest::Method;
use serde_json::{Value, json};
use testkit::eventually;
use testkit::redis::cmd;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use whole::{Client, Running, SOON, System};

/// How long a slot is on its way.
const HOLD: Duration = Duration::from_secs(8);
/// Many more jobs at once than there are cores: they mostly wait.
const WORKERS: &str = "[worker]\nconcurrency = 16\n";

async fn start() -> System {
    // Nothing is written to disk: a busy one would hold up every answer. Who dies comes back empty, as a replica.
    System::builder().cluster().volatile().gateways(2).workers(2).settings(WORKERS).start().await
}

/// The same where nobody is to die: nobody takes the place of one that a busy machine lets stand still.
async fn start_to_last() -> System {
    let builder = System::builder().cluster().node_timeout(Duration::from_secs(5)).volatile();
    builder.gateways(2).workers(2).settings(WORKERS).start().await
}

/// The slot of a job's keys.
async fn slot_of(system: &System, id: JobId) -> u16 {
    let keys = system.redis.keys().await;
    let key = keys.iter().find(|info| info.key.ends_with(&format!(":job:{id}"))).expect("the job's key");
    system.redis.cluster().slot_of(&key.key).await
}

/// The node that has a job.
async fn node_of(system: &System, id: JobId) -> usize {
    system.redis.cluster().primary_of(slot_of(system, id).await).await
}

/// Submits jobs until each partition has got one; all of them end.
async fn submissions_work_everywhere(system: &System) {
    let mut jobs = Vec::new();
    let mut partitions = BTreeSet::new();
    while partitions.len() < 16 {
        let id = system.client(jobs.len() % 2).submit("wordcount", json!({ "text": "a b a" })).await;
        partitions.insert(id.partition());
        jobs.push(id);
    }
    for id in jobs {
        assert_eq!(system.client(0).ended(id).await["status"], "completed");
    }
}

/// All nodes are well again, all partitions take jobs, and nothing is left over.
async fn recovers(system: &System) {
    system.redis.cluster().wait_healthy().await;
    submissions_work_everywhere(system).await;
    system.nothing_grows().await;
}

#[tokio::test]
async fn a_slot_moves_under_running_jobs_and_nobody_notices() {
    let system = start_to_last().await;
    let cluster = system.redis.cluster();
    // Some end while their slot is on its way, some after it.
    let short = Running::start(&system, 6, 60, 6).await;
    let long = Running::start(&system, 6, 150, 15).await;
    let moved = short.jobs()[0];
    let slot = slot_of(&system, moved).await;
    let from = cluster.primary_of(slot).await;
    let to = (from + 1) % 3;
    let moving = async {
        let moved = cluster.migrate_slot(slot, to, HOLD).await.unwrap();
        assert_eq!((moved.from, moved.to, moved.failures), (from, to, 0));
        assert!(moved.keys > 3, "{moved:?}");
    };
    let open_until = Instant::now() + HOLD;
    let submitting = async {
        // Some keys have moved by then, and others haven't.
        let mut receiver = cluster.nodes()[to].server().client().await;
        eventually(SOON, "the first key has moved", async || {
            let asked =
                cmd("CLUSTER").arg("COUNTKEYSINSLOT").arg(slot).query_async::<u64>(&mut receiver).await;
            asked.unwrap() > 0
        })
        .await;
        submit_beside(&system, moved.partition(), open_until).await
    };
    let ((), beside) = tokio::join!(moving, submitting);
    assert_eq!(node_of(&system, moved).await, to);
    short.end_untouched(&system).await;
    long.end_untouched(&system).await;
    for id in beside {
        assert_eq!(system.client(1).ended(id).await["status"], "completed");
    }
    submissions_work_everywhere(&system).await;
    system.nothing_grows().await;
}

/// Submits without Idempotency-Key; each is accepted, until `open_until` by a partition that isn't the `moving` one.
async fn submit_beside(system: &System, moving: Partition, open_until: Instant) -> Vec<JobId> {
    let mut submissions = JoinSet::new();
    for n in 0..60 {
        let client = system.client(n % 2).clone();
        submissions.spawn(async move {
            let id = client.submit("wordcount", json!({ "text": "a b a" })).await;
            assert!(id.partition() != moving || Instant::now() >= open_until, "{id} is held up");
            id
        });
    }
    submissions.join_all().await
}

#[tokio::test]
async fn a_submission_with_a_key_waits_for_its_slot_and_is_one_job() {
    let system = start_to_last().await;
    let cluster = system.redis.cluster();
    let first = keyed(system.client(0), "first").await.unwrap();
    let slot = slot_of(&system, first).await;
    let to = (cluster.primary_of(slot).await + 1) % 3;
    let moving = cluster.migrate_slot(slot, to, HOLD);
    let submitting = async {
        sleep(Duration::from_secs(1)).await;
        // The same key again, and others until one of the same partition was tried: refused, or accepted after the move.
        let again = keyed(system.client(1), "first").await;
        assert!(again.is_none_or(|again| again == first), "one key, two jobs");
        let mut refused = Vec::new();
        for n in 0..40 {
            let key = format!("key {n}");
            if keyed(system.client(n % 2), &key).await.is_none() {
                refused.push(key);
                break;
            }
        }
        refused
    };
    let (moved, refused) = tokio::join!(moving, submitting);
    moved.unwrap();
    for key in refused {
        let id = keyed(system.client(0), &key).await.expect("accepted once the slot has moved");
        assert_eq!(keyed(system.client(1), &key).await, Some(id));
        assert_eq!(system.client(1).ended(id).await["status"], "completed");
    }
    assert_eq!(keyed(system.client(0), "first").await, Some(first));
    system.nothing_grows().await;
}

/// Submits with a key; the job, or `None` where Redis couldn't be written in time.
async fn keyed(client: &Client, key: &str) -> Option<JobId> {
    let request = client.request(Method::POST, "/api/jobs").header("Idempotency-Key", format!("\"{key}\""));
    let response = request.json(&json!({ "task": "count", "payload": { "n": 1 } })).send().await.unwrap();
    let status = response.status();
    let body: Value = response.json().await.unwrap();
    if status == 503 {
        assert_eq!(body["type"], "urn:jobcast:unavailable");
        return None;
    }
    assert_eq!(status, 202, "{body}");
    Some(body["jobId"].as_str().unwrap().parse().unwrap())
}

#[tokio::test]
async fn a_primary_dies_under_running_jobs() {
    let system = start().await;
    let cluster = system.redis.cluster();
    let running = Running::start(&system, 8, 150, 15).await;
    let node = node_of(&system, running.jobs()[0]).await;
    cluster.kill(node);
    cluster.wait_replaced(node).await;
    submissions_work_everywhere(&system).await;
    cluster.restart(node).await;
    let told = running.end_told(&system).await;
    println!("{told} browsers were told that Redis had lost what they had seen");
    recovers(&system).await;
}

#[tokio::test]
async fn what_a_dead_primary_took_with_it_is_told() {
    let system = start().await;
    let cluster = system.redis.cluster();
    let running = Running::start(&system, 8, 300, 30).await;
    let node = node_of(&system, running.jobs()[0]).await;
    let replicas = cluster.replicas_of(node).await;
    for &replica in &replicas {
        cluster.pause(replica);
    }
    cluster.nodes()[node].drop_replicas().await;
    running.see_more().await;
    cluster.kill(node);
    for &replica in &replicas {
        cluster.resume(replica);
    }
    cluster.wait_replaced(node).await;
    cluster.restart(node).await;
    let told = running.end_told(&system).await;
    assert!(told >= 2, "at both gateways the browsers of the first job at least");
    recovers(&system).await;
}

#[tokio::test]
async fn a_primary_stops_under_running_jobs_and_comes_back_to_find_itself_replaced() {
    let system = start().await;
    let cluster = system.redis.cluster();
    let running = Running::start(&system, 8, 150, 15).await;
    let node = node_of(&system, running.jobs()[0]).await;
    cluster.pause(node);
    cluster.wait_replaced(node).await;
    running.see_more().await;
    submissions_work_everywhere(&system).await;
    cluster.resume(node);
    let told = running.end_told(&system).await;
    println!("{told} browsers were told that Redis had lost what they had seen");
    recovers(&system).await;
}

#[tokio::test]
async fn a_primary_that_is_not_reached_is_waited_for() {
    let system = start_to_last().await;
    let cluster = system.redis.cluster();
    let running = Running::start(&system, 8, 120, 12).await;
    let node = node_of(&system, running.jobs()[0]).await;
    // Its replica hears from it all the time, so nobody takes its place.
    cluster.cut(node);
    sleep(Duration::from_secs(7)).await;
    cluster.heal(node);
    running.end_untouched(&system).await;
    cluster.check_healthy().await.unwrap();
    submissions_work_everywhere(&system).await;
    system.nothing_grows().await;
}
