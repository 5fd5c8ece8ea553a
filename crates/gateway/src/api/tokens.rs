//! Stream tokens, for browsers: an EventSource can't send a key.

use axum::Json as JsonResponse;
use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;
use model::stream_token::{Allows, MAX_JOBS, StreamToken};
use model::wire::Seconds;
use model::{Clock, JobId, SystemClock, Timestamp};
use serde::{Deserialize, Serialize};
use service::config::Scope;

use crate::App;
use crate::body::JsonBody;
use crate::owner::Caller;
use crate::problem::Problem;

/// The body of `POST /api/tokens`: exactly one of `job`, `jobs` and `feed: true`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenRequest {
    job: Option<JobId>,
    jobs: Option<Vec<JobId>>,
    #[serde(default)]
    feed: bool,
    ttl: Option<Seconds>,
}

/// The 200.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TokenResponse {
    token: String,
    expires_at: Timestamp,
}

impl TokenRequest {
    fn allows(self) -> Result<Allows, Problem> {
        match (self.job, self.jobs, self.feed) {
            (Some(job), None, false) => Ok(Allows::Jobs(vec![job])),
            (None, Some(jobs), false) if (1..=MAX_JOBS).contains(&jobs.len()) => Ok(Allows::Jobs(jobs)),
            (None, None, true) => Ok(Allows::Feed(true)),
            _ => {
                let says =
                    format!("Say what the token is for: `job`, `jobs` (1 to {MAX_JOBS}), or `feed: true`.");
                Err(Problem::Malformed(says))
            }
        }
    }
}

/// `POST /api/tokens`. Whether the jobs exist isn't looked up: the stream says that, to their owner alone.
pub(crate) async fn make(
    State(app): State<App>,
    caller: Caller,
    JsonBody(request): JsonBody<TokenRequest>,
) -> Result<impl IntoResponse, Problem> {
    caller.must(Scope::Read)?;
    let auth = &app.config().auth;
    let key = auth.token_keys.first().ok_or(Problem::TokensOff)?;
    let asked = request.ttl.map(Seconds::get).transpose();
    let asked = asked.map_err(|error| Problem::OutOfRange(format!("ttl: {error}.")))?;
    if asked.is_some_and(|asked| asked > auth.token_ttl) {
        let most = auth.token_ttl.as_secs_f64();
        return Err(Problem::OutOfRange(format!("ttl is at most {most} seconds here.")));
    }
    let ttl = asked.unwrap_or(auth.token_ttl);
    let expires_at = SystemClock.now().plus(ttl);
    let token =
        StreamToken { owner: caller.owner, allows: request.allows()?, expires_at }.sign(key.as_bytes());
    Ok(([(CACHE_CONTROL, "no-store")], JsonResponse(TokenResponse { token, expires_at })))
}
