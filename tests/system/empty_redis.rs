//! A Redis that came back empty heals by itself: what is new works at once, and who waits for what is gone is told.

use model::JobId;
use serde_json::json;
use testkit::redis::cmd;
use testkit::sse::{End, Follower, SseStream};
use whole::{SOON, System, assert_counted_at_once, programs_of};

const COUNT: u64 = 20;
/// The most lines that a process may log about it.
const QUIET: usize = 100;

struct Scene {
    system: System,
    running: JobId,
    queued: JobId,
    /// Open streams of both jobs, at both gateways.
    streams: Vec<SseStream>,
    browser: Follower,
}

impl Scene {
    async fn set(durable: bool) -> Self {
        let builder = System::builder()
            .gateways(2)
            .settings("[stream]\nreconcile = \"1s\"\n[worker]\nkill_after = \"1s\"\n");
        let builder = if durable { builder } else { builder.volatile() };
        let system = builder.start().await;
        let client = system.client(0);
        let running = client.submit("count", json!({ "n": 600, "seconds": 600 })).await;
        let queued = client.submit("remote", json!(null)).await;
        let browser = system.client(1).follow(running);
        testkit::eventually(SOON, "the job runs", async || browser.count() > 3).await;
        let mut streams = Vec::new();
        for client in &system.clients {
            for id in [running, queued] {
                let mut stream = client.stream(id).await;
                assert_eq!(stream.next_within(SOON).await.unwrap().event, "queued");
                streams.push(stream);
            }
        }
        Self { system, running, queued, streams, browser }
    }

    async fn end(self) {
        let Self { system, running, queued, streams, browser } = self;
        for client in &system.clients {
            let next = client.submit("count", json!({ "n": COUNT })).await;
            assert_counted_at_once(&client.events(next).await, COUNT);
        }
        for mut stream in streams {
            stream.collect_to_end(SOON).await;
            assert_eq!(stream.end(), Some(&End::Closed));
            assert!(
                stream.comments().iter().any(|comment| comment.contains("gone")),
                "{:?}",
                stream.comments()
            );
        }
        assert_eq!(browser.wait().await.ended, Some(404), "it came back once, and was told");
        for id in [running, queued] {
            assert_eq!(system.client(0).get(&format!("/api/jobs/{id}")).await.status(), 404);
        }
        testkit::eventually(SOON, "the vanished job's program is killed", async || {
            programs_of(running, 1).is_empty()
        })
        .await;
        // Idle processes say nothing either, while some sweeps and reconciles pass.
        let first = last_sweep(&system).await;
        testkit::eventually(SOON, "some sweeps", async || last_sweep(&system).await > first + 3000).await;
        for process in system.gateways.iter().chain(&system.workers) {
            assert!(process.exited().is_none());
            let log = process.stderr();
            assert!(log.lines().count() < QUIET, "{} lines: {log}", log.lines().count());
        }
        system.nothing_grows().await;
    }
}

/// When Redis was swept last, in ms; waits for the first sweep.
async fn last_sweep(system: &System) -> u64 {
    let ask = cmd("HGET").arg("jc:{0.325}:sweeper").arg("last").to_owned();
    testkit::eventually_some(SOON, "a sweep", async || {
        ask.query_async::<Option<u64>>(&mut system.redis.client().await).await.unwrap()
    })
    .await
}

#[tokio::test]
async fn flushed_scripts_and_all() {
    let scene = Scene::set(true).await;
    let mut redis = scene.system.redis.client().await;
    cmd("FLUSHALL").exec_async(&mut redis).await.unwrap();
    cmd("SCRIPT").arg("FLUSH").exec_async(&mut redis).await.unwrap();
    scene.end().await;
}

#[tokio::test]
async fn killed_without_anything_on_disk() {
    let scene = Scene::set(false).await;
    scene.system.redis.kill();
    scene.system.redis.restart().await;
    assert_eq!(scene.system.jobs().await, 0);
    scene.end().await;
}

#[tokio::test]
async fn forgotten_scripts_alone_are_nothing() {
    let system = System::builder().gateways(2).start().await;
    let mut redis = system.redis.client().await;
    let id = system.client(0).submit("count", json!({ "n": COUNT, "seconds": 2 })).await;
    let browser = system.client(1).follow(id);
    for seen in [5, 15, 25] {
        testkit::eventually(SOON, "more events", async || browser.count() > seen).await;
        cmd("SCRIPT").arg("FLUSH").exec_async(&mut redis).await.unwrap();
    }
    let log = browser.wait().await;
    assert_eq!((log.ended, log.connects), (Some(204), 2));
    assert_counted_at_once(&log.events, COUNT);
    system.nothing_grows().await;
}
