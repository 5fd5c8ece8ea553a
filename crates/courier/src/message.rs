//! What is sent: the job as polled, signed.

use bytes::Bytes;
use model::webhook::{Secret, Signed, body, sign};
use model::wire::JobView;
use model::{Job, Timestamp};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use crate::http::Message;
use crate::memory::Taken;

const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const PLAIN: HeaderName = HeaderName::from_static("x-webhook-signature");

/// A body, and the memory that was taken for it.
struct Held {
    text: String,
    _memory: Option<Taken>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

/// The message `id` that tells of `job`, as it is sent at `now`, in the `memory` that was taken for it.
pub(crate) fn message(
    id: &str,
    job: Job,
    base_url: &str,
    secrets: &[Secret],
    now: Timestamp,
    memory: Option<Taken>,
) -> Message {
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
    let body = Bytes::from_owner(Held { text: body, _memory: memory });
    Message { headers, body }
}
