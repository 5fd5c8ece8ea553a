//! Deliveries of webhooks: what became of a job's, an owner's dead letters, and their replay.

use axum::Json as JsonResponse;
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use model::webhook::DeliveryId;
use model::wire::{DeadLetterFilter, DeadLetterList, DeliveryList, DeliveryView, Replayed};
use model::{Owner, Timestamp};
use serde::Deserialize;
use service::config::Scope;
use store::{DeadLettersQuery, Delivery, ReplayError};

use super::list::read_limit;
use super::path::JobPath;
use crate::App;
use crate::body::JsonBody;
use crate::owner::Caller;
use crate::problem::Problem;

/// How many dead letters a page has, unless asked for otherwise.
const LIMIT: usize = 100;

/// How many are replayed at once, where many are.
const AT_ONCE: usize = 50;

/// The `{id}` of a path that names a delivery. What names none is as unknown as any other.
pub(crate) struct DeliveryPath(DeliveryId);

impl FromRequestParts<App> for DeliveryPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, app).await;
        let id = path.ok().and_then(|Path(text)| text.parse().ok());
        id.map(Self).ok_or(Problem::NotFound)
    }
}

/// `GET /api/jobs/{id}/deliveries`. They may be told of for longer than their job.
pub(crate) async fn of_job(
    State(app): State<App>,
    caller: Caller,
    JobPath(id): JobPath,
) -> Result<Response, Problem> {
    caller.must(Scope::Read)?;
    let found = app.store().deliveries(id).await?;
    let deliveries: Vec<_> =
        found.into_iter().filter(|delivery| delivery.owner == caller.owner).map(view).collect();
    if deliveries.is_empty() {
        let job = app.store().job(id).await?;
        job.filter(|job| job.owner == caller.owner).ok_or(Problem::NotFound)?;
    }
    let headers = [(CACHE_CONTROL, "no-store")];
    Ok((headers, JsonResponse(DeliveryList { deliveries })).into_response())
}

/// What the list of dead letters is asked for. What is empty is not asked for.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LettersQuery {
    url: Option<String>,
    since: Option<String>,
    until: Option<String>,
    after: Option<String>,
    limit: Option<String>,
}

/// `GET /api/dead-letters`
pub(crate) async fn dead_letters(
    State(app): State<App>,
    caller: Caller,
    query: Result<Query<LettersQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    caller.must(Scope::Read)?;
    let Query(query) = query?;
    let page = app.store().dead_letters(&query.read(caller.owner)?).await?;
    let dead_letters = page.letters.into_iter().map(view).collect();
    let next = page.next.map(|place| place.to_string());
    let headers = [(CACHE_CONTROL, "no-store")];
    Ok((headers, JsonResponse(DeadLetterList { dead_letters, next })).into_response())
}

impl LettersQuery {
    fn read(self, owner: Owner) -> Result<DeadLettersQuery, Problem> {
        let given = |field: Option<String>| field.filter(|text| !text.is_empty());
        let time = |name: &str, field: Option<String>| {
            let read =
                |text: String| text.parse::<Timestamp>().map_err(|error| bad_time(name, &text, &error));
            given(field).map(read).transpose()
        };
        let after = given(self.after).map(|text| {
            text.parse().map_err(|_| {
                Problem::BadCursor(format!(
                    "{text:?} is no place in a list of dead letters; send as `after` the `next` of the page before."
                ))
            })
        });
        let filter = DeadLetterFilter {
            url: given(self.url),
            since: time("since", self.since)?,
            until: time("until", self.until)?,
        };
        let limit = given(self.limit).map(|text| read_limit(&text)).transpose()?;
        Ok(DeadLettersQuery { owner, filter, after: after.transpose()?, limit: limit.unwrap_or(LIMIT) })
    }
}

fn bad_time(name: &str, text: &str, error: &model::BadTime) -> Problem {
    Problem::Malformed(format!(
        "`{name}` is a time in RFC 3339, such as 2026-11-23T10:00:00Z, not {text:?}: {error}."
    ))
}

/// `POST /api/dead-letters/{id}/replay`
pub(crate) async fn replay(
    State(app): State<App>,
    caller: Caller,
    DeliveryPath(id): DeliveryPath,
) -> Result<Response, Problem> {
    caller.must(Scope::Submit)?;
    app.store().replay(id, &caller.owner).await?;
    let now = app.store().delivery(id).await?.ok_or(Problem::NotFound)?;
    Ok((StatusCode::ACCEPTED, JsonResponse(view(now))).into_response())
}

/// `POST /api/dead-letters/replay`: all that pass the filter and had died before it was asked.
pub(crate) async fn replay_all(
    State(app): State<App>,
    caller: Caller,
    JsonBody(filter): JsonBody<DeadLetterFilter>,
) -> Result<Response, Problem> {
    caller.must(Scope::Submit)?;
    let mut query = DeadLettersQuery { owner: caller.owner, filter, after: None, limit: LIMIT };
    let mut replayed = 0;
    loop {
        let page = app.store().dead_letters(&query).await?;
        replayed += replay_page(&app, &query.owner, page.letters).await?;
        // The next page is of older ones: what dies again meanwhile isn't met again.
        query.after = page.next;
        if query.after.is_none() {
            return Ok((StatusCode::ACCEPTED, JsonResponse(Replayed { replayed })).into_response());
        }
    }
}

/// How many of `letters` are to be delivered again. Those that went meanwhile don't count.
async fn replay_page(app: &App, owner: &Owner, letters: Vec<Delivery>) -> Result<u64, Problem> {
    let replays = stream::iter(letters).map(|letter| async move {
        match app.store().replay(letter.id, owner).await {
            Ok(()) => Ok(1),
            Err(ReplayError::Absent | ReplayError::Delivered) => Ok(0),
            Err(ReplayError::Store(error)) => Err(Problem::from(error)),
        }
    });
    replays.buffer_unordered(AT_ONCE).try_fold(0, |sum, one| async move { Ok(sum + one) }).await
}

fn view(delivery: Delivery) -> DeliveryView {
    DeliveryView {
        id: delivery.id,
        job_id: delivery.id.job,
        webhook_id: delivery.webhook_id,
        url: delivery.url,
        status: delivery.status,
        created_at: delivery.created_at,
        next_attempt_at: delivery.due_at,
        settled_at: delivery.settled_at,
        attempts: delivery.attempts,
    }
}
