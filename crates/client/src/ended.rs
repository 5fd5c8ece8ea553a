//! What can be done with a job that has ended.

use std::time::Duration;

use model::JobId;
use reqwest::Method;

use crate::client::Client;
use crate::error::Error;
use crate::submit::{IDEMPOTENCY_KEY, Submitted, random_key};

impl Client {
    /// Tries a failed or cancelled job again, as a new one: with the same task, payload, metadata and limits. Refused as
    /// `job-living` if it hasn't ended, and as `job-completed` if it ended well. However many answers are lost, there is one
    /// new job.
    ///
    /// ```no_run
    /// # async fn example(client: client::Client, id: client::JobId) -> Result<(), client::Error> {
    /// let again = client.retry(id).await?;
    /// println!("{id} is tried again as {}", again.id);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn retry(&self, id: JobId) -> Result<Submitted, Error> {
        let key = random_key();
        let (response, _) = self
            .send_safely(Duration::ZERO, |_| {
                self.request(Method::POST, &format!("/api/jobs/{id}/retry"))
                    .header(IDEMPOTENCY_KEY, key.clone())
            })
            .await?;
        self.submitted(response).await
    }

    /// Deletes a job that has ended, and its events: it is gone when this returns. Refused as `job-living` if it hasn't ended.
    ///
    /// If an answer is lost, the call is sent again; if it is told then that there is no such job, that was this call.
    pub async fn delete(&self, id: JobId) -> Result<(), Error> {
        let mut sent = 0;
        let answer = self.send_safely(Duration::ZERO, |tries| {
            sent = tries + 1;
            self.request(Method::DELETE, &format!("/api/jobs/{id}"))
        });
        match answer.await {
            Err(Error::Refused(problem)) if problem.name() == "not-found" && sent > 1 => Ok(()),
            answer => answer.map(drop),
        }
    }
}
