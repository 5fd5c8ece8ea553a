//! The connection on which a gateway hears of events breaks in every way that there is, under open streams: they stay open, and
//! nothing is lost. No reconcile helps here: it comes too late.

use std::collections::BTreeMap;

use model::JobId;
use serde_json::Value;
use testkit::eventually;
use testkit::proxy::Proxy;
use testkit::redis::cmd;
use testkit::sse::{End, Event, SseStream};
use whole::{Apart, Behind, Remote, SOON, System, data, frames};

/// A silent connection is found soon; or not before long, for tests that count them.
const WARY: &str = "ping = \"500ms\"\nreconcile = \"5m\"";
const CALM: &str = "ping = \"30s\"\nreconcile = \"5m\"";
const JOBS: usize = 20;

/// Jobs that the test works at through one gateway, each followed through another one whose way to Redis may break.
struct Scene {
    system: System,
    apart: Apart,
    proxy: Proxy,
    workers: Vec<Remote>,
    /// One for each job, one for all jobs, and the owner's feed.
    streams: Vec<SseStream>,
    seen: Vec<Vec<Event>>,
}

impl Scene {
    async fn set(stream: &str) -> Self {
        let system = System::builder().workers(0).start().await;
        let (apart, proxy) = Apart::proxied(&system, stream).await;
        let mut workers = Vec::new();
        for _ in 0..JOBS {
            system.client(0).submit("remote", Value::Null).await;
            workers.push(Remote::claim(system.client(0), "remote").await);
        }
        let jobs: Vec<_> = workers.iter().map(Remote::job).collect();
        let mut urls: Vec<_> = jobs.iter().map(|&job| apart.client.events_url(job)).collect();
        let list: Vec<_> = jobs.iter().map(|job| format!("job={job}")).collect();
        urls.push(apart.client.url(&format!("/api/events?{}", list.join("&"))));
        urls.push(apart.client.url("/api/feed"));
        let mut streams = Vec::new();
        for url in urls {
            streams.push(SseStream::open(url).await);
        }
        let seen = streams.iter().map(|_| Vec::new()).collect();
        let mut scene = Self { system, apart, proxy, workers, streams, seen };
        scene.write().await;
        scene.hear_outputs(1).await;
        scene
    }

    /// One output of each job.
    async fn write(&self) {
        for worker in &self.workers {
            worker.output("said").await;
        }
    }

    /// Until each job's own stream has told so many outputs of it.
    async fn hear_outputs(&mut self, count: usize) {
        for (stream, seen) in self.streams.iter_mut().zip(&mut self.seen).take(JOBS) {
            while seen.iter().filter(|event| event.event == "output").count() < count {
                seen.push(stream.next_within(SOON).await.expect("the stream goes on"));
            }
        }
    }

    async fn reconnects(&self) -> usize {
        self.apart.client.count("jobcast_redis_reconnects_total").await
    }

    /// All jobs end, and every stream has told all of them.
    async fn end(mut self) {
        for worker in &self.workers {
            worker.complete(Value::Null).await;
        }
        let jobs: Vec<_> = self.workers.iter().map(Remote::job).collect();
        let mut truth = BTreeMap::new();
        for (n, &job) in jobs.iter().enumerate() {
            self.seen[n].extend(self.streams[n].collect_to_end(SOON).await);
            let behind = Behind::of(&self.system, job).await;
            assert_eq!(frames(&self.seen[n]), behind.frames().await, "all of it, in order");
            assert_eq!(self.streams[n].end(), Some(&End::Closed));
            truth.insert(job, self.seen[n].iter().map(data).collect::<Vec<_>>());
        }
        assert_eq!(by_job(&self.streams[JOBS].collect_to_end(SOON).await), truth);
        assert_eq!(self.streams[JOBS].end(), Some(&End::Closed));

        let mut of_feed = Vec::new();
        while of_feed.iter().filter(|event: &&Event| event.event == "completed").count() < JOBS {
            of_feed.push(self.streams[JOBS + 1].next_within(SOON).await.expect("a feed doesn't end"));
        }
        let types = |events: &[Value]| {
            let types = events.iter().map(|event| event["type"].as_str().unwrap().to_owned());
            types.filter(|name| name != "output").collect::<Vec<_>>()
        };
        let of_feed: Vec<_> =
            by_job(&of_feed).into_iter().map(|(job, events)| (job, types(&events))).collect();
        let life: Vec<_> = truth.iter().map(|(&job, events)| (job, types(events))).collect();
        assert_eq!(of_feed, life);
        self.system.nothing_grows().await;
    }
}

fn by_job(events: &[Event]) -> BTreeMap<JobId, Vec<Value>> {
    let mut all = BTreeMap::<_, Vec<_>>::new();
    for event in events {
        let event = data(event);
        all.entry(event["jobId"].as_str().unwrap().parse().unwrap()).or_default().push(event);
    }
    all
}

#[tokio::test]
async fn closed() {
    let mut scene = Scene::set(CALM).await;
    for round in 2..6 {
        let before = scene.reconnects().await;
        scene.proxy.cut();
        scene.write().await;
        scene.hear_outputs(round).await;
        assert!(scene.reconnects().await > before);
    }
    scene.end().await;
}

#[tokio::test]
async fn silent() {
    let mut scene = Scene::set(WARY).await;
    let before = scene.proxy.connections();
    scene.proxy.blackhole();
    scene.write().await;
    let gave_up = async || scene.proxy.connections() > before;
    eventually(SOON, "the silence is noticed: it connects anew", gave_up).await;
    scene.write().await;
    scene.proxy.pass();
    scene.hear_outputs(3).await;
    scene.end().await;
}

/// The server's machine lost its power: no end of the connection ever came, and another process is there now. Only who notices
/// the silence by itself hears of anything again.
#[tokio::test]
async fn half_open() {
    let mut scene = Scene::set(WARY).await;
    scene.proxy.blackhole();
    scene.write().await;
    scene.system.redis.kill();
    scene.system.redis.restart().await;
    scene.write().await;
    scene.proxy.pass_new();
    scene.hear_outputs(3).await;
    assert!(scene.reconnects().await > 0);
    scene.end().await;
}

#[tokio::test]
async fn stopped() {
    let mut scene = Scene::set(WARY).await;
    let before = scene.proxy.connections();
    scene.system.redis.pause();
    let gave_up = async || scene.proxy.connections() > before;
    eventually(SOON, "the silence is noticed: it connects anew", gave_up).await;
    scene.system.redis.resume();
    scene.write().await;
    scene.hear_outputs(2).await;
    scene.end().await;
}

#[tokio::test]
async fn ended_by_the_server() {
    let mut scene = Scene::set(CALM).await;
    let mut redis = scene.system.redis.client().await;
    for round in 2..6 {
        let killed: i64 =
            cmd("CLIENT").arg(&["KILL", "TYPE", "PUBSUB"]).query_async(&mut redis).await.unwrap();
        assert_eq!(killed, 1, "one connection carries all subscriptions");
        scene.write().await;
        scene.hear_outputs(round).await;
        // Only a connection that stands can be ended once more.
        eventually(SOON, "it is back", async || {
            let list: String =
                cmd("CLIENT").arg(&["LIST", "TYPE", "PUBSUB"]).query_async(&mut redis.clone()).await.unwrap();
            list.contains("name=jobcast-live")
        })
        .await;
    }
    assert!(scene.reconnects().await >= 4);
    scene.end().await;
}
