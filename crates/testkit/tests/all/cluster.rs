//! The kit's Cluster is a real one: it is whole, its nodes can be taken away, and its slots move.

use std::time::Duration;

use testkit::proxy::Proxy;
use testkit::redis::{AsyncCommands, Client, Node, RedisCluster, RedisResult, Value, cmd};
use testkit::{eventually, eventually_ok};

const SOON: Duration = Duration::from_mins(1);

/// Every host and port that CLUSTER SLOTS names, asked through node `n`'s proxy.
async fn told(cluster: &RedisCluster, n: usize) -> Vec<String> {
    let client = Client::open(format!("redis://{}", cluster.nodes()[n].addr())).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let Value::Array(ranges) = cmd("CLUSTER").arg("SLOTS").query_async(&mut connection).await.unwrap() else {
        panic!("no list")
    };
    let nodes = ranges.into_iter().flat_map(|range| match range {
        Value::Array(fields) => fields.into_iter().skip(2),
        other => panic!("{other:?}"),
    });
    let mut told: Vec<_> = nodes
        .map(|node| {
            let (host, port, ..): (String, u16, String, Value) =
                testkit::redis::from_redis_value(node).unwrap();
            format!("{host}:{port}")
        })
        .collect();
    told.sort();
    told
}

#[tokio::test]
async fn clients_are_told_the_proxies_alone() {
    let cluster = RedisCluster::start().await;
    let mut all: Vec<_> = cluster.nodes().iter().map(Node::addr).collect();
    all.sort();
    for n in 0..6 {
        // A replica is told of once the others have heard what it has.
        eventually(SOON, "all are told of", async || told(&cluster, n).await == all).await;
    }
    let mut first = cluster.nodes()[0].client().await;
    let moved: RedisResult<()> = first.set("foo", 1).await; // slot 12182: the third's
    let moved = moved.unwrap_err().to_string();
    assert!(moved.contains(&cluster.nodes()[2].addr()), "{moved}");
    assert_eq!(cluster.slot_of("foo").await, 12_182);
    assert_eq!(cluster.primary_of(12_182).await, 2);
    eventually(SOON, "its replica is known", async || cluster.replicas_of(2).await == [5]).await;
}

#[tokio::test]
async fn one_that_clients_do_not_reach_is_no_dead_one() {
    // Longer than a node stands still by itself on a busy machine.
    let cluster = RedisCluster::builder().node_timeout(Duration::from_secs(5)).start().await;
    cluster.cut(0);
    let behind = |n: usize| cluster.nodes()[n].client();
    // Its replica still hears from it, though its node timeout has passed twice.
    let () = behind(0).await.set("{0.325}", 1).await.unwrap();
    tokio::time::sleep(Duration::from_secs(11)).await;
    cluster.check_healthy().await.unwrap();
    let () = behind(0).await.set("{0.325}", 2).await.unwrap();
    assert_eq!(cluster.primary_of(0).await, 0);
    assert_eq!(cluster.nodes()[0].proxy().replies_swallowed(), 0);
    cluster.heal(0);
    assert!(told(&cluster, 0).await.contains(&cluster.nodes()[0].addr()));
}

#[tokio::test]
async fn a_dead_primary_is_replaced_and_comes_back_as_a_replica_with_what_it_had() {
    let cluster = RedisCluster::start().await;
    let () = cluster.nodes()[0].client().await.set("{0.325}", "kept").await.unwrap();
    let mut wait = cmd("WAIT");
    wait.arg(1).arg(5000);
    let mut first = cluster.nodes()[0].client().await;
    let () = first.set("{0.325}", "kept").await.unwrap();
    assert_eq!(wait.query_async::<i64>(&mut first).await.unwrap(), 1);
    cluster.kill(0);
    cluster.wait_replaced(0).await;
    let kept: String = cluster.nodes()[3].client().await.get("{0.325}").await.unwrap();
    assert_eq!(kept, "kept");
    cluster.restart(0).await;
    cluster.wait_healthy().await;
    assert_eq!(cluster.primary_of(0).await, 3);
    // It knows it a moment after the replica does.
    eventually(SOON, "its replica is known", async || cluster.replicas_of(3).await == [0]).await;
    // And the other way round, by a pause.
    cluster.pause(3);
    cluster.wait_replaced(3).await;
    cluster.resume(3);
    cluster.wait_healthy().await;
    let kept: String = cluster.nodes()[0].client().await.get("{0.325}").await.unwrap();
    assert_eq!(kept, "kept");
}

#[tokio::test]
async fn a_slot_moves_in_the_time_that_it_is_told_to_and_back() {
    let cluster = RedisCluster::builder().replicas(0).start().await;
    let slot = cluster.slot_of("{0.325}").await;
    let mut first = cluster.nodes()[0].client().await;
    for n in 0..20 {
        let () = first.set(format!("{{0.325}}:{n}"), n).await.unwrap();
    }
    let begin = std::time::Instant::now();
    let moved = cluster.migrate_slot(slot, 1, Duration::from_secs(2)).await.unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(1_900), "{:?}", begin.elapsed());
    assert_eq!((moved.from, moved.to, moved.keys, moved.failures), (0, 1, 20, 0));
    assert_eq!(cluster.primary_of(slot).await, 1);
    let () = cluster.nodes()[1].client().await.set("{0.325}:new", 1).await.unwrap();
    // A move that is given up in its middle is taken up by the next one.
    let dropped = tokio::time::timeout(Duration::from_secs(1), cluster.migrate_slot(slot, 2, SOON));
    assert!(dropped.await.is_err());
    let moved = cluster.migrate_slot(slot, 2, Duration::ZERO).await.unwrap();
    assert_eq!((moved.from, moved.to), (1, 2));
    cluster.wait_healthy().await;
    let size: u64 = cmd("DBSIZE").query_async(&mut cluster.nodes()[2].client().await).await.unwrap();
    assert_eq!(size, 21);
    // A slot without keys.
    let moved = cluster.migrate_slot(100, 2, Duration::from_millis(300)).await.unwrap();
    assert_eq!((moved.keys, cluster.primary_of(100).await), (0, 2));
}

#[tokio::test]
async fn a_move_goes_on_after_the_receiver_was_away() {
    let cluster = RedisCluster::builder().replicas(0).node_timeout(Duration::from_secs(1)).start().await;
    let slot = cluster.slot_of("{0.325}").await;
    let mut first = cluster.nodes()[0].client().await;
    for n in 0..20 {
        let () = first.set(format!("{{0.325}}:{n}"), n).await.unwrap();
    }
    let breaking = async {
        tokio::time::sleep(Duration::from_millis(800)).await;
        cluster.kill(1);
        tokio::time::sleep(Duration::from_millis(500)).await;
        cluster.restart(1).await;
    };
    // It is still under way then, though the machine may stand still for a while.
    let (moved, ()) = tokio::join!(cluster.migrate_slot(slot, 1, Duration::from_secs(5)), breaking);
    let moved = moved.unwrap();
    assert!(moved.failures > 0, "{moved:?}");
    cluster.wait_healthy().await;
    let mut second = cluster.nodes()[1].client().await;
    for n in 0..20 {
        assert_eq!(second.get::<_, i32>(format!("{{0.325}}:{n}")).await.unwrap(), n);
    }
}

#[tokio::test]
async fn replication_passes_a_proxy_whole() {
    let cluster = RedisCluster::builder().primaries(1).replicas(0).start().await;
    let mut first = cluster.nodes()[0].client().await;
    let () = first.set("a", vec![b'x'; 1 << 20]).await.unwrap();
    let proxy = Proxy::start(cluster.nodes()[0].server().addr()).await;
    proxy.close_every_nth_reply(50);
    let port = proxy.addr().split_once(':').unwrap().1.to_owned();
    let replica = testkit::redis::RedisServer::builder()
        .setting("replicaof", &format!("127.0.0.1 {port}"))
        .setting("replica-read-only", "yes")
        .start()
        .await;
    let mut copy = replica.client().await;
    for n in 0..200 {
        let () = first.set("n", n).await.unwrap();
    }
    eventually_ok(SOON, "the replica has all", async || match copy.get::<_, Option<i32>>("n").await {
        Ok(Some(199)) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    assert_eq!(proxy.replies_swallowed(), 0, "what a replica is sent are no replies");
}
