//! Reading request bodies.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http_body::Body as HttpBody;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

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
        if !is_json(request.headers())? || is_encoded(request.headers())? {
            return Err(Problem::UnsupportedMediaType);
        }
        let jobs = &app.config().jobs;
        let limit = jobs.max_payload.as_usize().max(jobs.max_result.as_usize()).saturating_add(ENVELOPE);
        let pause = app.config().gateway.header_timeout;
        let bytes = read(request.into_body(), limit, pause).await?;
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

/// Whether the body is compressed or otherwise encoded, which nothing here undoes.
fn is_encoded(headers: &HeaderMap) -> Result<bool, Problem> {
    let coding = single(headers, &CONTENT_ENCODING)?.unwrap_or_default();
    Ok(!coding.is_empty() && !coding.eq_ignore_ascii_case("identity"))
}

/// All of `body`, if it is no longer than `limit` and never pauses for longer than `pause`.
async fn read(mut body: Body, limit: usize, pause: Duration) -> Result<Vec<u8>, Problem> {
    let too_large = || {
        let says = format!(
            "The body is larger than {limit} bytes; store large data elsewhere and send a link to it."
        );
        Problem::TooLarge(says)
    };
    // Before anything is read, so that who asks first (`Expect: 100-continue`) needn't send it.
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    loop {
        let frame = timeout(pause, body.frame()).await.map_err(|_| Problem::SlowBody)?;
        let Some(frame) = frame else { return Ok(bytes) };
        let frame =
            frame.map_err(|error| Problem::Malformed(format!("The body could not be read: {error}.")))?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > limit {
            return Err(too_large());
        }
        bytes.extend_from_slice(&data);
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let text =
        std::str::from_utf8(bytes).map_err(|_| Problem::Malformed("The body is not valid UTF-8.".into()))?;
    let mut json = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let at = match error.path().to_string().as_str() {
            "." => String::new(),
            path => format!("`{path}`: "),
        };
        Problem::Malformed(format!("The body can't be read: {at}{}.", error.inner()))
    })?;
    json.end().map_err(|error| Problem::Malformed(format!("The body can't be read: {error}.")))?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;
    use futures_util::stream::{self, StreamExt};

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
            (b"{\"tasks\":[\"a\",1]}", "`tasks[1]`: invalid type"),
        ] {
            let error = parse::<model::wire::ClaimRequest>(bytes).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_has_a_length_and_a_pace() {
        let pause = Duration::from_secs(10);
        let pieces = |every: u64, count: usize| {
            let pieces = stream::iter(0..count).then(move |_| async move {
                tokio::time::sleep(Duration::from_secs(every)).await;
                Ok::<_, std::io::Error>(Bytes::from_static(b"12345"))
            });
            Body::from_stream(pieces)
        };
        assert_eq!(read(pieces(9, 4), 20, pause).await.unwrap().len(), 20);
        assert!(matches!(read(pieces(0, 5), 20, pause).await, Err(Problem::TooLarge(_))));
        assert!(matches!(read(pieces(11, 1), 20, pause).await, Err(Problem::SlowBody)));
        let announced = Body::from("x".repeat(21));
        assert!(matches!(read(announced, 20, pause).await, Err(Problem::TooLarge(_))));
    }
}
