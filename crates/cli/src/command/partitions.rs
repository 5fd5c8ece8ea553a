//! `jobcast partitions`: how many there are, and how they become more while everything runs. Talks to Redis itself.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use service::config::{Config, ConfigError};
use store::{GrowError, PartitionCounts, Store, StoreError, TargetError};
use tokio::runtime::Runtime;

use super::people::{Exit, Failure, complain, line, time};
use crate::args::{self, Settings};
use crate::parts;

const EXAMPLES: &str = "\
Examples:
  jobcast partitions                                     how many there are
  jobcast partitions grow 32                             more of them, asking before
  jobcast --config jobcast.toml partitions grow 32 --yes

It talks to Redis, with the same settings (--config, --set, JOBCAST__STORE__URL) as a gateway.";

const GROW_EXAMPLES: &str = "\
Examples:
  jobcast partitions grow 32
  jobcast partitions grow 32 --yes --wait 30s

Everything goes on meanwhile. If it is interrupted, or Redis is away, the same command goes on where it was.
Exit code: 0 done, 1 refused, 2 a wrong command line or configuration, 3 Redis doesn't answer.";

/// A gateway reads the number anew about once a second, a worker every ten: so much longer than their patience with Redis has
/// passed when all have.
const REREAD: Duration = Duration::from_secs(15);

/// What about them.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Partitions {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Makes them more, in two steps: all processes hear of them, then new jobs go there
    Grow(Grow),
}

/// To how many.
#[derive(Debug, Args)]
#[command(after_help = GROW_EXAMPLES)]
struct Grow {
    /// How many there shall be, more than now
    #[arg(value_name = "N", value_parser = clap::value_parser!(u16).range(2..=64))]
    number: u16,
    /// How long to let all processes hear of them before new jobs go there [default: store.patience + 15s]
    #[arg(long, value_name = "TIME", value_parser = time)]
    wait: Option<Duration>,
    /// Don't ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    settings: Settings,
}

/// Why it wasn't done, or not to its end.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    #[error("{0}")]
    Config(#[from] ConfigError),
    #[error("{0}")]
    Target(#[from] TargetError),
    #[error("nobody can be asked here whether to go on; --yes goes on without")]
    NobodyToAsk,
    #[error("nothing was changed")]
    Declined,
    #[error("{0}{hint}", hint = end_first(.0))]
    Grow(#[from] GrowError),
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("{source}\n{0} partitions are announced, and get no new jobs yet. The same command goes on.", source = .1)]
    HalfWay(u16, #[source] GrowError),
    #[error("the runtime can't start: {0}")]
    Runtime(#[source] io::Error),
    #[error("{0}")]
    Output(#[from] Failure),
}

fn end_first(error: &GrowError) -> String {
    match error {
        GrowError::Growing(counts) => format!("; `jobcast partitions grow {}` does", counts.all),
        _ => String::new(),
    }
}

impl Stopped {
    fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::Target(_) | Self::NobodyToAsk => Exit::Usage,
            Self::Grow(GrowError::Store(StoreError::Unavailable(_)))
            | Self::HalfWay(_, GrowError::Store(StoreError::Unavailable(_)))
            | Self::Store(StoreError::Unavailable(_)) => Exit::Unreachable,
            Self::Output(Failure::Reader) => Exit::Done,
            _ => Exit::Failed,
        }
    }
}

impl Partitions {
    /// What stands after `partitions`, and after what is to be done with them.
    pub(crate) fn all_settings(&self) -> impl Iterator<Item = &Settings> {
        let own = self.action.as_ref().map(|Action::Grow(grow)| &grow.settings);
        std::iter::once(&self.settings).chain(own)
    }

    /// Runs it to its end.
    pub(crate) fn run(&self, args: &args::Args) -> ExitCode {
        match self.try_run(args) {
            Ok(()) => Exit::Done.into(),
            Err(stopped) => {
                if !matches!(stopped, Stopped::Output(Failure::Reader)) {
                    complain(&stopped);
                }
                stopped.exit().into()
            }
        }
    }

    fn try_run(&self, args: &args::Args) -> Result<(), Stopped> {
        let config = args.settings(Vec::new())?.config;
        // For rediss://. Refused only where it is there already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = Runtime::new().map_err(Stopped::Runtime)?;
        let ended = runtime.block_on(async {
            let store = Store::new(parts::store_options(&config)?);
            match &self.action {
                None => Ok(line(&told(store.partition_counts().await?))?),
                Some(Action::Grow(grow)) => grow.run(&store, &config).await,
            }
        });
        runtime.shutdown_background();
        ended
    }
}

/// How many there are, for people; the first word is the number.
fn told(PartitionCounts { all, open }: PartitionCounts) -> String {
    if open < all {
        format!(
            "{all} partitions, of which {open} get new jobs; `jobcast partitions grow {all}` ends this growth"
        )
    } else {
        format!("{all} {}", plural(all))
    }
}

fn plural(number: u16) -> &'static str {
    if number == 1 { "partition" } else { "partitions" }
}

impl Grow {
    async fn run(&self, store: &Store, config: &Config) -> Result<(), Stopped> {
        let number = self.number;
        let now = store.partition_counts().await?;
        // Refused before anybody is asked.
        now.may_grow_to(number)?;
        let wait = self.wait.unwrap_or(config.store.patience + REREAD);
        self.confirm(&plan(&config.store.url, now, number, wait))?;
        store.announce_partitions(number).await?;
        say(&format!("{number} partitions are announced; waiting {}", humantime::format_duration(wait)));
        tokio::time::sleep(wait).await;
        store.open_partitions(number).await.map_err(|error| Stopped::HalfWay(number, error))?;
        say(&format!("done: new jobs go to all {number} partitions"));
        Ok(())
    }

    fn confirm(&self, plan: &str) -> Result<(), Stopped> {
        if !self.yes && !io::stdin().is_terminal() {
            return Err(Stopped::NobodyToAsk);
        }
        say(plan);
        if self.yes {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        write!(out, "Go on? [y/N] ").and_then(|()| out.flush()).map_err(Failure::from)?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer).map_err(Failure::from)?;
        if ["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()) {
            Ok(())
        } else {
            Err(Stopped::Declined)
        }
    }
}

/// Tells how it goes. That nobody reads it is no reason to stop half-way.
fn say(text: &str) {
    drop(line(text));
}

/// What will happen.
fn plan(url: &impl std::fmt::Display, now: PartitionCounts, number: u16, wait: Duration) -> String {
    let wait = humantime::format_duration(wait);
    let begins = if now.open < now.all {
        format!("{url} is growing from {} to {number} partitions; this goes on with it:", now.open)
    } else {
        format!("{url} has {} {} and will have {number}; all goes on meanwhile:", now.all, plural(now.all))
    };
    format!(
        "{begins}\n  \
         1. {number} are announced: all gateways and workers read the number anew, sweep and claim from all of them.\n  \
         2. After {wait}, when all have (workers look every ten seconds, and wait store.patience for Redis), new jobs go there.\n\
         They can't become fewer again. A submission whose Idempotency-Key was used before the end of this, within that key's\n\
         life (a day, or as long as its job is kept), may be accepted once more, as a second job."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_says_what_is_and_what_will_be() {
        let wait = Duration::from_secs(10);
        let plan = |all, open| plan(&"redis://r", PartitionCounts { all, open }, 32, wait);
        assert!(plan(16, 16).starts_with("redis://r has 16 partitions and will have 32;"));
        assert!(plan(1, 1).starts_with("redis://r has 1 partition and will have 32;"));
        assert!(plan(32, 16).starts_with("redis://r is growing from 16 to 32 partitions; this goes on"));
        assert!(plan(1, 1).contains("After 10s") && plan(1, 1).contains("Idempotency-Key"));
    }

    #[test]
    fn the_number_comes_first() {
        assert_eq!(told(PartitionCounts { all: 1, open: 1 }), "1 partition");
        assert!(told(PartitionCounts { all: 32, open: 16 }).starts_with("32 partitions, of which 16 get"));
    }
}
