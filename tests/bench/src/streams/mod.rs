//! Streams: what an idle one takes of a gateway's memory, and an event of its processor time, beside a bare epoll loop.

pub mod crowd;
mod epoll;
pub mod floor;
mod http2;
mod process;
pub mod profile;
mod replay;

use std::time::Duration;

use model::{JobId, LogId, Owner};
use store::{NewJob, Options, Store, Submitted, Target};
use testkit::process::Jobcast;
use testkit::redis::RedisServer;
use testkit::{free_port, wait_http_ok};
use tokio::task::JoinSet;
use tokio::time::Instant;
use whole::SOON;

use self::crowd::Carrier;
use self::process::{CrowdProcess, FloorProcess, Used};
use self::replay::{Replay, To};
use crate::figure::Record;
use crate::scene::{new_job, task};

/// How large the parts are.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// How many streams there are in each.
    pub streams: usize,
    /// How many logs there are where there are few streams a log.
    pub logs: usize,
    /// How long events come.
    pub time: Duration,
    /// Give the server a core of its own.
    pub pin: bool,
}

/// A choice of flows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum FlowName {
    /// One log that all follow
    Fanout,
    /// A log for each
    Jobs,
    /// Ten events at once on each of a few logs
    Burst,
}

/// How events come.
struct Flow {
    name: &'static str,
    /// How many logs there are.
    logs: usize,
    /// Events a second, as clients get them.
    rate: f64,
    /// How many of one log come at once.
    together: usize,
}

impl Flow {
    fn new(name: FlowName, streams: usize) -> Self {
        let rate = 5.0 * streams as f64;
        match name {
            FlowName::Fanout => Self { name: "fanout", logs: 1, rate, together: 1 },
            FlowName::Jobs => Self { name: "jobs", logs: streams, rate: rate / 2.0, together: 1 },
            FlowName::Burst => Self { name: "burst", logs: 20, rate: 2.0 * rate, together: 10 },
        }
    }
}

/// What a flow took.
struct Took {
    /// Processor time, in microseconds, of an event that came to a client.
    cpu: f64,
    /// The same of an opening.
    open_cpu: f64,
    /// Openings a second.
    opens: f64,
}

/// Measures it all once, or one flow of it.
pub async fn measure(size: Size, only: Option<FlowName>, record: &mut Record) -> anyhow::Result<()> {
    if only.is_none() {
        measure_memory(size, record).await?;
    }
    for name in [FlowName::Fanout, FlowName::Jobs, FlowName::Burst] {
        if only.is_none_or(|only| only == name) {
            measure_flow(name, size, record).await?;
        }
    }
    Ok(())
}

async fn measure_memory(size: Size, record: &mut Record) -> anyhow::Result<()> {
    for (name, logs, each, carrier) in [
        ("stream_memory_few_logs", size.logs, 9, Carrier::Socket),
        ("stream_memory_log_each", 9 * size.logs, 1, Carrier::Socket),
        ("stream_memory_hyper", size.logs, 9, Carrier::Hyper),
        ("stream_memory_http2", size.logs, 9, Carrier::Http2),
    ] {
        let scene = Scene::set(logs, size.pin).await?;
        let before = scene.gateway_used()?;
        let crowd = CrowdProcess::gather(&scene.address, &scene.paths(logs * each), carrier).await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let bytes = (scene.gateway_used()?.memory - before.memory) / crowd.streams as f64;
        eprintln!("{name}: {bytes:.0} bytes a stream");
        record.add(name, bytes);
    }
    Ok(())
}

async fn measure_flow(name: FlowName, size: Size, record: &mut Record) -> anyhow::Result<()> {
    let flow = Flow::new(name, size.streams);
    let floor = floor_of(&flow, size).await?;
    let ours = gateway_of(&flow, size).await?;
    match name {
        FlowName::Fanout => {
            record.add("floor_cpu_per_event_fanout", floor.cpu);
            record.add("stream_cpu_per_event_fanout", ours.cpu);
            record.add("stream_to_floor_fanout", ours.cpu / floor.cpu);
            record.add("floor_opens", floor.opens);
            record.add("stream_opens", ours.opens);
            record.add("floor_cpu_per_open", floor.open_cpu);
            record.add("stream_cpu_per_open", ours.open_cpu);
            record.add("opens_cpu_floor_to_stream", floor.open_cpu / ours.open_cpu);
        }
        FlowName::Jobs => {
            record.add("floor_cpu_per_event_jobs", floor.cpu);
            record.add("stream_cpu_per_event_jobs", ours.cpu);
            record.add("stream_to_floor_jobs", ours.cpu / floor.cpu);
        }
        FlowName::Burst => {
            record.add("stream_cpu_per_event_burst", ours.cpu);
            let fanout = "stream_cpu_per_event_fanout";
            if record.has(fanout) {
                record.add("burst_to_fanout", ours.cpu / record.last(fanout));
            }
        }
    }
    Ok(())
}

async fn gateway_of(flow: &Flow, size: Size) -> anyhow::Result<Took> {
    let scene = Scene::set(flow.logs, size.pin).await?;
    let mut replay = Replay::new(&scene.redis.addr(), To::Redis, scene.tips().await?).await?;
    let used = || scene.gateway_used();
    let paths = scene.paths(size.streams);
    took(flow, size, &scene.address, &paths, &mut replay, used).await
}

async fn floor_of(flow: &Flow, size: Size) -> anyhow::Result<Took> {
    let floor = FloorProcess::start(WIRE, size.pin)?;
    let logs = vec![(JobId::from_bytes([0; 16]), model::Cursor::START); flow.logs];
    let paths: Vec<_> = (0..size.streams).map(|n| format!("/{}", n % flow.logs)).collect();
    let mut replay = Replay::new(&floor.address, To::Floor, logs).await?;
    took(flow, size, &floor.address, &paths, &mut replay, || floor.used()).await
}

/// As many bytes as an event of a replay takes on the wire.
const WIRE: usize = 198;

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
    let (from, before_flow) = (used()?, crowd.wait_for(wanted).await?);
    run(flow, size, &mut crowd, replay, &mut wanted).await?;
    let (to, came) = (used()?, crowd.wait_for(wanted).await?);
    anyhow::ensure!(came.broken == 0, "{}: {} streams broke", flow.name, came.broken);
    let events = (came.count - before_flow.count) as f64;
    let bytes = (came.bytes - before_flow.bytes) as f64 / events;
    let cpu = (to.cpu - from.cpu) / events;
    let streams = paths.len() as f64;
    eprintln!("{} {address}: {cpu:.2} us an event of {bytes:.1} bytes, {events} events", flow.name);
    Ok(Took {
        cpu,
        open_cpu: (opened.cpu - before.cpu) / streams,
        opens: streams / crowd.opened.as_secs_f64(),
    })
}

/// The first events find everything cold, and the streams of jobs begin with one that was there before. `wanted` is how many have
/// come by then.
async fn warm(
    flow: &Flow,
    size: Size,
    crowd: &mut CrowdProcess,
    replay: &mut Replay,
    wanted: &mut u64,
) -> anyhow::Result<()> {
    run(flow, Size { time: Duration::ZERO, ..size }, crowd, replay, wanted).await?;
    run(flow, Size { time: Duration::ZERO, ..size }, crowd, replay, wanted).await
}

/// Rounds for as long as `size` says, at least one. Each waits for the one before to have come: events that pile up would go
/// together, as on no server that keeps up.
async fn run(
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

/// A Redis, a gateway of its own, and jobs that nobody has claimed.
struct Scene {
    redis: RedisServer,
    store: Store,
    gateway: Jobcast,
    address: String,
    jobs: Vec<JobId>,
}

impl Scene {
    async fn set(jobs: usize, pin: bool) -> anyhow::Result<Self> {
        let redis = RedisServer::builder().append_only(false).start().await;
        let store = Store::new(Options::new(Target::parse(&redis.url())?));
        let config = format!(
            "[store]\nurl = {:?}\n[auth]\nanonymous = true\n[gateway]\nmax_streams = 1000\n[tasks.{}]\n",
            redis.url(),
            task()
        );
        let address = format!("127.0.0.1:{}", free_port());
        let gateway = process::gateway(&address, config, pin);
        wait_http_ok(&format!("http://{address}/readyz"), SOON).await;
        let jobs = submit(&store, jobs).await?;
        Ok(Self { redis, store, gateway, address, jobs })
    }

    /// Of that many streams, over all jobs in turn.
    fn paths(&self, streams: usize) -> Vec<String> {
        self.jobs.iter().cycle().take(streams).map(|job| format!("/api/jobs/{job}/events")).collect()
    }

    async fn tips(&self) -> anyhow::Result<Vec<(JobId, model::Cursor)>> {
        let logs: Vec<_> = self.jobs.iter().map(|&job| LogId::from(job)).collect();
        let mut tips = Vec::new();
        for logs in logs.chunks(1000) {
            for tip in self.store.tips(logs).await {
                tips.push(tip?.unwrap_or(model::Cursor::START));
            }
        }
        Ok(self.jobs.iter().copied().zip(tips).collect())
    }

    fn gateway_used(&self) -> anyhow::Result<Used> {
        Used::of(self.gateway.pid())
    }
}

async fn submit(store: &Store, count: usize) -> anyhow::Result<Vec<JobId>> {
    let (mut lanes, mut jobs) = (JoinSet::new(), Vec::new());
    for lane in 0..32 {
        let store = store.clone();
        lanes.spawn(async move {
            let mut jobs = Vec::new();
            let job = NewJob { owner: Owner::anonymous(), ..new_job() };
            for _ in (lane..count).step_by(32) {
                let (Submitted::Created(id) | Submitted::Replayed(id)) = store.submit(&job).await?;
                jobs.push(id);
            }
            anyhow::Ok(jobs)
        });
    }
    for lane in lanes.join_all().await {
        jobs.extend(lane?);
    }
    Ok(jobs)
}
