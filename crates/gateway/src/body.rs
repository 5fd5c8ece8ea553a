//! Reading request bodies.

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use crate::App;
use crate::header::single;
use crate::problem::Problem;

/// What a body may hold beside the payload or result: names, other fields, white space.
const ENVELOPE: usize = 64 * 1024;

/// A JSON body: `Content-Type: application/json`, valid UTF-8, within the size limit, without unknown fields.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<App> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        if !is_json(request.headers())? {
            return Err(Problem::UnsupportedMediaType);
        }
        let jobs = &app.config().jobs;
        let limit = jobs.max_payload.as_usize().max(jobs.max_result.as_usize()).saturating_add(ENVELOPE);
        let bytes = read(request.into_body(), limit).await?;
        parse(&bytes).map(Self)
    }
}

/// Whether the body says that it is JSON (`application/json` or `application/…+json`, any parameters).
fn is_json(headers: &HeaderMap) -> Result<bool, Problem> {
    let essence =
        single(headers, &CONTENT_TYPE)?.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    Ok(essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json")))
}

async fn read(body: Body, limit: usize) -> Result<bytes::Bytes, Problem> {
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Problem::TooLarge(format!(
            "The body is larger than {limit} bytes; store large data elsewhere and send a link to it."
        ))),
        Err(error) => Err(Problem::Malformed(format!("The body could not be read: {error}"))),
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let text =
        std::str::from_utf8(bytes).map_err(|_| Problem::Malformed("The body is not valid UTF-8.".into()))?;
    serde_json::from_str(text)
        .map_err(|error| Problem::Malformed(format!("The body can't be read: {error}.")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_goes_by_several_names() {
        for (value, json) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/cloudevents+json", true),
            ("text/plain", false),
            ("application/x-www-form-urlencoded", false),
            ("", false),
        ] {
            let headers = [(CONTENT_TYPE, value.parse().unwrap())].into_iter().collect();
            assert_eq!(is_json(&headers).unwrap(), json, "{value}");
        }
    }

    #[test]
    fn what_is_no_json_says_so() {
        for (bytes, says) in [
            (&b"{"[..], "can't be read"),
            (b"", "can't be read"),
            (b"\xff", "UTF-8"),
            (b"{\"tasks\":[\"a\"]} x", "trailing"),
        ] {
            let error = parse::<model::wire::ClaimRequest>(bytes).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
