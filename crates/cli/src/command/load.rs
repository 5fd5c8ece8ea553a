//! `jobcast load`.

mod shown;

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use client::TaskName;
use load::{Plan, Report, Scenario};
use tokio::select;
use tokio_util::sync::CancellationToken;

use self::shown::Shown;
use super::people::{Exit, Failure, NoSettings, Secret, line, plain, time};
use crate::open_files;

const EXAMPLES: &str = "\
Examples:
  jobcast load fanout                        1,000 streams of one job, 10 events/s, for 30 s
  jobcast load idle --streams 19000 --pid $(pidof jobcast)   what an open stream costs
  jobcast load jobs --streams 6000 --jobs 3000 --rate 1000 --duration 2m
  jobcast load burst --url http://gw1:8080 --url http://gw2:8080
  jobcast load storm --html storm.html       all streams come back at once; a page with plots
  jobcast load fanout --streams 57000 --lead 10.0.0.5:7000 --processes 3
  jobcast load --join 10.0.0.5:7000          on two other machines, or twice more on this one

Ends with 0 if every stream told every event once and in order, with 1 if not. docs/LOAD.md
says what is measured.";

/// What the load is like.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// Streams of jobs that wait: what an open stream costs
    Idle,
    /// One job, followed by all streams
    Fanout,
    /// Many jobs, each followed by 1 to 3 streams
    Jobs,
    /// Many small outputs on few jobs, as from language models
    Burst,
    /// All streams are cut half-way, and come back at once
    Storm,
}

/// Loads gateways, and checks every stream.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Load {
    /// What the load is like
    #[arg(value_name = "SCENARIO", required_unless_present = "join")]
    scenario: Option<Kind>,

    /// A gateway, or the load balancer before several; may be repeated, and streams and reports take them in turn
    #[arg(
        long = "url",
        value_name = "URL",
        env = "JOBCAST_URL",
        hide_env_values = true,
        default_value = "http://127.0.0.1:8080",
        help_heading = "Connection"
    )]
    urls: Vec<String>,
    /// The API key, with the scopes submit, read and work; others on this machine can't see it in the variable
    #[arg(
        long,
        value_name = "KEY",
        env = "JOBCAST_KEY",
        hide_env_values = true,
        help_heading = "Connection"
    )]
    key: Option<Secret>,
    /// A local address to connect from; may be repeated: each has 28,000 ports or so
    #[arg(long = "bind", value_name = "IP", help_heading = "Connection")]
    sources: Vec<IpAddr>,

    /// A task that the gateways know. No worker gets its jobs
    #[arg(long, value_name = "TASK", default_value = "narrate")]
    task: TaskName,
    /// How many streams, over all processes
    #[arg(long, value_name = "N", default_value_t = 1000)]
    streams: usize,
    /// How many jobs [default: 1 for fanout, 4 for burst, half as many as streams for jobs, else a ninth]
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// How many events a second over all jobs; each goes to all streams of its job [default: fanout 10, jobs 500,
    /// burst 2000, storm 100]
    #[arg(long, value_name = "N")]
    rate: Option<f64>,
    /// For how long events are published, such as 30s or 5m
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "30s")]
    duration: Duration,
    /// The size of an event's JSON in bytes, about; the least is 161
    #[arg(long, value_name = "BYTES", default_value_t = 200)]
    size: usize,
    /// The most events in one report, 1 to 1000
    #[arg(long, value_name = "N", default_value_t = 100)]
    batch: usize,
    /// How many streams are being opened at one time, at first
    #[arg(long, value_name = "N", default_value_t = 128)]
    opening: usize,
    /// How many streams are opened in a second, at first, by each process [default: as many as can be]
    #[arg(long, value_name = "N")]
    open_rate: Option<f64>,

    /// A process of this machine to watch, such as a gateway: its processor time and memory; may be repeated
    #[arg(long = "pid", value_name = "PID", value_delimiter = ' ', help_heading = "Watching")]
    pids: Vec<u32>,
    /// The process of Redis, likewise
    #[arg(long, value_name = "PID", help_heading = "Watching")]
    redis_pid: Option<u32>,
    /// Writes the report as JSON; - is stdout, in place of the table
    #[arg(long, value_name = "FILE", help_heading = "Watching")]
    json: Option<PathBuf>,
    /// Writes the report as a page with plots, all in one file
    #[arg(long, value_name = "FILE", help_heading = "Watching")]
    html: Option<PathBuf>,

    /// Waits at this address for other processes to join, so that more streams can be held than one may have open files
    #[arg(long, value_name = "ADDRESS", requires = "processes", help_heading = "Several processes")]
    lead: Option<SocketAddr>,
    /// How many processes share the run, this one included
    #[arg(long, value_name = "N", requires = "lead", help_heading = "Several processes")]
    processes: Option<usize>,
    /// Joins the run that is led at this address, and takes its plan from there
    #[arg(
        long,
        value_name = "ADDRESS",
        conflicts_with_all = ["lead", "json", "html", "pids", "redis_pid"],
        help_heading = "Several processes"
    )]
    join: Option<SocketAddr>,

    #[command(flatten)]
    settings: NoSettings,
}

impl Load {
    pub(super) async fn run(&self) -> Result<Exit, Failure> {
        self.settings.check()?;
        open_files::raise();
        let stop = CancellationToken::new();
        let asked = stop.clone();
        let work = async {
            match (self.join, self.scenario) {
                (Some(leader), _) => self.join(leader, stop).await,
                (None, Some(scenario)) => self.load(scenario, stop).await,
                (None, None) => Err(Failure::Usage("a scenario is needed, such as fanout".into())),
            }
        };
        select! {
            ended = work => ended.map(|exit| if asked.is_cancelled() { Exit::Interrupted } else { exit }),
            () = interrupted_twice(&asked) => Ok(Exit::Interrupted),
        }
    }

    async fn join(&self, leader: SocketAddr, stop: CancellationToken) -> Result<Exit, Failure> {
        let mut shown = Shown::new();
        let joined =
            load::join(leader, self.key(), self.sources.clone(), stop, |counts| shown.joined(counts));
        joined.await.map_err(Box::new)?;
        Ok(Exit::Done)
    }

    async fn load(&self, scenario: Kind, stop: CancellationToken) -> Result<Exit, Failure> {
        // Whether they can be written is known before a run of hours.
        for file in [&self.html, &self.json].into_iter().flatten().filter(|file| !is_stdout(file)) {
            write(file, "")?;
        }
        let mut shown = Shown::new();
        let ran = load::run(self.plan(scenario), stop, |progress| shown.progress(&progress)).await;
        drop(shown);
        let report = ran.map_err(Box::new)?;
        self.tell(&report)?;
        Ok(if report.is_clean() { Exit::Done } else { Exit::Failed })
    }

    fn tell(&self, report: &Report) -> Result<(), Failure> {
        if let Some(file) = &self.html {
            write(file, &report.html())?;
        }
        let Some(file) = &self.json else { return line(&plain(report.table().trim_end())) };
        let json = serde_json::to_string_pretty(report).unwrap_or_default();
        if is_stdout(file) {
            return line(&json);
        }
        write(file, &format!("{json}\n"))?;
        line(&plain(report.table().trim_end()))
    }

    fn key(&self) -> Option<String> {
        self.key.as_ref().map(|key| key.expose().to_owned()).filter(|key| !key.is_empty())
    }

    fn plan(&self, scenario: Kind) -> Plan {
        let scenario = match scenario {
            Kind::Idle => Scenario::Idle,
            Kind::Fanout => Scenario::Fanout,
            Kind::Jobs => Scenario::Jobs,
            Kind::Burst => Scenario::Burst,
            Kind::Storm => Scenario::Storm,
        };
        Plan {
            scenario,
            urls: self.urls.clone(),
            key: self.key(),
            task: self.task.clone(),
            streams: self.streams,
            jobs: self.jobs,
            rate: self.rate,
            duration: self.duration,
            size: self.size,
            batch: self.batch,
            opening: self.opening,
            open_rate: self.open_rate,
            sources: self.sources.clone(),
            pids: self.pids.clone(),
            redis_pid: self.redis_pid,
            lead: self.lead.zip(self.processes),
        }
    }
}

fn is_stdout(file: &Path) -> bool {
    file == Path::new("-")
}

fn write(file: &Path, text: &str) -> Result<(), Failure> {
    fs::write(file, text).map_err(|error| Failure::Usage(format!("{}: {error}", file.display())))
}

/// The first Ctrl-C cuts the run short, the second one ends at once.
async fn interrupted_twice(stop: &CancellationToken) {
    for _ in 0..2 {
        if tokio::signal::ctrl_c().await.is_err() {
            return std::future::pending().await;
        }
        if stop.is_cancelled() {
            return;
        }
        stop.cancel();
    }
}
