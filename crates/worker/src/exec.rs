//! The exec protocol: any program is a task.
//!
//! The program gets the payload, one JSON value, on its stdin, and `JOBCAST_JOB_ID`, `JOBCAST_TASK` and `JOBCAST_ATTEMPT` in
//! its environment. What it writes to stdout is read line by line:
//!
//! | line | means |
//! |---|---|
//! | `{"progress":42,"message":"…"}` | progress; the message may be left out, the number may be `null` |
//! | `{"output":…}` | an output, any JSON |
//! | `{"text":"…"}` | a piece of text |
//! | `{"result":…}` | the result; the last one wins, none is `null` |
//! | anything else | a piece of text: the line, with its newline |
//!
//! Exit code 0 is done, 75 (`EX_TEMPFAIL`) asks for another attempt, any other fails the job, with the end of stderr in the
//! error. It runs in a process group of its own, which gets SIGTERM and later SIGKILL when the attempt is over before it is;
//! what is left of the group when the program itself has ended gets SIGKILL.

mod group;
mod pipe;
mod process;
mod protocol;
mod status;

use std::path::PathBuf;
use std::time::Duration;

use model::Json;

use crate::{Context, Failure, Handler};

/// A [`Handler`] that runs a program for each job.
#[derive(Clone, Debug)]
pub struct Exec {
    /// The program: an absolute path, or a bare name to be looked up in `PATH`.
    pub program: PathBuf,
    /// Its arguments, passed as they are.
    pub args: Vec<String>,
    /// The folder that it runs in.
    pub dir: PathBuf,
    /// The most bytes of a line on stdout, its newline not counted; a longer one fails the job. Default 1 MiB.
    pub max_line: usize,
    /// How many bytes of the end of stderr are kept for the error. Default 4 KiB.
    pub stderr_tail: usize,
    /// How long the program may take to end after SIGTERM, before SIGKILL. `worker.kill_after`, default 10 s.
    pub kill_after: Duration,
}

impl Exec {
    /// A program in `dir`, with the default limits.
    pub fn new(program: impl Into<PathBuf>, args: Vec<String>, dir: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            args,
            dir: dir.into(),
            max_line: 1024 * 1024,
            stderr_tail: 4096,
            kill_after: Duration::from_secs(10),
        }
    }
}

impl Handler for Exec {
    async fn run(&self, ctx: Context, payload: Json) -> Result<Json, Failure> {
        process::run(self, &ctx, &payload).await
    }
}
