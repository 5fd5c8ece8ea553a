//! Calls against real servers that break.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use redis::{Value, cmd};
use testkit::proxy::Proxy;
use testkit::redis::RedisServer;
use testkit::{eventually, eventually_ok};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::*;
use crate::Target;
use crate::partition::slot_of_key;
use crate::script::Script;

const LONG: Duration = Duration::from_mins(1);

/// A router whose calls are not given up on however busy a machine.
fn router(url: &str) -> (Router, Counters) {
    with(url, LONG, LONG)
}

/// One that finds a silent server soon, and waits for it as long as any.
fn wary(url: &str) -> (Router, Counters) {
    with(url, LONG, Duration::from_millis(500))
}

/// One that gives up soon, for servers that don't answer.
fn hurried(url: &str) -> (Router, Counters) {
    with(url, Duration::from_secs(3), Duration::from_millis(500))
}

fn with(url: &str, patience: Duration, response_timeout: Duration) -> (Router, Counters) {
    let counters = Counters::default();
    let mut options = Options::new(Target::parse(url).unwrap());
    (options.patience, options.response_timeout) = (patience, response_timeout);
    (Router::new(&options, counters.clone()), counters)
}

fn increment() -> &'static Script {
    static SCRIPT: std::sync::OnceLock<Script> = std::sync::OnceLock::new();
    SCRIPT.get_or_init(|| {
        Script::new(
            "#!lua\nredis.call('SADD', KEYS[1], ARGV[1]) return {redis.call('SCARD', KEYS[1]), ARGV[1]}",
            &[],
        )
    })
}

/// Adds `member` by a script; the size of the set, and the member as the server understood it.
async fn add(router: &Router, member: usize) -> Result<(i64, String), StoreError> {
    let call = increment().call(vec!["set".into()]).arg(member);
    let value = router.call(slot_of_key("set"), &Request::Script(&call)).await?;
    Ok(redis::from_redis_value(value).unwrap())
}

/// The same in a task of its own.
fn add_meanwhile(router: &Router, member: usize) -> JoinSet<Result<(i64, String), StoreError>> {
    let router = router.clone();
    let mut call = JoinSet::new();
    call.spawn(async move { add(&router, member).await });
    call
}

#[tokio::test]
async fn a_call_survives_a_lost_script_a_cut_connection_and_a_restart() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.addr()).await;
    let (router, counters) = router(&proxy.url());
    assert!(!router.connected());
    assert_eq!(add(&router, 1).await.unwrap(), (1, "1".into()));
    assert!(router.connected());

    cmd("SCRIPT").arg("FLUSH").exec_async(&mut server.client().await).await.unwrap();
    assert_eq!(add(&router, 2).await.unwrap(), (2, "2".into()));

    proxy.cut();
    assert_eq!(add(&router, 3).await.unwrap(), (3, "3".into()));
    assert_eq!(counters.reconnects.get(), 1);

    server.kill();
    let call = add_meanwhile(&router, 4);
    server.restart().await;
    assert_eq!(call.join_all().await.pop().unwrap().unwrap(), (4, "4".into()));
}

#[tokio::test]
async fn a_server_that_stands_still_is_unavailable_and_works_again_afterwards() {
    let server = RedisServer::start().await;
    let ((patient, _), (router, _)) = (wary(&server.url()), hurried(&server.url()));
    for router in [&patient, &router] {
        add(router, 1).await.unwrap();
    }
    server.pause();
    let began = Instant::now();
    let error = add(&router, 2).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Unavailable(cause) if cause.contains("no answer in time")),
        "{error}"
    );
    assert!((Duration::from_secs(2)..LONG).contains(&began.elapsed()));
    assert!(!router.connected());
    let call = add_meanwhile(&patient, 3);
    eventually(LONG, "another one finds that too", async || !patient.connected()).await;
    server.resume();
    call.join_all().await.pop().unwrap().unwrap();
    eventually(LONG, "it works again", async || add(&router, 2).await.is_ok_and(|(size, _)| size == 3)).await;
    assert!(router.connected() && patient.connected());
}

#[tokio::test]
async fn nothing_that_listens_is_unavailable_and_dialled_by_one_for_all() {
    let proxy = Proxy::start("127.0.0.1:1").await;
    proxy.refuse();
    let (router, _) = hurried(&proxy.url());
    let mut calls = JoinSet::new();
    for n in 0..200 {
        let router = router.clone();
        calls.spawn(async move { add(&router, n).await });
    }
    for answer in calls.join_all().await {
        assert!(matches!(answer, Err(StoreError::Unavailable(_))));
    }

    // The same with a server that takes connections and closes them.
    proxy.pass();
    let before = proxy.connections();
    let mut calls = JoinSet::new();
    for n in 0..200 {
        let router = router.clone();
        calls.spawn(async move { add(&router, n).await });
    }
    for answer in calls.join_all().await {
        assert!(matches!(answer, Err(StoreError::Unavailable(_))));
    }
    let dialled = proxy.connections() - before;
    assert!(dialled < 160, "{dialled} connections in 3 s: not one at a time, 20 ms apart");
}

#[tokio::test]
async fn when_replies_are_lost_every_call_is_answered_with_its_own_reply() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.addr()).await;
    let (router, _) = router(&proxy.url());
    add(&router, 0).await.unwrap();
    proxy.close_every_nth_reply(3);
    for n in 1..100 {
        let (size, member) = add(&router, n).await.unwrap();
        assert_eq!((size, member), (i64::try_from(n).unwrap() + 1, n.to_string()));
    }
    assert!(proxy.replies_swallowed() > 30);
    proxy.pass();

    // The same at once.
    proxy.close_every_nth_reply(7);
    let mut calls = JoinSet::new();
    for n in 100..200 {
        let router = router.clone();
        calls.spawn(async move { (n, add(&router, n).await) });
    }
    for (n, answer) in calls.join_all().await {
        assert_eq!(answer.unwrap().1, n.to_string());
    }
    proxy.pass();
    assert_eq!(add(&router, 200).await.unwrap().0, 201);
}

#[tokio::test]
async fn a_moving_slot_is_no_refusal_of_what_may_have_happened_before() {
    static SCRIPT: std::sync::OnceLock<Script> = std::sync::OnceLock::new();
    let text = "#!lua\nlocal n = redis.call('INCR', KEYS[1]) \
        if redis.call('EXISTS', KEYS[2]) == 1 then return redis.error_reply('TRYAGAIN it moves') end return n";
    let script = SCRIPT.get_or_init(|| Script::new(text, &[]));
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.addr()).await;
    let (router, _) = router(&proxy.url());
    let mut redis = server.client().await;
    let slot = slot_of_key("calls");
    let call = || script.call(vec!["calls".into(), "moving".into()]);
    cmd("SET").arg(&["moving", "1"]).exec_async(&mut redis).await.unwrap();
    let refused = router.call_until_answered(slot, &Request::Script(&call()), true).await.unwrap();
    assert_eq!(refused, None, "nothing happened");

    cmd("DEL").arg("moving").exec_async(&mut redis).await.unwrap();
    proxy.close_every_nth_reply(1);
    let mut calling = JoinSet::new();
    let asking = router.clone();
    calling.spawn(async move { asking.call_until_answered(slot, &Request::Script(&call()), true).await });
    eventually(LONG, "it happened, and its reply was lost", async || proxy.replies_swallowed() > 0).await;
    cmd("SET").arg(&["moving", "1"]).exec_async(&mut redis).await.unwrap();
    let calls = async || cmd("GET").arg("calls").query_async::<u32>(&mut redis.clone()).await.unwrap();
    let before = calls().await;
    proxy.pass();
    eventually(LONG, "it is held up", async || calls().await > before).await;
    cmd("DEL").arg("moving").exec_async(&mut redis).await.unwrap();
    let answer = calling.join_all().await.pop().unwrap().unwrap();
    assert!(matches!(answer, Some(Value::Int(_))), "{answer:?}");
}

#[tokio::test]
async fn a_silent_connection_is_dropped_for_all_who_wait_on_it() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.addr()).await;
    let (router, counters) = wary(&proxy.url());
    add(&router, 0).await.unwrap();
    proxy.blackhole();
    let mut calls = JoinSet::new();
    for n in 1..50 {
        let router = router.clone();
        calls.spawn(async move { (n, add(&router, n).await) });
    }
    eventually(LONG, "the silent connection is given up", async || proxy.connections() > 1).await;
    proxy.pass();
    for (n, answer) in calls.join_all().await {
        assert_eq!(answer.unwrap().1, n.to_string());
    }
    assert!(counters.reconnects.get() >= 1);
}

#[tokio::test]
async fn a_full_server_and_a_wrong_command_are_told_at_once() {
    let server = RedisServer::builder().maxmemory(1).start().await;
    let (router, _) = router(&server.url());
    let began = Instant::now();
    assert!(matches!(add(&router, 1).await, Err(StoreError::Full)));
    let wrong = router.call(slot_of_key("a"), &Request::Command(&cmd("NONSENSE"))).await;
    assert!(matches!(wrong, Err(StoreError::Refused(sentence)) if sentence.contains("NONSENSE")));
    assert!(began.elapsed() < LONG / 2, "no patience is needed");
    assert!(router.connected());
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_a_right_one_not() {
    let server = RedisServer::start().await;
    let mut client = server.client().await;
    cmd("ACL").arg(&["SETUSER", "me", "on", ">secret", "+@all", "~*"]).exec_async(&mut client).await.unwrap();
    let at = |who: &str| server.url().replace("redis://", &format!("redis://{who}@"));
    add(&router(&at("me:secret")).0, 1).await.unwrap();
    let error = add(&router(&at("me:wrong")).0, 1).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused(_)), "{error}");
    assert!(!error.to_string().contains("wrong"));
}

#[tokio::test]
async fn a_read_only_server_is_waited_for() {
    let server = RedisServer::start().await;
    let (router, _) = router(&server.url());
    add(&router, 1).await.unwrap();
    let mut client = server.client().await;
    cmd("REPLICAOF").arg("127.0.0.1").arg(1).exec_async(&mut client).await.unwrap();
    let call = add_meanwhile(&router, 2);
    eventually(LONG, "the call meets READONLY", async || !router.connected()).await;
    cmd("REPLICAOF").arg("NO").arg("ONE").exec_async(&mut client).await.unwrap();
    assert_eq!(call.join_all().await.pop().unwrap().unwrap().0, 2);
}

#[tokio::test]
async fn each_keeps_every_answer_and_every_error_apart() {
    let server = RedisServer::start().await;
    let (router, counters) = router(&server.url());
    let slot = slot_of_key("a");
    assert!(router.each(slot, &[]).await.is_empty());
    let mut set = cmd("SET");
    set.arg("a").arg(1);
    let mut wrong = cmd("LPUSH");
    wrong.arg("a").arg(1);
    let mut get = cmd("GET");
    get.arg("a");
    let mut none = cmd("GET");
    none.arg("b");
    let answers = router.each(slot, &[set, wrong, get, none]).await;
    assert!(matches!(answers[0], Ok(Value::Okay)));
    assert!(matches!(&answers[1], Err(StoreError::Refused(sentence)) if sentence.contains("WRONGTYPE")));
    assert!(matches!(&answers[2], Ok(Value::BulkString(value)) if value == b"1"));
    assert!(matches!(answers[3], Ok(Value::Nil)));
    assert_eq!(counters.round_trips.get(), 4);

    server.kill();
    let answers = router.each(slot, &[cmd("PING"), cmd("PING")]).await;
    assert!(
        answers.len() == 2 && answers.iter().all(|answer| matches!(answer, Err(StoreError::Unavailable(_))))
    );
}

#[tokio::test]
async fn a_waiting_connection_is_ones_own_and_can_be_discarded() {
    let server = RedisServer::start().await;
    let (router, _) = router(&server.url());
    let slot = slot_of_key("bell");
    let mut blpop = cmd("BLPOP");
    blpop.arg("bell").arg(0);
    let (mut first, _) = router.waiting(slot).await.unwrap();
    assert!(timeout(Duration::from_millis(700), blpop.query_async::<Value>(&mut *first)).await.is_err());
    drop(deadpool_redis::Connection::take(first));
    let mut client = server.client().await;
    eventually_ok(LONG, "the discarded one is gone", async || {
        let clients: String = cmd("CLIENT").arg("LIST").query_async(&mut client).await.unwrap();
        if clients.contains("cmd=blpop") { Err(clients) } else { Ok(()) }
    })
    .await;

    let (mut second, _) = router.waiting(slot).await.unwrap();
    cmd("RPUSH").arg("bell").arg("x").exec_async(&mut client).await.unwrap();
    let heard: (String, String) = blpop.query_async(&mut *second).await.unwrap();
    assert_eq!(heard, ("bell".into(), "x".into()));

    server.kill();
    drop(second);
    let error = hurried(&server.url()).0.waiting(slot).await.err().unwrap();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    server.restart().await;
    router.waiting(slot).await.unwrap();
}

#[tokio::test]
async fn who_waits_hears_that_the_server_answers_nobody_any_more() {
    let server = RedisServer::start().await;
    let (router, _) = hurried(&server.url());
    let slot = slot_of_key("bell");
    let mut blpop = cmd("BLPOP");
    blpop.arg("bell").arg(0);
    let (mut connection, cut) = router.waiting(slot).await.unwrap();
    server.pause();
    let wait = cut.run_until_cancelled(blpop.query_async::<Value>(&mut *connection));
    // As everywhere, there are other calls; the first of them finds out.
    let (answer, other) = tokio::join!(timeout(LONG, wait), add(&router, 1));
    assert!(matches!(answer, Ok(None)), "{answer:?}");
    assert!(matches!(other, Err(StoreError::Unavailable(_))));
}

#[tokio::test]
async fn who_waits_at_a_server_that_is_forgotten_waits_no_longer() {
    let server = RedisServer::start().await;
    let (router, _) = hurried(&server.url());
    let mut blpop = cmd("BLPOP");
    blpop.arg("bell").arg(0);
    let (mut connection, cut) = router.waiting(slot_of_key("bell")).await.unwrap();
    // It hangs, another one is the primary, and there are no other calls.
    server.pause();
    router.shared.nodes.keep(&[]);
    let wait = cut.run_until_cancelled(blpop.query_async::<Value>(&mut *connection));
    let answer = timeout(LONG, wait).await;
    assert!(matches!(answer, Ok(None)), "{answer:?}");
}

#[tokio::test]
async fn a_unix_socket_and_a_lone_cluster_node_work_as_well() {
    let socket = RedisServer::builder().unix_socket(true).start().await;
    assert_eq!(add(&router(&socket.unix_url()).0, 1).await.unwrap().0, 1);

    let cluster = RedisServer::builder().cluster(true).start().await;
    let (router, _) = router(&cluster.url());
    assert_eq!(add(&router, 1).await.unwrap().0, 1);
    assert!(router.confirm().await);
    cluster.kill();
    assert!(!router.confirm().await);
    cluster.restart().await;
    assert_eq!(add(&router, 2).await.unwrap().0, 2);
}

#[tokio::test]
async fn calls_of_many_at_once_share_one_connection() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.addr()).await;
    let (router, counters) = router(&proxy.url());
    let router = Arc::new(router);
    let mut calls = JoinSet::new();
    for n in 0..2000 {
        let router = Arc::clone(&router);
        calls.spawn(async move { add(&router, n).await.unwrap().1 });
    }
    let members: BTreeSet<String> = calls.join_all().await.into_iter().collect();
    assert_eq!(members.len(), 2000);
    assert_eq!(proxy.connections(), 1);
    assert!(counters.round_trips.get() >= 2000);
}
