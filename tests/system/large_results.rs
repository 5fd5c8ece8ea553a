//! Results as large as they may be: they lie in Redis once, no event carries them, and a hundred of them at once cut nobody off.

use serde_json::{Value, json};
use testkit::redis::{AsyncCommands, cmd};
use testkit::sse::SseStream;
use tokio::task::JoinSet;
use whole::{RawStream, Remote, SOON, System, data, turns};

const JOBS: usize = 100;

/// With its quotes just what a result may have: 1 MiB.
fn large() -> Value {
    "x".repeat(1024 * 1024 - 2).into()
}

#[tokio::test]
async fn a_hundred_results_of_a_mebibyte_at_once_drop_no_subscription() {
    // The test's clients share one thread, on which a hundred bodies are made between a connection and its head.
    let settings = "[jobs]\nlease = \"10m\"\n[gateway]\nheader_timeout = \"5m\"\n";
    // Who waits for an answer longer than usual goes on waiting: only what Redis closes counts.
    let patient = "response_timeout = \"30s\"\npatience = \"1m\"";
    let system = System::builder().gateways(2).workers(0).settings(settings).store(patient).start().await;
    let (mut attempts, mut browsers) = (Vec::new(), Vec::new());
    for _ in 0..JOBS {
        let id = system.client(0).submit("remote", Value::Null).await;
        browsers.extend(system.clients.iter().map(|client| (id, client.follow(id))));
        attempts.push(Remote::claim(system.client(1), "remote").await);
    }
    let mut feeds = Vec::new();
    for client in &system.clients {
        feeds.push(SseStream::open(&client.url("/api/feed")).await);
    }
    let all_see = async || browsers.iter().all(|(_, browser)| browser.count() >= 2);
    testkit::eventually(SOON, "all browsers see their job run", all_see).await;
    let reconnects = async || {
        let mut sum = 0;
        for client in &system.clients {
            sum += client.count("jobcast_redis_reconnects_total").await;
        }
        sum
    };
    let before = reconnects().await;

    let mut ends = JoinSet::new();
    for attempt in attempts {
        ends.spawn(async move { attempt.complete(large()).await });
    }
    ends.join_all().await;
    for (id, browser) in browsers {
        let log = browser.wait().await;
        assert_eq!((log.connects, log.breaks, log.failures), (2, 0, 0), "{id}");
        assert_eq!(turns(&log.events), ["queued", "started", "completed"]);
        let end = data(log.events.last().unwrap());
        assert_eq!((&end["resultOmitted"], end.get("result")), (&json!(true), None), "{id}");
    }
    // An owner's feed has told all ends too, and of no result.
    for feed in &mut feeds {
        let mut ends = 0;
        while ends < JOBS {
            let event = feed.next_within(SOON).await.unwrap();
            ends += usize::from(event.event == "completed");
            assert!(event.data.len() < 1000, "{} bytes", event.data.len());
        }
    }
    assert_eq!(reconnects().await, before, "no connection was lost");
    for client in &system.clients {
        assert_eq!(client.count("jobcast_reconciled_losses_total").await, 0);
    }
    system.nothing_grows().await;
}

/// The most that a process ever took, in MiB.
fn peak(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() / 1024
}

#[tokio::test]
async fn a_stream_that_begins_with_many_large_snapshots_holds_one_at_a_time() {
    const OF_ONE: usize = 20;
    const STREAMS: usize = 8;
    // The first gateway makes them; the second one is looked at.
    let system = System::builder().gateways(2).workers(0).start().await;
    let mut ids = Vec::new();
    for _ in 0..OF_ONE {
        ids.push(system.client(0).submit("remote", Value::Null).await);
        Remote::claim(system.client(0), "remote").await.complete(large()).await;
    }
    let before = peak(system.gateways[1].pid());
    let jobs: String = ids.iter().map(|id| format!("job={id}&")).collect();
    let url = system.client(1).url(&format!("/api/events?{jobs}from=now"));
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        // In the middle of its first snapshot.
        let mut stream = RawStream::with_buffer(&url, &[], Some(4096)).await;
        stream.take(64 * 1024).await;
        streams.push(stream);
    }
    let took = peak(system.gateways[1].pid()) - before;
    let all = (STREAMS * OF_ONE) as u64;
    assert!(took < all / 2, "{took} MiB for {STREAMS} streams of {OF_ONE} MiB each");
    for (n, stream) in streams.into_iter().enumerate() {
        let events = { stream }.events_to_end().await;
        assert_eq!(events.len(), OF_ONE, "stream {n}");
        for (event, id) in events.iter().zip(&ids) {
            let told = data(event);
            assert_eq!((event.event.as_str(), &told["jobId"]), ("snapshot", &json!(id)));
            assert_eq!(told["job"]["result"], large());
        }
    }
    system.nothing_grows().await;
}

#[tokio::test]
async fn the_largest_payload_and_result_lie_in_redis_once() {
    let system = System::builder().gateways(2).workers(0).start().await;
    let client = system.client(0);
    let id = client.submit("remote", large()).await;
    let mut redis = system.redis.client().await;
    let used = async |redis: &mut testkit::redis::MultiplexedConnection| {
        let mut bytes = 0;
        for info in system.redis.keys().await {
            let usage: Option<usize> =
                cmd("MEMORY").arg(&["USAGE", &info.key, "SAMPLES", "0"]).query_async(redis).await.unwrap();
            bytes += usage.unwrap_or(0);
        }
        bytes
    };
    // A string of Redis has room to spare: up to as much again.
    const MIB: usize = 1024 * 1024;
    let queued = used(&mut redis).await;
    assert!((MIB..2 * MIB + MIB / 2).contains(&queued), "{queued} bytes");

    let attempt = Remote::claim(client, "remote").await;
    attempt.complete(large()).await;
    assert_eq!(client.job(id).await["result"], large());
    assert_eq!(system.client(1).ended(id).await["result"], large());
    let ended = used(&mut redis).await;
    assert!((queued + MIB..queued + 2 * MIB + MIB / 2).contains(&ended), "{ended} bytes, {queued} before");
    let logs: Vec<String> = redis.keys("*}:log:*").await.unwrap();
    let log: usize = cmd("MEMORY").arg(&["USAGE", &logs[0]]).query_async(&mut redis).await.unwrap();
    assert!(log < 2000, "{log} bytes: the log has neither");
    system.nothing_grows().await;
}

#[tokio::test]
async fn a_result_that_is_too_large_fails_its_job_and_says_what_to_do() {
    let program = "import json; print(json.dumps({'result': 'x' * 2_000_000}))";
    let task = format!(
        "[jobs]\nmax_result = \"1 MiB\"\n[tasks.large]\ncommand = [\"python3\", \"-c\", {program:?}]\n"
    );
    let system = System::builder().settings(&task).start().await;
    let client = system.client(0);
    let id = client.submit("large", Value::Null).await;
    let job = client.ended(id).await;
    assert_eq!((&job["status"], &job["errorCode"]), (&json!("failed"), &json!("handler")), "{job}");
    let error = job["error"].as_str().unwrap();
    assert!(error.contains("elsewhere and return a link"), "{error}");
    assert_eq!(job["attempt"], 1, "another attempt would be as large");
    // The same of a worker over HTTP: told so by the refusal, and it may still say something smaller.
    let id = client.submit("remote", Value::Null).await;
    let attempt = Remote::claim(client, "remote").await;
    let (status, problem) =
        attempt.call("complete", json!({ "result": format!("{}!", "x".repeat(1024 * 1024)) })).await;
    assert_eq!((status, &problem["type"]), (413, &json!("urn:jobcast:too-large")), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("store it elsewhere"), "{problem}");
    attempt.complete(json!({ "link": "https://example.com/1" })).await;
    assert_eq!(client.ended(id).await["status"], "completed");
    system.nothing_grows().await;
}
