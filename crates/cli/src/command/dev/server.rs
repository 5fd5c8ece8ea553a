//! The private server from start to stop: one that dies is started again.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::child::{ServerChild, answers};
use super::folder::{Folder, FolderError, ServerLock};

/// The pause between two looks whether a new server answers.
const LOOK: Duration = Duration::from_millis(20);
/// The pause before a server that died is started again; doubled each time that it dies young.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest such pause. One that lived longer than this did not die young.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How much of the log an error shows: the last lines.
const TOLD_LINES: usize = 8;

/// Why the server didn't start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServerError {
    /// Its folder can't be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// Its program can't be started.
    #[error("{} can't be started: {source}", program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It ended before it was ready.
    #[error("{} ended at its start, {status}; the end of {}:\n{said}", program.display(), log.display())]
    Ended {
        /// The program.
        program: PathBuf,
        /// How.
        status: ExitStatus,
        /// Where it says why.
        log: PathBuf,
        /// The last lines there.
        said: String,
    },
    /// We were asked to stop before it was ready.
    #[error("stopped before the private Redis server was ready")]
    Stopped,
}

/// The server, and the task that watches it. Dropped without [`Server::stop`], it is killed.
#[derive(Debug)]
pub(crate) struct Server {
    folder: Arc<Folder>,
    stop: CancellationToken,
    watch: JoinSet<()>,
}

impl Server {
    /// Starts `program` on `folder` and returns when it takes commands. `stopping` ends the wait.
    pub(crate) async fn start(
        program: PathBuf,
        folder: Folder,
        stopping: &CancellationToken,
    ) -> Result<Self, ServerError> {
        let lock = folder.server_lock().await?;
        let run = Run { program, folder: Arc::new(folder), lock };
        let mut child =
            run.spawn().map_err(|source| ServerError::Spawn { program: run.program.clone(), source })?;
        let ready = tokio::select! {
            ended = run.ready(&mut child) => ended,
            () = stopping.cancelled() => Err(ServerError::Stopped),
        };
        if let Err(error) = ready {
            let _ = child.stop(LONGEST_PAUSE).await;
            return Err(error);
        }
        let (folder, stop) = (Arc::clone(&run.folder), CancellationToken::new());
        let mut watch = JoinSet::new();
        watch.spawn(run.watch(child, stop.clone()));
        Ok(Self { folder, stop, watch })
    }

    /// Its address, as the configuration would have it.
    pub(crate) fn url(&self) -> String {
        url(self.folder.socket())
    }

    /// Its data's folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Stops it in order; returns when it is gone.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        while self.watch.join_next().await.is_some() {}
    }
}

/// What every run of the server needs.
struct Run {
    program: PathBuf,
    folder: Arc<Folder>,
    lock: ServerLock,
}

impl Run {
    fn spawn(&self) -> io::Result<ServerChild> {
        ServerChild::spawn(&self.program, &self.folder, &self.lock)
    }

    /// Waits until the server takes commands, or ends.
    async fn ready(&self, child: &mut ServerChild) -> Result<(), ServerError> {
        let answering = async {
            while !answers(self.folder.socket()).await {
                sleep(LOOK).await;
            }
        };
        let ended = tokio::select! {
            () = answering => return Ok(()),
            ended = child.ended() => ended,
        };
        let program = self.program.clone();
        match ended {
            Err(source) => Err(ServerError::Spawn { program, source }),
            Ok(status) => {
                let log = self.folder.log();
                let said = last_lines(&fs::read_to_string(&log).unwrap_or_default());
                Err(ServerError::Ended { program, status, log, said })
            }
        }
    }

    /// Starts the server again whenever it ends, until `stop`.
    async fn watch(self, child: ServerChild, stop: CancellationToken) {
        let (mut child, mut pause, mut since) = (Some(child), FIRST_PAUSE, Instant::now());
        loop {
            if let Some(mut running) = child.take() {
                tokio::select! {
                    () = stop.cancelled() => {
                        if let Err(error) = running.stop(2 * LONGEST_PAUSE).await {
                            tracing::warn!(%error, "the private Redis server may not have stopped");
                        }
                        return;
                    }
                    ended = running.ended() => {
                        let status = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
                        let log = self.folder.log();
                        tracing::error!(status, log = %log.display(), "the private Redis server ended; starting it again");
                    }
                }
            }
            if since.elapsed() > LONGEST_PAUSE {
                pause = FIRST_PAUSE;
            }
            if stop.run_until_cancelled(sleep(pause)).await.is_none() {
                return;
            }
            (pause, since) = ((2 * pause).min(LONGEST_PAUSE), Instant::now());
            child = self
                .spawn()
                .inspect_err(|error| tracing::error!(%error, "the private Redis server can't be started; trying again"))
                .ok();
        }
    }
}

/// The address of a server on `socket`, an absolute path.
fn url(socket: &Path) -> String {
    let mut url = String::from("unix://");
    for &byte in socket.as_os_str().as_encoded_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte) {
            url.push(char::from(byte));
        } else {
            let _ = write!(url, "%{byte:02X}"); // writing to a string can't fail
        }
    }
    url
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(TOLD_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::super::find;
    use super::*;

    #[test]
    fn the_address_of_a_socket() {
        for (path, expected) in [
            ("/home/a/.jobcast/redis.sock", "unix:///home/a/.jobcast/redis.sock"),
            ("/home/a b/ü?/redis.sock", "unix:///home/a%20b/%C3%BC%3F/redis.sock"),
        ] {
            assert_eq!(url(Path::new(path)), expected);
            service::config::StoreUrl::parse(expected).unwrap();
            store::Target::parse(expected).unwrap();
        }
    }

    #[test]
    fn the_end_of_a_log_is_told() {
        let text: Vec<String> = (0..20).map(|n| format!("line {n}\n")).collect();
        let told = last_lines(&text.join("\n"));
        assert!(told.starts_with("line 12\n") && told.ends_with("\nline 19"), "{told}");
        assert_eq!(last_lines(""), "");
    }

    fn program() -> PathBuf {
        find::find(None, &std::env::var_os("PATH").unwrap_or_default()).unwrap()
    }

    async fn start(folder: &Path) -> Result<Server, ServerError> {
        Server::start(program(), Folder::take(folder)?, &CancellationToken::new()).await
    }

    fn pid(folder: &Path) -> i32 {
        fs::read_to_string(folder.join("server.pid")).unwrap().trim().parse().unwrap()
    }

    fn alive(pid: i32) -> bool {
        rustix::process::test_kill_process(rustix::process::Pid::from_raw(pid).unwrap()).is_ok()
    }

    #[tokio::test]
    async fn it_runs_from_start_to_stop() {
        // A folder whose name an address can't hold as it is.
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("a b%ü");
        let server = start(&folder).await.unwrap();
        assert!(answers(&folder.join("redis.sock")).await);
        let pid = pid(&folder);
        assert!(alive(pid));
        server.stop().await;
        assert!(!alive(pid));
        start(&folder).await.unwrap().stop().await;
    }

    #[tokio::test]
    async fn one_that_dies_is_started_again() {
        let place = tempfile::tempdir().unwrap();
        let server = start(place.path()).await.unwrap();
        let first = pid(place.path());
        rustix::process::kill_process(
            rustix::process::Pid::from_raw(first).unwrap(),
            rustix::process::Signal::KILL,
        )
        .unwrap();
        testkit::eventually(Duration::from_secs(30), "another server answers", async || {
            pid(place.path()) != first && answers(&place.path().join("redis.sock")).await
        })
        .await;
        server.stop().await;
        assert!(!answers(&place.path().join("redis.sock")).await);
    }

    #[tokio::test]
    async fn one_that_cannot_run_says_why() {
        let place = tempfile::tempdir().unwrap();
        // A folder where its append-only files should be a folder of is a file.
        fs::write(place.path().join("appendonlydir"), "").unwrap();
        let error = start(place.path()).await.unwrap_err().to_string();
        assert!(error.contains("ended at its start, exit status: 1; the end of "), "{error}");
        assert!(error.to_lowercase().contains("append"), "{error}");
    }

    #[tokio::test]
    async fn a_stop_ends_the_wait_for_it() {
        let place = tempfile::tempdir().unwrap();
        let stopping = CancellationToken::new();
        stopping.cancel();
        // It may have been quicker.
        match Server::start(program(), Folder::take(place.path()).unwrap(), &stopping).await {
            Err(error) => assert!(matches!(error, ServerError::Stopped)),
            Ok(server) => server.stop().await,
        }
        Folder::take(place.path()).unwrap();
    }
}
