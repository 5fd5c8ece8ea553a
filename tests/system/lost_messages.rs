//! Redis Pub/Sub is at-most-once: whatever of it is lost, streams show all the same, and the loss is counted.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use whole::{Apart, Remote, SOON, System, assert_counted_at_once, brief, frames};

/// How many jobs, and how far each counts.
const JOBS: usize = 30;
const COUNT: u64 = 40;

#[tokio::test]
async fn every_20th_live_message_and_each_jobs_last_one_are_lost() {
    let settings = "[stream]\nreconcile = \"1s\"\n[worker]\nconcurrency = 8\n";
    let system = System::builder().gateways(2).workers(2).settings(settings).proxied().start().await;
    let proxy = system.proxy.as_ref().unwrap();
    let (seen, ends) = (AtomicUsize::new(0), std::sync::Arc::new(AtomicUsize::new(0)));
    proxy.drop_messages({
        let ends = std::sync::Arc::clone(&ends);
        move |_channel, entry| {
            // <seq> <mark> <mark before> <type> <json>
            let is_last = entry.split(|&byte| byte == b' ').nth(3) == Some(b"completed");
            ends.fetch_add(usize::from(is_last), Ordering::SeqCst);
            is_last || (seen.fetch_add(1, Ordering::SeqCst) + 1).is_multiple_of(20)
        }
    });

    let (a, b) = (system.client(0), system.client(1));
    let mut browsers = Vec::new();
    for job in 0..JOBS {
        let id = a.submit("count", json!({ "n": COUNT, "seconds": 2 })).await;
        let browser = if job % 2 == 0 { a.follow_also(id, &[b]) } else { b.follow_also(id, &[a]) };
        browsers.push((id, browser));
    }
    for (id, browser) in browsers {
        let log = browser.wait().await;
        assert_eq!(
            (log.ended, log.breaks, log.connects),
            (Some(204), 0, 2),
            "one stream, then its end: {}",
            brief(&log)
        );
        assert_counted_at_once(&log.events, COUNT);
        assert_eq!(frames(&log.events), frames(&b.events(id).await));
    }

    assert!(ends.load(Ordering::SeqCst) >= JOBS, "each job's end was published to somebody, and lost");
    assert!(proxy.messages_dropped() > 2 * JOBS, "{}", proxy.messages_dropped());
    let losses =
        a.metric("jobcast_reconciled_losses_total").await + b.metric("jobcast_reconciled_losses_total").await;
    assert!(losses > 0.0, "the losses are counted");
    system.nothing_grows().await;
}

/// A log of which something was just heard isn't looked at, but that puts nothing off: what is lost right after it is found in time.
#[tokio::test]
async fn the_last_message_of_a_busy_job_is_found_within_one_reconcile() {
    let reconcile = Duration::from_secs(8);
    let system = System::builder().workers(0).start().await;
    let (apart, proxy) = Apart::proxied(&system, "reconcile = \"8s\"").await;
    proxy.drop_messages(|_, entry| entry.ends_with(b"\"lost\"}"));
    let id = system.client(0).submit("remote", Value::Null).await;
    let worker = Remote::claim(system.client(0), "remote").await;
    let mut stream = apart.client.stream(id).await;
    // The gateway has just begun, so it looks at its logs again in about one reconcile: where one such look finds the job busy, the
    // message is lost for almost two of them.
    worker.output("heard").await;
    let mut next = async || stream.next_within(2 * SOON).await.unwrap();
    while next().await.event != "output" {}
    worker.output("lost").await;
    let lost = Instant::now();
    assert_eq!(next().await.event, "output");
    let took = lost.elapsed();
    assert_eq!(proxy.messages_dropped(), 1);
    // Almost two would be far more, and a busy machine may stand still for some seconds.
    assert!(took < reconcile * 5 / 4, "{took:?}");
    assert_eq!(apart.client.count("jobcast_reconciled_losses_total").await, 1);
    worker.complete(Value::Null).await;
    system.nothing_grows().await;
}
