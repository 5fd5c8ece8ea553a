//! The list of dead letters.

use std::io::{self, IsTerminal as _};

use clap::Args;
use client::{DeliveryView, Timestamp};
use model::{Clock as _, SystemClock};

use super::choice::Choice;
use crate::command::people::{Exit, Failure, Reach, age, complain, fit, line, width};

/// The most that one answer has.
const PAGE: usize = 1000;

/// Which of them.
#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    choice: Choice,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Those after this place, as the list before it named it
    #[arg(long, value_name = "PLACE")]
    after: Option<String>,
    /// JSON at a terminal too
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

impl List {
    pub(super) async fn run(&self) -> Result<Exit, Failure> {
        let client = self.reach.client()?.build()?;
        let table = (!self.json && io::stdout().is_terminal()).then(Table::new);
        let mut left = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let (mut after, mut shown) = (self.after.clone(), 0_usize);
        while left > 0 {
            let mut letters = self.choice.letters().limit(left.min(PAGE));
            if let Some(after) = &after {
                letters = letters.after(after);
            }
            let page = client.dead_letters(&letters).await?;
            left = left.saturating_sub(page.dead_letters.len());
            for letter in &page.dead_letters {
                match &table {
                    None => line(&serde_json::to_string(letter).unwrap_or_default())?,
                    Some(table) => {
                        if shown == 0 {
                            line(&table.head())?;
                        }
                        line(&table.row(letter))?;
                    }
                }
                shown += 1;
            }
            after = page.next;
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

/// Dead letters in columns, for people.
struct Table {
    width: usize,
    now: Timestamp,
}

impl Table {
    fn new() -> Self {
        Self { width: width(), now: SystemClock.now() }
    }

    fn head(&self) -> String {
        fit(&columns("ID", "AGE", "TRIES", "URL", "LAST"), self.width)
    }

    fn row(&self, letter: &DeliveryView) -> String {
        let last = letter.attempts.last().map(|last| {
            let status = last.status.map(|status| status.to_string());
            last.error.clone().or(status).unwrap_or_default()
        });
        let died = letter.settled_at.unwrap_or(letter.created_at);
        let (id, age, tries) =
            (letter.id.to_string(), age(self.now.since(died)), letter.attempts.len().to_string());
        fit(&columns(&id, &age, &tries, &letter.url, &last.unwrap_or_default()), self.width)
    }
}

fn columns(id: &str, age: &str, tries: &str, url: &str, last: &str) -> String {
    format!("{id:<38} {age:>4}  {tries:>5}  {url}  {last}")
}
