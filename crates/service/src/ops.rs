//! What an operator's tools ask every role: `/healthz`, `/readyz`, `/metrics`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

mod serve;

pub use serve::{Server, serve};

use crate::health::Health;
use crate::metrics::Metrics;

const NO_STORE: [(axum::http::HeaderName, &str); 1] = [(CACHE_CONTROL, "no-store")];

/// `GET` and `HEAD` of `/healthz` (the process answers), `/readyz` (200 or 503, with a JSON body that says why) and
/// `/metrics`. Other methods get 405. No credentials are asked for.
pub fn router(health: Health, metrics: Metrics) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz).with_state(health))
        .route("/metrics", get(encode).with_state(metrics))
}

async fn healthz() -> impl IntoResponse {
    #[derive(Serialize)]
    struct Alive {
        status: &'static str,
    }
    (NO_STORE, Json(Alive { status: "ok" }))
}

async fn readyz(State(health): State<Health>) -> impl IntoResponse {
    let readiness = health.readiness();
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, NO_STORE, Json(readiness))
}

async fn encode(State(metrics): State<Metrics>) -> impl IntoResponse {
    ([(CONTENT_TYPE, Metrics::CONTENT_TYPE)], NO_STORE, metrics.encode())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    async fn ask(health: &Health, method: &str, path: &str) -> (u16, String, String) {
        let router = router(health.clone(), Metrics::new());
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let answer = router.oneshot(request).await.unwrap();
        let status = answer.status().as_u16();
        let content =
            answer.headers().get(CONTENT_TYPE).map_or("", |value| value.to_str().unwrap()).to_owned();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, content, String::from_utf8(body.to_vec()).unwrap())
    }

    #[track_caller]
    fn check((status, content, body): &(u16, String, String), expected: (u16, &str, &str)) {
        assert_eq!((*status, content.as_str(), body.as_str()), expected);
    }

    #[tokio::test]
    async fn the_paths_and_their_answers() {
        const JSON: &str = "application/json";
        let health = Health::new();
        for (method, path, expected) in [
            ("GET", "/healthz", (200, JSON, r#"{"status":"ok"}"#)),
            ("HEAD", "/healthz", (200, JSON, "")),
            ("POST", "/healthz", (405, "", "")),
            ("GET", "/readyz", (503, JSON, r#"{"ready":false,"store":"down","stopping":false}"#)),
            ("HEAD", "/readyz", (503, JSON, "")),
            ("DELETE", "/readyz", (405, "", "")),
            ("GET", "/metrics", (200, Metrics::CONTENT_TYPE, "# EOF\n")),
            ("HEAD", "/metrics", (200, Metrics::CONTENT_TYPE, "")),
            ("PUT", "/metrics", (405, "", "")),
            ("GET", "/elsewhere", (404, "", "")),
        ] {
            check(&ask(&health, method, path).await, expected);
        }
        health.mark_reached();
        let up = r#"{"ready":true,"store":"up","stopping":false}"#;
        check(&ask(&health, "GET", "/readyz").await, (200, JSON, up));
        health.store_up(false);
        let down = r#"{"ready":true,"store":"down","stopping":false}"#;
        check(&ask(&health, "GET", "/readyz").await, (200, JSON, down));
        health.mark_stopping();
        let stopping = r#"{"ready":false,"store":"down","stopping":true}"#;
        check(&ask(&health, "GET", "/readyz").await, (503, JSON, stopping));
    }
}
