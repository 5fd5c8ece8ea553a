//! Calls from pages of other origins (CORS, Fetch standard).

use std::time::Duration;

use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LOCATION, RETRY_AFTER,
};
use axum::http::{HeaderValue, Method};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::header::{IDEMPOTENCY_KEY, IDEMPOTENCY_REPLAYED, LAST_EVENT_ID, PREFER, PREFERENCE_APPLIED};

/// How long a browser may remember the answer to a preflight; browsers cap it themselves.
const REMEMBER: Duration = Duration::from_hours(2);

/// Answers preflights and marks answers for `origins`; `None` where no other origin may call.
///
/// Keys and tokens are all the credentials that there are, no cookies, so none are allowed along.
pub(super) fn layer(origins: &[String]) -> Option<CorsLayer> {
    let allowed = if origins.is_empty() {
        return None;
    } else if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()))
    };
    let layer = CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        // Cache-Control is what clients that imitate an EventSource send with each stream.
        .allow_headers([
            AUTHORIZATION,
            CACHE_CONTROL,
            CONTENT_TYPE,
            IF_NONE_MATCH,
            IDEMPOTENCY_KEY,
            LAST_EVENT_ID,
            PREFER,
        ])
        .expose_headers([ETAG, LOCATION, RETRY_AFTER, IDEMPOTENCY_REPLAYED, PREFERENCE_APPLIED])
        .max_age(REMEMBER);
    Some(layer)
}
