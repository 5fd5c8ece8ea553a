//! The processes of a measurement: what they are started with, and what they have used.

use std::io::Write as _;
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

/// How long events may take to come, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a process has used so far.
#[derive(Clone, Copy, Debug)]
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
        for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
            // Nanoseconds on a processor come first. A thread may be over by now.
            let stat = std::fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
            cpu +=
                stat.split(' ').next().and_then(|word| word.parse::<f64>().ok()).unwrap_or_default() / 1000.0;
        }
        let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let line = rollup.lines().find_map(|line| line.strip_prefix("Private_Dirty:"));
        let kilobytes: f64 = line.context("Private_Dirty")?.trim().trim_end_matches(" kB").parse()?;
        Ok(Self { cpu, memory: kilobytes * 1024.0 })
    }
}

/// The first core is the server's, if it is pinned; the others are everybody else's.
fn pinned(server: bool) -> [&'static str; 3] {
    ["taskset", "-c", if server { "0" } else { "1" }]
}

/// A gateway that listens there.
pub(super) fn gateway(address: &str, config: String, pin: bool) -> Jobcast {
    let args = ["gateway", "--listen", address];
    let builder = Jobcast::builder().config(config);
    if !pin {
        return builder.args(args).start();
    }
    let [program, option, core] = pinned(true);
    builder.program(program).args([option, core]).arg(binary()).args(args).start()
}

fn ourselves(server: bool, pin: bool) -> anyhow::Result<Command> {
    let this = std::env::current_exe()?;
    if !pin {
        return Ok(Command::new(this));
    }
    let [program, option, core] = pinned(server);
    let mut command = Command::new(program);
    command.args([option, core]).arg(this);
    Ok(command)
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
        let child = ourselves(true, pin)?
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
}

impl CrowdProcess {
    /// Opens a stream for each of `paths`.
    pub(super) async fn gather(address: &str, paths: &[String], carrier: Carrier) -> anyhow::Result<Self> {
        let mut file = tempfile::NamedTempFile::new()?;
        file.write_all(paths.join("\n").as_bytes())?;
        let carrier = match carrier {
            Carrier::Socket => "socket",
            Carrier::Hyper => "hyper",
            Carrier::Http2 => "http2",
        };
        let path: PathBuf = file.path().to_owned();
        let mut child = ourselves(false, true)?
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

    /// What has come so far.
    pub(super) async fn events(&mut self) -> anyhow::Result<Came> {
        self.asks.write_all(b"?\n").await?;
        let line = self.answers.next_line().await?.context("the crowd is gone")?;
        let numbers = numbers(&line);
        Ok(Came { count: numbers[0], bytes: numbers[1], broken: numbers[2] })
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
