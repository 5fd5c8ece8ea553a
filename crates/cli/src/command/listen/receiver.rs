//! The local receiver: what is posted there, as the courier would post it.

use std::time::Duration;

use model::webhook::{Secret, Signed, sign};
use model::{Clock as _, SystemClock};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{RequestBuilder, Response, Url};
use tokio::time::{Instant, sleep};

use super::pause;
use crate::command::people::{Failure, plain};

/// As long as the courier gives a receiver, body included.
const LIMIT: Duration = Duration::from_secs(15);
/// What is read of an answer.
const ANSWER: usize = 1024;
/// The longest pause before another try.
const MOST: Duration = Duration::from_secs(30);
/// The same for a receiver that isn't there: it is waited for, and is wanted back soon.
const MOST_AWAY: Duration = Duration::from_secs(5);

/// Where webhooks go.
#[derive(Debug)]
pub(super) struct Receiver {
    http: reqwest::Client,
    url: Url,
    secrets: Vec<Secret>,
    tries: u32,
}

/// What one try came to.
enum Outcome {
    /// 2xx.
    Well(String),
    /// Anything else, or no answer in time: worth so long a pause before the next try, if one is left. 410 wants none.
    Badly { says: String, asked: Option<Duration>, stop: bool },
    /// Nobody is there.
    Away(String),
}

impl Receiver {
    /// A receiver at `url`, to which each webhook is posted at most `tries` times.
    pub(super) fn new(url: &str, secrets: Vec<Secret>, tries: u32) -> Result<Self, Failure> {
        let usage = |says: &str| Failure::Usage(format!("--forward-to: {says}"));
        let url = Url::parse(url).map_err(|_| usage("it is a URL, such as http://localhost:3000/hook"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(usage("it begins with http:// or https://"));
        }
        let builder = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        // HTTP/1.1, as the courier.
        let builder =
            builder.user_agent(concat!("Jobcast/", env!("CARGO_PKG_VERSION"))).timeout(LIMIT).http1_only();
        let http = with_tls(builder, url.scheme()).build();
        let http = http.map_err(|error| usage(&format!("TLS can't be set up: {error}")))?;
        Ok(Self { http, url, secrets, tries })
    }

    /// Posts the webhook `id` until it is answered well, or no more tries are left; waits for a receiver that isn't there. `say`
    /// hears of each try.
    pub(super) async fn deliver(
        &self,
        id: &str,
        body: &str,
        mut say: impl FnMut(&str) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let (mut tries, mut away) = (0, 0_u32);
        loop {
            match self.post(id, body).await {
                Outcome::Well(says) => return say(&says),
                Outcome::Away(says) => {
                    away = away.saturating_add(1);
                    if away == 1 {
                        say(&format!("{says}; waiting for it"))?;
                    }
                    sleep(pause(away, MOST_AWAY)).await;
                }
                Outcome::Badly { says, asked, stop } => {
                    (tries, away) = (tries + 1, 0);
                    if stop || tries >= self.tries {
                        return say(&format!("{says}; given up at try {tries}"));
                    }
                    let wait = pause(tries + 1, MOST).max(asked.unwrap_or_default().min(MOST));
                    say(&format!("{says}; again in {} s", wait.as_secs()))?;
                    sleep(wait).await;
                }
            }
        }
    }

    async fn post(&self, id: &str, body: &str) -> Outcome {
        let begin = Instant::now();
        let took = || format!("{} ms", begin.elapsed().as_millis());
        let badly = |says: String| Outcome::Badly { says, asked: None, stop: false };
        match self.request(id, body).send().await {
            Err(error) if error.is_connect() => {
                Outcome::Away(format!("{} can't be reached: {}", self.url, root(&error)))
            }
            Err(error) if error.is_timeout() => badly(format!("no answer within {} s", LIMIT.as_secs())),
            Err(error) => badly(format!("no answer: {}", root(&error))),
            Ok(response) => {
                let (status, asked) = (response.status(), retry_after(&response));
                let begins = beginning(response).await;
                if status.is_success() {
                    return Outcome::Well(format!("{} in {}", status.as_u16(), took()));
                }
                let says = format!("{} in {}{begins}", status.as_u16(), took());
                Outcome::Badly { says, asked, stop: status == 410 }
            }
        }
    }

    fn request(&self, id: &str, body: &str) -> RequestBuilder {
        let seconds = SystemClock.now().as_millis() / 1000;
        let Signed { timestamp, signature, plain } = sign(id, seconds, body.as_bytes(), &self.secrets);
        let request = self.http.post(self.url.clone()).header(CONTENT_TYPE, "application/json");
        let request = request.header("webhook-id", id).header("webhook-timestamp", timestamp);
        let request = match signature {
            Some(signature) => request.header("webhook-signature", signature),
            None => request,
        };
        request.header("x-webhook-signature", plain).body(body.to_owned())
    }
}

/// TLS by this machine's certificates where it is used; elsewhere they aren't read, so that a machine without any will do.
fn with_tls(builder: reqwest::ClientBuilder, scheme: &str) -> reqwest::ClientBuilder {
    // It may have been set up before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    if scheme == "https" {
        return builder;
    }
    let none = rustls::ClientConfig::builder().with_root_certificates(rustls::RootCertStore::empty());
    builder.tls_backend_preconfigured(none.with_no_client_auth())
}

/// The first line of an answer's body, for who looks for what is wrong.
async fn beginning(mut response: Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < ANSWER
        && let Ok(Some(more)) = response.chunk().await
    {
        bytes.extend_from_slice(&more);
    }
    bytes.truncate(ANSWER);
    let text = plain(&String::from_utf8_lossy(&bytes));
    let line = text.trim().lines().next().unwrap_or_default();
    let line: String = line.chars().take(200).collect();
    if line.is_empty() { line } else { format!(": {line}") }
}

/// `Retry-After` in seconds, which 429 and 503 may say.
fn retry_after(response: &Response) -> Option<Duration> {
    let says = matches!(response.status().as_u16(), 429 | 503);
    let value = response.headers().get(RETRY_AFTER).filter(|_| says)?;
    value.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

fn root(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
