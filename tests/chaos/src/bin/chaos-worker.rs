//! A worker whose one task, `counted`, says in its outputs how many it has made: a lost or repeated one shows.
//!
//! It is the real worker, with the real store under it; only the handler is the suite's own.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use model::{Json, TaskName};
use serde::{Deserialize, Serialize};
use service::config::{Config, DurabilityConfig};
use service::metrics::Metrics;
use service::start;
use store::{Durability, Replication, Store, SweepOptions, Target};
use worker::{AnyHandler, Context, Failure, Handler, WorkerMetrics};

/// What it takes beyond the times that the configuration gives it.
const SLACK: Duration = Duration::from_secs(5);

#[derive(Parser)]
struct Args {
    /// The configuration, as the roles have it.
    #[arg(long)]
    config: PathBuf,
}

/// What a job is to do.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    /// How many outputs.
    outputs: u64,
    /// The pause before each.
    pace_ms: u64,
    /// On the first attempt: gives up after so many outputs, to be tried again.
    retry_after: Option<u64>,
    /// Gives up for good after all outputs.
    #[serde(default)]
    fails: bool,
}

/// What it shows: its own counter, from 1 in each attempt.
#[derive(Serialize)]
struct Output {
    n: u64,
}

struct Counted;

impl Handler for Counted {
    async fn run(&self, ctx: Context, payload: Json) -> Result<Json, Failure> {
        let payload: Payload =
            serde_json::from_str(payload.as_str()).map_err(|error| Failure::fatal(error.to_string()))?;
        let json = |n| Json::of(&Output { n }).map_err(|error| Failure::fatal(error.to_string()));
        for n in 1..=payload.outputs {
            tokio::time::sleep(Duration::from_millis(payload.pace_ms)).await;
            ctx.output(&json(n)?).await?;
            let (done, all) = (u32::try_from(n), u32::try_from(payload.outputs));
            ctx.progress(
                100.0 * f64::from(done.unwrap_or(u32::MAX)) / f64::from(all.unwrap_or(u32::MAX)),
                "counting",
            );
            if ctx.attempt() == 1 && payload.retry_after == Some(n) {
                return Err(Failure::retry("it was to give up on its first attempt"));
            }
        }
        if payload.fails {
            return Err(Failure::fatal("it was to fail"));
        }
        json(payload.outputs)
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    match run(&Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chaos-worker: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> anyhow::Result<()> {
    let config = Config::load(Some(&args.config), &[])?.config;
    let shutdown = start::start(&config.log)?;
    let store = Store::new(store_options(&config)?);
    let sweeps = SweepOptions { interval: config.jobs.sweep, lease: config.jobs.lease };
    shutdown.tasks().spawn(store::sweep_until(store.clone(), sweeps, shutdown.soft().clone()));
    let task: TaskName = "counted".parse()?;
    let capped: TaskName = "capped".parse()?;
    let handler: Arc<dyn AnyHandler> = Arc::new(Counted);
    let parts = worker::Parts {
        store: store.clone(),
        options: worker_options(&config),
        handlers: HashMap::from([(task, Arc::clone(&handler)), (capped, handler)]),
        metrics: WorkerMetrics::new(&Metrics::new()),
    };
    let limit = config.worker.grace + SLACK;
    let stop = shutdown.clone();
    shutdown.tasks().spawn(async move {
        worker::run(parts, &stop).await;
        store.close().await;
    });
    shutdown.soft().cancelled().await;
    shutdown.finish(limit).await;
    Ok(())
}

/// As `jobcast worker` makes them of the configuration. Every field is named: a new one has to be thought of here too.
fn store_options(config: &Config) -> anyhow::Result<store::Options> {
    let section = &config.store;
    Ok(store::Options {
        target: Target::parse(section.url.expose())?,
        prefix: section.prefix.as_str().to_owned(),
        partitions: section.partitions,
        patience: section.patience,
        response_timeout: section.response_timeout,
        connect_timeout: section.connect_timeout,
        ping: config.stream.ping,
        durability: match section.durability {
            DurabilityConfig::Local => Durability::Local,
            DurabilityConfig::Replicated => Durability::Replicated(Replication {
                replicas: section.replicas,
                within: section.replication_timeout,
            }),
        },
        max_event: config.jobs.max_event.as_usize(),
    })
}

/// The same for how it works; the suite's tasks have no limits of their own.
fn worker_options(config: &Config) -> worker::Options {
    let (section, jobs) = (&config.worker, &config.jobs);
    worker::Options {
        concurrency: usize::try_from(section.concurrency).unwrap_or(usize::MAX),
        task_concurrency: HashMap::new(),
        limits: HashMap::new(),
        lease: jobs.lease,
        heartbeat: jobs.heartbeat,
        grace: section.grace,
        max_blind: section.max_blind,
        progress_interval: section.progress_interval,
        text_interval: section.text_interval,
        buffer: section.buffer.as_usize(),
        max_event: jobs.max_event.as_usize(),
        max_result: jobs.max_result.as_usize(),
    }
}
