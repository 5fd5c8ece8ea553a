//! Any reply of Redis can be lost after its command was executed: so every step may be sent twice, and happens once.

use serde_json::json;
use whole::{SOON, System, assert_counted_at_once, brief};

/// How many jobs, and how far each counts.
const JOBS: usize = 20;
const COUNT: u64 = 20;

/// Each so manieth reply is lost, counted over all connections, their handshakes included.
const NTH: usize = 5;

#[tokio::test]
async fn every_5th_reply_is_lost_with_its_connection() {
    // Patient: a submission that gave up and came again would be another job.
    let mut system = System::builder()
        .gateways(2)
        .store("patience = \"50s\"")
        .settings("[stream]\nreconcile = \"1s\"\n[worker]\nconcurrency = 8\n")
        .proxied()
        .start()
        .await;
    let proxy = system.proxy.as_ref().unwrap();
    proxy.close_every_nth_reply(NTH);

    let (a, b) = (system.client(0), system.client(1));
    let mut browsers = Vec::new();
    for job in 0..JOBS {
        let (near, far) = if job % 2 == 0 { (a, b) } else { (b, a) };
        let id = near.submit("count", json!({ "n": COUNT, "seconds": 1 })).await;
        browsers.push((id, far.follow_also(id, &[near])));
    }
    let mut jobs = Vec::new();
    for (id, browser) in browsers {
        let log = browser.wait().await;
        assert_eq!(log.ended, Some(204), "{}", brief(&log));
        assert_counted_at_once(&log.events, COUNT);
        jobs.push(id);
    }
    for &id in &jobs {
        let job = a.ended(id).await;
        assert_eq!((&job["status"], &job["attempt"]), (&json!("completed"), &json!(1)), "{job}");
    }
    assert!(proxy.replies_swallowed() > 3 * JOBS, "only {} lost", proxy.replies_swallowed());
    assert_eq!(system.jobs().await, JOBS, "no job twice");

    proxy.pass();
    system.nothing_grows().await;
    // Nothing is left of what was claimed: the worker stops at once.
    let worker = system.workers.pop().unwrap();
    worker.terminate();
    assert!(worker.wait_exit(SOON).await.success());
}
