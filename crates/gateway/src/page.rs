//! The page at `/`: one file, part of the binary.

use std::sync::LazyLock;

use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::header::none_match_names;

const PAGE: &str = include_str!("../../../dashboard/index.html");

/// Style and script are in the page itself; it talks to nobody but us, and nobody may frame it.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

static TAG: LazyLock<String> =
    LazyLock::new(|| format!("\"{}\"", &model::fingerprint::sha256(PAGE.as_bytes())[..16]));

/// `GET /`
pub(crate) async fn page(headers: HeaderMap) -> Response {
    let mut response = if none_match_names(&headers, &TAG) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        PAGE.into_response()
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(tag) = HeaderValue::from_str(&TAG) {
        headers.insert(ETAG, tag);
    }
    response
}
