//! `jobcast jobs`.

mod list;
mod show;

use clap::{Args, Subcommand};
use client::JobId;

use self::list::List;
use self::show::Show;
use super::deliveries;
use super::people::{Exit, Failure, Reach, for_each, line};

const EXAMPLES: &str = "\
Examples:
  jobcast jobs
  jobcast jobs --status failed --task transcode --limit 500
  jobcast jobs --status failed --json | jq -r '[.id, .error] | @tsv'
  jobcast jobs show 019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6000
  jobcast jobs deliveries 019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6000

A table at a terminal, else a line of JSON for each job; the newest first.";

const DELIVERIES_EXAMPLES: &str = "\
Examples:
  jobcast jobs deliveries 019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6000
  jobcast jobs deliveries $JOB | jq -r '[.url, .status, .attempts[-1].status] | @tsv'

There is none before the job's end. Those that nobody took are dead letters: `jobcast dead-letters` has them all.";

const DELETE_EXAMPLES: &str = "\
Examples:
  jobcast jobs delete 019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6000
  jobcast jobs --status cancelled --json | jq -r .id | xargs -r jobcast jobs delete

A job that hasn't ended stays, and makes the exit code 1.";

/// What to ask.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct Jobs {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    list: List,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Shows how a job stands: as text at a terminal, else as JSON
    Show(Show),
    /// Shows what became of a job's webhooks, with each attempt: as text at a terminal, else as JSON
    #[command(after_help = DELIVERIES_EXAMPLES)]
    Deliveries {
        /// The job
        #[arg(value_name = "ID")]
        id: JobId,
        /// JSON at a terminal too
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        reach: Reach,
    },
    /// Deletes what is kept of ended jobs
    #[command(after_help = DELETE_EXAMPLES)]
    Delete {
        /// The jobs
        #[arg(required = true, value_name = "ID")]
        ids: Vec<JobId>,
        #[command(flatten)]
        reach: Reach,
    },
}

impl Jobs {
    pub(super) async fn run(&self) -> Result<Exit, Failure> {
        match &self.what {
            None => self.list.run().await,
            Some(What::Show(show)) => show.run().await,
            Some(What::Deliveries { id, json, reach }) => {
                deliveries::print(&reach.client()?.build()?.deliveries(*id).await?, *json)
            }
            Some(What::Delete { ids, reach }) => {
                let client = reach.client()?.build()?;
                let delete = async |id| {
                    client.delete(id).await?;
                    line(&format!("{id} deleted"))
                };
                for_each(ids, delete).await
            }
        }
    }
}
