//! HTTP clients of tests.

/// Begins an HTTP client that goes where it is told, whatever proxy the environment names.
///
/// Use this and not reqwest's own `builder`: the crates of this workspace build reqwest with TLS but without a provider of
/// cryptography, and a client made before one was chosen panics, even if all of its URLs are plain HTTP.
pub fn http() -> reqwest::ClientBuilder {
    // An error says that there is one already: as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy()
}
