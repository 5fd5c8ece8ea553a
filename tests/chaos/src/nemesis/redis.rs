//! What is done to Redis' servers: one fault at a time, each healed before the next.

use std::time::Duration;

use testkit::redis::{Node, RedisServer, SentinelSet, cmd};
use tokio::time::{Instant, sleep};

use super::{Act, Deed, Faults};
use crate::record::{FaultKind, FaultRecord, Role, Target};
use crate::world::{Clock, Redis, World, slot_of_partition};

/// How long healing may take.
const HEALS_WITHIN: Duration = Duration::from_mins(1);
/// How often is asked who is primary while one is struck.
const LOOK: Duration = Duration::from_millis(200);

/// Does it, waits, undoes it, and waits until all servers are well.
pub(super) async fn suffer(world: &World, act: &Act, faults: &Faults) {
    let lasts = Duration::from_millis(act.lasts_ms);
    match (&world.redis, &act.deed) {
        (Redis::Single(server), deed) => alone(server, deed, lasts, world.clock, faults).await,
        (Redis::Sentinel(set), &Deed::SentinelKill(n)) => {
            kill_sentinel(set, n, lasts, world.clock, faults).await;
        }
        (redis, deed @ (Deed::ReplicaKill(_) | Deed::ReplicaPause(_))) => {
            strike_replica(redis, deed, lasts, world.clock, faults).await;
        }
        (redis, &Deed::SlotMove(partition)) => move_slot(redis, partition, lasts, world.clock, faults).await,
        (redis, deed) => strike(redis, deed, lasts, world.clock, faults).await,
    }
    if let Err(ill) = heal(&world.redis, HEALS_WITHIN).await {
        faults.note(format!("WRONG: Redis didn't heal: {ill}"));
    }
}

/// Waits until all servers are well.
pub(super) async fn heal(redis: &Redis, limit: Duration) -> Result<(), String> {
    let begin = Instant::now();
    loop {
        match redis.check_healthy().await {
            Ok(()) => return Ok(()),
            Err(ill) if begin.elapsed() > limit => return Err(ill),
            Err(_) => sleep(LOOK).await,
        }
    }
}

async fn alone(server: &RedisServer, deed: &Deed, lasts: Duration, clock: Clock, faults: &Faults) {
    let from_ms = clock.now_ms();
    let kind = if let Deed::RedisKill(..) = deed {
        server.kill();
        sleep(lasts).await;
        server.restart().await;
        FaultKind::Kill
    } else {
        server.pause();
        sleep(lasts).await;
        server.resume();
        FaultKind::Pause
    };
    faults.add(FaultRecord {
        from_ms,
        until_ms: clock.now_ms(),
        kind,
        target: Target::redis(0),
        primary: true,
        partitions: Vec::new(),
        note: Some(deed.to_string()),
    });
}

async fn strike(redis: &Redis, deed: &Deed, lasts: Duration, clock: Clock, faults: &Faults) {
    let (Deed::RedisKill(partition, _) | Deed::RedisPause(partition) | Deed::RedisCut(partition)) = *deed
    else {
        return;
    };
    let n = redis.primary(partition).await;
    let partitions = partitions_of(redis, n).await;
    let node = &redis.nodes()[n];
    let lag_from_ms = clock.now_ms();
    if let Deed::RedisKill(_, lag_ms) = *deed
        && lag_ms > 0
    {
        for (_, replica) in others(redis, n) {
            deafen(replica).await;
        }
        sleep(Duration::from_millis(lag_ms)).await;
    }
    let from_ms = clock.now_ms();
    let kind = match deed {
        Deed::RedisKill(..) => {
            node.kill();
            for (_, replica) in others(redis, n) {
                hear(replica).await;
            }
            FaultKind::Kill
        }
        Deed::RedisPause(_) => {
            node.pause();
            FaultKind::Pause
        }
        _ => {
            node.cut();
            FaultKind::Cut
        }
    };
    let end = Instant::now() + lasts;
    let give_up = Instant::now() + HEALS_WITHIN;
    let mut served_ms = None;
    // What is killed comes back empty: it has nothing on disk. While its place is its own still, all would be empty.
    let is_awaited =
        |served: Option<u64>| kind == FaultKind::Kill && served.is_none() && Instant::now() < give_up;
    while Instant::now() < end || is_awaited(served_ms) {
        sleep(LOOK).await;
        if served_ms.is_none() && redis.primary(partition).await != n {
            served_ms = Some(clock.now_ms());
        }
    }
    match kind {
        FaultKind::Kill => node.restart().await,
        FaultKind::Pause => node.resume(),
        _ => node.heal(),
    }
    let undone_ms = clock.now_ms();
    let healed = heal(redis, HEALS_WITHIN).await;
    let now_ms = clock.now_ms();
    let is_other = redis.primary(partition).await != n;
    let fault = |kind, from_ms, until_ms, note| FaultRecord {
        from_ms,
        until_ms,
        kind,
        target: Target::redis(n),
        primary: true,
        partitions: partitions.clone(),
        note,
    };
    faults.add(fault(kind, from_ms, undone_ms, Some(deed.to_string())));
    if is_other || served_ms.is_some() {
        // What was written from the lag's beginning on may be lost; what the old one took while it was away is, too.
        let until_ms = served_ms.unwrap_or(now_ms);
        faults.add(fault(FaultKind::Failover, lag_from_ms, until_ms, healed.err()));
    }
}

async fn strike_replica(redis: &Redis, deed: &Deed, lasts: Duration, clock: Clock, faults: &Faults) {
    let (Deed::ReplicaKill(partition) | Deed::ReplicaPause(partition)) = *deed else { return };
    let Some(n) = redis.replica(partition).await else { return };
    let (node, from_ms) = (&redis.nodes()[n], clock.now_ms());
    let kind = if let Deed::ReplicaKill(_) = deed {
        node.kill();
        sleep(lasts).await;
        node.restart().await;
        FaultKind::Kill
    } else {
        node.pause();
        sleep(lasts).await;
        node.resume();
        FaultKind::Pause
    };
    let (target, note) = (Target::redis(n), Some(deed.to_string()));
    let until_ms = clock.now_ms();
    faults.add(FaultRecord { from_ms, until_ms, kind, target, primary: false, partitions: Vec::new(), note });
}

async fn kill_sentinel(set: &SentinelSet, n: u16, lasts: Duration, clock: Clock, faults: &Faults) {
    let (place, from_ms) = (usize::from(n) - 1, clock.now_ms());
    set.kill_sentinel(place);
    sleep(lasts).await;
    set.restart_sentinel(place).await;
    faults.add(FaultRecord {
        from_ms,
        until_ms: clock.now_ms(),
        kind: FaultKind::Kill,
        target: Target { role: Role::Sentinel, n },
        primary: false,
        partitions: Vec::new(),
        note: None,
    });
}

/// The partitions whose primary is server `n`; none where that is a matter of course.
async fn partitions_of(redis: &Redis, n: usize) -> Vec<u16> {
    let mut partitions = Vec::new();
    if let Redis::Cluster(_) = redis {
        for partition in 0..redis.partitions().await {
            if redis.primary(partition).await == n {
                partitions.push(partition);
            }
        }
    }
    partitions
}

fn others(redis: &Redis, n: usize) -> impl Iterator<Item = (usize, &Node)> {
    redis.nodes().iter().enumerate().filter(move |(other, _)| *other != n)
}

/// From now on a replica gets nothing from its primary: it is refused for a password that the primary doesn't have. Harmless to
/// a primary.
async fn deafen(node: &Node) {
    set_password(node, "wrong").await;
    let mut client = node.client().await;
    let _: Result<i64, _> =
        cmd("CLIENT").arg("KILL").arg("TYPE").arg("master").query_async(&mut client).await;
}

/// Ends [`deafen`].
async fn hear(node: &Node) {
    set_password(node, "").await;
}

async fn set_password(node: &Node, password: &str) {
    let mut client = node.client().await;
    let _: Result<String, _> =
        cmd("CONFIG").arg("SET").arg("masterauth").arg(password).query_async(&mut client).await;
}

async fn move_slot(redis: &Redis, partition: u16, hold: Duration, clock: Clock, faults: &Faults) {
    let Redis::Cluster(cluster) = redis else { return };
    let (slot, from_ms) = (slot_of_partition(partition), clock.now_ms());
    let from = cluster.primary_of(slot).await;
    let mut to = from;
    for other in 0..redis.partitions().await {
        to = redis.primary(other).await;
        if to != from {
            break;
        }
    }
    let moved = cluster.migrate_slot(slot, to, hold).await;
    let note = match &moved {
        Ok(moved) => {
            format!("slot {slot} to server {}: {} keys, {} failures", to + 1, moved.keys, moved.failures)
        }
        Err(error) => {
            faults.note(format!("WRONG: the move of slot {slot}: {error}"));
            error.clone()
        }
    };
    faults.add(FaultRecord {
        from_ms,
        until_ms: clock.now_ms(),
        kind: FaultKind::SlotMove,
        target: Target::redis(from),
        primary: true,
        partitions: vec![partition],
        note: Some(note),
    });
}
