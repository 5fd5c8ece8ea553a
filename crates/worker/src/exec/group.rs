//! A program and all that it has started, as one: its process group.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::pipe::drain;
use crate::context::Aftermath;

/// A running program in a process group of its own. Dropping it, ended or not, leaves no process of the group: what runs is
/// asked to end, then killed, by a task of the attempt's aftermath.
pub(crate) struct Group {
    running: Option<Running>,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    aftermath: Aftermath,
    kill_after: Duration,
}

/// A group's pipes and the program's end, each to be awaited beside the others. Stdout and stderr stay the group's: a program
/// that writes while it is being ended must not be killed by a broken pipe.
pub(crate) struct Pipes<'a> {
    pub(crate) stdin: ChildStdin,
    pub(crate) stdout: &'a mut ChildStdout,
    pub(crate) stderr: &'a mut ChildStderr,
    pub(crate) program: &'a mut Running,
}

/// Not yet reaped. Dropping it kills the group at once: the last resort, when not even a task is left to end it in order.
pub(crate) struct Running {
    child: Child,
    group: Option<Pid>,
    is_reaped: bool,
}

impl Group {
    /// Starts `command` in a group of its own.
    pub(crate) fn spawn(
        mut command: Command,
        aftermath: &Aftermath,
        kill_after: Duration,
    ) -> io::Result<Self> {
        let mut child = command.process_group(0).kill_on_drop(true).spawn()?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let running = Some(Running { child, group, is_reaped: false });
        Ok(Self { running, stdout, stderr, aftermath: aftermath.clone(), kill_after })
    }

    /// The pipes; `None` if one of them was not asked for, or stdin was taken before.
    pub(crate) fn pipes(&mut self) -> Option<Pipes<'_>> {
        let program = self.running.as_mut()?;
        let stdin = program.child.stdin.take()?;
        Some(Pipes { stdin, stdout: self.stdout.as_mut()?, stderr: self.stderr.as_mut()?, program })
    }
}

impl Running {
    /// Waits for the program's end, then kills what is left of its group.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await?;
        // Right after the reaping, when its id can't be another one's yet.
        self.signal(Signal::KILL);
        self.is_reaped = true;
        Ok(status)
    }

    /// Sends `signal` to all of the group; that nobody is left of it is fine.
    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group.filter(|_| !self.is_reaped) {
            _ = kill_process_group(group, signal);
        }
    }

    /// Asks the group to end, kills it when it doesn't or when there is need to `hurry`, and reaps it.
    async fn end(
        mut self,
        kill_after: Duration,
        hurry: CancellationToken,
        stdout: Option<ChildStdout>,
        stderr: Option<ChildStderr>,
    ) {
        self.signal(Signal::TERM);
        let in_order = async {
            tokio::select! {
                ended = hurry.run_until_cancelled(timeout(kill_after, self.wait())) => {
                    matches!(ended, Some(Ok(Ok(_))))
                }
                () = drain_both(stdout, stderr) => false,
            }
        };
        if !in_order.await {
            self.signal(Signal::KILL);
            if let Err(error) = self.wait().await {
                tracing::error!(%error, "a killed program could not be reaped");
            }
        }
    }
}

/// Never returns: that both are closed doesn't mean that the program has ended.
async fn drain_both(stdout: Option<ChildStdout>, stderr: Option<ChildStderr>) {
    tokio::join!(drain(stdout), drain(stderr));
    std::future::pending::<()>().await;
}

impl Drop for Group {
    fn drop(&mut self) {
        let Some(running) = self.running.take_if(|running| !running.is_reaped) else { return };
        let hurry = self.aftermath.hurry.clone();
        let end = running.end(self.kill_after, hurry, self.stdout.take(), self.stderr.take());
        // Outside of a runtime there are no tasks, and dropping it kills at once.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            self.aftermath.tasks.spawn_on(end, &runtime);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}
