//! Asking how a job stands.

use std::time::Duration;

use model::wire::JobView;
use model::{Cursor, JobId};
use reqwest::header::IF_NONE_MATCH;
use reqwest::{Method, RequestBuilder};

use crate::client::Client;
use crate::error::Error;

impl Client {
    /// How the job `id` stands.
    ///
    /// ```no_run
    /// # async fn example(client: client::Client, id: client::JobId) -> Result<(), client::Error> {
    /// let job = client.get(id).await?;
    /// println!("{}: {:?}", job.id, job.status);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn get(&self, id: JobId) -> Result<JobView, Error> {
        let (response, _) = self.send_safely(Duration::ZERO, |_| self.poll(id, None, Duration::ZERO)).await?;
        self.read(response).await
    }

    /// How the job `id` stands as soon as that differs from `known` (an earlier answer's `last_event_id`), waiting up to
    /// `wait` (whole seconds, rounded up; the gateway has a limit of its own, 1 min by default). `None`: it is as it was.
    pub async fn changed(&self, id: JobId, known: Cursor, wait: Duration) -> Result<Option<JobView>, Error> {
        let (response, _) = self.send_safely(wait, |_| self.poll(id, Some(known), wait)).await?;
        if response.status() == 304 { Ok(None) } else { self.read(response).await.map(Some) }
    }

    /// The same without a second try, for who has a rhythm of its own.
    pub(crate) async fn poll_once(
        &self,
        id: JobId,
        known: Option<Cursor>,
        wait: Duration,
    ) -> Result<Option<JobView>, Error> {
        let response = self.send(self.poll(id, known, wait), wait).await?;
        if response.status() == 304 { Ok(None) } else { self.read(response).await.map(Some) }
    }

    fn poll(&self, id: JobId, known: Option<Cursor>, wait: Duration) -> RequestBuilder {
        let mut request = self.request(Method::GET, &format!("/api/jobs/{id}"));
        if let Some(known) = known {
            request = request.header(IF_NONE_MATCH, format!("\"{known}\""));
        }
        if !wait.is_zero() {
            request = request.query(&[("wait", whole(wait))]);
        }
        request
    }
}

/// Whole seconds, rounded up.
pub(crate) fn whole(duration: Duration) -> u64 {
    duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0))
}
