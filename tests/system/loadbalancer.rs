//! Streams through a load balancer, with the very configurations that `examples/loadbalancer` ships.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use testkit::sse::{Follower, check_history};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use whole::{Balancer, Balances, Client, Http2, Remote, SOON, System, assert_counted_at_once, frames};

/// The same promise, kept by several: each a module of its own.
macro_rules! kept {
    ($($by:ident as $which:ident: $($name:ident,)*;)*) => {
        $(mod $by {
            $(#[tokio::test] async fn $name() { super::$name(whole::Balances::$which).await; })*
        })*
    };
}

kept! {
    haproxy as Haproxy:
        each_event_passes_before_the_next_is_made,
        a_gateway_killed_in_mid_stream_is_not_noticed,
        gateways_rolled_one_after_the_other_are_not_noticed,
        the_largest_payload_passes_and_metrics_and_tokens_stay_inside,
        a_heartbeat_is_enough_to_keep_a_stream,
        a_get_without_an_answer_is_repeated_and_a_post_is_not,
        clients_may_speak_http2,
    ;
    haproxy_http2 as HaproxyHttp2:
        each_event_passes_before_the_next_is_made,
        a_gateway_killed_in_mid_stream_is_not_noticed,
        gateways_rolled_one_after_the_other_are_not_noticed,
        the_largest_payload_passes_and_metrics_and_tokens_stay_inside,
        a_heartbeat_is_enough_to_keep_a_stream,
    ;
    nginx as Nginx:
        each_event_passes_before_the_next_is_made,
        a_gateway_killed_in_mid_stream_is_not_noticed,
        gateways_rolled_one_after_the_other_are_not_noticed,
        the_largest_payload_passes_and_metrics_and_tokens_stay_inside,
        a_heartbeat_is_enough_to_keep_a_stream,
        a_get_without_an_answer_is_repeated_and_a_post_is_not,
        clients_may_speak_http2,
    ;
    nginx_http10 as NginxHttp10:
        each_event_passes_before_the_next_is_made,
        a_gateway_killed_in_mid_stream_is_not_noticed,
        gateways_rolled_one_after_the_other_are_not_noticed,
        a_heartbeat_is_enough_to_keep_a_stream,
    ;
}

/// The address of a client's gateway.
fn address(client: &Client) -> String {
    client.url("").strip_prefix("http://").unwrap().to_owned()
}

/// A balancer before the first two gateways of `system`.
async fn before(which: Balances, system: &System) -> Balancer {
    before_edited(which, system, "", "").await
}

/// The same with its configuration edited.
async fn before_edited(which: Balances, system: &System, edit: &str, more: &str) -> Balancer {
    let gateways = [address(system.client(0)), address(system.client(1))];
    Balancer::with(which, gateways.each_ref().map(String::as_str), edit, more).await
}

/// Nothing but the event itself can push it through: no heartbeat comes in time, and nothing follows.
async fn each_event_passes_before_the_next_is_made(which: Balances) {
    let settings = "[stream]\nheartbeat = \"5m\"\nheartbeat_jitter = \"0s\"";
    let system = System::builder().gateways(2).workers(0).settings(settings).start().await;
    let balancer = before(which, &system).await;
    let id = balancer.client().submit("remote", Value::Null).await;
    // As a browser asks: one that could take it compressed.
    let mut stream = testkit::sse::SseStream::builder(balancer.client().events_url(id))
        .header("Accept-Encoding", "gzip, br")
        .open()
        .await;
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    assert!(!stream.headers().contains_key("content-encoding"));
    let mut events = vec![stream.next_within(SOON).await.unwrap()];
    let worker = Remote::claim(balancer.client(), "remote").await;
    events.push(stream.next_within(SOON).await.unwrap());
    for n in 0..20 {
        worker.output(json!({ "n": n })).await;
        let event = stream.next_within(SOON).await.expect("the event is here before the next is made");
        assert_eq!(whole::data(&event)["output"]["n"], n);
        events.push(event);
    }
    worker.complete(Value::Null).await;
    events.extend(stream.collect_to_end(SOON).await);
    check_history(&events).unwrap();
    system.nothing_grows().await;
}

/// The balancer gives up what is silent for 6 s, which a gateway on a busy machine isn't by itself; the stream's only events are ten
/// seconds apart.
async fn a_heartbeat_is_enough_to_keep_a_stream(which: Balances) {
    let settings = "[stream]\nheartbeat = \"1s\"\nheartbeat_jitter = \"0s\"";
    let system = System::builder().gateways(2).workers(0).settings(settings).start().await;
    let short = "s/\\(timeout client\\|timeout server\\|set-timeout server\\|proxy_read_timeout\\|send_timeout\\) [0-9]*s/\\1 6s/";
    let balancer = before_edited(which, &system, short, "").await;
    let id = balancer.client().submit("remote", Value::Null).await;
    let mut stream = balancer.client().stream(id).await;
    let mut events = vec![stream.next_within(SOON).await.unwrap()];
    let silence = tokio::time::timeout(Duration::from_secs(10), stream.next()).await;
    assert!(silence.is_err(), "neither an event nor an end: {silence:?}");
    assert!(stream.comments().len() >= 5);
    Remote::claim(balancer.client(), "remote").await.complete(Value::Null).await;
    events.extend(stream.collect_to_end(SOON).await);
    check_history(&events).unwrap();
}

/// As browsers do, who have TLS in between: all of a page's streams on one connection.
async fn clients_may_speak_http2(which: Balances) {
    let settings = "[stream]\nheartbeat = \"5m\"\nheartbeat_jitter = \"0s\"";
    let system = System::builder().gateways(2).workers(0).settings(settings).start().await;
    let (edit, more) = match which {
        Balances::Nginx | Balances::NginxHttp10 => ("", "http2"),
        Balances::Haproxy | Balances::HaproxyHttp2 => ("s/^ *server gateway.*/& proto h2/", "proto h2"),
    };
    let balancer = before_edited(which, &system, edit, more).await;
    let http2 = Http2::connect(balancer.client()).await;
    let accepted =
        http2.post("/api/jobs", &json!({ "task": "remote", "payload": "x".repeat(1_000_000) })).await;
    let id = accepted.json()["jobId"].as_str().unwrap().parse().unwrap();
    let mut streams = Vec::new();
    for _ in 0..20 {
        let mut stream = http2.stream(id).await;
        stream.next_within(SOON).await.unwrap();
        streams.push(stream);
    }
    for gateway in [system.client(0), system.client(1)] {
        assert!(gateway.count("jobcast_open_streams").await >= 5, "streams are spread over the gateways");
    }
    let worker = Remote::claim(system.client(0), "remote").await;
    for n in 0..20 {
        worker.output(n).await;
        for stream in &mut streams {
            while whole::data(&stream.next_within(SOON).await.expect("here before the next is made"))["output"]
                != n
            {}
        }
    }
    worker.complete(Value::Null).await;
    for stream in &mut streams {
        assert_eq!(stream.collect_to_end(SOON).await.last().unwrap().event, "completed");
        assert_eq!(stream.ended, Some(Ok(())));
    }
    let large = json!({ "task": "remote", "payload": "x".repeat(1_500_000) });
    assert_eq!(http2.post("/api/jobs", &large).await.problem(), (413, "too-large".into()));
    system.nothing_grows().await;
}

const COUNT: u64 = 60;

/// Jobs of some seconds, in their middle, each followed through the balancer by a browser.
async fn followed(balancer: &Balancer, jobs: usize, seconds: u32) -> Vec<(model::JobId, Follower)> {
    let mut browsers = Vec::new();
    for _ in 0..jobs {
        let id = balancer.client().submit("count", json!({ "n": COUNT, "seconds": seconds })).await;
        browsers.push((id, balancer.client().follow(id)));
    }
    testkit::eventually(SOON, "all browsers see their job run", async || {
        browsers.iter().all(|(_, browser)| browser.count() > 5)
    })
    .await;
    browsers
}

async fn a_gateway_killed_in_mid_stream_is_not_noticed(which: Balances) {
    let system = System::builder().gateways(2).start().await;
    let balancer = before(which, &system).await;
    let browsers = followed(&balancer, 4, 8).await;
    for gateway in [system.client(0), system.client(1)] {
        assert!(gateway.metric("jobcast_open_streams").await >= 1.0, "streams are spread over the gateways");
    }
    system.gateways[0].kill();
    let mut breaks = 0;
    for (id, browser) in browsers {
        let log = browser.wait().await;
        breaks += log.breaks;
        assert_eq!((log.ended, log.failures), (Some(204), 0), "{log:?}");
        assert_counted_at_once(&log.events, COUNT);
        assert_eq!(frames(&log.events), frames(&system.client(1).events(id).await));
    }
    // On HTTP/1.0 a broken connection is like one that ended, to a balancer too.
    let is_heard_of = which != Balances::NginxHttp10;
    assert_eq!(breaks >= 1, is_heard_of, "the killed gateway's streams broke: {breaks}");
    system.nothing_grows().await;
}

async fn gateways_rolled_one_after_the_other_are_not_noticed(which: Balances) {
    let settings = "[stream]\ndrain = \"2s\"\nretry = \"100ms\"";
    let mut system = System::builder().gateways(2).settings(settings).start().await;
    let balancer = before(which, &system).await;
    let browsers = followed(&balancer, 4, 8).await;
    for gateway in 0..2 {
        system.gateways[gateway].terminate();
        assert!(system.gateways[gateway].wait_exit(SOON).await.success());
        system.restart_gateway(gateway);
        system.wait_gateway(gateway).await;
        // The next one goes when the balancer has this one back, as a rollout waits for it to be ready.
        let before = balancer.served(gateway);
        testkit::eventually(SOON, "the balancer sends it requests", async || {
            assert_eq!(balancer.client().get("/healthz").await.status(), 200);
            balancer.served(gateway) > before
        })
        .await;
    }
    for (id, browser) in browsers {
        let log = browser.wait().await;
        assert_eq!((log.ended, log.failures, log.breaks), (Some(204), 0, 0), "{log:?}");
        assert_counted_at_once(&log.events, COUNT);
        assert_eq!(frames(&log.events), frames(&system.client(0).events(id).await));
    }
    system.nothing_grows().await;
}

/// A gateway that is ready, takes requests and dies before it answers; and how many of each method it was asked.
struct Dying {
    address: String,
    gets: Arc<AtomicUsize>,
    posts: Arc<AtomicUsize>,
    _serving: JoinSet<()>,
}

impl Dying {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (gets, posts) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counts = (Arc::clone(&gets), Arc::clone(&posts));
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 64 * 1024];
                let read = socket.read(&mut request).await.unwrap_or(0);
                let line = String::from_utf8_lossy(&request[..read]);
                if line.starts_with("GET /readyz ") {
                    let _ = socket
                        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                        .await;
                } else if line.starts_with("GET ") {
                    counts.0.fetch_add(1, Relaxed);
                } else if line.starts_with("POST ") {
                    counts.1.fetch_add(1, Relaxed);
                }
            }
        });
        Self { address, gets, posts, _serving: serving }
    }
}

async fn a_get_without_an_answer_is_repeated_and_a_post_is_not(which: Balances) {
    let system = System::builder().workers(0).start().await;
    let dying = Dying::start().await;
    let balancer = Balancer::start(which, [&dying.address, &address(system.client(0))]).await;
    let body = json!({ "task": "remote", "payload": null });
    let (mut accepted, mut unanswered) = (Vec::new(), 0);
    testkit::eventually(SOON, "the dying gateway was asked for three jobs", async || {
        match balancer.client().request(Method::POST, "/api/jobs").json(&body).send().await {
            Ok(answer) if answer.status() == 202 => {
                let job: Value = answer.json().await.unwrap();
                accepted.push(job["jobId"].as_str().unwrap().parse::<model::JobId>().unwrap());
            }
            Ok(answer) => {
                assert_eq!(answer.status(), 502, "{answer:?}");
                unanswered += 1;
            }
            // On a connection that had served before, HAProxy leaves it to the client whether to repeat it.
            Err(_) => unanswered += 1,
        }
        dying.posts.load(Relaxed) >= 3
    })
    .await;
    assert_eq!(dying.posts.load(Relaxed), unanswered, "none of them was sent on to the other gateway");
    assert_eq!(system.jobs().await, accepted.len());

    let id = system.client(0).submit("remote", Value::Null).await;
    testkit::eventually(SOON, "the dying gateway was asked three times for a job", async || {
        assert_eq!(balancer.client().job(id).await["status"], "pending", "whoever was asked first");
        dying.gets.load(Relaxed) >= 3
    })
    .await;
    // An EventSource would give up for good on anything but a stream.
    let mut stream = balancer.client().stream(id).await;
    assert_eq!(stream.next_within(SOON).await.unwrap().event, "queued");
}

async fn the_largest_payload_passes_and_metrics_and_tokens_stay_inside(which: Balances) {
    let system = System::builder().gateways(2).workers(0).start().await;
    let balancer = before(which, &system).await;
    let quotes = 2;
    let payload = "x".repeat(1024 * 1024 - quotes);
    let id = balancer.client().submit("remote", json!(payload)).await;
    let worker = Remote::claim(balancer.client(), "remote").await;
    assert_eq!(worker.job(), id);
    worker.complete(json!(payload)).await;
    assert_eq!(balancer.client().ended(id).await["result"], json!(payload));

    assert_eq!(balancer.client().get("/metrics").await.status(), 404);
    let answer = balancer.client().get(&format!("/api/jobs/{id}/events?token=SECRET")).await;
    assert_eq!(answer.status(), 401);
    testkit::eventually(SOON, "the request is in the balancer's log", async || {
        balancer.log().contains(&format!("/api/jobs/{id}/events"))
    })
    .await;
    assert!(!balancer.log().contains("SECRET"));
    system.nothing_grows().await;
}
