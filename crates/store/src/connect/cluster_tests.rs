//! Calls and live channels on a real Cluster of several nodes: slots that move, primaries that die.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::{JobId, Partition};
use parking_lot::Mutex;
use redis::{Cmd, FromRedisValue, Value, cmd};
use testkit::eventually_ok;
use testkit::redis::RedisCluster;

use super::*;
use crate::Target;
use crate::keys::{Keys, keys_of};
use crate::live::{Live, LiveSink};
use crate::script::Script;

const LONG: Duration = Duration::from_mins(1);

/// Tells node `n` something, past its proxy.
async fn tell<T: FromRedisValue>(cluster: &RedisCluster, n: usize, words: &[&str]) -> T {
    let mut command = Cmd::new();
    command.arg(words);
    command.query_async(&mut cluster.nodes()[n].client().await).await.unwrap()
}

async fn id(cluster: &RedisCluster, n: usize) -> String {
    tell(cluster, n, &["CLUSTER", "MYID"]).await
}

fn options(url: &str) -> Options {
    let mut options = Options::new(Target::parse(url).unwrap());
    options.patience = LONG;
    options.response_timeout = Duration::from_secs(2);
    options.ping = Duration::from_secs(2);
    options
}

/// A step that needs two keys that never exist, and one that doesn't; both add a member to a set, and count it.
fn scripts() -> &'static [Script; 2] {
    static SCRIPTS: std::sync::OnceLock<[Script; 2]> = std::sync::OnceLock::new();
    let text = "#!lua\nredis.call('SADD', KEYS[1], ARGV[1]) return redis.call('SCARD', KEYS[1])";
    SCRIPTS.get_or_init(|| [Script::new(text, &[]), Script::new(text, &["-- held while the slot moves\n"])])
}

fn keys() -> Keys {
    keys_of("jc", Partition(0)).unwrap()
}

fn set() -> String {
    keys().still()[0].replace("still:1", "set")
}

async fn add(router: &Router, member: u32) -> Result<i64, StoreError> {
    let call = scripts()[0].call(vec![set()]).arg(member);
    Ok(redis::from_redis_value(router.call(keys().slot, &Request::Script(&call)).await?).unwrap())
}

/// As a step that is held: its keys are the set, which is there or not, and two that never exist.
async fn add_held(router: &Router, member: u32) -> Result<Option<i64>, StoreError> {
    let mut names = vec![set()];
    names.extend(keys().still());
    let call = scripts()[1].call(names).arg(member);
    let value = router.call_until_answered(keys().slot, &Request::Script(&call), true).await?;
    Ok(value.map(|value| redis::from_redis_value(value).unwrap()))
}

#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl LiveSink for Heard {
    fn subscribed(&self) {
        self.0.lock().push("+".into());
    }
    fn entry(&self, entry: Bytes) {
        self.0.lock().push(String::from_utf8(entry.to_vec()).unwrap());
    }
    fn lost(&self) {
        self.0.lock().push("-".into());
    }
}

impl Heard {
    /// Publishes `entry` through the router until it is heard.
    async fn hears_published(&self, router: &Router, job: JobId, entry: &str) {
        let publish = || {
            let mut publish = cmd("SPUBLISH");
            publish.arg(keys().live(&job.into())).arg(entry);
            publish
        };
        eventually_ok(LONG, "what is published is heard", async || {
            let _: Value = router.call(keys().slot, &Request::Command(&publish())).await.unwrap();
            let heard = self.0.lock();
            if heard.iter().any(|heard| heard == entry) { Ok(()) } else { Err(format!("{heard:?}")) }
        })
        .await;
    }
}

fn job() -> JobId {
    "01928374-5566-7000-8000-000000000400".parse().unwrap()
}

fn bench(url: &str) -> (Router, Live, Arc<Heard>) {
    let options = options(url);
    let router = Router::new(&options, Counters::default());
    let live = Live::new(router.clone(), &options, Counters::default());
    (router, live, Arc::new(Heard::default()))
}

#[tokio::test]
async fn a_slot_that_moves_is_followed_and_held_steps_wait_or_are_told() {
    let cluster = RedisCluster::builder().replicas(0).start().await;
    let (router, live, sink) = bench(&cluster.url());
    let _lives = live.subscribe(&job().into(), Arc::clone(&sink) as _);
    let slot = keys().slot.0.to_string();
    assert_eq!(add(&router, 1).await.unwrap(), 1);
    sink.hears_published(&router, job(), "before").await;

    // The partition's first slot is the first node's; it moves to the second.
    let (from, to) = (id(&cluster, 0).await, id(&cluster, 1).await);
    let _: Value = tell(&cluster, 1, &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from]).await;
    let _: Value = tell(&cluster, 0, &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to]).await;
    assert_eq!(add(&router, 2).await.unwrap(), 2, "the key is still there");
    assert_eq!(add_held(&router, 3).await.unwrap(), None);
    let port = cluster.nodes()[1].server().port().to_string();
    let _: Value = tell(&cluster, 0, &["MIGRATE", "127.0.0.1", &port, &set(), "0", "5000"]).await;
    assert_eq!(add(&router, 3).await.unwrap(), 3, "ASK is followed, also by a script that isn't known there");
    assert_eq!(add_held(&router, 4).await.unwrap(), None);
    let mut card = cmd("SCARD");
    card.arg(set());
    let mut other = cmd("GET");
    other.arg(&keys().still()[0]);
    let answers = router.each(keys().slot, &[card.clone(), other, card]).await;
    assert!(matches!(answers[..], [Ok(Value::Int(3)), Ok(Value::Nil), Ok(Value::Int(3))]), "{answers:?}");

    for n in [1, 0, 2] {
        let _: Value = tell(&cluster, n, &["CLUSTER", "SETSLOT", &slot, "NODE", &to]).await;
    }
    assert_eq!(add(&router, 4).await.unwrap(), 4);
    assert_eq!(add_held(&router, 5).await.unwrap(), Some(5));
    sink.hears_published(&router, job(), "after").await;
    let heard = sink.0.lock().clone();
    let changes: Vec<_> = heard.iter().filter(|heard| matches!(heard.as_str(), "+" | "-")).collect();
    assert!(changes.len() >= 3 && changes.len() % 2 == 1, "{heard:?}");
    live.close().await;
}

#[tokio::test]
async fn a_dead_primary_is_replaced_by_its_replica() {
    let cluster = RedisCluster::start().await;
    let replica = cluster.nodes()[3].client().await;
    let (router, live, sink) = bench(&cluster.url());
    let _lives = live.subscribe(&job().into(), Arc::clone(&sink) as _);
    assert_eq!(add(&router, 1).await.unwrap(), 1);
    sink.hears_published(&router, job(), "before").await;
    let () = cmd("READONLY").query_async(&mut replica.clone()).await.unwrap();
    eventually_ok(LONG, "the replica has the write", async || {
        let mut card = cmd("SCARD");
        card.arg(set());
        match card.query_async::<i64>(&mut replica.clone()).await {
            Ok(1) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    cluster.kill(0);
    assert_eq!(add(&router, 2).await.unwrap(), 2);
    assert!(router.confirm().await);
    sink.hears_published(&router, job(), "after").await;
    let primary = router.topology().primary_of(keys().slot).await.unwrap();
    assert_eq!(primary.to_string(), cluster.nodes()[3].addr());

    // The old one comes back as a replica, and changes nothing.
    cluster.restart(0).await;
    assert!(router.confirm().await);
    assert_eq!(add(&router, 3).await.unwrap(), 3);
    live.close().await;
}
