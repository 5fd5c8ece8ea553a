//! `jobcast dead-letters show`.

use clap::Args;
use client::DeliveryId;

use crate::command::deliveries;
use crate::command::people::{Exit, Failure, Reach};

const EXAMPLES: &str = "\
Examples:
  jobcast dead-letters show 019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6000.1
  jobcast dead-letters show $LETTER | jq -r '.attempts[-1].body'";

/// Which one.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Show {
    /// The delivery: its job's id, a dot and the target's number
    #[arg(value_name = "ID")]
    id: DeliveryId,
    /// JSON at a terminal too
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

impl Show {
    pub(super) async fn run(&self) -> Result<Exit, Failure> {
        let of_job = self.reach.client()?.build()?.deliveries(self.id.job).await?;
        let Some(delivery) = of_job.into_iter().find(|delivery| delivery.id == self.id) else {
            return Err(Failure::Absent(format!("{}: the job has no such delivery", self.id)));
        };
        deliveries::print(&[delivery], self.json)
    }
}
