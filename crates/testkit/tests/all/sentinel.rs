//! The kit's Sentinels are real: they choose another primary, whatever became of the first.

use std::time::Duration;

use testkit::eventually;
use testkit::redis::{AsyncCommands, SentinelSet, cmd};

const SOON: Duration = Duration::from_mins(1);

/// Writes at the primary, and waits until every replica has it.
async fn write(set: &SentinelSet, value: i32) {
    let primary = set.primary().await;
    let mut connection = set.nodes()[primary].client().await;
    let () = connection.set("a", value).await.unwrap();
    let mut wait = cmd("WAIT");
    wait.arg(2).arg(4_000);
    assert_eq!(wait.query_async::<i64>(&mut connection).await.unwrap(), 2);
}

async fn read(set: &SentinelSet, n: usize) -> i32 {
    set.nodes()[n].client().await.get("a").await.unwrap()
}

#[tokio::test]
async fn a_dead_primary_is_replaced_and_comes_back_as_a_replica() {
    let set = SentinelSet::start().await;
    assert_eq!(set.primary().await, 0);
    write(&set, 1).await;
    set.kill(0);
    let second = set.wait_other_primary(0).await;
    assert_eq!(read(&set, second).await, 1);
    let () = set.nodes()[second].client().await.set("a", 2).await.unwrap();
    set.restart(0).await;
    set.wait_healthy().await;
    assert_eq!((set.primary().await, read(&set, 0).await), (second, 2));
    // And again; who was replaced once may take over.
    write(&set, 3).await;
    set.kill(second);
    let third = set.wait_other_primary(second).await;
    assert_eq!(read(&set, third).await, 3);
    set.restart(second).await;
    set.wait_healthy().await;
}

#[tokio::test]
async fn so_is_one_that_is_stopped_or_cut_off() {
    let set = SentinelSet::start().await;
    write(&set, 1).await;
    set.pause(0);
    let second = set.wait_other_primary(0).await;
    set.resume(0);
    set.wait_healthy().await;
    write(&set, 2).await;
    set.cut(second);
    let third = set.wait_other_primary(second).await;
    // It still thinks that it is the primary, and nobody hears.
    let () = set.nodes()[second].client().await.set("a", 666).await.unwrap();
    let () = set.nodes()[third].client().await.set("a", 3).await.unwrap();
    set.heal(second);
    set.wait_healthy().await;
    for n in 0..3 {
        eventually(SOON, "all agree", async || read(&set, n).await == 3).await;
    }
}

#[tokio::test]
async fn two_sentinels_of_three_suffice() {
    let set = SentinelSet::start().await;
    set.kill_sentinel(1);
    set.kill(0);
    set.wait_other_primary(0).await;
    set.restart_sentinel(1).await;
    set.restart(0).await;
    set.wait_healthy().await;
}
