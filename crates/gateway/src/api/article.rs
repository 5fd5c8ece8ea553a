//! The calls of the article that Jobcast began from, so that clients written for it run unchanged: `POST /api/process` and
//! `GET /api/process-sse`. They are the same jobs and the same streams; only the words of the events differ.

use axum::Json as JsonResponse;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use model::wire::{SubmitRequest, urls};
use model::{JobId, Json, Position};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use service::config::Scope;

use super::new_job::new_job;
use super::{jobs, stream};
use crate::App;
use crate::body::JsonBody;
use crate::carrier::stream::{Opened, Source};
use crate::header::{LAST_EVENT_ID, idempotency_key, single};
use crate::owner::Caller;
use crate::problem::Problem;

/// The 202 of `POST /api/process`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Accepted {
    job_id: JobId,
    status_url: String,
}

/// `POST /api/process`: the whole body is the payload of the default task.
pub(crate) async fn process(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    JsonBody(payload): JsonBody<Json>,
) -> Result<Response, Problem> {
    caller.must(Scope::Submit)?;
    let key = idempotency_key(&headers)?;
    let (job_id, _) = create(&app, &caller, payload, key).await?;
    let (status_url, _) = urls(app.base_url(), job_id);
    Ok((StatusCode::ACCEPTED, JsonResponse(Accepted { job_id, status_url })).into_response())
}

/// Makes a job of the default task, or finds the one that the key made; then it is true.
async fn create(
    app: &App,
    caller: &Caller,
    payload: Json,
    key: Option<String>,
) -> Result<(JobId, bool), Problem> {
    let task = app.config().gateway.default_task.clone().ok_or(Problem::NoDefaultTask)?;
    jobs::create(app, &new_job(app.config(), caller, &SubmitRequest::new(task, payload), key)?).await
}

/// The query of `GET /api/process-sse`.
#[derive(Deserialize)]
pub(crate) struct ProcessQuery {
    data: Option<String>,
}

/// `GET /api/process-sse?data=<JSON>`: submits and streams. A reconnect, which says so by its `Last-Event-ID`, never submits.
pub(crate) async fn process_sse(
    State(app): State<App>,
    caller: Caller,
    query: Result<Query<ProcessQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Query(query) = query?;
    caller.must(Scope::Read)?;
    let last = single(&headers, &LAST_EVENT_ID)?.filter(|id| !id.is_empty());
    if let Some(last) = last {
        let (job, position) = resumed(last)?;
        return stream::resume(app, caller.owner, job, position, article_frame).await;
    }
    caller.must(Scope::Submit)?;
    let text = query.data.as_deref().unwrap_or("null");
    let payload =
        Json::parse(text).map_err(|error| Problem::Malformed(format!("`data` is no JSON: {error}.")))?;
    let (job, _) = create(&app, &caller, payload, None).await?;
    // Browsers keep the id and fire nothing: from now on a reconnect finds this job.
    let lead = Bytes::from(format!("id: {job}:0\n\n"));
    let opened = Opened { lead: Some(lead), source: Source::Log(app.hub().follow(job, Position::START)) };
    Ok(stream::respond(app, opened, article_frame))
}

/// `<jobId>:<cursor>`.
fn resumed(id: &str) -> Result<(JobId, Position), Problem> {
    let bad =
        || Problem::BadCursor(format!("{id:?} is no id of this stream; send the last `id:` that you got."));
    let (job, cursor) = id.split_once(':').ok_or_else(bad)?;
    Ok((job.parse().map_err(|_| bad())?, cursor.parse().map_err(|_| bad())?))
}

/// What an article's event says.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Said<'a> {
    job_id: &'a Value,
    progress: &'a Value,
    result: &'a Value,
    error: &'a Value,
}

/// A frame in the article's words; `None` for what it has no word for. What isn't a frame goes as it is.
fn article_frame(frame: Bytes) -> Option<Bytes> {
    let Some((name, data, id)) = split(&frame) else { return Some(frame) };
    let event: Value = serde_json::from_str(data).ok()?;
    // A snapshot is the job as polled; its status says which event would have told it.
    let (name, state) = match (name, event["job"]["status"].as_str()) {
        ("snapshot", Some(status @ ("completed" | "failed" | "cancelled"))) => (status, &event["job"]),
        ("snapshot", _) => ("progress", &event["job"]),
        (name, _) => (name, &event),
    };
    let name = match name {
        "started" | "progress" | "completed" => name,
        "failed" | "cancelled" => "error",
        _ => return None,
    };
    let full = Value::from(100);
    let progress = if name == "completed" { &full } else { &state["progress"] };
    let job_id = &event["jobId"];
    let said = Said { job_id, progress, result: &state["result"], error: &state["error"] };
    let (data, job) = (serde_json::to_string(&said).ok()?, job_id.as_str()?);
    Some(format!("event: {name}\ndata: {data}\nid: {job}:{id}\n\n").into())
}

/// The name, data and id of a frame, which is always of this form.
fn split(frame: &Bytes) -> Option<(&str, &str, &str)> {
    let text = std::str::from_utf8(frame).ok()?.strip_prefix("event: ")?.strip_suffix("\n\n")?;
    let (name, rest) = text.split_once("\ndata: ")?;
    let (data, id) = rest.rsplit_once("\nid: ")?;
    Some((name, data, id))
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: &str = "019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6000";

    #[test]
    fn events_are_told_in_the_articles_words() {
        for (name, fields, want) in [
            ("queued", r#""task":"a""#, None),
            ("output", r#""text":"a""#, None),
            ("retrying", r#""error":"e""#, None),
            ("started", r#""attempt":1"#, Some(("started", r#""progress":null,"result":null,"error":null"#))),
            (
                "progress",
                r#""progress":4.5"#,
                Some(("progress", r#""progress":4.5,"result":null,"error":null"#)),
            ),
            (
                "completed",
                r#""result":{"a":1}"#,
                Some(("completed", r#""progress":100,"result":{"a":1},"error":null"#)),
            ),
            ("failed", r#""error":"e""#, Some(("error", r#""progress":null,"result":null,"error":"e""#))),
            ("cancelled", r#""error":"c""#, Some(("error", r#""progress":null,"result":null,"error":"c""#))),
            (
                "snapshot",
                r#""job":{"status":"failed","progress":7,"error":"e"}"#,
                Some(("error", r#""progress":7,"result":null,"error":"e""#)),
            ),
            (
                "snapshot",
                r#""job":{"status":"processing","progress":7}"#,
                Some(("progress", r#""progress":7,"result":null,"error":null"#)),
            ),
        ] {
            let frame = format!("event: {name}\ndata: {{\"jobId\":\"{JOB}\",{fields}}}\nid: 3-4f2a9c\n\n");
            let want = want.map(|(name, fields)| {
                Bytes::from(format!(
                    "event: {name}\ndata: {{\"jobId\":\"{JOB}\",{fields}}}\nid: {JOB}:3-4f2a9c\n\n"
                ))
            });
            assert_eq!(article_frame(frame.into()), want, "{name}");
        }
        assert_eq!(article_frame(": gone\n".into()), Some(": gone\n".into()));
    }

    #[test]
    fn an_id_says_the_job_and_the_cursor() {
        assert_eq!(resumed(&format!("{JOB}:0")).unwrap(), (JOB.parse().unwrap(), Position::START));
        for bad in ["", "0", JOB, &format!("{JOB}:x"), "x:0"] {
            assert!(resumed(bad).is_err(), "{bad}");
        }
    }
}
