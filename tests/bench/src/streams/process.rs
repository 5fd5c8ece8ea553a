//! The processes of a measurement: what they are started with, and what they have used.

use std::fs;
use std::io::Write as _;
use std::ops::Range;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use testkit::free_port;
use testkit::process::{Jobcast, binary};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::Instant;

use super::crowd::Carrier;
use crate::cores::as_server;

/// How long events may take to come, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Used {
    /// Processor time in microseconds.
    pub cpu: f64,
    /// What it holds of memory now, in bytes.
    pub memory: f64,
}

impl Used {
    /// What the process `pid` has.
    pub(super) fn of(pid: u32) -> anyhow::Result<Self> {
        let mut cpu = 0.0;
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            // Nanoseconds on a processor come first. A thread may be over by now.
            let stat = fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
            cpu +=
                stat.split(' ').next().and_then(|word| word.parse::<f64>().ok()).unwrap_or_default() / 1000.0;
        }
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let line = rollup.lines().find_map(|line| line.strip_prefix("Private_Dirty:"));
        let kilobytes: f64 = line.context("Private_Dirty")?.trim().trim_end_matches(" kB").parse()?;
        Ok(Self { cpu, memory: kilobytes * 1024.0 })
    }

    /// What it has, and those that it started have.
    pub(super) fn of_all(pid: u32) -> anyhow::Result<Self> {
        let mut all = Self::of(pid)?;
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            let children = fs::read_to_string(thread?.path().join("children"))?;
            for child in children.split_whitespace() {
                let child = Self::of_all(child.parse()?)?;
                all = Self { cpu: all.cpu + child.cpu, memory: all.memory + child.memory };
            }
        }
        Ok(all)
    }
}

/// Where a program is: in PATH, or where only root's PATH leads.
pub(super) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// A gateway that listens there.
pub(super) fn gateway(address: &str, config: String, pin: bool) -> Jobcast {
    let (program, args) = as_server(binary(), pin);
    let builder = Jobcast::builder().config(config).program(program).args(args);
    builder.args(["gateway", "--listen", address]).start()
}

/// The floor of streams.
pub(super) struct FloorProcess {
    child: Child,
    /// Where it listens.
    pub address: String,
}

impl FloorProcess {
    /// One whose events take so many bytes on the wire.
    pub(super) fn start(bytes: usize, pin: bool) -> anyhow::Result<Self> {
        let address = format!("127.0.0.1:{}", free_port());
        let (program, args) = as_server(std::env::current_exe()?, pin);
        let child = Command::new(program)
            .args(args)
            .args(["stream-floor", "--listen", &address, "--bytes", &bytes.to_string()])
            .kill_on_drop(true)
            .spawn()?;
        while std::net::TcpStream::connect(&address).is_err() {
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(Self { child, address })
    }

    /// What it has used.
    pub(super) fn used(&self) -> anyhow::Result<Used> {
        Used::of(self.child.id().context("it runs")?)
    }
}

/// Clients, all of whose streams are open.
pub(super) struct CrowdProcess {
    _child: Child,
    asks: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    /// How many streams.
    pub streams: usize,
    /// How long the opening took.
    pub opened: Duration,
    _paths: tempfile::NamedTempFile,
}

/// What has come to clients.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Came {
    /// Events.
    pub count: u64,
    /// Bytes, of everything.
    pub bytes: u64,
    /// Streams that ended or failed.
    pub broken: u64,
    /// Events that were written together with one before them, where streams are in chunks.
    pub together: u64,
}

/// How long events took to clients, in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Latency {
    pub median: f64,
    pub p99: f64,
}

impl CrowdProcess {
    /// Opens a stream for each of `paths`.
    pub(super) async fn gather(address: &str, paths: &[String], carrier: Carrier) -> anyhow::Result<Self> {
        let mut file = tempfile::NamedTempFile::new()?;
        file.write_all(paths.join("\n").as_bytes())?;
        let carrier = match carrier {
            Carrier::Socket => "socket",
            Carrier::Http10 => "http10",
            Carrier::Http2 => "http2",
        };
        let path: PathBuf = file.path().to_owned();
        let mut child = Command::new(std::env::current_exe()?)
            .args(["stream-crowd", "--address", address, "--carrier", carrier, "--paths"])
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let asks = child.stdin.take().context("its input")?;
        let mut answers = BufReader::new(child.stdout.take().context("its output")?).lines();
        let line = answers.next_line().await?.context("the crowd could not be gathered")?;
        let numbers = numbers(&line);
        let (streams, opened) = (usize::try_from(numbers[0])?, Duration::from_nanos(numbers[1]));
        Ok(Self { _child: child, asks, answers, streams, opened, _paths: file })
    }

    /// Drops all streams and opens them again at `address`, all at once; how long that took.
    pub(super) async fn again(&mut self, address: &str) -> anyhow::Result<Duration> {
        Ok(Duration::from_nanos(self.ask(&format!("again {address}\n")).await?[1]))
    }

    /// What has come so far.
    pub(super) async fn events(&mut self) -> anyhow::Result<Came> {
        let numbers = self.ask("events\n").await?;
        Ok(Came { count: numbers[0], bytes: numbers[1], broken: numbers[2], together: numbers[3] })
    }

    /// How long those took that came since it was asked last and say when they were due.
    pub(super) async fn latency(&mut self) -> anyhow::Result<Latency> {
        let numbers = self.ask("latency\n").await?;
        anyhow::ensure!(numbers[2] > 0, "no event says when it was due");
        let [median, p99] = [numbers[0], numbers[1]].map(|us| us as f64 / 1000.0);
        Ok(Latency { median, p99 })
    }

    /// Waits until each of these streams, all on sockets of their own, has got so many events.
    pub(super) async fn wait_for_each(&mut self, streams: Range<usize>, count: u64) -> anyhow::Result<()> {
        let end = Instant::now() + PATIENCE;
        let question = format!("slowest {} {}\n", streams.start, streams.end);
        loop {
            let least = self.ask(&question).await?[0];
            if least >= count {
                return Ok(());
            }
            anyhow::ensure!(Instant::now() < end, "only {least} events of {count} came to some stream");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn ask(&mut self, what: &str) -> anyhow::Result<Vec<u64>> {
        self.asks.write_all(what.as_bytes()).await?;
        Ok(numbers(&self.answers.next_line().await?.context("the crowd is gone")?))
    }

    /// Waits until so many events have come in all.
    pub(super) async fn wait_for(&mut self, count: u64) -> anyhow::Result<Came> {
        let end = Instant::now() + PATIENCE;
        loop {
            let came = self.events().await?;
            if came.count >= count {
                anyhow::ensure!(came.count == count, "{} events came of {count}", came.count);
                return Ok(came);
            }
            anyhow::ensure!(Instant::now() < end, "only {} events came of {count}", came.count);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn numbers(line: &str) -> Vec<u64> {
    line.split(' ').skip(1).map(|word| word.parse().unwrap_or(0)).collect()
}
