//! The folder of the private server's data, and who may use it.
//!
//! Two locks keep two servers from writing one append-only file. `lock` is held by `jobcast dev` for its whole life.
//! `server.pid` is locked by the server itself: the open file is its standard input, so the kernel holds the lock
//! exactly as long as the server lives, whatever becomes of us; and as long as it is held, the number in the file is
//! the server's. So a server that outlived a `kill -9` of `jobcast dev` is known for sure, and stopped.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// How long a server that was left over may take to stop by SIGTERM, and how long to be gone after SIGKILL.
const STOP: Duration = Duration::from_secs(10);
/// The pause between two looks at a lock.
const LOOK: Duration = Duration::from_millis(20);
/// The longest path of a Unix socket, in bytes, on every system that we know (macOS; Linux takes 107).
const MAX_SOCKET: usize = 103;
/// The server's socket, in the folder.
const SOCKET: &str = "redis.sock";
/// What the server says, in the folder.
const LOG: &str = "redis.log";
/// A log longer than this begins anew with the next start, in bytes.
const MAX_LOG: u64 = 1 << 20;

/// Why the folder can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FolderError {
    /// Something in it can't be made, read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another `jobcast dev` has it.
    #[error("another `jobcast dev` is using {}: stop it, or choose another folder with --dir", .0.display())]
    InUse(PathBuf),
    /// A server of an earlier run is still there, and can't be stopped.
    #[error("a Redis server of an earlier run (process {pid}) still uses {} and can't be stopped; stop it by hand", path.display())]
    LeftOver {
        /// The folder.
        path: PathBuf,
        /// The server's process, or what stands where its number should.
        pid: String,
    },
}

/// The folder, ours until it is dropped.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    socket: PathBuf,
    /// The folder of the socket, where the usual path is too long for one.
    _elsewhere: Option<TempDir>,
    _lock: File,
}

impl Folder {
    /// Makes the folder if it isn't there, and takes it. `path` is absolute.
    pub(crate) fn take(path: &Path) -> Result<Self, FolderError> {
        let failed = |path: &Path| {
            let path = path.to_path_buf();
            move |source| FolderError::Io { path, source }
        };
        // Payloads of jobs lie in it.
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed(path))?;
        let lock_file = path.join("lock");
        let lock = open(&lock_file).map_err(failed(&lock_file))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(FolderError::InUse(path.to_path_buf())),
            Err(TryLockError::Error(source)) => return Err(failed(&lock_file)(source)),
        }
        let (socket, elsewhere) = socket_path(path).map_err(failed(path))?;
        Ok(Self { path: path.to_path_buf(), socket, _elsewhere: elsewhere, _lock: lock })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The server's socket: an absolute path that is short enough.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// What the server says.
    pub(crate) fn log(&self) -> PathBuf {
        self.path.join(LOG)
    }

    /// The server's log, to be its output.
    pub(crate) fn open_log(&self) -> io::Result<File> {
        let long = fs::metadata(self.log()).is_ok_and(|log| log.len() > MAX_LOG);
        let mut options = OpenOptions::new();
        if long {
            options.write(true).truncate(true);
        } else {
            options.append(true);
        }
        options.create(true).open(self.log())
    }

    /// Stops a server that an earlier run left over, and gives the lock that the next one is to hold.
    pub(crate) async fn server_lock(&self) -> Result<ServerLock, FolderError> {
        self.server_lock_within(STOP).await
    }

    async fn server_lock_within(&self, stop: Duration) -> Result<ServerLock, FolderError> {
        let path = self.path.join("server.pid");
        let failed = |source| FolderError::Io { path: path.clone(), source };
        let lock = ServerLock(open(&path).map_err(failed)?);
        for signal in [None, Some(Signal::TERM), Some(Signal::KILL)] {
            if let Some(signal) = signal {
                lock.signal_holder(signal);
            }
            let end = Instant::now() + if signal.is_some() { stop } else { Duration::ZERO };
            loop {
                match lock.0.try_lock() {
                    Ok(()) => return Ok(lock),
                    Err(TryLockError::Error(source)) => return Err(failed(source)),
                    Err(TryLockError::WouldBlock) if Instant::now() >= end => break,
                    Err(TryLockError::WouldBlock) => sleep(LOOK).await,
                }
            }
        }
        Err(FolderError::LeftOver { path: self.path.clone(), pid: lock.text() })
    }
}

/// The lock that a server holds as long as it lives.
#[derive(Debug)]
pub(crate) struct ServerLock(File);

impl ServerLock {
    /// The lock as a server's standard input.
    pub(crate) fn handle(&self) -> io::Result<File> {
        self.0.try_clone()
    }

    /// Writes down whose it is.
    pub(crate) fn write_pid(&self, pid: u32) -> io::Result<()> {
        let mut file = &self.0;
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{pid}")
    }

    fn text(&self) -> String {
        let mut file = &self.0;
        let mut text = String::new();
        let read = file.rewind().and_then(|()| file.read_to_string(&mut text));
        if read.is_err() {
            text.clear();
        }
        text.trim().to_owned()
    }

    /// Signals the server that holds the lock: the number in the file is its, since the lock is held.
    fn signal_holder(&self, signal: Signal) {
        let Some(pid) = self.text().parse().ok().filter(|pid| *pid > 1).and_then(Pid::from_raw) else {
            return;
        };
        tracing::warn!(
            pid = pid.as_raw_nonzero(),
            ?signal,
            "stopping the Redis server that an earlier run left behind"
        );
        // It leads a group of its own; at SIGKILL what it forked to rewrite its file has to go too. A failure means
        // that it just ended.
        let _ =
            if signal == Signal::KILL { kill_process_group(pid, signal) } else { kill_process(pid, signal) };
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

/// The socket in `folder`, or where that path is too long for one, in a new folder of the system's temporary ones.
fn socket_path(folder: &Path) -> io::Result<(PathBuf, Option<TempDir>)> {
    let usual = folder.join(SOCKET);
    if usual.as_os_str().len() <= MAX_SOCKET {
        return Ok((usual, None));
    }
    let other = tempfile::Builder::new().prefix("jobcast-").tempdir()?;
    Ok((other.path().join(SOCKET), Some(other)))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_folder_has_one_user() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a/b");
        let first = Folder::take(&path).unwrap();
        assert_eq!(first.socket(), path.join("redis.sock"));
        let second = Folder::take(&path).unwrap_err();
        assert!(matches!(&second, FolderError::InUse(used) if *used == path), "{second}");
        drop(first);
        Folder::take(&path).unwrap();
    }

    #[test]
    fn a_socket_never_has_too_long_a_path() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("x".repeat(120));
        let folder = Folder::take(&path).unwrap();
        assert!(folder.socket().as_os_str().len() <= MAX_SOCKET, "{folder:?}");
        let other = folder.socket().parent().unwrap().to_path_buf();
        assert!(other.is_dir());
        drop(folder);
        assert!(!other.exists());
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("file"), "").unwrap();
        let path = place.path().join("file/dir");
        let error = Folder::take(&path).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{}: ", path.display())), "{error}");
    }

    #[test]
    fn a_long_log_begins_anew() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::take(place.path()).unwrap();
        for (before, after) in [(0, 0), (MAX_LOG, MAX_LOG), (MAX_LOG + 1, 0)] {
            fs::write(folder.log(), vec![b'x'; usize::try_from(before).unwrap()]).unwrap();
            folder.open_log().unwrap();
            assert_eq!(fs::metadata(folder.log()).unwrap().len(), after);
        }
    }

    /// A process that holds the lock as a server does. It heeds SIGTERM only if `obedient`.
    fn holder(folder: &Folder, obedient: bool) -> std::process::Child {
        use std::os::unix::process::CommandExt;
        let lock = ServerLock(open(&folder.path().join("server.pid")).unwrap());
        lock.0.try_lock().unwrap();
        let script = if obedient { "echo; exec sleep 600" } else { "trap '' TERM; echo; exec sleep 600" };
        let mut child = Command::new("sh")
            .args(["-c", script])
            .process_group(0)
            .stdin(lock.handle().unwrap())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap(); // the trap is set
        lock.write_pid(child.id()).unwrap();
        child
    }

    #[tokio::test]
    async fn a_server_that_was_left_over_is_stopped() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::take(place.path()).unwrap();
        let mut left_over = holder(&folder, true);
        let lock = folder.server_lock().await.unwrap();
        assert!(!left_over.wait().unwrap().success());
        lock.write_pid(17).unwrap();
        assert_eq!(fs::read_to_string(place.path().join("server.pid")).unwrap(), "17\n");
    }

    #[tokio::test]
    async fn one_that_does_not_heed_sigterm_is_killed() {
        use std::os::unix::process::ExitStatusExt;
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::take(place.path()).unwrap();
        let mut left_over = holder(&folder, false);
        folder.server_lock_within(Duration::from_secs(1)).await.unwrap();
        assert_eq!(left_over.wait().unwrap().signal(), Some(9));
    }
}
