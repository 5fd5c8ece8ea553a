//! Calls and live channels behind a real Sentinel.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32};
use std::time::Duration;

use bytes::Bytes;
use redis::{Value, cmd};
use testkit::eventually;
use testkit::redis::SentinelSet;

use super::*;
use crate::Target;
use crate::live::{Live, LiveSink};
use crate::partition::slot_of_key;

const LONG: Duration = Duration::from_secs(30);

#[derive(Default)]
struct Heard {
    standing: AtomicU32,
    entries: AtomicU32,
}

impl LiveSink for Heard {
    fn subscribed(&self) {
        self.standing.fetch_add(1, Ordering::Relaxed);
    }
    fn entry(&self, _: Bytes) {
        self.entries.fetch_add(1, Ordering::Relaxed);
    }
    fn lost(&self) {}
}

async fn increment(router: &Router) -> Result<i64, StoreError> {
    let mut incr = cmd("INCR");
    incr.arg("n");
    Ok(redis::from_redis_value(router.call(slot_of_key("n"), &Request::Command(&incr)).await?).unwrap())
}

#[tokio::test]
async fn the_primary_that_the_sentinel_names_is_used_also_after_a_failover() {
    let set = SentinelSet::builder().replicas(1).sentinels(1).start().await;
    let [primary, replica] = set.nodes() else { panic!("two servers") };
    // The second Sentinel doesn't exist: one that is away is no obstacle.
    let target = set.url().replace("/main", ",127.0.0.1:1/main");
    let mut options = Options::new(Target::parse(&target).unwrap());
    options.patience = LONG;
    // A server that dies closes its connections; nothing is to be made twice because the machine stood still.
    options.response_timeout = LONG;
    options.ping = LONG;
    let router = Router::new(&options, Counters::default());
    let live = Live::new(router.clone(), &options, Counters::default());
    let sink = Arc::new(Heard::default());
    let job: model::JobId = "01928374-5566-7000-8000-000000000400".parse().unwrap();
    let _lives = live.subscribe(&job.into(), Arc::clone(&sink) as _);

    let before = increment(&router).await.unwrap();
    eventually(LONG, "the channel stands", async || sink.standing.load(Ordering::Relaxed) > 0).await;
    assert!(!router.confirm().await, "one of two is no majority");
    let mut follower = replica.client().await;
    eventually(LONG, "the replica has the write", async || {
        cmd("GET").arg("n").query_async::<Option<i64>>(&mut follower).await == Ok(Some(before))
    })
    .await;
    let stood = sink.standing.load(Ordering::Relaxed);
    primary.kill();
    assert_eq!(increment(&router).await.unwrap(), before + 1);
    let named = router.topology().primary_of(slot_of_key("n")).await.unwrap();
    assert_eq!(named.to_string(), replica.addr());
    eventually(LONG, "the channel stands again", async || sink.standing.load(Ordering::Relaxed) > stood)
        .await;
    eventually(LONG, "what is published is heard", async || {
        let mut publish = cmd("SPUBLISH");
        publish.arg(crate::keys::keys_of("jc", job.partition()).unwrap().live(&job.into())).arg("x");
        let _: Value = router.call(slot_of_key("n"), &Request::Command(&publish)).await.unwrap();
        sink.entries.load(Ordering::Relaxed) > 0
    })
    .await;
    live.close().await;
}

#[tokio::test]
async fn a_primary_that_comes_back_is_not_asked_before_the_sentinels() {
    let set = SentinelSet::builder().append_only(false).start().await;
    let mut options = Options::new(Target::parse(&set.url()).unwrap());
    options.patience = Duration::from_millis(400);
    let router = Router::new(&options, Counters::default());
    eventually(LONG, "the first write is done", async || increment(&router).await.is_ok()).await;
    let read = async |n: usize| {
        let answer = cmd("GET").arg("n").query_async(&mut set.nodes()[n].client().await).await;
        answer.unwrap_or(None::<i64>)
    };
    eventually(LONG, "all have it", async || {
        read(0).await == Some(1) && read(1).await == Some(1) && read(2).await == Some(1)
    })
    .await;
    let old = set.primary().await;
    set.kill(old);
    // It is known to be away, and nobody asks while it is replaced.
    let _ = increment(&router).await;
    let new = set.wait_other_primary(old).await;
    // Empty, and for a while it thinks that it is the primary.
    set.restart(old).await;
    let answered = AtomicI64::new(0);
    eventually(LONG, "a write is done", async || {
        increment(&router).await.inspect(|n| answered.store(*n, Ordering::Relaxed)).is_ok()
    })
    .await;
    assert!(answered.load(Ordering::Relaxed) > 1, "it went to the empty one");
    assert_eq!(read(new).await, Some(answered.into_inner()));
}

#[tokio::test]
async fn no_sentinel_is_unavailable() {
    let mut options = Options::new(Target::parse("redis-sentinel://127.0.0.1:1/main").unwrap());
    options.patience = Duration::from_millis(300);
    let router = Router::new(&options, Counters::default());
    let error = increment(&router).await.unwrap_err();
    assert!(matches!(&error, StoreError::Unavailable(cause) if cause.contains("no Sentinel")), "{error}");
}
