//! `make bench`: how fast it is, beside the bare scripts in the same run. Writes a summary; judges by the targets of
//! `figure::FIGURES`, and fails only where something didn't work.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Parser, Subcommand};
use measure::figure::{Record, Sum};
use measure::scene::Scene;
use measure::streams::crowd::{self, Carrier};
use measure::streams::profile::{self, Profiled};
use measure::streams::{Part, Peer};
use measure::{appends, bare, beside, jobs, memory, outputs, streams, submissions, webhooks, worker};
use serde_json::json;

/// What is measured in processes of the bench's own, a worker, a courier and what they are held against, has the binary's allocator.
#[cfg(all(feature = "jemalloc", unix, target_pointer_width = "64"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Measures, and writes target/bench/summary.json.
#[derive(Parser)]
struct Args {
    /// Only whether it works: one run of a few jobs
    #[arg(long)]
    short: bool,
    /// How many runs, each with a Redis of its own and with all parts in turn
    #[arg(long, default_value_t = 7)]
    runs: usize,
    /// How many jobs of each part
    #[arg(long, default_value_t = 10_000)]
    jobs: usize,
    /// How many streams of each part: at most what one process may have open
    #[arg(long, default_value_t = 10_000)]
    streams: usize,
    /// How many logs have nine streams each where memory is measured, and a ninth of the logs that have one
    #[arg(long, default_value_t = 2_000)]
    logs: usize,
    /// For how many seconds events come to streams
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// Only some parts
    #[arg(long, value_enum)]
    only: Option<Only>,
    /// The program of Valkey 9.1, on which an event's cost is measured too
    #[arg(long)]
    valkey: Option<PathBuf>,
    /// Leave it to the system on which cores couriers and the servers of streams run
    #[arg(long)]
    free: bool,
    /// Where the summary goes
    #[arg(long, default_value = "target/bench/summary.json")]
    out: PathBuf,
    #[command(subcommand)]
    role: Option<Role>,
}

/// A choice of parts.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Only {
    /// Jobs: submissions, workers, Redis' memory
    Jobs,
    /// What an event costs Redis
    Appends,
    /// Webhooks through a courier
    Webhooks,
    /// All that follows, without the others
    Streams,
    /// What an idle stream takes of memory
    Memory,
    /// What an event and an opening cost, beside the floor
    Events,
    /// How long an event takes to its client, after the events
    Latency,
    /// All streams come back at once
    Storm,
    /// An event's cost with few streams and with very many
    Growth,
    /// Streams through haproxy
    Proxy,
    /// Events a second through one core
    Throughput,
    /// Four gateways with as many streams as they may hold
    Fleet,
    /// Memory, events and latency beside Nchan and Pushpin, those of them that are installed
    Peers,
}

impl Only {
    fn of_streams(self) -> Vec<Part> {
        match self {
            Self::Jobs | Self::Appends | Self::Webhooks => Vec::new(),
            Self::Streams => Part::ALL.to_vec(),
            Self::Memory => vec![Part::Memory],
            Self::Events => vec![Part::Events],
            Self::Latency => vec![Part::Events, Part::Latency],
            Self::Storm => vec![Part::Storm],
            Self::Growth => vec![Part::Growth],
            Self::Proxy => vec![Part::Proxy],
            Self::Throughput => vec![Part::Throughput],
            Self::Fleet => vec![Part::Fleet],
            Self::Peers => Part::OF_PEERS.to_vec(),
        }
    }
}

#[derive(Subcommand)]
enum Role {
    /// Records where a gateway's processor time goes, with Linux' perf
    Profile {
        /// What it has to do meanwhile
        #[arg(value_enum)]
        what: Profiled,
        /// Where perf's recording goes
        #[arg(long)]
        recording: PathBuf,
    },
    /// What is measured: a worker with an empty handler
    #[command(hide = true)]
    Worker {
        #[arg(long)]
        url: String,
    },
    /// What is measured: a courier
    #[command(hide = true)]
    Courier {
        #[arg(long)]
        url: String,
    },
    /// What it is held against: a loop that posts
    #[command(hide = true)]
    Post {
        #[arg(long)]
        url: String,
        #[arg(long)]
        count: usize,
        #[arg(long)]
        body: String,
    },
    /// What streams are held against: a bare epoll loop
    #[command(hide = true)]
    StreamFloor {
        #[arg(long)]
        listen: String,
        #[arg(long)]
        bytes: usize,
    },
    /// Very many clients
    #[command(hide = true)]
    StreamCrowd {
        #[arg(long)]
        address: String,
        #[arg(long)]
        paths: PathBuf,
        #[arg(long, value_enum)]
        carrier: Carrier,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    match args.role {
        Some(Role::Worker { url }) => return worker::work(&url).await,
        Some(Role::Courier { url }) => return webhooks::deliver(&url).await,
        Some(Role::Post { url, count, body }) => return webhooks::post(url, count, body).await,
        Some(Role::StreamFloor { listen, bytes }) => {
            return streams::floor::serve(&std::net::TcpListener::bind(listen)?, bytes);
        }
        Some(Role::StreamCrowd { address, paths, carrier }) => {
            return crowd::gather(&address, &paths, carrier);
        }
        Some(Role::Profile { .. }) | None => {}
    }
    let (runs, jobs, finished) =
        if args.short { (1, 200, 200) } else { (args.runs.max(1), args.jobs.max(1000), FINISHED) };
    let size = if args.short {
        streams::Size { streams: 200, logs: 20, time: Duration::from_secs(1), pin: false }
    } else {
        let time = Duration::from_secs(args.seconds.max(1));
        streams::Size { streams: args.streams, logs: args.logs, time, pin: !args.free }
    };
    if let Some(Role::Profile { what, recording }) = &args.role {
        return profile::record(*what, size, recording).await;
    }
    if args.valkey.is_none() && args.only.is_none_or(|only| only == Only::Appends) {
        eprintln!("no Valkey (--valkey): its figures are left out");
    }
    let bad =
        if args.short { beside::Size { bad: 60, good: 20 } } else { beside::Size { bad: 1000, good: 1000 } };
    let of_streams = args.only.map_or(Part::ALL.to_vec(), Only::of_streams);
    // A short run is for what is ours.
    let with_peers = args.only.map_or(!args.short, |only| only == Only::Peers);
    let peers = if with_peers { Peer::installed() } else { Vec::new() };
    let load = load();
    let mut record = Record::default();
    for number in 1..=runs {
        eprintln!("run {number} of {runs}");
        let part = |part| args.only.is_none_or(|only| only == part);
        if part(Only::Jobs) {
            run(jobs, finished, &mut record).await?;
        }
        if part(Only::Webhooks) {
            // More, since a courier begins with one request at a time.
            webhooks::measure(4 * jobs, size.pin, &mut record).await?;
            beside::measure(bad, &mut record).await?;
        }
        if part(Only::Appends) {
            appends::measure(jobs, args.valkey.as_deref(), &mut record).await?;
            outputs::measure(&mut record).await?;
        }
        streams::measure(size, &of_streams, &peers, &mut record).await?;
    }
    let sums = record.sums();
    show(&sums);
    write(&args.out, &sums, runs, jobs, &load)
}

/// Over how many finished jobs their memory is measured.
const FINISHED: usize = 10_000;

/// One run of the jobs' parts: each once, on the same Redis.
async fn run(jobs: usize, finished: usize, record: &mut Record) -> anyhow::Result<()> {
    let scene = Scene::set().await?;
    bare::measure(&scene, jobs, record).await?;
    submissions::through_the_store(&scene, jobs, record).await?;
    submissions::over_http(&scene, jobs, record).await?;
    jobs::through_a_worker(&scene, record).await?;
    jobs::asked_of_redis(&scene, jobs / 10, record).await?;
    memory::measure(&scene, finished, record).await
}

fn show(sums: &[Sum]) {
    println!("| figure | median | min | max | unit | target | verdict |\n|---|---|---|---|---|---|---|");
    for Sum { name, median, min, max, unit, target, verdict } in sums {
        let target = target.map_or_else(|| "–".into(), |target| format!("{target:?}"));
        let verdict = verdict.map_or_else(|| "–".into(), |verdict| format!("{verdict:?}").to_lowercase());
        println!("| {name} | {median:.2} | {min:.2} | {max:.2} | {unit} | {target} | {verdict} |");
    }
}

fn write(out: &Path, sums: &[Sum], runs: usize, jobs: usize, load: &str) -> anyhow::Result<()> {
    let cores = std::thread::available_parallelism()?.get();
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    let summary = json!({
        "machine": { "cores": cores, "loadBefore": load },
        "build": build,
        "runs": runs,
        "jobs": jobs,
        "figures": sums,
    });
    if let Some(folder) = out.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(out, serde_json::to_string_pretty(&summary)? + "\n")?;
    eprintln!("written: {}", out.display());
    Ok(())
}

/// The machine's load when it began, over 1, 5 and 15 minutes; empty where the system doesn't say.
fn load() -> String {
    let words = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    words.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}
