//! Many short jobs and two workers: each job ends exactly once, and nobody idles while there is work.

use std::collections::HashMap;

use serde_json::json;
use testkit::sse::check_history;
use whole::{SOON, System, turns};

const JOBS: usize = 200;

#[tokio::test]
async fn two_hundred_short_jobs() {
    // The task tells who ran it: its parent is the worker.
    let task = "[tasks.who]\ncommand = [\"sh\", \"-c\", \"echo '{\\\"result\\\":'$PPID'}'\"]\n";
    let system = System::builder().gateways(2).workers(2).settings(task).start().await;
    let mut ids = Vec::new();
    for job in 0..JOBS {
        ids.push(system.client(job % 2).submit("who", json!(job)).await);
    }
    let mut done = HashMap::new();
    for (job, &id) in ids.iter().enumerate() {
        let ended = system.client(job % 2).ended(id).await;
        assert_eq!((&ended["status"], &ended["attempt"]), (&json!("completed"), &json!(1)), "{ended}");
        *done.entry(ended["result"].as_u64().unwrap()).or_insert(0) += 1;
        let events = system.client((job + 1) % 2).events(id).await;
        check_history(&events).unwrap();
        assert_eq!(turns(&events), ["queued", "started", "completed"]);
    }
    let shares = system.workers.iter().map(|worker| done.remove(&u64::from(worker.pid())).unwrap_or(0));
    let shares: Vec<usize> = shares.collect();
    assert!(shares.iter().all(|&share| share > 0) && done.is_empty(), "{shares:?}, {done:?}");
    assert_eq!(system.jobs().await, JOBS);

    // In order to its end: nothing is given back, nothing is left.
    for process in system.workers.iter().chain(&system.gateways) {
        process.terminate();
    }
    for process in system.workers.iter().chain(&system.gateways) {
        assert!(process.wait_exit(SOON).await.success());
    }
    system.nothing_grows().await;
}
