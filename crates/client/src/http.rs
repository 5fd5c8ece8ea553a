//! One call: sent, answered, and sent again where that is safe and of use.

use std::error::Error as StdError;
use std::time::Duration;

use reqwest::header::RETRY_AFTER;
use reqwest::{RequestBuilder, Response};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};

use crate::backoff;
use crate::client::Client;
use crate::error::{Error, Problem};

/// A cause as it is kept in an error.
type Cause = Box<dyn StdError + Send + Sync>;

/// What is said of a network error: everything but the URL, which may hold a token.
pub(crate) struct Said(Cause);

impl From<reqwest::Error> for Said {
    fn from(error: reqwest::Error) -> Self {
        Self(if error.is_timeout() { "no answer in time".into() } else { Box::new(error.without_url()) })
    }
}

impl From<String> for Said {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl Client {
    pub(crate) fn unreachable(&self, said: impl Into<Said>) -> Error {
        Error::Unreachable { gateway: self.base().to_owned(), source: said.into().0 }
    }

    pub(crate) fn unreadable(&self, what: String) -> Error {
        Error::Unreadable { gateway: self.base().to_owned(), what }
    }

    /// What a refusal says.
    pub(crate) async fn problem(&self, response: Response) -> Problem {
        let (status, retry_after) = (response.status().as_u16(), retry_after(&response));
        let body = response.text().await.unwrap_or_default();
        Problem::read(status, retry_after, &body)
    }

    /// Sends `request` once; it must be answered within the usual time and `extra`. Any status but 2xx and 304 is an error.
    pub(crate) async fn send(&self, request: RequestBuilder, extra: Duration) -> Result<Response, Error> {
        let limit = self.settings().timeout.saturating_add(extra);
        let response = request.timeout(limit).send().await.map_err(|error| self.unreachable(error))?;
        if response.status().is_success() || response.status() == 304 {
            return Ok(response);
        }
        Err(Error::Refused(self.problem(response).await))
    }

    /// The same as often as it is worth, each time by a new `request`, which gets the number of the try, from 0.
    pub(crate) async fn send_safely(
        &self,
        extra: Duration,
        request: impl FnMut(u32) -> RequestBuilder,
    ) -> Result<(Response, u32), Error> {
        self.send_safely_for(self.settings().retry_for, extra, request).await
    }

    /// The same, for as long as the caller says.
    pub(crate) async fn send_safely_for(
        &self,
        retry_for: Duration,
        extra: Duration,
        mut request: impl FnMut(u32) -> RequestBuilder,
    ) -> Result<(Response, u32), Error> {
        let begin = Instant::now();
        let mut tries = 0;
        loop {
            let error = match self.send(request(tries), extra).await {
                Ok(response) => return Ok((response, tries)),
                Err(error) => error,
            };
            tries = tries.saturating_add(1);
            let asked = error.problem().and_then(|problem| problem.retry_after);
            let random = rand::random();
            let wait = backoff::wait_asked(asked, backoff::wait(tries, None, random), random);
            if !error.is_retryable() || begin.elapsed() + wait > retry_for {
                return Err(error);
            }
            sleep(wait).await;
        }
    }

    /// Reads an answer's JSON.
    pub(crate) async fn read<T: DeserializeOwned>(&self, response: Response) -> Result<T, Error> {
        let status = response.status();
        let body = response.text().await.map_err(|error| self.unreachable(error))?;
        serde_json::from_str(&body).map_err(|error| self.unreadable(format!("{error}, with status {status}")))
    }
}

/// `Retry-After` in seconds. (Its other form, a date, needs the server's clock and is not used here.)
fn retry_after(response: &Response) -> Option<Duration> {
    response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}
