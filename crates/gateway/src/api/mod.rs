//! The HTTP API: one file a resource.

mod article;
mod claim;
mod cors;
mod deliveries;
mod ended;
mod external;
mod jobs;
mod list;
mod new_job;
mod path;
mod stream;
mod tasks;
mod tokens;
mod webhook;
mod work;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use service::health::Health;
use service::metrics::Metrics;
use tower_http::catch_panic::CatchPanicLayer;

pub(crate) use self::webhook::Targets;
use crate::App;
use crate::page;
use crate::problem::Problem;

/// Everything that the gateway serves.
pub(crate) fn router(app: App, health: Health, metrics: Metrics) -> Router {
    let mut api = Router::new()
        .route("/", get(page::page))
        .route("/api/jobs", post(jobs::submit).get(list::list))
        .route("/api/jobs/{id}", get(jobs::poll).delete(ended::delete))
        .route("/api/jobs/{id}/cancel", post(jobs::cancel))
        .route("/api/jobs/{id}/retry", post(ended::retry))
        .route("/api/jobs/{id}/deliveries", get(deliveries::of_job))
        .route("/api/jobs/{id}/events", get(stream::events))
        .route("/api/events", get(stream::several))
        .route("/api/feed", get(stream::feed))
        .route("/api/dead-letters", get(deliveries::dead_letters))
        .route("/api/dead-letters/replay", post(deliveries::replay_all))
        .route("/api/dead-letters/{id}/replay", post(deliveries::replay))
        .route("/api/tasks", get(tasks::list))
        .route("/api/tasks/{task}/pause", post(tasks::pause))
        .route("/api/tasks/{task}/resume", post(tasks::resume))
        .route("/api/tokens", post(tokens::make))
        .route("/api/work/claim", post(claim::claim))
        .route("/api/work/{id}/heartbeat", post(work::heartbeat))
        .route("/api/work/{id}/progress", post(work::progress))
        .route("/api/work/{id}/output", post(work::output))
        .route("/api/work/{id}/complete", post(work::complete))
        .route("/api/work/{id}/fail", post(work::fail))
        .route("/api/work/{id}/release", post(work::release));
    if app.config().gateway.article {
        api = api
            .route("/api/process", post(article::process))
            .route("/api/process-webhook", post(article::process_webhook))
            .route("/api/process-sse", get(article::process_sse));
    }
    // Before the layer, which is to see these too: a preflight is a method that no path knows.
    let api = api
        .fallback(async || Problem::NotFound)
        .method_not_allowed_fallback(async || Problem::MethodNotAllowed)
        .with_state(app.clone());
    let api = match cors::layer(&app.config().gateway.cors_origins) {
        Some(cors) => api.layer(cors),
        None => api,
    };
    let ops = service::ops::router(health, metrics)
        .method_not_allowed_fallback(async || Problem::MethodNotAllowed)
        .layer(from_fn_with_state(app, refresh_metrics));
    api.merge(ops).layer(CatchPanicLayer::custom(|_| {
        tracing::error!("a handler panicked");
        Problem::Internal.into_response()
    }))
}

/// Before a scrape, gauges are read that are worth reading only then.
async fn refresh_metrics(State(app): State<App>, request: Request, next: Next) -> Response {
    if request.uri().path() == "/metrics" {
        app.metrics().followed_logs.set(i64::try_from(app.hub().logs()).unwrap_or(i64::MAX));
        app.metrics().refresh_queues(app.store(), app.config().tasks.keys()).await;
    }
    next.run(request).await
}
