//! One run of a program: pipes, protocol, end.

use std::convert::Infallible;
use std::io;
use std::process::Stdio;

use model::report::Percent;
use model::{Json, Report};
use tokio::io::{AsyncRead, AsyncWriteExt};
use tokio::process::{ChildStdin, Command};
use tokio_util::sync::CancellationToken;

use super::Exec;
use super::group::{Group, Pipes};
use super::pipe::{Pipe, read_tail};
use super::protocol::Decoder;
use super::status::judge;
use crate::{Context, Failure};

/// How much of stdout is read at once.
const CHUNK: usize = 64 * 1024;

/// Settings of our own, which may hold secrets, begin with this in the environment; a program gets none of them.
const OUR_SETTINGS: &str = "JOBCAST__";

/// Runs the program to its end. Dropping the future ends the program as [`Group`] says.
pub(crate) async fn run(exec: &Exec, ctx: &Context, payload: &Json) -> Result<Json, Failure> {
    let mut group = Group::spawn(command(exec, ctx), ctx.aftermath(), exec.kill_after)
        .map_err(|error| not_started(exec, &error))?;
    let Some(Pipes { stdin, stdout, stderr, program }) = group.pipes() else {
        return Err(Failure::fatal("the program's pipes could not be opened"));
    };
    let ended = CancellationToken::new();
    let mut decoder = Decoder::new(exec.max_line);

    let end = async {
        let status = program.wait().await;
        ended.cancel();
        status.map_err(|error| Failure::fatal(format!("the program's end could not be seen: {error}")))
    };
    let stdout = listen(Pipe::new(stdout, ended.clone()), &mut decoder, ctx);
    let stderr = async { Ok(read_tail(Pipe::new(stderr, ended.clone()), exec.stderr_tail).await) };
    let (status, (), stderr) = tokio::select! {
        done = async { tokio::try_join!(end, stdout, stderr) } => done?,
        never = feed(stdin, payload) => match never {},
    };

    let mut rest = Vec::new();
    let result = decoder.finish(&mut rest);
    match judge(status, &stderr) {
        Ok(()) => {
            let result = result.map_err(|broken| Failure::fatal(broken.to_string()))?;
            tell(ctx, rest).await?;
            Ok(result)
        }
        Err(failure) => {
            // The program's own end is the better reason, whatever is wrong with its last words.
            _ = tell(ctx, rest).await;
            Err(failure)
        }
    }
}

fn command(exec: &Exec, ctx: &Context) -> Command {
    let mut command = Command::new(&exec.program);
    command.args(&exec.args).current_dir(&exec.dir);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(OUR_SETTINGS.as_bytes()) {
            command.env_remove(name);
        }
    }
    command
        .env("JOBCAST_JOB_ID", ctx.job().to_string())
        .env("JOBCAST_TASK", ctx.task().as_str())
        .env("JOBCAST_ATTEMPT", ctx.attempt().to_string());
    command
}

/// The sentence goes to the job's owner and names no folder; the log has the whole path.
fn not_started(exec: &Exec, error: &io::Error) -> Failure {
    tracing::error!(program = %exec.program.display(), dir = %exec.dir.display(), %error, "a task's program could not be started");
    let name = exec.program.file_name().unwrap_or(exec.program.as_os_str()).display();
    let sentence = format!("the program {name} could not be started: {error}");
    match error.kind() {
        // Out of processes or memory, for now.
        io::ErrorKind::WouldBlock | io::ErrorKind::OutOfMemory => Failure::Retry(sentence),
        _ => Failure::Fatal(sentence),
    }
}

/// Writes the payload, closes stdin, and never returns. A program need not read it: a broken pipe is fine.
async fn feed(mut stdin: ChildStdin, payload: &Json) -> Infallible {
    _ = stdin.write_all(payload.as_str().as_bytes()).await;
    drop(stdin);
    std::future::pending().await
}

/// Passes on what the program says. While outputs must wait because Redis is away, so does the program.
async fn listen(
    mut pipe: Pipe<impl AsyncRead + Unpin>,
    decoder: &mut Decoder,
    ctx: &Context,
) -> Result<(), Failure> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = match pipe.read(&mut chunk).await {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(error) => {
                return Err(Failure::fatal(format!("the program's stdout could not be read: {error}")));
            }
        };
        let mut reports = Vec::new();
        let fed = decoder.feed(&chunk[..read], &mut reports);
        tell(ctx, reports).await?;
        fed.map_err(|broken| Failure::fatal(broken.to_string()))?;
    }
}

async fn tell(ctx: &Context, reports: Vec<Report>) -> Result<(), Failure> {
    for report in reports {
        match report {
            Report::Progress { progress, message } => {
                let message = message.unwrap_or_default();
                match progress.map(Percent::get) {
                    Some(percent) => ctx.progress(percent, &message),
                    None => ctx.progress_unknown(&message),
                }
            }
            Report::Output(json) => ctx.output(&json).await?,
            Report::Text(text) => ctx.text(&text).await?,
        }
    }
    Ok(())
}
