//! A child process in a process group of its own that can't outlive the test, however the test ends.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// A running (or ended) child, leader of its own process group.
///
/// Dropping it kills the whole group. Where no destructor runs (the test process is killed, or ends by Ctrl-C), a
/// small guard process does: it waits for the end of a pipe that only the test process holds open.
pub(crate) struct Group {
    child: Child,
    guard: Child,
    ended: Option<ExitStatus>,
}

impl Group {
    /// Starts `command` as the leader of a new process group, guarded.
    pub(crate) fn spawn(command: &mut Command) -> io::Result<Self> {
        let mut child = command.process_group(0).spawn()?;
        let guard = Command::new("sh")
            .args(["-c", r#"read -r _; kill -s KILL -- "-$1""#, "guard", &child.id().to_string()])
            .process_group(0) // a signal to the test's group must not end the guard before its work
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match guard {
            Ok(guard) => Ok(Self { child, guard, ended: None }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to the child alone; to nobody once it has ended.
    pub(crate) fn signal(&mut self, signal: Signal) {
        if self.ended().is_none() {
            // Failure means that it ended between the two lines, which is as good.
            let _ = kill_process(Pid::from_child(&self.child), signal);
        }
    }

    /// Sends a signal to everything in the group, also to what its leader left behind when it ended.
    pub(crate) fn signal_all(&mut self, signal: Signal) {
        let _ = kill_process_group(Pid::from_child(&self.child), signal);
    }

    /// How the child ended, or `None` while it runs (or is stopped).
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("a child of ours can be waited for");
        }
        self.ended
    }

    /// Blocks until the child has ended, at most for `limit`.
    pub(crate) fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let end = Instant::now() + limit;
        while self.ended().is_none() && Instant::now() < end {
            thread::sleep(Duration::from_millis(2));
        }
        self.ended
    }

    /// Kills the child alone and waits for its end.
    pub(crate) fn kill(&mut self) -> ExitStatus {
        self.signal(Signal::KILL);
        self.wait(Duration::from_secs(10)).expect("a killed process ends")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The guard first: after the group's end its number may belong to another one.
        let _ = self.guard.kill();
        let _ = self.guard.wait();
        self.signal_all(Signal::KILL);
        self.wait(Duration::from_secs(10));
    }
}

/// Prints the end of a log file to stderr, where the test harness shows it with the failure.
pub(crate) fn print_tail(title: &str, file: &Path) {
    const LINES: usize = 200;
    let Ok(bytes) = std::fs::read(file) else { return };
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(LINES);
    eprintln!("--- {title}: {} lines, the last {} ---", lines.len(), lines.len() - from);
    for line in &lines[from..] {
        eprintln!("{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alive(pid: u32) -> bool {
        let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        rustix::process::test_kill_process(pid).is_ok()
    }

    #[test]
    fn drop_kills_what_the_child_started() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("grandchild");
        let script = format!("sleep 600 & echo $! > {0}.new; mv {0}.new {0}; wait", file.display());
        let group = Group::spawn(Command::new("sh").args(["-c", &script])).unwrap();
        let end = Instant::now() + Duration::from_secs(10);
        while !file.exists() && Instant::now() < end {
            thread::sleep(Duration::from_millis(5));
        }
        let grandchild: u32 = std::fs::read_to_string(&file).unwrap().trim().parse().unwrap();
        assert!(alive(grandchild));
        drop(group);
        while alive(grandchild) && !is_zombie(grandchild) {
            assert!(Instant::now() < end, "the grandchild still runs");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// An orphan that was killed stays a zombie where nothing reaps orphans (as in many containers).
    fn is_zombie(pid: u32) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z'))
    }

    #[test]
    fn the_guard_kills_the_group_when_the_pipe_breaks() {
        let mut group = Group::spawn(Command::new("sleep").arg("600")).unwrap();
        drop(group.guard.stdin.take()); // as the kernel does when the test process dies
        let status = group.wait(Duration::from_secs(10)).expect("the guard killed it");
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    }
}
