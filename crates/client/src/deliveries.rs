//! Deliveries of webhooks, and those that nobody took.

use std::time::Duration;

use model::webhook::DeliveryId;
use model::wire::{DeadLetterFilter, DeadLetterList, DeliveryList, DeliveryView, Replayed};
use model::{JobId, Timestamp};
use reqwest::Method;

use crate::client::Client;
use crate::error::Error;

/// Which dead letters to list or to replay: all of the key's owner, unless said otherwise.
///
/// ```
/// use client::DeadLetters;
///
/// let letters = DeadLetters::new().url("https://acme.example/").limit(20);
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "nothing is asked before `Client::dead_letters` or `Client::replay_all`"]
pub struct DeadLetters {
    filter: DeadLetterFilter,
    limit: Option<usize>,
    after: Option<String>,
}

impl DeadLetters {
    /// The newest, as many as the gateway gives: 100.
    pub fn new() -> Self {
        Self::default()
    }

    /// Those alone whose URL begins so.
    pub fn url(mut self, prefix: impl Into<String>) -> Self {
        self.filter.url = Some(prefix.into());
        self
    }

    /// Those alone that died at this time or later.
    pub fn since(mut self, time: Timestamp) -> Self {
        self.filter.since = Some(time);
        self
    }

    /// Those alone that died before this time.
    pub fn until(mut self, time: Timestamp) -> Self {
        self.filter.until = Some(time);
        self
    }

    /// How many of them in a page at most, 1 to 1,000. A replay takes all.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Those after the page whose `next` this is. A replay takes all.
    pub fn after(mut self, next: impl Into<String>) -> Self {
        self.after = Some(next.into());
        self
    }

    fn query(&self) -> Vec<(&'static str, String)> {
        let DeadLetterFilter { url, since, until } = &self.filter;
        let time = |time: &Option<Timestamp>| time.map(|time| time.to_string());
        let all = [
            ("url", url.clone()),
            ("since", time(since)),
            ("until", time(until)),
            ("limit", self.limit.map(|limit| limit.to_string())),
            ("after", self.after.clone()),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

impl Client {
    /// What became of the webhooks of job `id`, one for each target; none before its end. They may be told of for longer than the
    /// job is kept.
    pub async fn deliveries(&self, id: JobId) -> Result<Vec<DeliveryView>, Error> {
        let path = format!("/api/jobs/{id}/deliveries");
        let (response, _) = self.send_safely(Duration::ZERO, |_| self.request(Method::GET, &path)).await?;
        self.read(response).await.map(|DeliveryList { deliveries }| deliveries)
    }

    /// A page of dead letters, the newest first. With a URL it may be short, even empty, and yet have a `next`.
    ///
    /// ```no_run
    /// # use client::{Client, DeadLetters};
    /// # async fn example(client: Client) -> Result<(), client::Error> {
    /// let mut letters = DeadLetters::new();
    /// loop {
    ///     let page = client.dead_letters(&letters).await?;
    ///     for letter in page.dead_letters {
    ///         println!("{}: {:?}", letter.url, letter.attempts.last());
    ///     }
    ///     let Some(next) = page.next else { break };
    ///     letters = letters.after(next);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn dead_letters(&self, letters: &DeadLetters) -> Result<DeadLetterList, Error> {
        let query = letters.query();
        let (response, _) = self
            .send_safely(Duration::ZERO, |_| self.request(Method::GET, "/api/dead-letters").query(&query))
            .await?;
        self.read(response).await
    }

    /// Has the dead letter `id` delivered after all, with as many attempts as a new delivery. Refused as `delivered` where the receiver has
    /// it. A repeat is harmless.
    pub async fn replay(&self, id: DeliveryId) -> Result<DeliveryView, Error> {
        let path = format!("/api/dead-letters/{id}/replay");
        let (response, _) = self.send_safely(Duration::ZERO, |_| self.request(Method::POST, &path)).await?;
        self.read(response).await
    }

    /// The same for all of `letters` that have died by now; how many they are. If an answer is lost, the call is sent again, and
    /// counts what was left.
    pub async fn replay_all(&self, letters: &DeadLetters) -> Result<u64, Error> {
        let (response, _) = self
            .send_safely(Duration::ZERO, |_| {
                self.request(Method::POST, "/api/dead-letters/replay").json(&letters.filter)
            })
            .await?;
        self.read(response).await.map(|Replayed { replayed }| replayed)
    }
}
