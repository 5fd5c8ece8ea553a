//! The list of dead letters.

use clap::Args;
use client::{DeliveryView, Timestamp};
use model::{Clock as _, SystemClock};

use super::choice::Choice;
use crate::command::people::{Exit, Failure, Paging, Reach, Table, age, fit, width};

/// Which of them.
#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    choice: Choice,
    /// Those after this place, as the list before it named it
    #[arg(long, value_name = "PLACE")]
    after: Option<String>,
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    reach: Reach,
}

impl List {
    pub(super) async fn run(&self) -> Result<Exit, Failure> {
        let client = self.reach.client()?.build()?;
        let page = async |after: Option<String>, limit| {
            let mut letters = self.choice.letters().limit(limit);
            if let Some(after) = &after {
                letters = letters.after(after);
            }
            let page = client.dead_letters(&letters).await?;
            Ok((page.dead_letters, page.next))
        };
        self.paging.print(Columns::new(), self.after.clone(), page).await
    }
}

/// Dead letters in columns, for people.
struct Columns {
    width: usize,
    now: Timestamp,
}

impl Columns {
    fn new() -> Self {
        Self { width: width(), now: SystemClock.now() }
    }
}

impl Table<DeliveryView> for Columns {
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
