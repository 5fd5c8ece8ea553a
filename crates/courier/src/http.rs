//! One request: sent to an address that is allowed, answered or not within its time.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::webhook::{Target, TargetError, TargetRules};
use reqwest::header::{HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{Client, Method, Request, Response, Url};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;
use tokio::time::{Instant, timeout, timeout_at};

use crate::authorities::Authorities;
use crate::resolve::{Guarded, Lookup, Refused};
use crate::schedule;

/// How much of an answer's body is kept, and read.
const BODY: usize = 1024;
/// How long a body is waited for once the head has said how it went.
const BODY_TIME: Duration = Duration::from_secs(1);
/// How long a connection is kept for the next request: less than the five seconds after which many servers close it.
const IDLE: Duration = Duration::from_secs(4);

/// What can't be set up.
#[derive(Debug, thiserror::Error)]
#[error("TLS can't be set up: {0}")]
pub struct SetupError(String);

/// Makes the clients of hosts.
pub(crate) struct Sender {
    tls: ClientConfig,
    rules: Arc<TargetRules>,
    lookup: Arc<dyn Lookup>,
    idle: usize,
}

impl Sender {
    /// Who trusts the certificates of this machine, and `authorities`; nobody, where there are neither, so that `https` fails.
    pub(crate) fn new(
        authorities: Authorities,
        rules: Arc<TargetRules>,
        lookup: Arc<dyn Lookup>,
        per_host: usize,
    ) -> Result<Self, SetupError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| SetupError(error.to_string()))?;
        let tls = match Verifier::new_with_extra_roots(authorities.certificates(), provider) {
            Ok(verifier) => config.dangerous().with_custom_certificate_verifier(Arc::new(verifier)),
            Err(error) => {
                tracing::warn!(%error, "this machine has no certificates to trust, so no https receiver is delivered to");
                config.with_root_certificates(RootCertStore::empty())
            }
        };
        let tls = tls.with_no_client_auth();
        Ok(Self { tls, rules, lookup, idle: per_host })
    }

    /// A client for the host of `target`, whose connections it keeps.
    pub(crate) fn to(&self, target: &Target) -> Result<Http, reqwest::Error> {
        let (rules, lookup) = (Arc::clone(&self.rules), Arc::clone(&self.lookup));
        let client = Client::builder()
            .tls_backend_preconfigured(self.tls.clone())
            .dns_resolver(Guarded { target: target.clone(), rules, lookup })
            .user_agent(concat!("Jobcast/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .referer(false)
            .pool_max_idle_per_host(self.idle)
            .pool_idle_timeout(IDLE)
            .build()?;
        Ok(Http(client))
    }
}

/// The way to one host.
pub(crate) struct Http(Client);

/// What is sent.
pub(crate) struct Message {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// How long it asks to wait.
    pub(crate) retry_after: Option<Duration>,
    /// Where it would have us go instead.
    pub(crate) location: Option<String>,
    /// The first kilobyte of the body.
    pub(crate) body: Option<String>,
}

/// Why nothing was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// The address may not be gone to.
    Refused(TargetError),
    /// The time was up.
    Timeout,
    /// There was no connection, or it broke.
    Broken(String),
}

impl Http {
    /// Posts `message` to `url`, which is at this host. All of it, from the look-up of the name to the end of the answer, takes `limit` at most.
    pub(crate) async fn post(
        &self,
        url: &Url,
        message: Message,
        limit: Duration,
    ) -> Result<Answer, NoAnswer> {
        let end = Instant::now() + limit;
        let mut request = Request::new(Method::POST, url.clone());
        *request.headers_mut() = message.headers;
        *request.body_mut() = Some(message.body.into());
        match timeout_at(end, self.0.execute(request)).await {
            Ok(Ok(response)) => Ok(read(response, end).await),
            Ok(Err(error)) => Err(why(&error)),
            Err(_) => Err(NoAnswer::Timeout),
        }
    }
}

async fn read(mut response: Response, end: Instant) -> Answer {
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    let (status, retry_after) =
        (response.status().as_u16(), header(RETRY_AFTER).and_then(schedule::retry_after));
    let location = header(LOCATION).map(|text| text.chars().take(200).collect());
    let mut bytes = Vec::new();
    // The head decides; the body is only shown. What there is of it when its time is up, or it breaks, will do.
    let reading = async {
        while bytes.len() < BODY {
            let Ok(Some(chunk)) = response.chunk().await else { return };
            bytes.extend_from_slice(&chunk[..chunk.len().min(BODY - bytes.len())]);
        }
    };
    drop(timeout(BODY_TIME.min(end.saturating_duration_since(Instant::now())), reading).await);
    let body = (!bytes.is_empty()).then(|| String::from_utf8_lossy(&bytes).into_owned());
    Answer { status, retry_after, location, body }
}

/// What is said of an error: its innermost cause, and nothing of the URL.
fn why(error: &reqwest::Error) -> NoAnswer {
    let mut cause: &Cause = error;
    loop {
        if let Some(Refused(refused)) = cause.downcast_ref() {
            return NoAnswer::Refused(refused.clone());
        }
        let Some(inner) = inner(cause) else { break };
        cause = inner;
    }
    if let Some(rustls::Error::InvalidCertificate(fault)) = cause.downcast_ref() {
        return NoAnswer::Broken(format!("no connection: {}", untrusted(fault)));
    }
    let stage = if error.is_dns() {
        "the name can't be looked up"
    } else if error.is_connect() {
        "no connection"
    } else {
        "the connection broke"
    };
    NoAnswer::Broken(format!("{stage}: {cause}"))
}

type Cause = dyn StdError + 'static;

/// The cause of `error`. What an I/O error was made of isn't its source, but what that itself has.
fn inner(error: &Cause) -> Option<&Cause> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(made_of) => Some(made_of),
        None => error.source(),
    }
}

/// Why a receiver's certificate is not trusted.
fn untrusted(fault: &CertificateError) -> String {
    match fault {
        CertificateError::UnknownIssuer => {
            "the receiver's certificate is signed by nobody whom the courier trusts (webhooks.ca_file)".into()
        }
        other => format!("the receiver's certificate: {other}"),
    }
}
