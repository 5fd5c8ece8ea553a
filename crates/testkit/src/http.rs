//! HTTP clients of tests.

/// The environment variable with which all clients of tests speak HTTP/2, if it is `1`.
const HTTP2: &str = "JOBCAST_TEST_HTTP2";

/// Whether this run of the tests is over HTTP/2: `JOBCAST_TEST_HTTP2=1`. Then a gateway's streams are on its other carrier.
pub fn speaks_http2() -> bool {
    std::env::var_os(HTTP2).is_some_and(|value| value == "1")
}

/// Begins an HTTP client that goes where it is told, whatever proxy the environment names. Over HTTP/1.1, or, where
/// [`speaks_http2`], over HTTP/2 without TLS and without asking first (prior knowledge).
///
/// Use this and not reqwest's own `builder`: the crates of this workspace build reqwest with TLS but without a provider of
/// cryptography, and a client made before one was chosen panics, even if all of its URLs are plain HTTP.
pub fn http() -> reqwest::ClientBuilder {
    // An error says that there is one already: as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // Without certificates of authorities, since tests speak no TLS by it: a debug build takes a tenth of a second to read them.
    let builder = reqwest::Client::builder().no_proxy().tls_certs_only([]);
    if speaks_http2() { builder.http2_prior_knowledge() } else { builder }
}
