//! Redis away for two lease lengths, with jobs running and streams open: nothing is lost, nobody is turned away who needn't be.

use std::time::Duration;

use model::JobId;
use serde_json::{Value, json};
use testkit::sse::{End, FollowLog, Follower, SseStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use whole::{Client, Remote, SOON, System, assert_counted_at_once, brief, frames};

/// Two leases and a little, and jobs that go on for longer than that.
const AWAY: Duration = Duration::from_secs(11);
const SECONDS: u64 = 16;
const COUNT: u64 = 160;
const JOBS: usize = 3;
/// How long a request waits for Redis: longer than that stands still by itself on a busy machine.
const PATIENCE: Duration = Duration::from_secs(4);

struct Scene {
    system: System,
    /// Two browsers for each job, one at each gateway.
    browsers: Vec<(JobId, Follower)>,
}

impl Scene {
    /// Jobs in their middle, with a browser at each gateway.
    async fn set() -> Self {
        let settings = "[jobs]\nlease = \"5s\"\nheartbeat = \"1s\"\n[worker]\nconcurrency = 8\n";
        let patience = format!("patience = \"{}s\"", PATIENCE.as_secs());
        let system = System::builder().gateways(2).settings(settings).store(&patience).start().await;
        let mut browsers = Vec::new();
        for _ in 0..JOBS {
            let id = system.client(0).submit("count", json!({ "n": COUNT, "seconds": SECONDS })).await;
            browsers.extend(system.clients.iter().map(|client| (id, client.follow(id))));
        }
        let has_begun = async || browsers.iter().all(|(_, browser)| browser.count() > 5);
        testkit::eventually(SOON, "all browsers see their job run", has_begun).await;
        Self { system, browsers }
    }

    /// What clients meet while Redis is away: requests are told so in time, streams are accepted and wait.
    async fn meet_the_outage(&self) -> Vec<(JobId, SseStream)> {
        let id = self.browsers[0].0;
        // At both gateways at once, since each call takes its time.
        let mut meeting = JoinSet::new();
        for client in &self.system.clients {
            let client = client.clone();
            meeting.spawn(async move {
                let asked = Instant::now();
                assert_unavailable(submit_meanwhile(&client).await).await;
                assert!(
                    asked.elapsed() + Duration::from_millis(100) >= PATIENCE,
                    "it waited as long as `store.patience` says"
                );
                assert_unavailable(client.get(&format!("/api/jobs/{id}")).await).await;
                let stream = client.stream(id).await;
                assert_eq!(stream.status(), 200, "an EventSource gives up for good on anything else");
                (id, stream)
            });
        }
        meeting.join_all().await
    }

    /// Redis is back: all that was under way ends as if nothing had been; what every browser saw.
    async fn end(self, opened: Vec<(JobId, SseStream)>) -> Vec<FollowLog> {
        let Self { system, browsers } = self;
        let client = system.client(1);
        for (id, mut stream) in opened {
            let events = stream.collect_to_end(SOON).await;
            assert_counted_at_once(&events, COUNT);
            assert_eq!(
                (stream.end(), frames(&events)),
                (Some(&End::Closed), frames(&client.events(id).await))
            );
        }
        let mut logs = Vec::new();
        for (id, browser) in browsers {
            let log = browser.wait().await;
            assert_eq!(log.ended, Some(204), "{}", brief(&log));
            assert_counted_at_once(&log.events, COUNT);
            assert_eq!(frames(&log.events), frames(&client.events(id).await));
            let job = client.job(id).await;
            assert_eq!((&job["status"], &job["attempt"]), (&json!("completed"), &json!(1)), "{job}");
            logs.push(log);
        }
        // The submissions made meanwhile were refused, but may have happened; with their key that makes no difference.
        let response = submit_meanwhile(client).await;
        assert_eq!(response.status(), 202);
        let body: Value = response.json().await.unwrap();
        let job = client.ended(body["jobId"].as_str().unwrap().parse().unwrap()).await;
        assert_eq!(job["status"], "completed", "{job}");
        assert_eq!(system.jobs().await, JOBS + 1);
        assert!(system.workers[0].exited().is_none());
        system.nothing_grows().await;
        logs
    }
}

async fn submit_meanwhile(client: &Client) -> reqwest::Response {
    let body = json!({ "task": "count", "payload": { "n": 1 } });
    let request =
        client.request(reqwest::Method::POST, "/api/jobs").header("Idempotency-Key", "\"meanwhile\"");
    request.json(&body).send().await.unwrap()
}

async fn assert_unavailable(response: reqwest::Response) {
    assert_eq!(response.status(), 503);
    let retry_after = response.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap();
    assert!((1..=60).contains(&retry_after));
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["type"], "urn:jobcast:unavailable");
}

/// Until `end`, all gateways say that they are ready.
async fn assert_ready_until(end: Instant, clients: &[Client]) {
    while Instant::now() < end {
        for client in clients {
            assert_eq!(client.get("/readyz").await.status(), 200);
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// No stream was closed: one connection, and one more that heard that the job has ended.
fn assert_never_closed(logs: &[FollowLog]) {
    for log in logs {
        assert_eq!((log.connects, log.breaks, log.failures), (2, 0, 0), "{}", brief(log));
    }
}

#[tokio::test]
async fn stopped() {
    let scene = Scene::set().await;
    let back = Instant::now() + AWAY;
    scene.system.redis.pause();
    let opened = scene.meet_the_outage().await;
    assert_ready_until(back, &scene.system.clients).await;
    scene.system.redis.resume();
    assert_never_closed(&scene.end(opened).await);
}

#[tokio::test]
async fn killed_and_restarted() {
    let scene = Scene::set().await;
    let back = Instant::now() + AWAY;
    scene.system.redis.kill();
    let opened = scene.meet_the_outage().await;
    assert_ready_until(back, &scene.system.clients).await;
    scene.system.redis.restart().await;
    assert_never_closed(&scene.end(opened).await);
}

#[tokio::test]
async fn killed_and_restarted_and_every_gateway_too() {
    let mut scene = Scene::set().await;
    let back = Instant::now() + AWAY;
    scene.system.redis.kill();
    for gateway in 0..2 {
        scene.system.gateways[gateway].kill();
        scene.system.restart_gateway(gateway);
        scene.system.wait_gateway(gateway).await;
    }
    let opened = scene.meet_the_outage().await;
    for client in &scene.system.clients {
        assert_eq!(client.get("/readyz").await.status(), 503, "it has never reached Redis");
    }
    sleep(back.saturating_duration_since(Instant::now())).await;
    scene.system.redis.restart().await;
    let clients = scene.system.clients.clone();
    testkit::eventually(SOON, "all gateways are ready", async || {
        for client in &clients {
            if client.get("/readyz").await.status() != 200 {
                return false;
            }
        }
        true
    })
    .await;
    for log in scene.end(opened).await {
        assert_eq!(log.breaks, 1, "by the gateway's end alone: {}", brief(&log));
    }
}

#[tokio::test]
async fn a_claim_that_redis_comes_to_too_late_is_given_back() {
    // As impatient as a test can be that isn't to fail when Redis stands still by itself.
    let impatient = "response_timeout = \"1s\"\npatience = \"4s\"";
    let settings = "[jobs]\nlease = \"10m\"";
    let system = System::builder().workers(0).settings(settings).store(impatient).start().await;
    let client = system.client(0);
    let claim = json!({ "tasks": ["remote"] });
    // The server knows the script from now on.
    assert_eq!(client.tell("/api/work/claim", &claim).await.status, 204);
    let id = client.submit("remote", Value::Null).await;
    system.redis.pause();
    assert_eq!(client.tell("/api/work/claim", &claim).await.status, 503);
    system.redis.resume();
    testkit::eventually(SOON, "it was claimed by nobody, and is given back", async || {
        let job = client.job(id).await;
        job["status"] == "pending" && job["attempt"] == 1
    })
    .await;
    Remote::claim(client, "remote").await.complete(Value::Null).await;
    system.nothing_grows().await;
}
