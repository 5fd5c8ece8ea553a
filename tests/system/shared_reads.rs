//! Streams that have fallen out of the ring go on from the log: those that stand together share each read, and a gateway has only
//! so many reads in flight.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use whole::{Apart, Behind, RawStream, Reads, Remote, SOON, System, Wiretap, frames};

/// A line of the gateway's `/proc/…/status`, in KiB: `VmRSS` is what it takes now, `VmHWM` the most that it ever took.
#[cfg(target_os = "linux")]
fn memory(apart: &Apart, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", apart.gateway.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_matches([':', ' ', '\t', 'k', 'B']).parse().unwrap()
}

#[tokio::test]
async fn slow_readers_at_one_place_cost_one_read_a_page() {
    const STREAMS: usize = 8;
    /// More than what lies between the first and the last of them because of the system's own buffers.
    const PAGE: usize = 512 * 1024;
    let settings = "[tasks.long]\nlog_bytes = \"64 MiB\"";
    let system = System::builder().workers(0).settings(settings).start().await;
    let wiretap = Wiretap::start(system.redis.addr(), Duration::ZERO).await;
    let stream = "ring_log = \"256 KiB\"\npage = \"512 KiB\"\nstall = \"10m\"";
    let apart = Apart::start(wiretap.url(), stream).await;
    let id = system.client(0).submit("long", Value::Null).await;
    let worker = Remote::claim(system.client(0), "long").await;
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        let mut stream = RawStream::with_buffer(&apart.client.events_url(id), &[], Some(4096)).await;
        assert!(stream.until(|body| body.contains("event: started")).await);
        streams.push(stream);
    }
    #[cfg(target_os = "linux")]
    let before = memory(&apart, "VmRSS");
    // They read nothing, and fall out of the ring.
    for batch in 0..50 {
        worker.outputs((0..100).map(|n| json!([100 * batch + n, "x".repeat(1000)]))).await;
    }
    worker.complete(Value::Null).await;
    let behind = Behind::of(&system, id).await;
    let size: usize = behind.entries().await.iter().map(String::len).sum();

    // All of them slowly, and none far before the others.
    while streams.iter().any(|stream| !stream.ended()) {
        for stream in &mut streams {
            stream.take(16 * 1024).await;
        }
    }
    let truth = behind.frames().await;
    for stream in &mut streams {
        assert_eq!(frames(&stream.events()), truth);
    }
    let (pages, reads) = (size.div_ceil(PAGE), wiretap.reads().all);
    println!("{STREAMS} slow streams of a log of {pages} pages: {reads} reads");
    assert!(reads <= 3 * pages, "about one for each page, not {STREAMS}: {reads}");
    #[cfg(target_os = "linux")]
    {
        let more = memory(&apart, "VmHWM").saturating_sub(before);
        println!("which took {more} KiB more than before, of a log of {} KiB", size / 1024);
        assert!(more < 16 * 1024, "a ring, some pages, and what each stream is just writing: {more} KiB");
    }
    system.nothing_grows().await;
}

#[tokio::test]
async fn streams_that_come_one_after_the_other_share_reads_and_looks_too() {
    const STREAMS: usize = 20;
    let system = System::builder().workers(0).start().await;
    let wiretap = Wiretap::start(system.redis.addr(), Duration::ZERO).await;
    // What is compared with Redis now and then is looked at too.
    let apart = Apart::start(wiretap.url(), "reconcile = \"5m\"").await;
    let id = system.client(0).submit("remote", Value::Null).await;
    let worker = Remote::claim(system.client(0), "remote").await;
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        let mut stream = RawStream::open(&apart.client.events_url(id), &[]).await;
        assert!(stream.until(|body| body.contains("event: started")).await);
        streams.push(stream);
    }
    let Reads { all: reads, looks, .. } = wiretap.reads();
    println!("{STREAMS} streams, each after the one before: {reads} reads, {looks} looks at the job");
    // On a machine that stands still for seconds in between, some more.
    assert!(reads <= STREAMS / 2, "one for the first, and one for those who come soon after: {reads}");
    assert!(looks <= STREAMS / 2, "one for the first: {looks}");
    worker.complete(Value::Null).await;
    let truth = Behind::of(&system, id).await.frames().await;
    for stream in &mut streams {
        assert_eq!(frames(&stream.events_to_end().await), truth);
    }
    system.nothing_grows().await;
}

#[tokio::test]
async fn no_more_reads_are_in_flight_than_may_be() {
    const LOGS: usize = 60;
    let system = System::builder().workers(0).start().await;
    let wiretap = Wiretap::start(system.redis.addr(), Duration::from_millis(20)).await;
    let apart = Apart::start(wiretap.url(), "reads_in_flight = 4").await;
    let mut ids = Vec::new();
    for _ in 0..LOGS {
        let id = system.client(0).submit("remote", Value::Null).await;
        let path = format!("/api/jobs/{id}/cancel");
        assert_eq!(system.client(0).post(&path, &json!({})).await.status(), 202);
        ids.push(id);
    }
    let mut streams = JoinSet::new();
    for id in ids {
        let client = apart.client.clone();
        streams.spawn(async move { (id, client.events(id).await) });
    }
    while let Some(stream) = streams.join_next().await {
        let (id, events) = stream.unwrap();
        assert_eq!(frames(&events), Behind::of(&system, id).await.frames().await);
    }
    let reads = wiretap.reads();
    println!("{LOGS} logs read at once: {reads:?}");
    assert!(reads.all >= LOGS);
    assert_eq!(reads.most_in_flight, 4, "as many as may be, and none more");
    testkit::eventually(SOON, "none is left", async || wiretap.reads().in_flight == 0).await;
    system.nothing_grows().await;
}
