//! The client.

use std::fmt;
use std::sync::Arc;

use model::JobId;
use reqwest::{Method, RequestBuilder};

use crate::builder::{ClientBuilder, Settings};
use crate::follow::{self, Connection, Follow, Rules, Start};

/// Shows a following's connection.
pub(crate) type OnConnection = Arc<dyn Fn(JobId, &Connection) + Send + Sync>;

/// Calls one Jobcast: any gateway of it, or the load balancer before them. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
    settings: Settings,
    on_connection: Option<OnConnection>,
}

impl Client {
    /// Begins a client of the Jobcast at `url`, such as `http://127.0.0.1:8080`.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let client = client::Client::builder("http://127.0.0.1:8080")
    ///     .key("a key, where Jobcast asks for one")
    ///     .give_up_after(Duration::from_secs(60))
    ///     .build()?;
    /// # Ok::<(), client::BuildError>(())
    /// ```
    pub fn builder(url: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(url.into())
    }

    /// Follows the job `id`: its events, each once and in order, until the job ends. What breaks meanwhile is mended in
    /// silence: the stream is opened again after the last event, with jittered, growing pauses; if it can't be had (a proxy
    /// holds it back, say), polls tell how the job stands until it can.
    ///
    /// It ends after the job's end ([`Event::Completed`](crate::Event::Completed), `Failed` or `Cancelled`; a snapshot of an
    /// ended job; or, where the stream can't be had at all, a poll's word), or with one error. It yields nothing if `from` is
    /// the job's end.
    ///
    /// ```no_run
    /// # use client::{Client, Event, JobId, Output, Start};
    /// # use tokio_stream::StreamExt;
    /// # async fn example(client: Client, id: JobId) -> Result<(), client::FollowError> {
    /// let mut events = client.follow(id, Start::BEGINNING);
    /// while let Some(event) = events.next().await {
    ///     match event? {
    ///         Event::Output { output: Output::Text(text), .. } => print!("{text}"),
    ///         Event::Started { head } if head.attempt > 1 => println!("\nagain, from the beginning:"),
    ///         _ => {}
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn follow(&self, id: JobId, from: impl Into<Start>) -> Follow {
        follow::follow(self.clone(), id, from.into())
    }

    pub(crate) fn new(
        http: reqwest::Client,
        base: String,
        token: Option<String>,
        settings: Settings,
        on_connection: Option<OnConnection>,
    ) -> Self {
        Self(Arc::new(Inner { http, base, token, settings, on_connection }))
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    pub(crate) fn rules(&self) -> Rules {
        self.0.settings.rules(self.0.token.is_none())
    }

    pub(crate) fn token(&self) -> Option<&str> {
        self.0.token.as_deref()
    }

    pub(crate) fn base(&self) -> &str {
        &self.0.base
    }

    /// A request without a limit of time.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.0.http.request(method, format!("{}{path}", self.0.base))
    }

    pub(crate) fn show(&self, id: JobId, connection: &Connection) {
        if let Some(show) = &self.0.on_connection {
            show(id, connection);
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("base", &self.0.base).finish_non_exhaustive()
    }
}
