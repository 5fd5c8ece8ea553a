//! How long an event takes to its client: events come by a schedule that waits for nothing, and say when they were due.

use std::time::Duration;

use model::report::Percent;
use model::{Partition, Report, Token};
use store::{Lease, Store};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Size;
use super::crowd::Carrier;
use super::flow::jobs;
use super::peer::Peer;
use super::process::{CrowdProcess, Latency};
use super::scene::Scene;
use super::schedule::Schedule;
use super::wire::DUE;
use crate::figure::Record;
use crate::scene::task;

/// Appends a second: few.
pub(super) const RATE: f64 = 2000.0;
/// How often what is due is sent: what comes together waits for each other.
const TICK: Duration = Duration::from_millis(1);
/// How long an attempt goes without a sign of life: longer than it is needed.
const LEASE: Duration = Duration::from_mins(10);
/// How many appends may be under way.
const LANES: usize = 64;

/// Through the gateway with its core half busy, by what an event of `jobs` takes of it (after the flows), and of a few whole appends.
pub(super) async fn measure(size: Size, record: &mut Record) -> anyhow::Result<()> {
    let rate = 0.5e6 / record.last("stream_cpu_per_event_jobs");
    let scene = Scene::set(size.streams, size.pin).await?;
    let mut crowd = CrowdProcess::gather(&scene.address, &scene.paths(size.streams), Carrier::Socket).await?;
    let mut replay = scene.replay().await?.every(TICK);
    let (mut wanted, counts) = (size.streams as u64, counts(size, rate));
    let mut half = Latency::default();
    for count in counts {
        wanted += replay.publish(count, rate, 1).await? as u64;
        crowd.wait_for(wanted).await?;
        half = crowd.latency().await?;
    }
    eprintln!("latency at {rate:.0} events a second: {half:?}");
    record.add("latency_p50_half_load", half.median);
    record.add("latency_p99_half_load", half.p99);

    let appended = of_appends(size, RATE).await?;
    record.add("latency_p50_append", appended.median);
    record.add("latency_p99_append", appended.p99);
    Ok(())
}

/// The others, at half of what each can take in `jobs`, and as many whole appends beside it; after the flows.
pub(super) async fn of_peers(size: Size, peers: &[Peer], record: &mut Record) -> anyhow::Result<()> {
    for peer in peers {
        let names = peer.figures();
        // It didn't hold out.
        if !record.has(names.rate) {
            continue;
        }
        let rate = record.last(names.rate) / 2.0;
        let Some(theirs) = peer.or_left_out(of_peer(*peer, size, rate).await) else { continue };
        eprintln!("{} at {rate:.0} events a second: {theirs:?}", names.latency);
        let ours = of_appends(size, rate).await?;
        record.add(names.latency, theirs.p99);
        record.add(names.latency_beside, ours.p99);
        record.add(names.latency_ratio, ours.p99 / theirs.p99);
    }
    Ok(())
}

async fn of_peer(peer: Peer, size: Size, rate: f64) -> anyhow::Result<Latency> {
    let running = peer.start(size.streams, size.pin).await?;
    let paths = running.paths(size.streams);
    let mut crowd = CrowdProcess::gather(&running.address, &paths, Carrier::Socket).await?;
    let (mut replay, mut wanted) = (running.replay().await?.every(TICK), size.streams as u64);
    let mut theirs = Latency::default();
    for count in counts(size, rate) {
        wanted += replay.publish(count, rate, 1).await? as u64;
        crowd.wait_for(wanted).await?;
        theirs = crowd.latency().await?;
    }
    Ok(theirs)
}

/// How many events come before it is measured, and while it is.
fn counts(size: Size, rate: f64) -> [usize; 2] {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small, and above 0")]
    let count = |time: Duration| (rate * time.as_secs_f64()) as usize;
    [count(Duration::from_secs(1)), count(size.time)]
}

async fn of_appends(size: Size, rate: f64) -> anyhow::Result<Latency> {
    let flow = jobs(size.streams);
    let scene = Scene::set(flow.logs, size.pin).await?;
    let leases = claim(&scene.store, flow.logs).await?;
    let mut crowd = CrowdProcess::gather(&scene.address, &scene.paths(flow.logs), Carrier::Socket).await?;
    // What was there before: that it waits and that it has started.
    let mut wanted = 2 * flow.logs as u64;
    crowd.wait_for(wanted).await?;
    let mut latency = Latency::default();
    for count in counts(size, rate) {
        append(&scene.store, &leases, count, rate).await?;
        wanted += count as u64;
        crowd.wait_for(wanted).await?;
        latency = crowd.latency().await?;
    }
    eprintln!("latency of {rate:.0} appends a second: {latency:?}");
    Ok(latency)
}

/// Claims so many jobs, which are all that are ready.
pub(super) async fn claim(store: &Store, count: usize) -> anyhow::Result<Vec<Lease>> {
    let mut lanes = JoinSet::new();
    for lane in 0..LANES {
        let store = store.clone();
        lanes.spawn(async move {
            let mut leases = Vec::new();
            for _ in (lane..count).step_by(LANES) {
                let token = Token::from_random(rand::random());
                leases.extend(
                    store.claim(Partition(0), &[task().into()], token, LEASE).await?.map(|got| got.lease),
                );
            }
            anyhow::Ok(leases)
        });
    }
    let mut leases = Vec::new();
    for lane in lanes.join_all().await {
        leases.extend(lane?);
    }
    anyhow::ensure!(leases.len() == count, "{} of {count} jobs could be claimed", leases.len());
    Ok(leases)
}

/// Appends so many events, each when it is due, to all jobs in turn.
pub(super) async fn append(store: &Store, leases: &[Lease], count: usize, rate: f64) -> anyhow::Result<()> {
    let (mut lanes, mut running) = (Vec::new(), JoinSet::new());
    for _ in 0..LANES {
        let (lane, mut due) = mpsc::unbounded_channel::<(Lease, u64)>();
        let store = store.clone();
        running.spawn(async move {
            while let Some((lease, at)) = due.recv().await {
                let (progress, message) = (Percent::try_from(42.5).ok(), Some(format!("{DUE}{at}")));
                store.append(&lease, None, &[Report::Progress { progress, message }]).await?;
            }
            anyhow::Ok(())
        });
        lanes.push(lane);
    }
    let (mut schedule, mut done) = (Schedule::new(rate, TICK), 0);
    while done < count {
        let due = schedule.next().await;
        while done < count && (done as f64) < due.count {
            let lease = &leases[done % leases.len()];
            anyhow::ensure!(lanes[done % LANES].send((*lease, due.at)).is_ok(), "an append failed");
            done += 1;
        }
    }
    drop(lanes);
    while let Some(lane) = running.join_next().await {
        lane??;
    }
    Ok(())
}
