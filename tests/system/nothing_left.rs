//! After retention and one sweep nothing in Redis remembers a job, however it ended.

use serde_json::json;
use testkit::redis::dump;
use whole::{Remote, SOON, System};

/// What stays: how many partitions there are, which tasks, who sweeps, and what carries a TTL of its own by design: the feed
/// (a week), the idempotency record (a day), a bell (a minute), a claim's record (a lease).
const STAYS: [&str; 7] = ["partitions", "tasks", "sweeper", "feedof", "idem", "bell", "claim"];

#[tokio::test]
async fn after_retention_and_a_sweep_no_index_holds_anything() {
    let settings = "[jobs]\nretention = \"1s\"\nlease = \"1s\"\nheartbeat = \"500ms\"\nsweep = \"200ms\"\n[worker]\nkill_after = \"1s\"\n";
    let system = System::builder().settings(settings).start().await;
    let client = system.client(0);
    let count = |n: u64, seconds: u64| json!({ "n": n, "seconds": seconds });

    // Completed, with and without a key; failed by a limit; never claimed; cancelled while queued and while it ran; lost.
    let mut ids = Vec::new();
    for key in ["a", "b", "c"] {
        let request = client.request(reqwest::Method::POST, "/api/jobs").header("Idempotency-Key", key);
        let body = json!({ "task": "count", "payload": count(5, 0), "metadata": { "of": "a test" } });
        let accepted: serde_json::Value = request.json(&body).send().await.unwrap().json().await.unwrap();
        ids.push(accepted["jobId"].as_str().unwrap().parse().unwrap());
    }
    ids.push(client.submit("count", count(5, 0)).await);
    ids.push(client.submit_with(&json!({ "task": "count", "payload": count(600, 600), "timeout": 1 })).await);
    let lost = client.submit_with(&json!({ "task": "remote", "maxAttempts": 1 })).await;
    let _silent = Remote::claim(client, "remote").await;
    ids.push(lost);
    ids.push(client.submit_with(&json!({ "task": "remote", "queueTimeout": 1 })).await);
    let queued = client.submit("remote", json!(null)).await;
    let running = client.submit("count", count(600, 600)).await;
    testkit::eventually(SOON, "it runs", async || client.job(running).await["status"] == "processing").await;
    for id in [queued, running] {
        assert_eq!(client.post(&format!("/api/jobs/{id}/cancel"), &json!({})).await.status(), 202);
        ids.push(id);
    }

    let left = async || {
        let keys = dump(&mut system.redis.client().await).await;
        let names = keys
            .into_iter()
            .map(|info| (info.key.rsplit_once("}:").map_or("partitions", |(_, name)| name).to_owned(), info));
        names
            .filter(|(name, _)| !STAYS.contains(&name.split(':').next().unwrap()))
            .map(|(_, info)| info.to_string())
            .collect::<Vec<_>>()
    };
    for id in &ids {
        let gone = async || client.get(&format!("/api/jobs/{id}")).await.status() == 404;
        testkit::eventually(SOON, "the job ends, and is forgotten", gone).await;
    }
    testkit::eventually_ok(2 * SOON, "jobs, logs and indexes are gone", async || {
        let left = left().await;
        if left.is_empty() { Ok(()) } else { Err(left.join("\n")) }
    })
    .await;
    system.nothing_grows().await;
}
