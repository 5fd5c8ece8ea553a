//! What can go wrong with a call.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use serde::Deserialize;

/// What the types of Jobcast's own problems begin with.
const PREFIX: &str = "urn:jobcast:";

/// A problem document (RFC 9457): what the gateway says of a request that it didn't do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// The stable type, such as `urn:jobcast:not-found`; `about:blank` where the answer wasn't Jobcast's (a load balancer's,
    /// say).
    pub r#type: String,
    /// A few words on the type.
    pub title: String,
    /// A sentence on this request: what to do.
    pub detail: String,
    /// How long to wait before asking again, if the gateway said so.
    pub retry_after: Option<Duration>,
}

impl Problem {
    /// The type without Jobcast's prefix, such as `not-found`; the whole type where it has another one. The names are listed
    /// in `docs/API.md`.
    pub fn name(&self) -> &str {
        self.r#type.strip_prefix(PREFIX).unwrap_or(&self.r#type)
    }

    /// Whether it is Jobcast's word, and not that of a server before it.
    pub(crate) fn is_jobcasts(&self) -> bool {
        self.r#type.starts_with(PREFIX)
    }

    /// Whether the same request may be answered otherwise later: a limit on the rate, a gateway or a Redis that is away.
    pub fn is_retryable(&self) -> bool {
        matches!(self.status, 408 | 425 | 429 | 500 | 502 | 503 | 504)
    }

    /// Reads an answer's body; one that is no problem document is told by its status.
    pub(crate) fn read(status: u16, retry_after: Option<Duration>, body: &str) -> Self {
        #[derive(Deserialize)]
        struct Document {
            r#type: String,
            #[serde(default)]
            title: String,
            #[serde(default)]
            detail: String,
        }
        let document = serde_json::from_str(body).unwrap_or_else(|_| Document {
            r#type: "about:blank".into(),
            title: String::new(),
            detail: format!("The answer has status {status} and doesn't say why."),
        });
        let Document { r#type, title, detail } = document;
        Self { status, r#type, title, detail, retry_after }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let says = if self.detail.is_empty() { &self.title } else { &self.detail };
        write!(f, "{says} ({} {})", self.status, self.name())
    }
}

/// Why a call came to nothing, after all tries that it was worth.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The gateway said no, and why.
    #[error("{0}")]
    Refused(Problem),
    /// No answer: no connection, a broken one, or none in time.
    #[error("{gateway} doesn't answer: {}", root(&**source))]
    Unreachable {
        /// The base URL.
        gateway: String,
        /// What the network said.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// Something answers there that isn't Jobcast, or is one of another version.
    #[error("{gateway} answered what Jobcast doesn't: {what}")]
    Unreadable {
        /// The base URL.
        gateway: String,
        /// What was wrong with it.
        what: String,
    },
}

impl Error {
    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Refused(problem) => problem.is_retryable(),
            Self::Unreachable { .. } => true,
            Self::Unreadable { .. } => false,
        }
    }

    /// The problem document, if the gateway sent one.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused(problem) => Some(problem),
            _ => None,
        }
    }
}

/// Why nothing more comes of a job that was followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FollowError {
    /// The gateway said no, and why: there is no such job, or the key or token doesn't do.
    #[error("{0}")]
    Refused(Problem),
    /// Nobody answered for as long as [`ClientBuilder::give_up_after`](crate::ClientBuilder::give_up_after) allows. What was
    /// yielded holds; follow again from the last event's cursor.
    #[error("nobody answered for {} s: {source}", .after.as_secs())]
    Unreachable {
        /// For how long.
        after: Duration,
        /// What the last try came to.
        source: Error,
    },
    /// The stream, opened again and again, sent what can't follow what it had sent before.
    #[error("the stream breaks its promise: {0}")]
    Broken(String),
}

impl FollowError {
    /// Whether following again, from the last event that was yielded, may do better.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Refused(problem) => problem.is_retryable(),
            Self::Unreachable { .. } => true,
            Self::Broken(_) => false,
        }
    }

    /// The problem document, if the gateway sent one.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused(problem) => Some(problem),
            _ => None,
        }
    }
}

/// A client that can't be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The base URL is none. The sentence says what one looks like and never shows the URL, which may hold a password.
    #[error("a gateway's URL is such as https://jobs.example.com: {0}")]
    Url(&'static str),
    /// The key or the token has characters that no header can carry. It isn't shown.
    #[error("the key has characters that a header can't carry; is there a line break in it?")]
    Key,
    /// TLS can't be set up: this machine's certificates can't be read, for one.
    #[error("TLS can't be set up: {0}")]
    Tls(Box<dyn StdError + Send + Sync>),
}

/// The innermost cause: `error sending request` says nothing, `connection refused` does.
fn root(error: &(dyn StdError + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_what_to_do() {
        let body =
            r#"{"type":"urn:jobcast:not-found","title":"Not found","status":404,"detail":"There is none."}"#;
        let problem = Problem::read(404, None, body);
        assert_eq!(problem.to_string(), "There is none. (404 not-found)");
        assert!(!problem.is_retryable());
        let busy = Problem::read(503, Some(Duration::from_secs(2)), "<html>");
        assert_eq!(busy.to_string(), "The answer has status 503 and doesn't say why. (503 about:blank)");
        assert!(busy.is_retryable());
    }
}
