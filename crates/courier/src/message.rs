//! What is sent: the job as polled, signed.

use model::webhook::{Secret, Signed, body, sign};
use model::wire::JobView;
use model::{Job, Timestamp};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use crate::http::Message;

const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const PLAIN: HeaderName = HeaderName::from_static("x-webhook-signature");

/// The message `id` that tells of `job`, as it is sent at `now`.
pub(crate) fn message(id: &str, job: Job, base_url: &str, secrets: &[Secret], now: Timestamp) -> Message {
    let body = body(&JobView::new(job, base_url));
    let Signed { timestamp, signature, plain } = sign(id, now.as_millis() / 1000, body.as_bytes(), secrets);
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let signed = [
        (ID, Some(id.to_owned())),
        (TIMESTAMP, Some(timestamp)),
        (SIGNATURE, signature),
        (PLAIN, Some(plain)),
    ];
    for (name, value) in signed {
        // All of them are of letters, digits and a few signs.
        if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
            headers.insert(name, value);
        }
    }
    Message { headers, body }
}
