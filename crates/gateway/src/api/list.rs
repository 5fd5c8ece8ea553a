//! The list of an owner's jobs.

use axum::Json as JsonResponse;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use model::wire::{JobList, JobView};
use model::{Owner, Status, TaskName};
use serde::Deserialize;
use service::config::{Config, Scope};

use crate::App;
use crate::owner::Caller;
use crate::problem::Problem;

/// How many jobs a page has, unless asked for otherwise.
const LIMIT: usize = 100;

/// How many it may have.
const MOST: usize = 1000;

/// What the list is asked for. What is empty is not asked for.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    status: Option<String>,
    task: Option<String>,
    after: Option<String>,
    limit: Option<String>,
}

/// `GET /api/jobs`
pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    caller.must(Scope::Read)?;
    let Query(query) = query?;
    let listed = app.store().list(&query.read(app.config(), caller.owner)?).await?;
    let jobs = listed.jobs.into_iter().map(|job| JobView::new(job, app.base_url())).collect();
    let headers = [(CACHE_CONTROL, "no-store")];
    Ok((headers, JsonResponse(JobList { jobs, next: listed.next })).into_response())
}

impl ListQuery {
    fn read(&self, config: &Config, owner: Owner) -> Result<store::ListQuery, Problem> {
        let given = |field: &'_ Option<String>| field.clone().filter(|text| !text.is_empty());
        let status = given(&self.status).map(|text| read_status(&text)).transpose()?;
        let task = given(&self.task).map(|text| read_task(&text, config)).transpose()?;
        let after = given(&self.after).map(|text| {
            text.parse().map_err(|_| {
                Problem::BadCursor(format!(
                    "{text:?} is no place in a list of jobs; send as `after` the `next` of the page before."
                ))
            })
        });
        let limit = given(&self.limit).map(|text| read_limit(&text)).transpose()?;
        Ok(store::ListQuery { owner, status, task, after: after.transpose()?, limit: limit.unwrap_or(LIMIT) })
    }
}

fn read_status(text: &str) -> Result<Status, Problem> {
    text.parse().map_err(|_| {
        let known = Status::ALL.map(Status::as_str).join(", ");
        Problem::Malformed(format!("There is no status {text:?}; they are: {known}."))
    })
}

fn read_task(text: &str, config: &Config) -> Result<TaskName, Problem> {
    let task: TaskName =
        text.parse().map_err(|error| Problem::Malformed(format!("{text:?} is no task: {error}.")))?;
    if config.tasks.contains_key(&task) { Ok(task) } else { Err(Problem::unknown_task(&task, config)) }
}

/// The `limit` of a list.
pub(super) fn read_limit(text: &str) -> Result<usize, Problem> {
    let limit: u64 = text.parse().map_err(|_| {
        Problem::Malformed(format!("`limit` is a whole number of 1 to {MOST}, not {text:?}."))
    })?;
    let legal = usize::try_from(limit).ok().filter(|limit| (1..=MOST).contains(limit));
    legal.ok_or_else(|| Problem::OutOfRange(format!("limit is 1 to {MOST}, not {limit}.")))
}
