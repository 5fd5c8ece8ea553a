//! A gateway, a worker or a courier: a process that is killed, paused and started again.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use parking_lot::Mutex;
use testkit::process::Jobcast;
use tokio::time::{Instant, sleep};

use crate::record::{Role, Target};

/// The number of the signal, which POSIX fixes.
const SIGTERM: i32 = 15;

/// One part of the world.
pub struct Part {
    target: Target,
    config: String,
    port: Option<u16>,
    planted: Option<String>,
    log: PathBuf,
    /// `None` while it is down.
    running: Mutex<Option<Jobcast>>,
}

impl Part {
    /// Starts the part with this configuration; a gateway on `port`. What it logs goes to a file of its own in `logs`.
    pub(super) fn start(
        target: Target,
        config: String,
        port: Option<u16>,
        planted: Option<String>,
        logs: &Path,
    ) -> Self {
        let log = logs.join(format!("{}-{}.log", target.role.name(), target.n));
        let _ = File::create(&log);
        let part = Self { target, config, port, planted, log, running: Mutex::new(None) };
        part.launch();
        part
    }

    /// Starts it again, unless it runs.
    pub fn launch(&self) {
        let mut running = self.running.lock();
        if running.is_some() {
            return;
        }
        let mut builder = Jobcast::builder().config(&self.config);
        builder = match self.port {
            Some(port) => builder.args(["gateway", "--listen", &format!("127.0.0.1:{port}")]),
            None if self.target.role == Role::Courier => builder.args(["courier"]),
            None => builder.program(worker_program()),
        };
        if let Some(planted) = &self.planted {
            builder = builder.env("JOBCAST_PLANT", planted);
        }
        *running = Some(builder.start());
    }

    /// SIGKILL; gone when this returns.
    pub fn kill(&self) {
        if let Some(process) = self.running.lock().take() {
            process.kill();
            self.keep(&process, "killed");
        }
    }

    /// SIGSTOP.
    pub fn pause(&self) {
        if let Some(process) = &*self.running.lock() {
            process.pause();
        }
    }

    /// SIGCONT.
    pub fn resume(&self) {
        if let Some(process) = &*self.running.lock() {
            process.resume();
        }
    }

    /// SIGTERM, and waits for the end; at `limit` it is killed. What was wrong with how it ended, if anything was.
    pub async fn stop(&self, limit: Duration) -> Option<String> {
        let asked = Instant::now();
        if let Some(process) = &*self.running.lock() {
            process.terminate();
        }
        loop {
            let ended = self.running.lock().as_ref().map(Jobcast::exited);
            let fault = match ended {
                None => return None,
                Some(None) if asked.elapsed() < limit => {
                    sleep(Duration::from_millis(50)).await;
                    continue;
                }
                Some(None) => Some(format!("it didn't end within {limit:?} of SIGTERM")),
                Some(Some(status)) if status.success() => None,
                Some(Some(status)) if status.signal() == Some(SIGTERM) && self.was_silent() => None,
                Some(Some(status)) => Some(format!("it ended with {status}")),
            };
            if let Some(process) = self.running.lock().take() {
                process.kill();
                self.keep(&process, "stopped");
            }
            return fault;
        }
    }

    /// Whether it hasn't logged anything: it was still starting, and had nothing that it could lose.
    fn was_silent(&self) -> bool {
        self.running.lock().as_ref().is_some_and(|process| process.stderr().is_empty())
    }

    /// Whether it ended by itself, and how.
    pub fn died(&self) -> Option<String> {
        let running = self.running.lock();
        running
            .as_ref()
            .and_then(Jobcast::exited)
            .map(|status| format!("{} ended with {status}", self.name()))
    }

    /// Runs, whatever was done to it.
    pub fn heal(&self) {
        self.resume();
        self.launch();
    }

    /// Its process id, unless it is down.
    pub(super) fn pid(&self) -> Option<u32> {
        self.running.lock().as_ref().map(Jobcast::pid)
    }

    /// `gateway 1`.
    pub fn name(&self) -> String {
        format!("{} {}", self.target.role.name(), self.target.n)
    }

    /// All that it has logged so far, in all of its lives.
    pub fn logged(&self) -> String {
        // As long as this is held, none of its lives comes to an end.
        let running = self.running.lock();
        let ended = std::fs::read_to_string(&self.log).unwrap_or_default();
        ended + &running.as_ref().map(Jobcast::stderr).unwrap_or_default()
    }

    /// Writes what it has logged so far to its file.
    pub fn keep_log(&self) {
        if let Some(process) = &*self.running.lock() {
            self.keep(process, "still running");
        }
    }

    fn keep(&self, process: &Jobcast, how: &str) {
        let Ok(mut file) = OpenOptions::new().append(true).open(&self.log) else { return };
        let _ = writeln!(file, "{}---- pid {}: {how}", process.stderr(), process.pid());
    }
}

/// The suite's worker: beside its own executable, or one folder above where that is a test.
fn worker_program() -> PathBuf {
    let own = std::env::current_exe().expect("the path of the suite's own executable");
    let folder = own.parent().expect("an executable is in a folder");
    let folder =
        if folder.ends_with("deps") { folder.parent().expect("deps is in a folder") } else { folder };
    folder.join("chaos-worker")
}
