//! The kit's Redis servers are real, and break as asked.

use std::time::Duration;

use testkit::eventually;
use testkit::redis::{AsyncCommands, RedisServer, cmd, dump, keys_without_ttl};

#[tokio::test]
async fn data_survives_a_kill_and_a_stop() {
    let server = RedisServer::start().await;
    let () = server.client().await.set("a", 1).await.unwrap();
    server.kill();
    server.restart().await;
    let () = server.client().await.set("b", 2).await.unwrap();
    server.stop();
    server.restart().await;
    server.restart().await; // also while it runs
    let values: Vec<i32> = server.client().await.mget(&["a", "b"]).await.unwrap();
    assert_eq!(values, [1, 2]);
}

#[tokio::test]
async fn without_append_only_file_a_restart_is_empty() {
    let server = RedisServer::builder().append_only(false).start().await;
    let () = server.client().await.set("a", 1).await.unwrap();
    server.restart().await;
    assert_eq!(dump(&mut server.client().await).await, []);
}

#[tokio::test]
async fn a_paused_server_answers_later() {
    let server = RedisServer::start().await;
    let mut connection = server.client().await;
    server.pause();
    let ping = cmd("PING");
    let waiting = tokio::time::timeout(Duration::from_millis(100), ping.exec_async(&mut connection));
    assert!(waiting.await.is_err(), "a stopped server answered");
    server.resume();
    eventually(Duration::from_secs(10), "it answers again", async || {
        cmd("PING").exec_async(&mut connection).await.is_ok()
    })
    .await;
    server.pause();
    server.kill(); // works on a stopped one too
}

#[tokio::test]
async fn memory_is_limited() {
    let server = RedisServer::builder().maxmemory(4 << 20).start().await;
    let mut connection = server.client().await;
    let refused = connection.set::<_, _, ()>("big", vec![0_u8; 8 << 20]).await;
    let () = refused.or_else(|error| if error.code() == Some("OOM") { Ok(()) } else { Err(error) }).unwrap();
    let after = connection.set::<_, _, ()>("small", 1).await.unwrap_err();
    assert_eq!(after.code(), Some("OOM"));
}

#[tokio::test]
async fn listens_on_a_unix_socket_too() {
    let server = RedisServer::builder().unix_socket(true).start().await;
    let client = testkit::redis::Client::open(server.unix_url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let () = connection.set("a", 1).await.unwrap();
    assert_eq!(server.client().await.get::<_, i32>("a").await.unwrap(), 1);
}

#[tokio::test]
async fn a_cluster_of_one_owns_every_slot() {
    let server = RedisServer::builder().cluster(true).start().await;
    assert!(server.url().starts_with("redis-cluster://127.0.0.1:"));
    for key in ["{a}", "{b}", "{0.325}", "{1.38}"] {
        let () = server.client().await.set(key, 1).await.unwrap();
    }
    server.kill();
    server.restart().await;
    assert_eq!(keys_without_ttl(&mut server.client().await).await.len(), 4);
}

#[tokio::test]
async fn a_dump_lists_every_key() {
    let server = RedisServer::start().await;
    let mut connection = server.client().await;
    let () = connection.set("string", "four").await.unwrap();
    let () = connection.rpush("list", &[1, 2, 3]).await.unwrap();
    let () = connection.hset("hash", "field", 1).await.unwrap();
    let () = connection.zadd("zset", "member", 0).await.unwrap();
    let () = connection.sadd("set", "member").await.unwrap();
    let () = connection.set_ex("mortal", "", 100).await.unwrap();
    for n in 0..3_000 {
        let () = connection.set_ex(format!("many:{n}"), "", 100).await.unwrap();
    }
    let all = dump(&mut connection).await;
    assert_eq!(all.len(), 3_006);
    let eternal: Vec<(&str, &str, u64)> = all
        .iter()
        .filter(|info| info.ttl.is_none())
        .map(|info| (info.key.as_str(), info.kind.as_str(), info.size))
        .collect();
    assert_eq!(
        eternal,
        [
            ("hash", "hash", 1),
            ("list", "list", 3),
            ("set", "set", 1),
            ("string", "string", 4),
            ("zset", "zset", 1)
        ]
    );
    assert_eq!(keys_without_ttl(&mut connection).await, ["hash", "list", "set", "string", "zset"]);
}
