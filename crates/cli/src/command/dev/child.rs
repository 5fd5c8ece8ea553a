//! One run of the private server: a child process that can't outlive us.
//!
//! It leads a process group of its own, so that Ctrl-C at the terminal doesn't reach it before gateways and worker have
//! drained. Where no destructor of ours runs (kill -9), a guard does: a shell that waits for the end of a pipe that we
//! alone hold open, and then stops the server.

use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::folder::{Folder, ServerLock};

/// How the server is set up, beside its socket: everything is on disk before it is answered, so jobs survive a kill;
/// no TCP port; nothing is evicted.
const SETTINGS: [(&str, &str); 8] = [
    ("port", "0"),
    ("unixsocketperm", "700"),
    ("appendonly", "yes"),
    ("appendfsync", "always"),
    ("save", ""),
    ("maxmemory-policy", "noeviction"),
    ("daemonize", "no"),
    ("dir", "."),
];

/// How long one question of [`answers`] may take.
const ANSWER: Duration = Duration::from_secs(1);

/// A running server. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct ServerChild {
    child: Child,
    guard: Child,
}

impl ServerChild {
    /// Starts `program` on `folder`, with its lock in its hands.
    pub(crate) fn spawn(program: &Path, folder: &Folder, lock: &ServerLock) -> io::Result<Self> {
        let log = folder.open_log()?;
        let mut command = Command::new(program);
        // Its socket by a short path where it can be: see `Folder::socket`.
        let socket = folder.socket().strip_prefix(folder.path()).unwrap_or(folder.socket());
        command.arg("--unixsocket").arg(socket);
        for (name, value) in SETTINGS {
            command.arg(format!("--{name}")).arg(value);
        }
        let child = command
            .current_dir(folder.path())
            .stdin(Stdio::from(lock.handle()?))
            .stdout(Stdio::from(log.try_clone()?))
            .stderr(Stdio::from(log))
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let pid = child.id().ok_or_else(|| io::Error::other("it ended at once"))?;
        lock.write_pid(pid)?;
        let guard = Command::new("sh")
            .args(["-c", r#"read -r _; kill -s TERM "$1""#, "guard", &pid.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self { child, guard })
    }

    /// Waits for its end. May be dropped and called again.
    pub(crate) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Stops it in order, its file complete, or after `limit` by force; returns when it and its guard are gone.
    pub(crate) async fn stop(mut self, limit: Duration) -> io::Result<ExitStatus> {
        // SIGTERM is the server's own way to stop: it writes what isn't on disk yet, then goes. No id: it has ended.
        if let Some(pid) = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let status = match timeout(limit, self.child.wait()).await {
            Ok(status) => status,
            Err(_elapsed) => {
                tracing::warn!("the private Redis server did not stop in time and is killed");
                self.child.start_kill()?;
                self.child.wait().await
            }
        };
        self.guard.kill().await?;
        status
    }
}

/// Whether the server on `socket` takes commands: it is up, and has loaded its data.
pub(crate) async fn answers(socket: &Path) -> bool {
    let ask = async {
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(b"PING\r\n").await?;
        let mut answer = [0; 7];
        stream.read_exact(&mut answer).await?;
        io::Result::Ok(answer == *b"+PONG\r\n")
    };
    timeout(ANSWER, ask).await.is_ok_and(|answer| answer.unwrap_or(false))
}
