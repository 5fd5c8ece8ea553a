//! `jobcast jobs`.

mod list;
mod show;

use clap::{Args, Subcommand};
use client::JobId;

use self::list::List;
use self::show::Show;
use super::people::{Exit, Failure, Reach, for_each, line};

const EXAMPLES: &str = "\
Examples:
  jobcast jobs
  jobcast jobs --status failed --task transcode --limit 500
  jobcast jobs --status failed --json | jq -r '[.id, .error] | @tsv'
  jobcast jobs show 019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6000

A table at a terminal, else a line of JSON for each job; the newest first.";

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
