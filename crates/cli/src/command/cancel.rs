//! `jobcast cancel`.

use clap::Args;
use client::JobId;

use super::people::{Exit, Failure, Reach, for_each, line};

const EXAMPLES: &str = "\
Examples:
  jobcast cancel 019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6000
  jobcast cancel $A $B $C

A job that had ended before stays as it is, and makes the exit code 1.";

/// Which jobs.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Cancel {
    /// The jobs
    #[arg(required = true, value_name = "ID")]
    ids: Vec<JobId>,
    #[command(flatten)]
    reach: Reach,
}

impl Cancel {
    pub(super) async fn run(&self) -> Result<Exit, Failure> {
        let client = self.reach.client()?.build()?;
        for_each(&self.ids, async |id| {
            client.cancel(id).await?;
            line(&format!("{id} cancelled"))
        })
        .await
    }
}
