//! `jobcast listen`: webhooks for a machine that the internet can't reach.

mod cursor;
mod receiver;
mod relay;
mod secrets;
mod sent;

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args};
use client::{FeedStart, Status, TaskName};
use tokio::signal::unix::{SignalKind, signal};

use self::cursor::CursorFile;
use self::receiver::Receiver;
use self::relay::{Choice, Relay};
use self::secrets::Secrets;
use super::people::{Exit, Failure, Reach, complain};

const EXAMPLES: &str = "\
Examples:
  jobcast listen --forward-to http://localhost:3000/hook
  jobcast listen --forward-to http://localhost:3000/hook --secret-env WEBHOOK_SECRET
  jobcast listen --forward-to http://localhost:3000/hook --task report --status failed
  jobcast listen --print | jq -r '.jobId + \" \" + .status'

It follows the feed of all of your jobs, and posts each one that ends, as the courier would have:
the same body, webhook-id and signatures. It asks the gateway; nothing needs to reach this machine.
Its place is kept in a file, so the same command started again goes on where it stopped, and what
ended meanwhile is sent then. A receiver that can't be reached is waited for; one that answers with
anything but 2xx is tried again, then passed over. Each webhook comes at least once: tell repeats by
their webhook-id. Ctrl-C stops it.

Exit codes: 0: stopped; 1: refused by the gateway; 2: a wrong command line; 3: nobody answers.";

/// What to relay, and where to.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, group = ArgGroup::new("sink").required(true).multiple(true).args(["forward_to", "print"]))]
pub(crate) struct Listen {
    /// The local receiver: each webhook is posted there
    #[arg(long, value_name = "URL")]
    forward_to: Option<String>,
    /// Prints each webhook's body, one line of JSON
    #[arg(long)]
    print: bool,
    #[command(flatten)]
    choice: Choice,
    /// How often a webhook is posted that isn't answered with 2xx
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    tries: u32,
    #[command(flatten)]
    secrets: Secrets,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    reach: Reach,
}

/// Where in the feed.
#[derive(Debug, Args)]
#[command(next_help_heading = "Place in the feed")]
struct Place {
    /// Begins with the oldest end that the feed still holds, even where a place is kept
    #[arg(long, conflicts_with = "from_now")]
    from_start: bool,
    /// Begins with what ends from now on, even where a place is kept; so it does the first time
    #[arg(long)]
    from_now: bool,
    /// Where the place is kept [default: a file of this gateway, key, target and choice in the user's state folder]
    #[arg(long, value_name = "FILE")]
    cursor_file: Option<PathBuf>,
}

impl Listen {
    pub(super) async fn run(&self) -> Result<Exit, Failure> {
        let client = self.reach.lasting_client()?.build()?;
        let receiver = match &self.forward_to {
            Some(url) => Some(Receiver::new(url, self.secrets.read()?, self.tries)?),
            None => None,
        };
        let file = CursorFile::open(match &self.place.cursor_file {
            Some(file) => file.clone(),
            None => cursor::default_path(&self.reach.identity(), &self.subscription())?,
        })?;
        let start = self.place.start(&file)?;
        // A following tries on for long; a mistyped address and a wrong key should be told soon.
        client.list(&client::List::new().limit(1)).await?;
        let relay = Relay::new(client, receiver, self.print, self.choice.clone(), file);
        let mut terminated = signal(SignalKind::terminate()).map_err(Failure::Runtime)?;
        tokio::select! {
            biased;
            _ = tokio::signal::ctrl_c() => {}
            _ = terminated.recv() => {}
            ended = relay.run(start) => return ended,
        }
        complain(&"stopped; the same command goes on from here");
        Ok(Exit::Done)
    }

    /// What is listened for and where it goes: others have places of their own.
    fn subscription(&self) -> String {
        let target = self.forward_to.as_deref().unwrap_or("print");
        format!("{target}\n{}", self.choice)
    }
}

impl Place {
    fn start(&self, file: &CursorFile) -> Result<FeedStart, Failure> {
        let path = file.path().display();
        let kept = if self.from_start || self.from_now { None } else { file.read()? };
        Ok(match kept {
            Some(cursor) => {
                complain(&format_args!("going on where it stopped, by {path}"));
                FeedStart::After(cursor)
            }
            None if self.from_start => {
                complain(&format_args!(
                    "from the oldest end that the feed holds; the place is kept in {path}"
                ));
                FeedStart::Beginning
            }
            None => {
                complain(&format_args!(
                    "from now on (--from-start sends what ended before); the place is kept in {path}"
                ));
                FeedStart::Now
            }
        })
    }
}

/// The wait before a gateway or a receiver that is away is tried again, after `failures` failures in a row.
fn pause(failures: u32, most: Duration) -> Duration {
    Duration::from_millis(500)
        .saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1).min(16)))
        .min(most)
}

impl Choice {
    /// Whether a job that ended so is wanted.
    fn wants_status(&self, status: Status) -> bool {
        self.status.is_empty() || self.status.contains(&status)
    }

    /// Whether a job of `task` is wanted.
    fn wants_task(&self, task: &TaskName) -> bool {
        self.task.is_empty() || self.task.contains(task)
    }
}
