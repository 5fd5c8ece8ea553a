//! A worker that was told to stop claims nothing more, lets its job end, and leaves the others to others at once.

use serde_json::json;
use whole::{SOON, System, assert_counted_at_once, turns};

const COUNT: u64 = 60;

#[tokio::test]
async fn what_runs_may_end_and_what_comes_is_left_alone() {
    let mut system = System::builder().settings("[worker]\ngrace = \"1m\"\nconcurrency = 8\n").start().await;
    let client = system.client(0).clone();
    let running = client.submit("count", json!({ "n": COUNT, "seconds": 6 })).await;
    let browser = client.follow(running);
    testkit::eventually(SOON, "the job is in its middle", async || browser.count() > 10).await;
    system.workers[0].terminate();
    // Nothing says from outside that it has heard: a job that it takes all the same is a sign that it hadn't.
    let mut left = Vec::new();
    for n in 0..10 {
        left.push(client.submit("count", json!({ "n": n, "seconds": 0 })).await);
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    let log = browser.wait().await;
    assert_counted_at_once(&log.events, COUNT);
    assert!(system.workers[0].wait_exit(SOON).await.success());
    let last = *left.last().unwrap();
    assert_eq!(client.job(last).await["status"], "pending", "it had room for it, and was stopping");

    system.start_worker();
    // The job of a claim that was under way just then is given back at once.
    let mut given_back = 0;
    for id in left {
        let job = client.ended(id).await;
        let events = client.events(id).await;
        let turns = turns(&events);
        if job["attempt"] == 1 {
            assert_eq!(turns, ["queued", "started", "completed"]);
        } else {
            given_back += 1;
            assert_eq!(turns, ["queued", "started", "retrying", "started", "completed"]);
        }
    }
    assert!(given_back <= 1, "{given_back}: there is one claim at a time where nothing was ready");
    system.nothing_grows().await;
}
