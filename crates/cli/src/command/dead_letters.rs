//! `jobcast dead-letters`.

mod choice;
mod list;
mod replay;
mod show;

use clap::{Args, Subcommand};

use self::list::List;
use self::replay::Replay;
use self::show::Show;
use super::people::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  jobcast dead-letters
  jobcast dead-letters --target https://acme.example/ --since 1d
  jobcast dead-letters --json | jq -r '[.id, .url, .attempts[-1].error] | @tsv'
  jobcast dead-letters show 019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6000.1
  jobcast dead-letters replay --target https://acme.example/

Webhooks that nobody took, the newest first: a table at a terminal, else a line of JSON for each.";

/// What to ask.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct DeadLetters {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    list: List,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Shows one with each of its attempts: as text at a terminal, else as JSON
    Show(Show),
    /// Has some delivered after all
    Replay(Replay),
}

impl DeadLetters {
    pub(super) async fn run(&self) -> Result<Exit, Failure> {
        match &self.what {
            None => self.list.run().await,
            Some(What::Show(show)) => show.run().await,
            Some(What::Replay(replay)) => replay.run().await,
        }
    }
}
