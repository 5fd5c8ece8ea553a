//! Cancelling.

use std::time::Duration;

use model::wire::Accepted;
use model::{JobId, Status};
use reqwest::Method;

use crate::client::Client;
use crate::error::Error;

impl Client {
    /// Cancels the job `id`: it has ended when this returns. Refused as `job-ended` if it had ended before.
    ///
    /// If an answer is lost, the call is sent again; if it is told then that the job has ended, and it ended as cancelled,
    /// that was this call.
    ///
    /// ```no_run
    /// # async fn example(client: client::Client, id: client::JobId) {
    /// match client.cancel(id).await {
    ///     Ok(_) => println!("cancelled"),
    ///     Err(error) if error.problem().is_some_and(|problem| problem.name() == "job-ended") => {
    ///         println!("too late");
    ///     }
    ///     Err(error) => println!("{error}"),
    /// }
    /// # }
    /// ```
    pub async fn cancel(&self, id: JobId) -> Result<Accepted, Error> {
        let mut sent = 0;
        let answer = self.send_safely(Duration::ZERO, |tries| {
            sent = tries + 1;
            self.request(Method::POST, &format!("/api/jobs/{id}/cancel"))
        });
        match answer.await {
            Ok((response, _)) => self.read(response).await,
            Err(Error::Refused(problem)) if problem.name() == "job-ended" && sent > 1 => {
                let job = self.get(id).await?;
                if job.status != Status::Cancelled {
                    return Err(Error::Refused(problem));
                }
                let (status_url, events_url) = (job.status_url, job.events_url);
                Ok(Accepted { job_id: id, status: job.status, status_url, events_url, lease_token: None })
            }
            Err(error) => Err(error),
        }
    }
}
