//! `jobcast dead-letters replay`.

use clap::Args;
use client::DeliveryId;

use super::choice::Choice;
use crate::command::people::{Exit, Failure, Reach, for_each, line};

const EXAMPLES: &str = "\
Examples:
  jobcast dead-letters replay 019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6000.1
  jobcast dead-letters replay --target https://acme.example/ --since 2026-11-23T10:00:00Z
  jobcast dead-letters replay --all

Each is due at once, with as many attempts as a new one, under the webhook-id that its receiver may know already.";

/// Which of them.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Replay {
    /// The deliveries
    #[arg(value_name = "ID", conflicts_with_all = ["target", "since", "until", "all"])]
    ids: Vec<DeliveryId>,
    #[command(flatten)]
    choice: Choice,
    /// All that there are
    #[arg(long, conflicts_with_all = ["target", "since", "until"])]
    all: bool,
    #[command(flatten)]
    reach: Reach,
}

impl Replay {
    pub(super) async fn run(&self) -> Result<Exit, Failure> {
        if self.ids.is_empty() && self.choice.is_all() && !self.all {
            return Err(Failure::Usage(
                "which? Name some, choose by --target, --since and --until, or say --all".into(),
            ));
        }
        let client = self.reach.client()?.build()?;
        if self.ids.is_empty() {
            let count = client.replay_all(&self.choice.letters()).await?;
            line(&format!("{count} replayed"))?;
            return Ok(Exit::Done);
        }
        let replay = async |id| {
            client.replay(id).await?;
            line(&format!("{id} replayed"))
        };
        for_each(&self.ids, replay).await
    }
}
