//! Where a gateway's processor time goes: perf looks on while it holds streams, sends events, or has all streams come back at
//! once. `scripts/profile` draws the pictures.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::sleep;

use super::Size;
use super::crowd::Carrier;
use super::flow::{self, Flow, run, warm};
use super::process::CrowdProcess;
use super::scene::Scene;

/// What a gateway is looked at for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Profiled {
    /// Streams on which nothing happens but heartbeats
    Idle,
    /// One log that all follow
    Fanout,
    /// A log for each stream
    Jobs,
    /// Ten events at once on each of a few logs
    Burst,
    /// All streams come back at once
    Storm,
}

/// Records what a gateway does for `what`, to a file that `perf script` reads.
pub async fn record(what: Profiled, size: Size, recording: &Path) -> anyhow::Result<()> {
    match what {
        Profiled::Idle => idle(size, recording).await,
        Profiled::Fanout => flowing(flow::fanout(size.streams), size, recording).await,
        Profiled::Jobs => flowing(flow::jobs(size.streams), size, recording).await,
        Profiled::Burst => flowing(flow::burst(size.streams), size, recording).await,
        Profiled::Storm => storm(size, recording).await,
    }
}

async fn flowing(flow: Flow, size: Size, recording: &Path) -> anyhow::Result<()> {
    let scene = Scene::set(flow.logs, size.pin).await?;
    let mut replay = scene.replay().await?;
    let mut crowd = CrowdProcess::gather(&scene.address, &scene.paths(size.streams), Carrier::Socket).await?;
    let mut wanted = size.streams as u64;
    warm(&flow, size, &mut crowd, &mut replay, &mut wanted).await?;
    let perf = Perf::start(scene.gateway_pid(), recording).await?;
    run(&flow, size, &mut crowd, &mut replay, &mut wanted).await?;
    perf.stop().await
}

async fn idle(size: Size, recording: &Path) -> anyhow::Result<()> {
    let scene = Scene::set(size.logs, size.pin).await?;
    let _crowd = CrowdProcess::gather(&scene.address, &scene.paths(size.streams), Carrier::Socket).await?;
    sleep(SETTLED).await;
    let perf = Perf::start(scene.gateway_pid(), recording).await?;
    // There is little to see, and heartbeats are far apart.
    sleep(size.time.max(Duration::from_secs(15)) * 2).await;
    perf.stop().await
}

async fn storm(size: Size, recording: &Path) -> anyhow::Result<()> {
    let scene = Scene::set(size.logs, size.pin).await?;
    let paths = scene.paths(size.streams);
    let before = CrowdProcess::gather(&scene.address, &paths, Carrier::Socket).await?;
    let perf = Perf::start(scene.gateway_pid(), recording).await?;
    drop(before);
    let _after = CrowdProcess::gather(&scene.address, &paths, Carrier::Socket).await?;
    perf.stop().await
}

/// How long openings go on to be worked at.
const SETTLED: Duration = Duration::from_secs(2);

/// A running perf.
struct Perf(Child);

impl Perf {
    /// Looks on at the process `pid` from now on, hundreds of times a second. The processor's own counters aren't to be had in
    /// most virtual machines, so it goes by the clock.
    async fn start(pid: u32, recording: &Path) -> anyhow::Result<Self> {
        let mut child = Command::new("perf")
            .args([
                "record",
                "--quiet",
                "--event",
                "cpu-clock",
                "--freq",
                "499",
                "--call-graph",
                "dwarf,65528",
            ])
            .args(["--pid", &pid.to_string(), "--output"])
            .arg(recording)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("perf can't be started; it is in Debian's linux-perf")?;
        sleep(Duration::from_millis(500)).await;
        ensure!(child.try_wait()?.is_none(), "perf ended at once: it may not look at other processes here");
        Ok(Self(child))
    }

    /// Ends it, and waits until its recording is whole.
    async fn stop(mut self) -> anyhow::Result<()> {
        let pid = self.0.id().and_then(|pid| Pid::from_raw(pid.cast_signed())).context("perf runs")?;
        kill_process(pid, Signal::INT)?;
        self.0.wait().await?;
        Ok(())
    }
}
