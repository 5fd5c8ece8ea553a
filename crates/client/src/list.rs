//! Lists of jobs.

use std::time::Duration;

use model::wire::JobList;
use model::{JobId, Status, TaskName};
use reqwest::Method;

use crate::client::Client;
use crate::error::Error;

/// Which jobs to list: all of the key's owner, unless said otherwise.
///
/// ```
/// use client::{List, Status};
///
/// let failed = List::new().status(Status::Failed).task("transcode".parse()?).limit(20);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "nothing is asked before `Client::list`"]
pub struct List {
    query: Vec<(&'static str, String)>,
    after: Option<JobId>,
}

impl List {
    /// The newest jobs, as many as the gateway gives: 100.
    pub fn new() -> Self {
        Self::default()
    }

    /// Those alone that stand so.
    pub fn status(mut self, status: Status) -> Self {
        self.query.push(("status", status.as_str().to_owned()));
        self
    }

    /// Those of this task alone.
    pub fn task(mut self, task: TaskName) -> Self {
        self.query.push(("task", task.to_string()));
        self
    }

    /// How many at most, 1 to 1,000.
    pub fn limit(mut self, limit: usize) -> Self {
        self.query.push(("limit", limit.to_string()));
        self
    }

    /// Those after the page whose `next` this is.
    pub fn after(mut self, next: JobId) -> Self {
        self.after = Some(next);
        self
    }
}

impl Client {
    /// A page of jobs, the newest first. It may be short, even empty, and yet have a `next`: the gateway looks at no more than
    /// 1,000 jobs for one page.
    ///
    /// ```no_run
    /// # use client::{Client, List, Status};
    /// # async fn example(client: Client) -> Result<(), client::Error> {
    /// let mut list = List::new().status(Status::Failed);
    /// loop {
    ///     let page = client.list(&list).await?;
    ///     for job in page.jobs {
    ///         println!("{}: {:?}", job.id, job.error);
    ///     }
    ///     let Some(next) = page.next else { break };
    ///     list = list.after(next);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn list(&self, list: &List) -> Result<JobList, Error> {
        let after = list.after.map(|after| ("after", after.to_string()));
        let (response, _) = self
            .send_safely(Duration::ZERO, |_| {
                self.request(Method::GET, "/api/jobs").query(&list.query).query(after.as_slice())
            })
            .await?;
        self.read(response).await
    }
}
