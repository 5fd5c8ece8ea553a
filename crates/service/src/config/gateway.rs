//! `[gateway]`: where and how the gateway listens.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use model::TaskName;
use serde::{Deserialize, Deserializer, de};

use super::size::Size;
use super::value::{HOUR, KIB, MIB, MINUTE, SECOND, duration, number, size};

/// Where the gateway listens, and what it takes from a connection.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GatewayConfig {
    /// The address to listen on, IP and port; port 0 takes a free one. Default `127.0.0.1:8080`.
    #[serde(deserialize_with = "listen")]
    pub listen: SocketAddr,
    /// What `statusUrl` and `eventsUrl` begin with: http or https, without a slash at the end. Default none:
    /// they are paths.
    #[serde(deserialize_with = "public_url")]
    pub public_url: Option<String>,
    /// How long a request's head may take to arrive, and for how long its body may pause. Default 10s, 100ms to 5m.
    #[serde(deserialize_with = "duration::<_, 100, { 5 * MINUTE }>")]
    pub header_timeout: Duration,
    /// How long a connection may wait for its next request. Default 75s, 1s to 1h.
    #[serde(deserialize_with = "duration::<_, SECOND, HOUR>")]
    pub idle_timeout: Duration,
    /// The largest head of a request, in bytes. Default 16 KiB, 8 KiB to 1 MiB.
    #[serde(deserialize_with = "size::<_, { 8 * KIB }, MIB>")]
    pub max_head: Size,
    /// How many connections may be open at once, and how many requests under way on all HTTP/2 connections together; more
    /// wait to be accepted. Default 100,000, 1 to 10,000,000.
    #[serde(deserialize_with = "number::<_, _, 1, 10_000_000>")]
    pub max_connections: u32,
    /// How many requests one HTTP/2 connection may have under way at once; a client waits with more. Default 200, 1 to
    /// 10,000.
    #[serde(deserialize_with = "number::<_, _, 1, 10_000>")]
    pub max_streams: u32,
    /// The origins whose pages may call from a browser (CORS), such as `https://app.example.com`; `*` is any. Default none.
    #[serde(deserialize_with = "origins")]
    pub cors_origins: Vec<String>,
    /// Are the article's calls served, `/api/process` and `/api/process-sse`? The second submits by a GET: for trying
    /// out. Default false; `jobcast dev` sets it.
    pub article: bool,
    /// The task of the article's calls, one of `[tasks]`. Default none: they are refused.
    pub default_task: Option<TaskName>,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            public_url: None,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            max_head: Size::kib(16),
            max_connections: 100_000,
            max_streams: 200,
            cors_origins: Vec::new(),
            article: false,
            default_task: None,
        }
    }
}

/// Reads an address to listen on.
pub(super) fn listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| {
        let allowed = "an IP address and a port, such as \"127.0.0.1:8080\" or \"[::]:8080\"";
        de::Error::invalid_value(de::Unexpected::Str(&text), &allowed)
    })
}

fn public_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or_default();
    let legal = |b: u8| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'"' | b'\\' | b'<' | b'>' | b'@');
    if !rest.is_empty() && !rest.starts_with('/') && !rest.ends_with('/') && rest.bytes().all(legal) {
        return Ok(Some(text));
    }
    let allowed = "an http or https URL without a slash at the end, such as \"https://jobs.example.com\"";
    Err(de::Error::invalid_value(de::Unexpected::Str(&text), &allowed))
}

fn origins<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let origins = Vec::<String>::deserialize(deserializer)?;
    let is_origin = |text: &str| {
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or_default();
        // As browsers send it: small letters, no path, not even a slash.
        let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.:[]".contains(&b);
        text == "*" || (!host.is_empty() && host.bytes().all(legal))
    };
    match origins.iter().find(|origin| !is_origin(origin)) {
        None => Ok(origins),
        Some(bad) => {
            let allowed = "origins as browsers send them, such as \"https://app.example.com\", or \"*\"";
            Err(de::Error::invalid_value(de::Unexpected::Str(bad), &allowed))
        }
    }
}
