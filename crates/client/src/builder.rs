//! Making a client.

use std::sync::Arc;
use std::time::Duration;

use model::JobId;
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use rustls::ClientConfig;
use rustls_platform_verifier::BuilderVerifierExt;

use crate::client::{Client, OnConnection};
use crate::error::BuildError;
use crate::follow::{Connection, Rules};

/// Times and limits; see the builder's methods.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) connect_timeout: Duration,
    pub(crate) timeout: Duration,
    pub(crate) retry_for: Duration,
    pub(crate) heartbeat: Duration,
    pub(crate) first_byte: Duration,
    pub(crate) poll_wait: Duration,
    pub(crate) poll_pause: Duration,
    pub(crate) stream_again: Duration,
    pub(crate) give_up_after: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Self {
        let s = Duration::from_secs;
        Self {
            connect_timeout: s(10),
            timeout: s(30),
            retry_for: s(15),
            heartbeat: s(15),
            first_byte: s(5),
            poll_wait: s(20),
            poll_pause: s(1),
            stream_again: s(30),
            give_up_after: None,
        }
    }
}

impl Settings {
    /// How long a stream may be silent: two heartbeats may be late or lost.
    pub(crate) fn silence(&self) -> Duration {
        self.heartbeat.saturating_mul(3)
    }

    pub(crate) fn rules(&self, polls: bool) -> Rules {
        Rules {
            give_up_after: self.give_up_after,
            poll_wait: self.poll_wait,
            poll_pause: self.poll_pause,
            stream_again: self.stream_again,
            polls,
        }
    }
}

/// Makes a [`Client`]. Every setting has a default that suits an unchanged gateway.
#[must_use = "a builder does nothing until `build`"]
pub struct ClientBuilder {
    url: String,
    key: Option<String>,
    token: Option<String>,
    settings: Settings,
    on_connection: Option<OnConnection>,
}

impl ClientBuilder {
    pub(crate) fn new(url: String) -> Self {
        Self { url, key: None, token: None, settings: Settings::default(), on_connection: None }
    }

    /// The API key, sent with every request. Never shown by `Debug`, and in no error.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// A stream token, as `POST /api/tokens` gives them: enough to follow the jobs that it names, and for nothing else. With a
    /// token and no key a stream that can't be had is not replaced by polls.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// How long a connection may take to be made. Default: 10 s.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.settings.connect_timeout = limit;
        self
    }

    /// How long an answer may take, beyond what the call itself asks the gateway to wait. Default: 30 s.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.settings.timeout = limit;
        self
    }

    /// For how long a call (not a following) that fails for want of a connection, or because the gateway says "later", is
    /// tried again. Zero: never. Default: 15 s.
    pub fn retry_for(mut self, limit: Duration) -> Self {
        self.settings.retry_for = limit;
        self
    }

    /// The gateway's `stream.heartbeat`: a stream on which no byte came for three of them is dead, and is opened anew.
    /// Default: 15 s.
    pub fn heartbeat(mut self, heartbeat: Duration) -> Self {
        self.settings.heartbeat = heartbeat;
        self
    }

    /// How long a stream may take to send its first byte (a gateway sends it at once) before it counts as held back by
    /// something in between, and polls take over. Default: 5 s.
    pub fn first_byte(mut self, limit: Duration) -> Self {
        self.settings.first_byte = limit;
        self
    }

    /// How long one poll waits for a change, where polls took over. Default: 20 s, which most proxies bear.
    pub fn poll_wait(mut self, wait: Duration) -> Self {
        self.settings.poll_wait = wait;
        self
    }

    /// The least time between the beginnings of two polls. Default: 1 s.
    pub fn poll_pause(mut self, pause: Duration) -> Self {
        self.settings.poll_pause = pause;
        self
    }

    /// How long polls serve before the stream is tried again; doubled by each failure, up to 5 min or to this, whichever is
    /// longer. Default: 30 s.
    pub fn stream_again(mut self, after: Duration) -> Self {
        self.settings.stream_again = after;
        self
    }

    /// How long a following goes on while nobody answers; it then ends with
    /// [`FollowError::Unreachable`](crate::FollowError::Unreachable). Default: for ever.
    pub fn give_up_after(mut self, limit: Duration) -> Self {
        self.settings.give_up_after = Some(limit);
        self
    }

    /// Calls `show` when a following's connection changes: for those who show it to people. It must not block.
    pub fn on_connection(mut self, show: impl Fn(JobId, &Connection) + Send + Sync + 'static) -> Self {
        self.on_connection = Some(Arc::new(show));
        self
    }

    /// Makes the client; nothing is sent yet.
    pub fn build(self) -> Result<Client, BuildError> {
        let Self { url, key, token, settings, on_connection } = self;
        let base = base(&url)?;
        let mut headers = HeaderMap::new();
        if let Some(key) = &key {
            let value = HeaderValue::from_str(&format!("Bearer {key}"));
            let mut value = value.map_err(|_| BuildError::Key)?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls(base.starts_with("https:"))?)
            .default_headers(headers)
            .user_agent(concat!("jobcast/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(settings.connect_timeout)
            .tcp_keepalive(settings.heartbeat)
            .redirect(reqwest::redirect::Policy::limited(3))
            .no_proxy()
            .build()
            .map_err(|error| BuildError::Tls(Box::new(error)))?;
        // A key says more than a token does.
        let token = token.filter(|_| key.is_none());
        Ok(Client::new(http, base, token, settings, on_connection))
    }
}

/// The URL that paths are put behind.
fn base(url: &str) -> Result<String, BuildError> {
    let parsed = Url::parse(url).map_err(|_| BuildError::Url("this one can't be read"))?;
    match () {
        () if !matches!(parsed.scheme(), "http" | "https") => {
            Err(BuildError::Url("it begins with http:// or https://"))
        }
        () if !parsed.username().is_empty() || parsed.password().is_some() => {
            Err(BuildError::Url("a name or a password in it is not used; give the key as the key"))
        }
        () if parsed.query().is_some() || parsed.fragment().is_some() => {
            Err(BuildError::Url("there is nothing after ? or # in it"))
        }
        () => Ok(parsed.as_str().trim_end_matches('/').to_owned()),
    }
}

/// TLS by this machine's certificates; where it isn't used they aren't read, so that a machine without any will do.
fn tls(used: bool) -> Result<ClientConfig, BuildError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| BuildError::Tls(Box::new(error)))?;
    Ok(if used {
        let config = config.with_platform_verifier().map_err(|error| BuildError::Tls(Box::new(error)))?;
        config.with_no_client_auth()
    } else {
        config.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth()
    })
}

impl std::fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientBuilder").field("settings", &self.settings).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_may_have_a_path_and_nothing_else() {
        for (url, expected) in [
            ("http://h:1", Some("http://h:1")),
            ("https://h/", Some("https://h")),
            ("https://h/jobs/", Some("https://h/jobs")),
            ("HTTP://H", Some("http://h")),
            ("h:1", None),
            ("127.0.0.1:8080", None),
            ("", None),
            ("ftp://h", None),
            ("http://a:b@h", None),
            ("http://h/?a=b", None),
            ("http://h/#a", None),
        ] {
            assert_eq!(base(url).ok().as_deref(), expected, "{url:?}");
        }
    }

    #[test]
    fn secrets_are_shown_nowhere() {
        let builder = Client::builder("https://h").key("sesame").token("sesame");
        assert!(!format!("{builder:?}").contains("sesame"));
        let client = builder.build().unwrap();
        assert!(!format!("{client:?}").contains("sesame"), "{client:?}");
        let broken = Client::builder("http://sesame:sesame@h").build().unwrap_err();
        assert!(!format!("{broken:?} {broken}").contains("sesame"));
        let broken = Client::builder("http://h").key("sesame\n").build().unwrap_err();
        assert!(!format!("{broken:?} {broken}").contains("sesame"));
    }
}
