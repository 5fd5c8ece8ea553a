//! A gateway holds nothing of a client: it may die and come back, and the client goes on where it was.

use model::JobId;
use serde_json::json;
use testkit::sse::{FollowLog, Follower};
use whole::{SOON, System, assert_counted_at_once, brief, frames};

const COUNT: u64 = 60;

/// A job of some seconds, more than a busy machine stands still, in its middle, and a browser that follows it.
async fn middle(system: &System) -> (JobId, Follower) {
    let id = system.client(0).submit("count", json!({ "n": COUNT, "seconds": 8 })).await;
    let browser = system.client(0).follow(id);
    testkit::eventually(SOON, "the job is in its middle", async || browser.count() > 10).await;
    (id, browser)
}

/// Neither loss nor repeat, and the same bytes as for somebody who reads it all at once.
async fn assert_whole(system: &System, id: JobId, log: &FollowLog) {
    assert_eq!(log.ended, Some(204), "{}", brief(log));
    assert_counted_at_once(&log.events, COUNT);
    assert_eq!(frames(&log.events), frames(&system.client(0).events(id).await));
    system.nothing_grows().await;
}

#[tokio::test]
async fn killed_in_the_middle_of_a_stream() {
    let mut system = System::builder().start().await;
    let (id, browser) = middle(&system).await;
    system.gateways[0].kill();
    system.restart_gateway(0);
    let log = browser.wait().await;
    assert_eq!(log.breaks, 1, "{}", brief(&log));
    assert_whole(&system, id, &log).await;
}

#[tokio::test]
async fn stopped_in_order_in_the_middle_of_a_stream() {
    let mut system = System::builder().settings("[stream]\ndrain = \"500ms\"\n").start().await;
    let (id, browser) = middle(&system).await;
    system.gateways[0].terminate();
    assert!(system.gateways[0].wait_exit(SOON).await.success());
    system.restart_gateway(0);
    let log = browser.wait().await;
    assert_eq!(log.breaks, 0, "the stream was ended, not broken: {}", brief(&log));
    assert!(log.connects > 2, "{}", brief(&log));
    assert_whole(&system, id, &log).await;
}

#[tokio::test]
async fn rolled_one_after_the_other_nobody_is_without_a_gateway() {
    let settings = "[stream]\ndrain = \"500ms\"\nretry = \"100ms\"\n";
    let mut system = System::builder().gateways(2).settings(settings).start().await;
    let (a, b) = (system.client(0).clone(), system.client(1).clone());
    let mut browsers = Vec::new();
    for _ in 0..4 {
        let id = a.submit("count", json!({ "n": COUNT, "seconds": 6 })).await;
        browsers.push((id, a.follow_also(id, &[&b])));
        browsers.push((id, b.follow_also(id, &[&a])));
    }
    let has_begun = async || browsers.iter().all(|(_, browser)| browser.count() > 3);
    testkit::eventually(SOON, "all browsers see their job run", has_begun).await;
    for gateway in 0..2 {
        system.gateways[gateway].terminate();
        assert!(system.gateways[gateway].wait_exit(SOON).await.success());
        system.restart_gateway(gateway);
        system.wait_gateway(gateway).await;
    }
    for (id, browser) in browsers {
        let log = browser.wait().await;
        assert_eq!(log.breaks, 0, "{}", brief(&log));
        assert_whole(&system, id, &log).await;
    }
}
