//! What an event that comes to a client takes of a server's processor time: floor, gateway and others in turn.

use std::time::Duration;

use model::{Cursor, JobId};
use tokio::time::Instant;

use super::Size;
use super::crowd::Carrier;
use super::peer::{Figures, Peer};
use super::process::{CrowdProcess, FloorProcess, Used};
use super::replay::Replay;
use super::scene::Scene;
use super::wire::Wire;
use crate::figure::Record;

/// How events come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    pub(super) name: &'static str,
    /// How many logs there are.
    pub(super) logs: usize,
    /// Events a second, as clients get them.
    pub(super) rate: f64,
    /// How many of one log come at once.
    pub(super) together: usize,
}

/// One job with all streams.
pub(super) fn fanout(streams: usize) -> Flow {
    Flow { name: "fanout", logs: 1, rate: 5.0 * streams as f64, together: 1 }
}

/// A job for each stream.
pub(super) fn jobs(streams: usize) -> Flow {
    Flow { name: "jobs", logs: streams, rate: 2.5 * streams as f64, together: 1 }
}

/// Ten events at once on each of a few jobs.
pub(super) fn burst(streams: usize) -> Flow {
    Flow { name: "burst", logs: streams.min(20), rate: 10.0 * streams as f64, together: 10 }
}

/// What a flow took.
pub(super) struct Took {
    /// Processor time, in microseconds, of an event that came to a client.
    pub(super) cpu: f64,
    /// The same of an opening.
    open_cpu: f64,
    /// Openings a second.
    opens: f64,
    /// Events a second.
    rate: f64,
}

/// Each flow once, on each of these beside floor and gateway.
pub(super) async fn measure(size: Size, peers: &[Peer], record: &mut Record) -> anyhow::Result<()> {
    let flow = fanout(size.streams);
    let (floor, ours) = (floor_of(&flow, size).await?, gateway_of(&flow, size).await?);
    record.add("floor_cpu_per_event_fanout", floor.cpu);
    record.add("stream_cpu_per_event_fanout", ours.cpu);
    record.add("stream_to_floor_fanout", ours.cpu / floor.cpu);
    record.add("floor_opens", floor.opens);
    record.add("stream_opens", ours.opens);
    record.add("floor_cpu_per_open", floor.open_cpu);
    record.add("stream_cpu_per_open", ours.open_cpu);
    record.add("opens_cpu_floor_to_stream", floor.open_cpu / ours.open_cpu);
    for (names, theirs) in of_peers(&flow, size, peers).await {
        record.add(names.fanout, theirs.cpu);
        record.add(names.fanout_ratio, ours.cpu / theirs.cpu);
    }

    let flow = jobs(size.streams);
    let (floor, ours) = (floor_of(&flow, size).await?, gateway_of(&flow, size).await?);
    record.add("floor_cpu_per_event_jobs", floor.cpu);
    record.add("stream_cpu_per_event_jobs", ours.cpu);
    record.add("stream_to_floor_jobs", ours.cpu / floor.cpu);
    for (names, theirs) in of_peers(&flow, size, peers).await {
        record.add(names.jobs, theirs.cpu);
        record.add(names.jobs_ratio, ours.cpu / theirs.cpu);
        record.add(names.rate, theirs.rate);
    }
    Ok(())
}

/// Ten events of a job at once, after [`measure`].
pub(super) async fn in_bursts(size: Size, record: &mut Record) -> anyhow::Result<()> {
    let ours = gateway_of(&burst(size.streams), size).await?;
    record.add("stream_cpu_per_event_burst", ours.cpu);
    record.add("burst_to_fanout", ours.cpu / record.last("stream_cpu_per_event_fanout"));
    Ok(())
}

pub(super) async fn gateway_of(flow: &Flow, size: Size) -> anyhow::Result<Took> {
    let scene = Scene::set(flow.logs, size.pin).await?;
    let mut replay = scene.replay().await?;
    let paths = scene.paths(size.streams);
    took(flow, size, &scene.address, &paths, &mut replay, || scene.used()).await
}

pub(super) async fn floor_of(flow: &Flow, size: Size) -> anyhow::Result<Took> {
    let floor = FloorProcess::start(WIRE, size.pin)?;
    let logs = vec![(JobId::from_bytes([0; 16]), Cursor::START); flow.logs];
    let paths: Vec<_> = (0..size.streams).map(|n| format!("/{}", n % flow.logs)).collect();
    let mut replay = Replay::new(&floor.address, Wire::Floor, logs).await?;
    took(flow, size, &floor.address, &paths, &mut replay, || floor.used()).await
}

/// What `flow` took on each of `peers`, those left out that didn't hold out.
async fn of_peers(flow: &Flow, size: Size, peers: &[Peer]) -> Vec<(&'static Figures, Took)> {
    let mut measured = Vec::new();
    for &peer in peers {
        let theirs = peer.or_left_out(peer_of(peer, flow, size).await);
        measured.extend(theirs.map(|theirs| (peer.figures(), theirs)));
    }
    measured
}

async fn peer_of(peer: Peer, flow: &Flow, size: Size) -> anyhow::Result<Took> {
    let running = peer.start(flow.logs, size.pin).await?;
    let (paths, mut replay) = (running.paths(size.streams), running.replay().await?);
    took(flow, size, &running.address, &paths, &mut replay, || running.used()).await
}

/// As many bytes as an event of a replay takes on the wire.
const WIRE: usize = 210;

async fn took(
    flow: &Flow,
    size: Size,
    address: &str,
    paths: &[String],
    replay: &mut Replay,
    used: impl Fn() -> anyhow::Result<Used>,
) -> anyhow::Result<Took> {
    let before = used()?;
    let mut crowd = CrowdProcess::gather(address, paths, Carrier::Socket).await?;
    let opened = used()?;
    let mut wanted = size.streams as u64;
    warm(flow, size, &mut crowd, replay, &mut wanted).await?;
    let (began, from, before_flow) = (Instant::now(), used()?, crowd.wait_for(wanted).await?);
    run(flow, size, &mut crowd, replay, &mut wanted).await?;
    let (to, came, time) = (used()?, crowd.wait_for(wanted).await?, began.elapsed());
    anyhow::ensure!(came.broken == 0, "{}: {} streams broke", flow.name, came.broken);
    let events = (came.count - before_flow.count) as f64;
    let bytes = (came.bytes - before_flow.bytes) as f64 / events;
    let cpu = (to.cpu - from.cpu) / events;
    let streams = paths.len() as f64;
    let a_second = events / time.as_secs_f64();
    eprintln!("{} {address}: {cpu:.2} us an event of {bytes:.1} bytes, {a_second:.0} a second", flow.name);
    Ok(Took {
        cpu,
        open_cpu: (opened.cpu - before.cpu) / streams,
        opens: streams / crowd.opened.as_secs_f64(),
        rate: a_second,
    })
}

/// The first events find everything cold, and the streams of jobs begin with one that was there before. `wanted` is how many have
/// come by then.
pub(super) async fn warm(
    flow: &Flow,
    size: Size,
    crowd: &mut CrowdProcess,
    replay: &mut Replay,
    wanted: &mut u64,
) -> anyhow::Result<()> {
    let one = Size { time: Duration::ZERO, ..size };
    run(flow, one, crowd, replay, wanted).await?;
    run(flow, one, crowd, replay, wanted).await
}

/// Rounds for as long as `size` says, at least one. Each waits for the one before to have come: events that pile up would go
/// together, as on no server that keeps up.
pub(super) async fn run(
    flow: &Flow,
    size: Size,
    crowd: &mut CrowdProcess,
    replay: &mut Replay,
    wanted: &mut u64,
) -> anyhow::Result<()> {
    let each = size.streams / flow.logs;
    let began = Instant::now();
    loop {
        *wanted += (each * replay.round(flow.rate / each as f64, flow.together).await?) as u64;
        crowd.wait_for(*wanted).await?;
        if began.elapsed() >= size.time {
            return Ok(());
        }
    }
}
