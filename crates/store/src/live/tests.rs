//! Live channels against real servers that break.

use std::time::Duration;

use model::JobId;
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::cmd;
use testkit::eventually_ok;
use testkit::proxy::Proxy;
use testkit::redis::RedisServer;
use tokio::time::Instant;

use super::*;
use crate::Target;

const LONG: Duration = Duration::from_mins(1);

/// What one sink heard: `+` for standing, `-` for lost, and the entries.
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
    async fn hears(&self, expected: &[&str]) {
        eventually_ok(LONG, &format!("the sink heard {expected:?}"), async || {
            let heard = self.0.lock();
            if *heard == expected { Ok(()) } else { Err(format!("{heard:?}")) }
        })
        .await;
    }
}

struct Bench {
    live: Live,
    counters: Counters,
}

/// With a connection that is not given up on however busy a machine.
fn bench(url: &str) -> Bench {
    with(url, LONG, LONG)
}

fn with(url: &str, ping: Duration, response_timeout: Duration) -> Bench {
    let counters = Counters::default();
    let mut options = Options::new(Target::parse(url).unwrap());
    (options.patience, options.ping, options.response_timeout) = (LONG, ping, response_timeout);
    let live = Live::new(Router::new(&options, counters.clone()), &options, counters.clone());
    Bench { live, counters }
}

impl Bench {
    fn subscribe(&self, job: JobId) -> (Arc<Heard>, Subscription) {
        let sink = Arc::new(Heard::default());
        let subscription = self.live.subscribe(&job.into(), Arc::clone(&sink) as _);
        (sink, subscription)
    }
}

/// The n-th job of partition 0.
fn job(n: u32) -> JobId {
    let id = format!("01928374-5566-7000-8000-{:012x}", u64::from(n) << 10);
    id.parse().unwrap()
}

async fn publish(client: &mut MultiplexedConnection, job: JobId, entry: &str) -> i64 {
    let channel = keys_of("jc", job.partition()).unwrap().live(&job.into());
    cmd("SPUBLISH").arg(channel).arg(entry).query_async(client).await.unwrap()
}

#[tokio::test]
async fn subscribing_hearing_and_leaving() {
    for server in [RedisServer::start().await, RedisServer::builder().cluster(true).start().await] {
        let bench = bench(&server.url());
        let mut client = server.client().await;
        let (one, one_lives) = bench.subscribe(job(1));
        let (other, _other_lives) = bench.subscribe(job(2));
        one.hears(&["+"]).await;
        other.hears(&["+"]).await;
        publish(&mut client, job(1), "1 a").await;
        publish(&mut client, job(2), "1 b").await;
        one.hears(&["+", "1 a"]).await;
        other.hears(&["+", "1 b"]).await;

        let (second, _second_lives) = bench.subscribe(job(1));
        second.hears(&["+"]).await;
        publish(&mut client, job(1), "2 a").await;
        second.hears(&["+", "2 a"]).await;
        drop(one_lives);
        bench.live.barrier(&job(1).into()).await.unwrap();
        publish(&mut client, job(1), "3 a").await;
        second.hears(&["+", "2 a", "3 a"]).await;
        one.hears(&["+", "1 a", "2 a"]).await;
        assert_eq!(bench.counters.live_messages.get(), 4);
        assert_eq!(bench.counters.reconnects.get(), 0);
    }
}

#[tokio::test]
async fn leaving_and_coming_back_at_once_loses_nothing() {
    let server = RedisServer::start().await;
    let bench = bench(&server.url());
    let mut client = server.client().await;
    for round in 0..200_u32 {
        let (_, early) = bench.subscribe(job(1));
        drop(early);
        if round % 3 == 0 {
            tokio::task::yield_now().await;
        }
        let (sink, _lives) = bench.subscribe(job(1));
        sink.hears(&["+"]).await;
        assert_eq!(publish(&mut client, job(1), "x").await, 1);
        sink.hears(&["+", "x"]).await;
    }
    assert_eq!(bench.counters.reconnects.get(), 0);
    bench.live.close().await;
    eventually_ok(LONG, "nobody is subscribed", async || match publish(&mut client, job(1), "y").await {
        0 => Ok(()),
        n => Err(n),
    })
    .await;
}

#[tokio::test]
async fn what_is_said_with_what_ends_the_connection_is_done() {
    let (server, other) = (RedisServer::start().await, RedisServer::start().await);
    let bench = bench(&server.url());
    let mut client = server.client().await;
    let (one, _one_lives) = bench.subscribe(job(1));
    let (left, left_lives) = bench.subscribe(job(2));
    one.hears(&["+"]).await;
    left.hears(&["+"]).await;
    // All before the connection's task runs again: that the primary is another one, which isn't so, and what comes after it.
    let elsewhere = Target::parse(&other.url()).unwrap().servers.remove(0);
    let routes = &bench.live.shared.routes;
    let slot = keys_of("jc", job(1).partition()).unwrap().slot;
    assert!(routes.post(slot, Command::Primary(elsewhere)).is_none());
    let (new, _new_lives) = bench.subscribe(job(3));
    drop(left_lives);
    one.hears(&["+", "-", "+"]).await;
    new.hears(&["+"]).await;
    for n in 1..=3 {
        assert_eq!(publish(&mut client, job(n), "x").await, i64::from(n != 2), "{n}");
    }
    one.hears(&["+", "-", "+", "x"]).await;
    new.hears(&["+", "x"]).await;
}

#[tokio::test]
async fn a_channel_that_nobody_wants_is_left() {
    let server = RedisServer::start().await;
    let bench = bench(&server.url());
    let mut client = server.client().await;
    let (sink, lives) = bench.subscribe(job(1));
    sink.hears(&["+"]).await;
    drop(lives);
    eventually_ok(LONG, "nobody is subscribed", async || match publish(&mut client, job(1), "y").await {
        0 => Ok(()),
        n => Err(n),
    })
    .await;
    assert!(bench.live.barrier(&job(1).into()).await.is_err());
}

#[tokio::test]
async fn after_a_barrier_everything_published_before_has_been_heard() {
    let server = RedisServer::start().await;
    let bench = bench(&server.url());
    assert!(bench.live.barrier(&job(1).into()).await.is_err(), "nothing is subscribed");
    let mut client = server.client().await;
    let (sink, _lives) = bench.subscribe(job(1));
    sink.hears(&["+"]).await;
    for n in 1..=50 {
        for _ in 0..20 {
            publish(&mut client, job(1), "x").await;
        }
        bench.live.barrier(&job(1).into()).await.unwrap();
        assert_eq!(sink.0.lock().len(), 1 + n * 20);
    }
    let hurried = with(&server.url(), LONG, Duration::from_millis(700));
    let (sink, _lives) = hurried.subscribe(job(1));
    sink.hears(&["+"]).await;
    server.pause();
    let began = Instant::now();
    assert!(matches!(hurried.live.barrier(&job(1).into()).await, Err(StoreError::Unavailable(_))));
    assert!(began.elapsed() < LONG / 2, "no ping found it: {:?}", began.elapsed());
    server.resume();
}

#[tokio::test]
async fn a_killed_server_that_comes_back_is_subscribed_again() {
    let server = RedisServer::start().await;
    let bench = bench(&server.url());
    let (sink, _lives) = bench.subscribe(job(1));
    sink.hears(&["+"]).await;
    server.kill();
    sink.hears(&["+", "-"]).await;
    let (late, _late_lives) = bench.subscribe(job(2));
    assert!(bench.live.barrier(&job(1).into()).await.is_err());
    server.restart().await;
    sink.hears(&["+", "-", "+"]).await;
    late.hears(&["+"]).await;
    publish(&mut server.client().await, job(1), "1").await;
    sink.hears(&["+", "-", "+", "1"]).await;
    assert!(bench.counters.reconnects.get() >= 1);
}

#[tokio::test]
async fn a_connection_on_which_nothing_passes_is_found() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.addr()).await;
    // Not so soon that a busy machine makes it find one that works.
    let bench = with(&proxy.url(), Duration::from_secs(2), LONG);
    let (sink, _lives) = bench.subscribe(job(1));
    sink.hears(&["+"]).await;
    proxy.blackhole();
    let began = Instant::now();
    sink.hears(&["+", "-"]).await;
    assert!(began.elapsed() < LONG / 2, "twice the ping is 4 s: {:?}", began.elapsed());
    proxy.cut();
    sink.hears(&["+", "-", "+"]).await;
}

#[tokio::test]
async fn a_silent_connection_that_answers_pings_lives_on() {
    let server = RedisServer::start().await;
    let bench = with(&server.url(), Duration::from_secs(3), LONG);
    let mut client = server.client().await;
    let (sink, _lives) = bench.subscribe(job(1));
    sink.hears(&["+"]).await;
    let pings = async || -> u32 {
        let info: String = cmd("INFO").arg("commandstats").query_async(&mut client.clone()).await.unwrap();
        let count = info.split("cmdstat_ping:calls=").nth(1).and_then(|rest| rest.split(',').next());
        count.map_or(0, |count| count.parse().unwrap())
    };
    let before = pings().await;
    // Unanswered, two were its end.
    eventually_ok(LONG, "three more pings", async || match pings().await - before {
        n if n >= 3 => Ok(()),
        n => Err(n),
    })
    .await;
    publish(&mut client, job(1), "1").await;
    sink.hears(&["+", "1"]).await;
}

/// A line of `/proc/self/status`, in KiB: `VmRSS` is what this process takes now, `VmHWM` the most that it ever took.
#[cfg(target_os = "linux")]
fn memory(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_matches([':', ' ', '\t', 'k', 'B']).parse().unwrap()
}

/// As many as one gateway may have to follow: all stand again soon after a cut, none is forgotten, and what waits to be
/// sent or read meanwhile doesn't pile up.
#[tokio::test]
async fn a_hundred_thousand_channels_are_subscribed_again_after_a_cut() {
    const MANY: u32 = 100_000;
    const EACH: usize = 100;
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.addr()).await;
    let bench = bench(&proxy.url());
    let subscriptions: Vec<_> = (0..MANY).map(|n| bench.subscribe(job(n))).collect();
    let all_hear = async |expected: &[&str]| {
        let began = Instant::now();
        for (sink, _) in &subscriptions {
            sink.hears(expected).await;
        }
        began.elapsed()
    };
    let first = all_hear(&["+"]).await;
    #[cfg(target_os = "linux")]
    let before = memory("VmRSS");
    proxy.cut();
    let again = all_hear(&["+", "-", "+"]).await;
    println!("{MANY} channels stand after {first:?}, and after a cut again after {again:?}");
    #[cfg(target_os = "linux")]
    {
        let more = memory("VmHWM").saturating_sub(before);
        println!("which took {more} KiB more than the {before} KiB of before");
        assert!(more < 64 * 1024, "less than 700 bytes for each");
    }
    assert_eq!(bench.counters.reconnects.get(), 1);

    let mut client = server.client().await;
    let count: i64 = subscribers(&mut client, (0..MANY).map(job)).await;
    assert_eq!(count, i64::from(MANY), "the server has them all, each once");
    for n in (0..MANY).step_by(EACH) {
        assert_eq!(publish(&mut client, job(n), "1").await, 1);
    }
    for (sink, _) in subscriptions.iter().step_by(EACH) {
        sink.hears(&["+", "-", "+", "1"]).await;
    }
    bench.live.close().await;
}

/// How many subscriptions of these jobs' channels the server has.
async fn subscribers(client: &mut MultiplexedConnection, jobs: impl Iterator<Item = JobId>) -> i64 {
    let channels: Vec<_> =
        jobs.map(|job| keys_of("jc", job.partition()).unwrap().live(&job.into())).collect();
    let mut sum = 0;
    // Not all at once: the answer has its time, however busy the machine is.
    for some in channels.chunks(5_000) {
        let counts: Vec<(String, i64)> =
            cmd("PUBSUB").arg("SHARDNUMSUB").arg(some).query_async(client).await.unwrap();
        assert!(counts.iter().all(|(_, count)| *count <= 1));
        sum += counts.iter().map(|(_, count)| count).sum::<i64>();
    }
    sum
}

#[tokio::test]
async fn a_connection_found_to_lose_messages_is_built_anew_but_not_all_the_time() {
    let server = RedisServer::start().await;
    let bench = bench(&server.url());
    let (sink, _lives) = bench.subscribe(job(1));
    sink.hears(&["+"]).await;
    eventually_ok(LONG, "the connection is old enough to be built anew", async || {
        bench.live.rebuild(&job(1).into());
        if bench.counters.reconnects.get() == 1 { Ok(()) } else { Err("not yet") }
    })
    .await;
    for _ in 0..20 {
        bench.live.rebuild(&job(1).into());
    }
    sink.hears(&["+", "-", "+"]).await;
    bench.live.barrier(&job(1).into()).await.unwrap();
    assert_eq!(bench.counters.reconnects.get(), 1);
}

#[tokio::test]
async fn a_unix_socket_and_a_password_work_as_well() {
    let server = RedisServer::builder().unix_socket(true).start().await;
    let (sink, _lives) = {
        let bench = bench(&server.unix_url());
        let (sink, lives) = bench.subscribe(job(1));
        sink.hears(&["+"]).await;
        bench.live.close().await;
        (sink, lives)
    };
    sink.hears(&["+", "-"]).await;

    let mut client = server.client().await;
    let user = ["SETUSER", "me", "on", ">secret", "+@all", "~*", "&jc:*"];
    cmd("ACL").arg(&user).exec_async(&mut client).await.unwrap();
    let bench = bench(&server.url().replace("redis://", "redis://me:secret@"));
    let (sink, _lives) = bench.subscribe(job(1));
    sink.hears(&["+"]).await;
    let clients: String = cmd("CLIENT").arg("LIST").query_async(&mut client).await.unwrap();
    assert!(clients.contains("name=jobcast-live"), "{clients}");
}

#[tokio::test]
async fn the_end_of_all_handles_ends_the_connection() {
    let server = RedisServer::start().await;
    let mut client = server.client().await;
    let bench = bench(&server.url());
    let (sink, _lives) = bench.subscribe(job(1));
    sink.hears(&["+"]).await;
    drop(bench);
    sink.hears(&["+", "-"]).await;
    eventually_ok(LONG, "nobody is subscribed", async || match publish(&mut client, job(1), "y").await {
        0 => Ok(()),
        n => Err(n),
    })
    .await;
}
