//! Where streams are.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::Url;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::net::lookup_host;

/// One address of a gateway, or of a load balancer.
#[derive(Clone)]
pub struct Server {
    pub(crate) address: SocketAddr,
    /// What the request's `Host` says.
    pub(crate) host: String,
    /// What paths are put behind.
    pub(crate) base: String,
    pub(crate) tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("address", &self.address)
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

/// A URL that is no place to open streams at.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// It is none of HTTP.
    #[error(
        "a gateway's URL is such as http://127.0.0.1:8080 or https://jobs.example.com, and nothing after ? or #"
    )]
    Url,
    /// Its name isn't known.
    #[error("{host} has no address: {source}")]
    Name {
        /// The name.
        host: String,
        /// What the system says.
        source: io::Error,
    },
    /// TLS can't be set up.
    #[error("TLS can't be set up: {0}")]
    Tls(#[from] rustls::Error),
}

impl Server {
    /// A server without TLS at `address`.
    pub fn at(address: SocketAddr) -> Self {
        Self { address, host: address.to_string(), base: String::new(), tls: None }
    }
}

/// All addresses of `url`.
pub(crate) async fn resolve(url: &str) -> Result<Vec<Server>, ServerError> {
    let parsed = Url::parse(url).map_err(|_| ServerError::Url)?;
    let is_tls = match parsed.scheme() {
        "http" => false,
        "https" => true,
        _ => return Err(ServerError::Url),
    };
    if parsed.query().is_some() || parsed.fragment().is_some() {
        return Err(ServerError::Url);
    }
    let (Some(name), Some(port)) = (parsed.host_str(), parsed.port_or_known_default()) else {
        return Err(ServerError::Url);
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let host = parsed.port().map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"));
    let tls = if is_tls {
        let server = ServerName::try_from(bare.to_owned()).map_err(|_| ServerError::Url)?;
        Some((Arc::new(tls()?), server))
    } else {
        None
    };
    let found = lookup_host((bare, port)).await;
    let mut addresses: Vec<_> =
        found.map_err(|source| ServerError::Name { host: name.to_owned(), source })?.collect();
    // A name of both families is usually one machine: IPv4 alone, unless there is none.
    if addresses.iter().any(SocketAddr::is_ipv4) {
        addresses.retain(SocketAddr::is_ipv4);
    }
    addresses.dedup();
    let base = parsed.path().trim_end_matches('/').to_owned();
    let server = |address| Server { address, host: host.clone(), base: base.clone(), tls: tls.clone() };
    Ok(addresses.into_iter().map(server).collect())
}

/// TLS by this machine's certificates.
fn tls() -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.with_platform_verifier()?.with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_url_says_where_and_what_to_say_there() {
        let [server] = &resolve("http://127.0.0.1:8080/jobs/").await.unwrap()[..] else { panic!() };
        assert_eq!(
            (server.address.to_string().as_str(), &*server.host, &*server.base),
            ("127.0.0.1:8080", "127.0.0.1:8080", "/jobs")
        );
        let [server] = &resolve("http://[::1]").await.unwrap()[..] else { panic!() };
        assert_eq!(
            (server.address.to_string().as_str(), &*server.host, &*server.base),
            ("[::1]:80", "[::1]", "")
        );
        for url in ["127.0.0.1:8080", "ftp://h", "http://h/?a=b", "http://h/#a", ""] {
            assert!(matches!(resolve(url).await, Err(ServerError::Url)), "{url}");
        }
    }
}
