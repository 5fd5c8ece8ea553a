//! A worker process whose handlers do nothing, or put out very much: this program, started once more.

use std::collections::HashMap;
use std::io::Read;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use model::Json;
use service::stop::Shutdown;
use store::{Options, Store, SweepOptions, Target};
use tokio::process::{Child, Command};
use worker::{Context, Failure, Handler, Parts, WorkerMetrics};

use crate::scene::{burst, task};

/// How many attempts run at once.
const CONCURRENCY: usize = 64;

struct Empty;

impl Handler for Empty {
    async fn run(&self, _: Context, _: Json) -> Result<Json, Failure> {
        Ok(Json::null())
    }
}

/// How many outputs [`Burst`] makes, and how many a millisecond.
pub const OUTPUTS: usize = 4000;
const EACH_TIME: usize = 2;

/// 2,000 small outputs a second, for two seconds.
struct Burst;

impl Handler for Burst {
    async fn run(&self, ctx: Context, _: Json) -> Result<Json, Failure> {
        let mut ticks = tokio::time::interval(Duration::from_millis(1));
        for n in 0..OUTPUTS {
            if n % EACH_TIME == 0 {
                ticks.tick().await;
            }
            let output = Json::of(&n).map_err(|error| Failure::fatal(error.to_string()))?;
            ctx.output(&output).await?;
        }
        Ok(Json::null())
    }
}

/// Starts one. It ends with the handle, and with this process.
pub fn start(url: &str) -> anyhow::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    Ok(command.args(["worker", "--url", url]).stdin(Stdio::piped()).kill_on_drop(true).spawn()?)
}

/// What the process does: works until its standard input ends.
pub async fn work(url: &str) -> anyhow::Result<()> {
    let store = Store::new(Options::new(Target::parse(url)?));
    let options = worker::Options { concurrency: CONCURRENCY, ..worker::Options::default() };
    let shutdown = Shutdown::manual();
    let sweeps = SweepOptions { interval: Duration::from_secs(1), lease: options.lease };
    shutdown.tasks().spawn(store::sweep_until(store.clone(), sweeps, shutdown.soft().clone()));
    let handlers =
        HashMap::from([(task(), Arc::new(Empty) as Arc<dyn worker::AnyHandler>), (burst(), Arc::new(Burst))]);
    let parts = Parts { store, options, handlers, metrics: WorkerMetrics::default() };
    let stop = shutdown.clone();
    shutdown.tasks().spawn(async move { worker::run(parts, &stop).await });
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    shutdown.stop_soft();
    shutdown.finish(Duration::from_secs(5)).await;
    Ok(())
}
