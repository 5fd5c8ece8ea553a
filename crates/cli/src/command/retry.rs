//! `jobcast retry`.

use clap::Args;
use client::JobId;

use super::people::{Exit, Failure, Reach, for_each};

const EXAMPLES: &str = "\
Examples:
  jobcast retry 019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6000
  jobcast jobs --status failed --json | jq -r .id | xargs -r jobcast retry

Prints the new jobs' ids, and beside that of an external job its new lease token. A job that hasn't ended, or has completed, is not tried again, and makes the exit code 1.";

/// Which jobs.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Retry {
    /// The jobs
    #[arg(required = true, value_name = "ID")]
    ids: Vec<JobId>,
    #[command(flatten)]
    reach: Reach,
}

impl Retry {
    pub(super) async fn run(&self) -> Result<Exit, Failure> {
        let client = self.reach.client()?.build()?;
        for_each(&self.ids, async |id| self.reach.accepted(&client.retry(id).await?)).await
    }
}
