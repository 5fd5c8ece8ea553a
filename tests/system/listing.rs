//! The list of jobs: newest first, whole, page by page, through any gateway, and an owner's own alone.

use std::collections::BTreeSet;

use model::JobId;
use serde_json::{Value, json};
use whole::{Client, Remote, SOON, System};

/// The jobs of a page, and its next one's place.
async fn page(client: &Client, query: &str) -> (Vec<Value>, Option<JobId>) {
    let answer = client.ask(&format!("/api/jobs?{query}")).await;
    assert_eq!(answer.status, 200, "{query}: {answer:?}");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.body.as_object().unwrap().len(), 2, "{answer:?}");
    let next = answer.body["next"].as_str().map(|next| next.parse().unwrap());
    assert!(next.is_some() || answer.body["next"].is_null());
    (answer.body["jobs"].as_array().unwrap().clone(), next)
}

/// All jobs that `query` asks for, through all of `clients` in turn.
async fn all(clients: &[Client], query: &str) -> Vec<Value> {
    let (mut jobs, mut after) = (Vec::new(), String::new());
    for client in clients.iter().cycle() {
        let (found, next) = page(client, &format!("{query}&after={after}")).await;
        jobs.extend(found);
        let Some(next) = next else { break };
        after = next.to_string();
    }
    jobs
}

fn ids(jobs: &[Value]) -> Vec<JobId> {
    jobs.iter().map(|job| job["id"].as_str().unwrap().parse().unwrap()).collect()
}

#[tokio::test]
async fn pages_through_all_gateways_and_partitions_make_one_list() {
    let system = System::builder().gateways(2).workers(0).store("partitions = 16").start().await;
    let client = system.client(0);
    let mut made = Vec::new();
    for n in 0..120 {
        made.push(system.client(n % 2).submit("remote", json!(n)).await);
    }
    made.sort_unstable();
    made.reverse();
    assert!(made.iter().map(|id| id.partition()).collect::<BTreeSet<_>>().len() > 10);
    for limit in [7, 50, 1000] {
        assert_eq!(ids(&all(&system.clients, &format!("limit={limit}")).await), made, "{limit}");
    }
    let (first, next) = page(client, "").await;
    assert_eq!((first.len(), next), (100, Some(made[99])), "100 unless asked for otherwise");
    assert_eq!(first[0], client.job(made[0]).await, "each as polled");
    // Who pages on while others submit and delete misses nothing, and sees nothing twice.
    let newer = client.submit("remote", json!(null)).await;
    assert_eq!(client.tell(&format!("/api/jobs/{}/cancel", made[99]), &json!({})).await.status, 202);
    let gone =
        client.request(reqwest::Method::DELETE, &format!("/api/jobs/{}", made[99])).send().await.unwrap();
    assert_eq!(gone.status(), 204);
    assert_eq!(ids(&page(client, &format!("after={}", made[99])).await.0), made[100..]);
    assert_eq!(ids(&page(client, "limit=1").await.0), [newer]);
}

#[tokio::test]
async fn filters_name_a_status_and_a_task() {
    let system =
        System::builder().store("partitions = 4").settings("[jobs]\nretention = \"1h\"").start().await;
    let client = system.client(0);
    let good = client.submit("count", json!({ "n": 1 })).await;
    let bad = client.submit("count", json!({})).await;
    let waiting = client.submit("remote", json!(null)).await;
    client.ended(good).await;
    client.ended(bad).await;
    let remote = Remote::claim(client, "remote").await;
    for (query, want) in [
        ("status=completed", vec![good]),
        ("status=failed", vec![bad]),
        ("status=processing", vec![waiting]),
        ("status=pending", vec![]),
        ("task=count", vec![bad, good]),
        ("task=remote", vec![waiting]),
        ("task=count&status=failed&limit=1", vec![bad]),
        ("task=remote&status=failed", vec![]),
        ("status=&task=&after=&limit=", vec![waiting, bad, good]),
    ] {
        let (jobs, next) = page(client, query).await;
        let (found, want): (BTreeSet<_>, BTreeSet<_>) =
            (ids(&jobs).into_iter().collect(), want.into_iter().collect());
        assert_eq!(found, want, "{query}");
        assert_eq!(next, None, "{query}");
    }
    remote.must("fail", json!({ "error": "x" })).await;
    assert_eq!(page(client, "status=failed").await.0.len(), 2);
    system.nothing_grows().await;
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_with_a_sentence() {
    let system = System::builder().workers(0).start().await;
    let client = system.client(0);
    for (query, status, name, says) in [
        ("status=failing", 400, "malformed", "pending, processing, completed, failed, cancelled"),
        ("status=failed&status=failed", 400, "malformed", "duplicate"),
        ("state=failed", 400, "malformed", "unknown field `state`"),
        ("task=a%20b", 400, "malformed", "a name is 1 to 64"),
        ("task=nope", 422, "unknown-task", "the tasks are:"),
        ("limit=0", 422, "out-of-range", "1 to 1000, not 0"),
        ("limit=1001", 422, "out-of-range", "1 to 1000, not 1001"),
        ("limit=-1", 400, "malformed", "not \"-1\""),
        ("limit=ten", 400, "malformed", "not \"ten\""),
        ("limit=99999999999999999999", 400, "malformed", "1 to 1000"),
        ("after=1", 400, "bad-cursor", "`next`"),
        ("after=%ff", 400, "bad-cursor", "`next`"),
    ] {
        let answer = client.ask(&format!("/api/jobs?{query}")).await;
        assert_eq!(answer.problem(), (status, name), "{query}");
        assert!(answer.body["detail"].as_str().unwrap().contains(says), "{query}: {}", answer.body);
    }
    // Any UUID is a place.
    for after in ["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"] {
        assert!(page(client, &format!("after={after}")).await.0.is_empty());
    }
}

#[tokio::test]
async fn jobs_that_expired_are_passed_over_and_shed() {
    let system = System::builder().start().await;
    let client = system.client(0);
    let kept = client.submit("count", json!({ "n": 1 })).await;
    let short = json!({ "task": "count", "payload": { "n": 1 }, "retention": 1 });
    for _ in 0..5 {
        client.submit_with(&short).await;
    }
    client.ended(kept).await;
    testkit::eventually(SOON, "the others are gone", async || ids(&page(client, "").await.0) == [kept]).await;
    assert_eq!(page(client, "limit=1").await.0.len(), 1, "no place is lost to those that are gone");
    system.nothing_grows().await;
}
