//! The calls of the article that Jobcast began from, so that clients written for it run unchanged: `POST /api/process`,
//! `POST /api/process-webhook` and `GET /api/process-sse`. They are the same jobs and the same streams; only the words of the
//! events differ.

use std::collections::BTreeMap;

use axum::Json as JsonResponse;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use model::webhook::BadSecret;
use model::wire::{SubmitRequest, WebhookRequest, urls};
use model::{JobId, Json, Position};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use service::config::Scope;
use store::NewJob;

use super::new_job::new_job;
use super::webhook::{plain_webhook, webhooks};
use super::{jobs, stream};
use crate::App;
use crate::body::JsonBody;
use crate::carrier::stream::{Opened, Source};
use crate::header::{LAST_EVENT_ID, idempotency_key, single};
use crate::owner::Caller;
use crate::problem::Problem;

/// The 202 of `POST /api/process` and `POST /api/process-webhook`.
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
    let (job_id, _) = create(&app, &caller, payload, None, key).await?;
    Ok(accepted(&app, job_id))
}

fn accepted(app: &App, job_id: JobId) -> Response {
    let (status_url, _) = urls(app.base_url(), job_id);
    (StatusCode::ACCEPTED, JsonResponse(Accepted { job_id, status_url })).into_response()
}

/// `POST /api/process-webhook`: the payload of the default task, with whom to tell of its end among it.
pub(crate) async fn process_webhook(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    JsonBody(body): JsonBody<BTreeMap<String, Json>>,
) -> Result<Response, Problem> {
    caller.must(Scope::Submit)?;
    let key = idempotency_key(&headers)?;
    let (payload, webhook) = told(body)?;
    let (job_id, _) = create(&app, &caller, payload, webhook, key).await?;
    Ok(accepted(&app, job_id))
}

/// Takes `webhookUrl` and `webhookSecret` out; each may be left out, null or empty. The rest is the payload.
fn told(mut body: BTreeMap<String, Json>) -> Result<(Json, Option<WebhookRequest>), Problem> {
    let mut text = |name: &str| {
        let value = body.remove(name).filter(|value| !value.is_null());
        let text = value.map(|value| serde_json::from_str::<String>(value.as_str())).transpose();
        let text = text.map_err(|_| Problem::Malformed(format!("`{name}` is a text.")))?;
        Ok::<_, Problem>(text.filter(|text| !text.is_empty()))
    };
    let (url, secret) = (text("webhookUrl")?, text("webhookSecret")?);
    let secret = secret.map(|secret| secret.parse()).transpose();
    let secret =
        secret.map_err(|error: BadSecret| Problem::Malformed(format!("`webhookSecret`: {error}.")))?;
    let payload = Json::of(&body).map_err(|error| Problem::Malformed(error.to_string()))?;
    Ok((payload, url.map(|url| WebhookRequest { url, secret })))
}

/// Makes a job of the default task, or finds the one that the key made; then it is true.
async fn create(
    app: &App,
    caller: &Caller,
    payload: Json,
    webhook: Option<WebhookRequest>,
    key: Option<String>,
) -> Result<(JobId, bool), Problem> {
    let task = app.config().gateway.default_task.clone().ok_or(Problem::NoDefaultTask)?;
    let request = SubmitRequest { webhook, ..SubmitRequest::new(task, payload) };
    let job = new_job(app.config(), caller, &request, key)?;
    let webhooks = match &request.webhook {
        Some(webhook) => plain_webhook(app, &caller.owner, webhook).await?,
        None => webhooks(app, &caller.owner, None).await?,
    };
    jobs::create(app, &NewJob { webhooks, ..job }).await
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
    let (job, _) = create(&app, &caller, payload, None, None).await?;
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
    fn a_webhook_is_taken_out_of_the_payload() {
        let told = |text: &str| told(serde_json::from_str(text).unwrap());
        let (payload, webhook) =
            told(r#"{"n": 1.50, "webhookUrl": "https://a.example/", "webhookSecret": "hush", "b": [ 1 ]}"#)
                .unwrap();
        let expected =
            WebhookRequest { url: "https://a.example/".into(), secret: Some("hush".parse().unwrap()) };
        assert_eq!((payload.as_str(), webhook), (r#"{"b":[1],"n":1.50}"#, Some(expected)));
        for none in ["{}", r#"{"webhookUrl":null,"webhookSecret":"x"}"#, r#"{"webhookUrl":""}"#] {
            assert_eq!(told(none).unwrap().1, None, "{none}");
        }
        let open = told(r#"{"webhookUrl":"https://a.example/","webhookSecret":""}"#).unwrap().1.unwrap();
        assert_eq!(open.secret, None);
        for bad in [r#"{"webhookUrl":1}"#, r#"{"webhookUrl":"x","webhookSecret":"whsec_x"}"#] {
            assert!(matches!(told(bad), Err(Problem::Malformed(_))), "{bad}");
        }
    }

    #[test]
    fn an_id_says_the_job_and_the_cursor() {
        assert_eq!(resumed(&format!("{JOB}:0")).unwrap(), (JOB.parse().unwrap(), Position::START));
        for bad in ["", "0", JOB, &format!("{JOB}:x"), "x:0"] {
            assert!(resumed(bad).is_err(), "{bad}");
        }
    }
}
