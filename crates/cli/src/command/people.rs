//! What people do at a terminal, and scripts in their place: they ask a gateway, and need no configuration.

mod list;
mod outcome;
pub(crate) mod secret;
mod text;

use std::convert::Infallible;
use std::fmt;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Subcommand};
use client::{Client, ClientBuilder, Submitted};
use service::config::Override;
use tokio::runtime::Runtime;

pub(crate) use self::list::{Paging, Table};
pub(crate) use self::outcome::{Exit, Failure};
pub(crate) use self::text::{age, complain, fit, line, plain, width};
use super::completions::Completions;
use super::{cancel, dead_letters, jobs, listen, load, retry, submit, tasks, watch};
use crate::args::{self, setting};

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
    /// Tries failed and cancelled jobs again, as new ones
    Retry(retry::Retry),
    /// Lists jobs, shows one, deletes what is kept of ended ones
    Jobs(jobs::Jobs),
    /// Lists webhooks that nobody took, shows one, has them delivered after all
    DeadLetters(dead_letters::DeadLetters),
    /// Shows how tasks stand; pauses and resumes them
    Tasks(tasks::Tasks),
    /// Relays webhooks to a receiver on this machine, which the internet needn't reach
    Listen(listen::Listen),
    /// Loads gateways with streams and events, and checks every stream for loss
    Load(load::Load),
    /// Prints a shell's completions
    Completions(Completions),
}

impl People {
    /// Runs it to its end.
    pub(crate) fn run(&self, args: &args::Args) -> ExitCode {
        let ended = match self {
            _ if args.has_settings_before() => Err(no_settings()),
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
        let runtime = Runtime::new().map_err(Failure::Runtime)?;
        let ended = runtime.block_on(async {
            match self {
                Self::Submit(submit) => submit.run().await,
                Self::Watch(watch) => watch.run().await,
                Self::Cancel(cancel) => cancel.run().await,
                Self::Retry(retry) => retry.run().await,
                Self::Jobs(jobs) => jobs.run().await,
                Self::DeadLetters(letters) => letters.run().await,
                Self::Tasks(tasks) => tasks.run().await,
                Self::Listen(listen) => listen.run().await,
                Self::Load(load) => load.run().await,
                Self::Completions(_) => Ok(Exit::Done),
            }
        });
        runtime.shutdown_background();
        ended
    }
}

/// Does something with each of several jobs, or deliveries. One that the gateway refuses holds up no other.
pub(crate) async fn for_each<T: Copy + fmt::Display>(
    ids: &[T],
    each: impl AsyncFn(T) -> Result<(), Failure>,
) -> Result<Exit, Failure> {
    let mut exit = Exit::Done;
    for &id in ids {
        match each(id).await {
            Ok(()) => {}
            Err(failure @ Failure::Call(_)) if failure.exit() != Exit::Unreachable => {
                complain(&format_args!("{id}: {failure}"));
                exit = Exit::Failed;
            }
            // The next one would have to wait for nobody too.
            Err(failure) => return Err(failure),
        }
    }
    Ok(exit)
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
            return Err(no_settings());
        }
        Ok(())
    }
}

fn no_settings() -> Failure {
    Failure::Usage("--config and --set are for gateways and workers; leave them out".into())
}

impl Reach {
    /// Prints the id of a job that was accepted; and of an external one its lease token too, and at a terminal how to report.
    pub(crate) fn accepted(&self, submitted: &Submitted) -> Result<(), Failure> {
        let Some(token) = submitted.lease_token else { return line(&submitted.id.to_string()) };
        line(&format!("{} {token}", submitted.id))?;
        if !io::stdout().is_terminal() {
            return Ok(());
        }
        let key = if self.key().is_some() { " -H \"Authorization: Bearer $JOBCAST_KEY\"" } else { "" };
        let url = self.url.trim_end_matches('/');
        line(&format!(
            "\nThe second word is its lease token: whoever has it does the work, and reports of it by\n  \
             curl -H 'Content-Type: application/json'{key} {url}/api/work/{}/CALL -d '{{\"leaseToken\": \"{token}\", …}}'\n\
             where CALL is heartbeat, progress, output, complete or fail. The first one starts it.",
            submitted.id
        ))
    }

    fn key(&self) -> Option<&str> {
        self.key.as_ref().map(|Secret(key)| key.as_str()).filter(|key| !key.is_empty())
    }

    /// Begins a client.
    pub(crate) fn client(&self) -> Result<ClientBuilder, Failure> {
        Ok(self.lasting_client()?.give_up_after(self.patience.unwrap_or(Duration::from_mins(1))))
    }

    /// Begins a client of a command that goes on until it is stopped: only a patience that was asked for ends it.
    pub(crate) fn lasting_client(&self) -> Result<ClientBuilder, Failure> {
        self.settings.check()?;
        let mut builder = Client::builder(&self.url).retry_for(self.patience.unwrap_or(PATIENCE));
        if let Some(patience) = self.patience {
            builder = builder.give_up_after(patience);
        }
        if let Some(key) = self.key() {
            builder = builder.key(key);
        }
        Ok(builder)
    }

    /// Which gateway and which owner, as one text that is another one for each: not to be shown, for the key is in it.
    pub(crate) fn identity(&self) -> String {
        let key = self.key.as_ref().map(|Secret(key)| key.as_str()).unwrap_or_default();
        format!("{}\n{key}", self.url.trim_end_matches('/'))
    }
}

/// An API key.
#[derive(Clone)]
pub(crate) struct Secret(String);

impl Secret {
    /// The key itself.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

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
}
