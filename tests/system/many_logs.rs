//! Thousands of logs on one live connection: when it breaks, what each of them missed is read, and nothing is forgotten.

use std::time::Instant;

use model::JobId;
use serde_json::{Value, json};
use testkit::sse::SseStream;
use tokio::task::JoinSet;
use whole::{Apart, Client, SOON, System, data};

const STREAMS: usize = 20;
/// As many as one stream may have.
const JOBS: usize = 100;
/// How many calls the test has under way.
const AT_ONCE: usize = 10;

/// Calls `what` so many times, some at once.
async fn each<T, F>(count: usize, what: impl Fn(usize) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let (mut calls, mut done) = (JoinSet::new(), Vec::new());
    for n in 0..count {
        if n >= AT_ONCE {
            done.push(calls.join_next().await.unwrap().unwrap());
        }
        calls.spawn(what(n));
    }
    done.extend(calls.join_all().await);
    done
}

async fn cancel(client: Client, job: JobId) {
    assert_eq!(client.post(&format!("/api/jobs/{job}/cancel"), &json!({})).await.status(), 202);
}

#[tokio::test]
async fn all_of_them_go_on_after_a_cut() {
    let system = System::builder().workers(0).start().await;
    let (apart, proxy) = Apart::proxied(&system, "reconcile = \"5m\"").await;
    let client = system.client(0);
    let jobs = each(STREAMS * JOBS, |_| {
        let client = client.clone();
        async move { client.submit("remote", Value::Null).await }
    })
    .await;
    let mut streams = Vec::new();
    for jobs in jobs.chunks(JOBS) {
        let list: Vec<_> = jobs.iter().map(|job| format!("job={job}")).collect();
        let mut stream = SseStream::open(apart.client.url(&format!("/api/events?{}", list.join("&")))).await;
        for _ in jobs {
            assert_eq!(stream.next_within(SOON).await.unwrap().event, "queued");
        }
        streams.push(stream);
    }
    assert_eq!(apart.client.count("jobcast_followed_logs").await, jobs.len());
    assert_eq!(system.redis.shard_channels().await.len(), jobs.len());

    // Each job ends while nothing passes. Then it passes again, on new connections.
    proxy.blackhole();
    each(jobs.len(), |n| cancel(client.clone(), jobs[n])).await;
    let began = Instant::now();
    proxy.cut();
    for (mut stream, jobs) in streams.into_iter().zip(jobs.chunks(JOBS)) {
        let events = stream.collect_to_end(SOON).await;
        let mut ended: Vec<JobId> = events
            .iter()
            .map(|event| {
                assert_eq!(event.event, "cancelled");
                data(event)["jobId"].as_str().unwrap().parse().unwrap()
            })
            .collect();
        ended.sort();
        let mut all = jobs.to_vec();
        all.sort();
        assert_eq!(ended, all, "each once");
    }
    println!("{} logs have gone on {:?} after the cut", jobs.len(), began.elapsed());
    assert!(apart.client.count("jobcast_redis_reconnects_total").await > 0);
    system.nothing_grows().await;
}
