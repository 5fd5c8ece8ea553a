//! Lists that come in pages: how much of them is shown, and how.

use std::fmt;
use std::io::{self, IsTerminal as _};

use clap::Args;
use serde::Serialize;

use super::{Exit, Failure, complain, line};

/// The most that one answer has.
const PAGE: usize = 1000;

/// How much is shown, and how.
#[derive(Debug, Args)]
pub(crate) struct Paging {
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// JSON at a terminal too
    #[arg(long)]
    json: bool,
}

/// Columns for people.
pub(crate) trait Table<T> {
    /// What stands above them.
    fn head(&self) -> String;
    /// One line.
    fn row(&self, one: &T) -> String;
}

impl Paging {
    /// Prints what `page` gives for a place in the list and a number: the list behind `after`, page by page, up to the limit. In
    /// columns at a terminal, else as JSON, one a line.
    pub(crate) async fn print<T: Serialize, P: fmt::Display>(
        &self,
        table: impl Table<T>,
        mut after: Option<P>,
        mut page: impl AsyncFnMut(Option<P>, usize) -> Result<(Vec<T>, Option<P>), client::Error>,
    ) -> Result<Exit, Failure> {
        let table = (!self.json && io::stdout().is_terminal()).then_some(table);
        let mut left = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let mut shown = 0_usize;
        while left > 0 {
            let (found, next) = page(after, left.min(PAGE)).await?;
            left = left.saturating_sub(found.len());
            for one in &found {
                match &table {
                    None => line(&serde_json::to_string(one).unwrap_or_default())?,
                    Some(table) => {
                        if shown == 0 {
                            line(&table.head())?;
                        }
                        line(&table.row(one))?;
                    }
                }
                shown += 1;
            }
            after = next;
            if after.is_none() {
                break;
            }
        }
        if let (Some(_), Some(next)) = (table, after) {
            complain(&format_args!("there may be more: --after {next}"));
        }
        Ok(Exit::Done)
    }
}
