//! What people do at a terminal, and scripts in their place: they ask a gateway, and need no configuration.

use std::convert::Infallible;
use std::fmt;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Subcommand};
use client::{BuildError, Client, ClientBuilder, FollowError};
use service::config::Override;
use tokio::runtime::Runtime;

use super::completions::Completions;
use super::{cancel, jobs, submit, watch};
use crate::args::setting;

/// How long a call is tried again while nobody answers: long enough for a gateway that restarts, short enough to see a
/// mistyped address.
const PATIENCE: Duration = Duration::from_secs(5);

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum People {
    /// Submits a job and prints its id
    Submit(submit::Submit),
    /// Shows how jobs go, until they end
    Watch(watch::Watch),
    /// Cancels jobs
    Cancel(cancel::Cancel),
    /// Asks how jobs stand
    Jobs(jobs::Jobs),
    /// Prints a shell's completions
    Completions(Completions),
}

impl People {
    /// Runs it to its end.
    pub(crate) fn run(&self) -> ExitCode {
        let ended = match self {
            Self::Completions(completions) => completions.run(),
            _ => self.ask(),
        };
        match ended {
            Ok(exit) => exit.into(),
            Err(Failure::Reader) => Exit::Done.into(),
            Err(failure) => {
                complain(&failure);
                failure.exit().into()
            }
        }
    }

    fn ask(&self) -> Result<Exit, Failure> {
        let runtime = Runtime::new().map_err(Failure::Output)?;
        let ended = runtime.block_on(async {
            match self {
                Self::Submit(submit) => submit.run().await,
                Self::Watch(watch) => watch.run().await,
                Self::Cancel(cancel) => cancel.run().await,
                Self::Jobs(jobs) => jobs.run().await,
                Self::Completions(_) => Ok(Exit::Done),
            }
        });
        runtime.shutdown_background();
        ended
    }
}

/// Which gateway, and who asks.
#[derive(Debug, Args)]
pub(crate) struct Reach {
    /// The gateway, or the load balancer before several
    #[arg(
        long,
        value_name = "URL",
        env = "JOBCAST_URL",
        hide_env_values = true,
        default_value = "http://127.0.0.1:8080",
        help_heading = "Connection"
    )]
    url: String,
    /// The API key, where one is needed; others on this machine can't see it in the variable
    #[arg(
        long,
        value_name = "KEY",
        env = "JOBCAST_KEY",
        hide_env_values = true,
        help_heading = "Connection"
    )]
    key: Option<Secret>,
    /// How long to try on while nobody answers, such as 30s [default: 5s, and 1m for a job that is followed]
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = "Connection")]
    patience: Option<Duration>,
    #[command(flatten)]
    settings: NoSettings,
}

/// The roles' settings, which mean nothing to people's commands: kept out of their help, and refused.
#[derive(Debug, Args)]
pub(crate) struct NoSettings {
    #[arg(long, hide = true)]
    config: Option<PathBuf>,
    #[arg(long, hide = true, value_parser = setting)]
    set: Vec<Override>,
}

impl NoSettings {
    /// Refuses them.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.config.is_some() || !self.set.is_empty() {
            return Err(Failure::Usage(
                "--config and --set are for gateways and workers; leave them out".into(),
            ));
        }
        Ok(())
    }
}

impl Reach {
    /// Begins a client.
    pub(crate) fn client(&self) -> Result<ClientBuilder, Failure> {
        self.settings.check()?;
        let mut builder = Client::builder(&self.url)
            .retry_for(self.patience.unwrap_or(PATIENCE))
            .give_up_after(self.patience.unwrap_or(Duration::from_mins(1)));
        if let Some(Secret(key)) = self.key.as_ref().filter(|key| !key.0.is_empty()) {
            builder = builder.key(key);
        }
        Ok(builder)
    }
}

/// An API key.
#[derive(Clone)]
struct Secret(String);

impl FromStr for Secret {
    type Err = Infallible;
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// How a command ended that did what it could.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    /// All is well.
    Done,
    /// It hadn't ended in the time that `--wait` gave it.
    Late,
    /// A job failed or was cancelled, or the gateway said no.
    Failed,
    /// Nobody answers.
    Unreachable,
    /// Ctrl-C.
    Interrupted,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Unreachable => 3,
            Exit::Late => 4,
            Exit::Interrupted => 130,
        })
    }
}

/// Why a command ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The command line asks for what makes no sense.
    #[error("{0}")]
    Usage(String),
    /// The URL or the key can't be used.
    #[error("{0}")]
    Client(#[from] BuildError),
    /// The gateway said no, or nobody answers.
    #[error("{0}{hint}", hint = hint(.0))]
    Call(#[from] client::Error),
    /// Nothing more comes of a job that was followed.
    #[error("{0}")]
    Follow(#[from] FollowError),
    /// Whoever read the output is gone.
    #[error("nobody reads on")]
    Reader,
    /// The output can't be written, or this machine has no threads left.
    #[error("the output can't be written: {0}")]
    Output(io::Error),
}

impl Failure {
    /// How a command ends by it.
    pub(crate) fn exit(&self) -> Code {
        match self {
            Self::Usage(_) | Self::Client(_) => Code::Usage,
            Self::Call(error) if error.is_retryable() => Code::Exit(Exit::Unreachable),
            Self::Follow(error) if error.is_retryable() => Code::Exit(Exit::Unreachable),
            Self::Call(client::Error::Unreadable { .. }) => Code::Exit(Exit::Unreachable),
            _ => Code::Exit(Exit::Failed),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe { Self::Reader } else { Self::Output(error) }
    }
}

/// The exit code of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// A wrong command line; clap has the same.
    Usage,
    /// Any other.
    Exit(Exit),
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        match code {
            Code::Usage => Self::from(2),
            Code::Exit(exit) => exit.into(),
        }
    }
}

fn hint(error: &client::Error) -> &'static str {
    match error {
        client::Error::Unreachable { .. } => {
            "\nIs a gateway running there? `jobcast dev` starts one; --url or JOBCAST_URL names another."
        }
        client::Error::Refused(problem) if problem.status == 401 => "\nGive a key by JOBCAST_KEY (or --key).",
        _ => "",
    }
}

/// Says on stderr what is wrong.
pub(crate) fn complain(what: &impl fmt::Display) {
    // Nobody may be reading, which is no error.
    let _ = writeln!(io::stderr(), "jobcast: {}", plain(&what.to_string()));
}

/// Prints a line on stdout.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(Failure::from)
}

/// Text of strangers for a terminal: without what would steer it.
pub(crate) fn plain(text: &str) -> String {
    let shown = |c: char| match c {
        '\n' => Some('\n'),
        '\t' => Some(' '),
        c if c.is_control() => None,
        c => Some(c),
    };
    text.chars().filter_map(shown).collect()
}

/// Reads a time: a number of seconds, or one with units.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds
        .map_or_else(|| humantime::parse_duration(text), Ok)
        .map_err(|_| "it is a number of seconds, or such as 90s, 10m, 1h30m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units_or_are_seconds() {
        for (text, ms) in
            [("5", Some(5000)), ("0.5", Some(500)), ("90s", Some(90_000)), ("1h30m", Some(5_400_000))]
        {
            assert_eq!(time(text).ok().map(|time| time.as_millis()), ms, "{text}");
        }
        for bad in ["", "-1", "x", "5 parsecs", "NaN", "inf"] {
            assert!(time(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn text_of_strangers_steers_no_terminal() {
        assert_eq!(plain("a\x1b[2Jb\u{9b}1mc\td\r\ne\x07"), "a[2Jb1mc d\ne");
    }
}
