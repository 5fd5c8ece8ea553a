//! Redis Pub/Sub is at-most-once: whatever of it is lost, streams show all the same, and the loss is counted.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use whole::{System, assert_counted_at_once, brief, frames};

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
