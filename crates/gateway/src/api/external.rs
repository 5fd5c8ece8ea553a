//! External jobs: no worker claims them; whoever has the token that the 202 carries reports what becomes of them.

use std::time::Duration;

use axum::http::HeaderMap;
use model::wire::{ExternalRequest, SubmitRequest};
use model::{JobId, Token};
use service::config::JobsConfig;
use store::{External, NewJob};

use crate::App;
use crate::header::asks_for_stream;
use crate::problem::Problem;

/// The leases that there may be: those that `jobs.external_lease` may say.
const LEASES: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(1);

/// Who is to report of the job that `request` asks for, with a token that nobody had before; `None` if it isn't external.
pub(super) fn external(request: &SubmitRequest, limits: &JobsConfig) -> Result<Option<External>, Problem> {
    let lease = match request.external {
        None | Some(ExternalRequest::Is(false)) => return Ok(None),
        Some(ExternalRequest::Is(true)) => limits.external_lease,
        Some(ExternalRequest::With(asked)) => {
            let lease = asked.lease.get().ok().filter(|lease| LEASES.contains(lease));
            lease.ok_or_else(|| {
                Problem::OutOfRange(
                    "external.lease is 1 to 3600 seconds: how long may pass between reports.".into(),
                )
            })?
        }
    };
    if request.max_attempts.is_some_and(|asked| asked > 1) {
        return Err(Problem::OutOfRange(
            "An external job has one attempt, since nobody here could start another: leave maxAttempts out."
                .into(),
        ));
    }
    if request.delay.is_some() {
        return Err(Problem::OutOfRange(
            "An external job starts with its first report, whenever that comes: leave delay out.".into(),
        ));
    }
    Ok(Some(External { token: Token::from_random(rand::random()), lease }))
}

/// Refuses a submission whose answer could not carry the token.
pub(super) fn answerable(request: &SubmitRequest, headers: &HeaderMap) -> Result<(), Problem> {
    if request.is_external() && asks_for_stream(headers) {
        return Err(Problem::OutOfRange(
            "A stream can't carry the leaseToken of an external job: submit it without Accept: text/event-stream, then \
             open the eventsUrl of the answer."
                .into(),
        ));
    }
    Ok(())
}

/// The token of `job`, which was made as `id`, or found as it by its Idempotency-Key: then the first submission's.
pub(super) async fn token(
    app: &App,
    job: &NewJob,
    id: JobId,
    replayed: bool,
) -> Result<Option<Token>, Problem> {
    match &job.external {
        Some(_) if replayed => Ok(app.store().external_token(id).await?),
        external => Ok(external.map(|external| external.token)),
    }
}
