//! Submissions a second: through the store, and over HTTP through one gateway.

use anyhow::ensure;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::figure::Record;
use crate::scene::{Scene, new_job, task};

/// How many callers there are at once, each with one call at a time.
const CALLERS: usize = 64;

/// `jobs` through the store in this process.
pub async fn through_the_store(scene: &Scene, jobs: usize, record: &mut Record) -> anyhow::Result<()> {
    let (before, began) = (scene.cpu().await?, Instant::now());
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let store = scene.store.clone();
        callers.spawn(async move {
            for _ in 0..jobs.div_ceil(CALLERS) {
                store.submit(&new_job()).await?;
            }
            anyhow::Ok(())
        });
    }
    for caller in callers.join_all().await {
        caller?;
    }
    let done = (jobs.div_ceil(CALLERS) * CALLERS) as f64;
    record.add("store_submissions", done / began.elapsed().as_secs_f64());
    record.add("store_redis_cpu_per_submission", (scene.cpu().await? - before) / done);
    record
        .add("store_submissions_to_bare", record.last("store_submissions") / record.last("bare_submissions"));
    Ok(())
}

/// `jobs` by POST to the gateway; the clients take their share of the same processors.
pub async fn over_http(scene: &Scene, jobs: usize, record: &mut Record) -> anyhow::Result<()> {
    let (before, began) = (scene.cpu().await?, Instant::now());
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let client = scene.client.clone();
        callers.spawn(async move {
            let body = json!({ "task": task(), "payload": null });
            for _ in 0..jobs.div_ceil(CALLERS) {
                let answer = client.post("/api/jobs", &body).await;
                ensure!(answer.status() == 202, "{}", answer.status());
                answer.bytes().await?;
            }
            anyhow::Ok(())
        });
    }
    for caller in callers.join_all().await {
        caller?;
    }
    let done = (jobs.div_ceil(CALLERS) * CALLERS) as f64;
    record.add("http_submissions", done / began.elapsed().as_secs_f64());
    record.add("http_redis_cpu_per_submission", (scene.cpu().await? - before) / done);
    Ok(())
}
