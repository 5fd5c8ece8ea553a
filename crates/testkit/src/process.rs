//! The real `jobcast` binary as a child process, to kill, stop and continue.

mod binary;

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::eventually_some;
use crate::group::{Group, print_tail};

/// A running `jobcast`, the leader of a process group of its own.
///
/// Dropping it kills the whole group; if the test is panicking, the end of its output goes to stderr.
pub struct Jobcast {
    /// What it was started with, for messages.
    title: String,
    group: Mutex<Group>,
    /// Its output and its configuration; also its working directory, unless another was chosen.
    folder: TempDir,
}

/// What to start, and how.
#[derive(Debug, Clone, Default)]
pub struct JobcastBuilder {
    program: Option<PathBuf>,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    config: Option<String>,
    cwd: Option<PathBuf>,
    stdin: Option<Vec<u8>>,
}

impl JobcastBuilder {
    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().into()));
        self
    }

    /// Sets an environment variable. Settings (`JOBCAST__…`) in the test's own environment are not passed on.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().into(), value.as_ref().into()));
        self
    }

    /// Writes this text to a file of its own, and ends the arguments with `--config <that file>`.
    #[must_use]
    pub fn config(mut self, toml: impl Into<String>) -> Self {
        self.config = Some(toml.into());
        self
    }

    /// Chooses the working directory; by default it is a temporary folder of its own.
    #[must_use]
    pub fn cwd(mut self, folder: impl Into<PathBuf>) -> Self {
        self.cwd = Some(folder.into());
        self
    }

    /// Gives it this standard input; by default it has none.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// Starts another program instead, with the same care: a worker in another language, say.
    #[must_use]
    pub fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = Some(program.into());
        self
    }

    /// Starts it, and returns at once: see [`wait_http_ok`](crate::wait_http_ok). Panics if the binary is missing or
    /// older than its sources.
    pub fn start(self) -> Jobcast {
        let folder = tempfile::Builder::new().prefix("jobcast-").tempdir().expect("a temporary folder");
        let program = self.program.unwrap_or_else(binary::find);
        let mut command = Command::new(&program);
        command.args(&self.args);
        if let Some(toml) = self.config {
            let file = folder.path().join("jobcast.toml");
            fs::write(&file, toml).expect("the temporary folder can be written");
            command.arg("--config").arg(file);
        }
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"JOBCAST__") {
                command.env_remove(name);
            }
        }
        command.envs(self.env).current_dir(self.cwd.as_deref().unwrap_or(folder.path()));
        command.stdin(match self.stdin {
            None => Stdio::null(),
            Some(bytes) => {
                let file = folder.path().join(STDIN);
                fs::write(&file, bytes).expect("the temporary folder can be written");
                File::open(file).expect("what was written can be read").into()
            }
        });
        let output =
            |name| File::create(folder.path().join(name)).expect("the temporary folder can be written");
        command.stdout(output(STDOUT)).stderr(output(STDERR));
        let group =
            Group::spawn(&mut command).unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let args = self.args.iter().map(|arg| arg.to_string_lossy().into_owned());
        let title = std::iter::once(name).chain(args).collect::<Vec<_>>().join(" ");
        Jobcast { title, group: Mutex::new(group), folder }
    }
}

/// Names of the files in its folder.
const STDIN: &str = "stdin";
const STDOUT: &str = "stdout.log";
const STDERR: &str = "stderr.log";

/// The `jobcast` binary, for tests that have another program start it. Panics if it is missing or older than its sources.
pub fn binary() -> PathBuf {
    binary::find()
}

impl Jobcast {
    /// Chooses what to start.
    pub fn builder() -> JobcastBuilder {
        JobcastBuilder::default()
    }

    /// Its process id, which is also its group's.
    pub fn pid(&self) -> u32 {
        self.group.lock().id()
    }

    /// Kills it alone (SIGKILL) and returns when it is gone. Its children stay, as with any `kill -9`, until
    /// [`Self::kill_group`] or the drop.
    pub fn kill(&self) {
        self.group.lock().kill();
    }

    /// Kills it and all of its children that are in its group.
    pub fn kill_group(&self) {
        let mut group = self.group.lock();
        group.signal_all(Signal::KILL);
        group.kill();
    }

    /// Asks it to stop (SIGTERM), and returns at once.
    pub fn terminate(&self) {
        self.group.lock().signal(Signal::TERM);
    }

    /// Sends SIGINT to the whole group, as Ctrl-C at a terminal does, and returns at once.
    pub fn interrupt(&self) {
        self.group.lock().signal_all(Signal::INT);
    }

    /// Stops it in the middle of whatever it does (SIGSTOP); its children go on.
    pub fn pause(&self) {
        self.group.lock().signal(Signal::STOP);
    }

    /// Lets it go on after [`Self::pause`] (SIGCONT).
    pub fn resume(&self) {
        self.group.lock().signal(Signal::CONT);
    }

    /// How it ended, or `None` while it runs or is paused.
    pub fn exited(&self) -> Option<ExitStatus> {
        self.group.lock().ended()
    }

    /// Waits until it ends by itself; panics at the deadline.
    pub async fn wait_exit(&self, deadline: Duration) -> ExitStatus {
        let what = format!("`{}` ends", self.title);
        eventually_some(deadline, &what, async || self.exited()).await
    }

    /// Its standard output so far; bytes that are not UTF-8 are replaced.
    pub fn stdout(&self) -> String {
        self.output(STDOUT)
    }

    /// Its standard error so far; bytes that are not UTF-8 are replaced.
    pub fn stderr(&self) -> String {
        self.output(STDERR)
    }

    /// Its folder: its working directory by default, and the place of its configuration and output.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn output(&self, name: &str) -> String {
        let bytes = fs::read(self.folder.path().join(name)).expect("its output is in its folder");
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Jobcast {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.group.get_mut().signal_all(Signal::KILL);
            self.group.get_mut().kill();
            for name in [STDOUT, STDERR] {
                print_tail(&format!("{} ({name})", self.title), &self.folder.path().join(name));
            }
        }
    }
}

impl std::fmt::Debug for Jobcast {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Jobcast")
            .field("title", &self.title)
            .field("pid", &self.pid())
            .finish_non_exhaustive()
    }
}
