//! `jobcast cancel`.

use clap::Args;
use client::JobId;

use super::people::{Exit, Failure, Reach, complain, line};

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
        let mut exit = Exit::Done;
        for &id in &self.ids {
            match client.cancel(id).await.map_err(Failure::from) {
                Ok(_) => line(&format!("{id} cancelled"))?,
                // The next one would have to wait for nobody too.
                Err(failure) if failure.exit() == Exit::Unreachable => return Err(failure),
                Err(failure) => {
                    complain(&format_args!("{id}: {failure}"));
                    exit = Exit::Failed;
                }
            }
        }
        Ok(exit)
    }
}
