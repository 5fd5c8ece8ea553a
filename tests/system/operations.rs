//! What operators see: metrics, and whether a gateway is alive and ready.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use whole::{Client, Remote, SOON, System};

/// Every metric of a gateway: its name and its kind. Dashboards rely on them.
const METRICS: [(&str, &str); 12] = [
    ("jobcast_events_sent", "counter"),
    ("jobcast_followed_logs", "gauge"),
    ("jobcast_jobs_ended", "counter"),
    ("jobcast_live_messages", "counter"),
    ("jobcast_open_streams", "gauge"),
    ("jobcast_queue_oldest_seconds", "gauge"),
    ("jobcast_queue_ready", "gauge"),
    ("jobcast_queue_running", "gauge"),
    ("jobcast_reconciled_losses", "counter"),
    ("jobcast_redis_reconnects", "counter"),
    ("jobcast_redis_round_trips", "counter"),
    ("jobcast_streams_stalled", "counter"),
];

/// All series, each with its labels, and its value.
async fn series(client: &Client) -> BTreeMap<String, u64> {
    let text = client.get("/metrics").await.text().await.unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#')).map(|line| line.rsplit_once(' ').unwrap());
    lines.map(|(name, value)| (name.to_owned(), value.parse().unwrap())).collect()
}

fn of_task(name: &str) -> String {
    format!("jobcast_queue_{name}{{task=\"remote\"}}")
}

#[tokio::test]
async fn every_metric_is_there() {
    let system = System::builder().workers(0).start().await;
    let response = system.client(0).get("/metrics").await;
    assert_eq!(
        response.headers()["content-type"],
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    assert_eq!(response.headers()["cache-control"], "no-store");
    let text = response.text().await.unwrap();
    assert!(text.ends_with("# EOF\n"));
    let mut kinds: Vec<_> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, METRICS);
    for (name, _) in METRICS {
        assert!(text.contains(&format!("# HELP {name} ")), "{name}");
    }
}

#[tokio::test]
async fn metrics_follow_what_happens() {
    let settings = "[jobs]\nsweep = \"100ms\"\n[stream]\nlinger = \"100ms\"";
    let system = System::builder().workers(0).settings(settings).start().await;
    let client = system.client(0);
    let at_first = series(client).await;
    for name in ["jobcast_open_streams", "jobcast_followed_logs", "jobcast_events_sent_total"] {
        assert_eq!(at_first[name], 0, "{name}");
    }

    // The queue.
    let waiting = client.submit("remote", json!(1)).await;
    // Of jobs of one millisecond none is the older one.
    tokio::time::sleep(Duration::from_millis(5)).await;
    client.submit("remote", json!(2)).await;
    let queued = series(client).await;
    assert_eq!((queued[&of_task("ready")], queued[&of_task("running")]), (2, 0));
    testkit::eventually(SOON, "the oldest ready job ages", async || {
        series(client).await[&of_task("oldest_seconds")] >= 1
    })
    .await;
    let attempt = Remote::claim(client, "remote").await;
    assert_eq!(attempt.job(), waiting);
    let claimed = series(client).await;
    assert_eq!((claimed[&of_task("ready")], claimed[&of_task("running")]), (1, 1));

    // Streams.
    let mut streams = [client.stream(waiting).await, client.stream(waiting).await];
    for stream in &mut streams {
        stream.next().await.unwrap();
    }
    let open = series(client).await;
    assert_eq!((open["jobcast_open_streams"], open["jobcast_followed_logs"]), (2, 1));
    attempt.outputs(0..3).await;
    attempt.complete(1).await;
    for stream in &mut streams {
        stream.collect_to_end(SOON).await;
    }
    // queued, started, three outputs, completed; to each of the two.
    assert_eq!(client.count("jobcast_events_sent_total").await, 2 * 6);
    assert!(client.count("jobcast_live_messages_total").await >= 4, "what came while they were open");
    testkit::eventually(SOON, "nothing is left open", async || {
        let now = series(client).await;
        now["jobcast_open_streams"] == 0 && now["jobcast_followed_logs"] == 0
    })
    .await;

    // Ends.
    Remote::claim(client, "remote").await.must("fail", json!({ "error": "x" })).await;
    let id = client.submit("remote", json!(3)).await;
    client.tell(&format!("/api/jobs/{id}/cancel"), &json!({})).await;
    let id = client.submit_with(&json!({ "task": "remote", "queueTimeout": 0.1 })).await;
    client.ended(id).await;
    for (status, code) in
        [("completed", ""), ("failed", "handler"), ("cancelled", "cancelled"), ("failed", "unclaimed")]
    {
        let name = format!("jobcast_jobs_ended_total{{status={status:?},code={code:?}}}");
        // A sweep's are counted when its answer is read.
        testkit::eventually(SOON, &name, async || series(client).await.get(&name) == Some(&1)).await;
    }
    let at_last = series(client).await;
    assert_eq!((at_last[&of_task("ready")], at_last[&of_task("running")]), (0, 0));
    assert_eq!(at_last[&of_task("oldest_seconds")], 0);
    let asked = "jobcast_redis_round_trips_total";
    assert!(at_last[asked] > at_first[asked] + 10);
    for name in ["jobcast_reconciled_losses_total", "jobcast_streams_stalled_total"] {
        assert_eq!(at_last[name], 0, "{name}");
    }
    system.nothing_grows().await;
}

/// What `/readyz` says: its status, whether it is ready, whether Redis answers, and whether it stops.
async fn readiness(client: &Client) -> (u16, bool, String, bool) {
    let answer = client.ask("/readyz").await;
    assert_eq!(answer.body.as_object().unwrap().len(), 3, "{answer:?}");
    let said = |name: &str| answer.body[name].as_bool().unwrap();
    (answer.status, said("ready"), answer.body["store"].as_str().unwrap().to_owned(), said("stopping"))
}

async fn wait_readiness(client: &Client, expected: (u16, bool, &str, bool)) {
    testkit::eventually_ok(SOON, "the gateway's readiness", async || {
        let now = readiness(client).await;
        let as_expected = (now.0, now.1, now.2.as_str(), now.3) == expected;
        if as_expected { Ok(()) } else { Err(format!("{now:?}")) }
    })
    .await;
}

#[tokio::test]
async fn a_redis_that_is_lost_shows_and_takes_no_gateway_out() {
    let system = System::builder().workers(0).start().await;
    wait_readiness(system.client(0), (200, true, "up", false)).await;
    let reconnects = system.client(0).count("jobcast_redis_reconnects_total").await;
    system.redis.kill();
    let client = system.client(0);
    wait_readiness(client, (200, true, "down", false)).await;
    assert_eq!(client.ask("/healthz").await.body, json!({ "status": "ok" }));
    let metrics = client.get("/metrics").await;
    assert_eq!(metrics.status(), 200, "metrics are told without Redis too");
    drop(metrics);

    // What needs Redis waits for it as long as it may, and is then told to come back.
    let refused = client.tell("/api/jobs", &json!({ "task": "remote" })).await;
    assert_eq!(refused.problem(), (503, "unavailable"));
    assert_eq!(refused.header("retry-after"), "2");

    system.redis.restart().await;
    wait_readiness(system.client(0), (200, true, "up", false)).await;
    assert!(system.client(0).count("jobcast_redis_reconnects_total").await > reconnects);
    system.client(0).submit("remote", json!(null)).await;
}

#[tokio::test]
async fn a_gateway_is_ready_once_redis_was_there() {
    let mut system = System::builder().workers(0).start().await;
    system.gateways[0].kill();
    system.redis.kill();
    system.restart_gateway(0);
    system.wait_gateway(0).await;
    assert_eq!(readiness(system.client(0)).await, (503, false, "down".into(), false));
    system.redis.restart().await;
    wait_readiness(system.client(0), (200, true, "up", false)).await;
}

#[tokio::test]
async fn a_gateway_that_stops_says_so_and_serves_on_while_it_drains() {
    let system = System::builder().workers(0).settings("[stream]\ndrain = \"5s\"").start().await;
    let client = system.client(0);
    let id = client.submit("remote", json!(null)).await;
    let stream = client.stream(id).await;
    system.gateways[0].terminate();
    wait_readiness(client, (503, false, "up", true)).await;
    assert_eq!(client.job(id).await["status"], "pending");
    client.submit("remote", json!(null)).await;
    assert!(system.gateways[0].wait_exit(SOON).await.success());
    let mut stream = stream;
    assert_eq!(stream.collect_to_end(Duration::from_secs(5)).await.len(), 1);
    assert_eq!(stream.end(), Some(&testkit::sse::End::Closed), "it was closed in order");
}
