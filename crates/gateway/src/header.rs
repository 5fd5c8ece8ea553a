//! Headers that HTTP libraries have no name for, and the reading of request headers.

use std::time::Duration;

use axum::http::header::IF_NONE_MATCH;
use axum::http::{HeaderMap, HeaderName};

use crate::problem::Problem;

pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
pub(crate) const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
pub(crate) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
pub(crate) const PREFER: HeaderName = HeaderName::from_static("prefer");
pub(crate) const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// The value of a header that may come once; `None` if it is absent.
pub(crate) fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Problem::DoubledHeader(name.clone()));
    }
    let text = std::str::from_utf8(value.as_bytes())
        .map_err(|_| Problem::Malformed(format!("The header {name} is not valid UTF-8.")))?;
    Ok(Some(text.trim()))
}

/// The longest Idempotency-Key.
const MAX_KEY: usize = 256;

/// The Idempotency-Key (IETF draft-ietf-httpapi-idempotency-key-header): a quoted string; a bare token is the same.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = single(headers, &IDEMPOTENCY_KEY)? else { return Ok(None) };
    let key = if let Some(rest) = value.strip_prefix('"') { unquote(rest) } else { bare(value) };
    match key {
        Some(key) if (1..=MAX_KEY).contains(&key.len()) => Ok(Some(key)),
        _ => Err(Problem::Malformed(format!(
            "An Idempotency-Key is a quoted string (or a bare token) of 1 to {MAX_KEY} visible ASCII characters."
        ))),
    }
}

/// The string whose opening quote is gone (RFC 8941, section 3.3.3), with nothing after it.
fn unquote(rest: &str) -> Option<String> {
    let mut key = String::new();
    let mut chars = rest.chars();
    loop {
        match chars.next()? {
            '"' => return chars.next().is_none().then_some(key),
            '\\' => key.push(chars.next().filter(|c| matches!(c, '"' | '\\'))?),
            c @ ' '..='~' => key.push(c),
            _ => return None,
        }
    }
}

fn bare(value: &str) -> Option<String> {
    let legal = |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\' | b',' | b';');
    value.bytes().all(legal).then(|| value.to_owned())
}

/// The `wait` of `Prefer: wait=N` (RFC 7240), in seconds. Other preferences, and what can't be read, are ignored as it says.
pub(crate) fn preferred_wait(headers: &HeaderMap) -> Option<Duration> {
    headers
        .get_all(PREFER)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .find_map(|preference| {
            let (name, value) = preference.split(';').next()?.split_once('=')?;
            name.trim().eq_ignore_ascii_case("wait").then_some(value.trim().trim_matches('"'))?.parse().ok()
        })
        .map(Duration::from_secs)
}

/// Whether `Accept` names event streams.
pub(crate) fn asks_for_stream(headers: &HeaderMap) -> bool {
    accepts(headers, "text/event-stream")
}

fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    headers
        .get_all("accept")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|range| range.split(';').next())
        .any(|range| range.trim().eq_ignore_ascii_case(media_type))
}

/// Whether `Accept` names JSON and no event stream: what names neither gets a stream.
pub(crate) fn prefers_json(headers: &HeaderMap) -> bool {
    accepts(headers, "application/json") && !asks_for_stream(headers)
}

/// Whether `If-None-Match` (RFC 9110, section 13.1.2) names `etag`, which comes with its quotes.
pub(crate) fn none_match_names(headers: &HeaderMap, etag: &str) -> bool {
    headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn idempotency_keys_are_quoted_or_bare() {
        for (value, key) in [
            ("\"abc\"", Some("abc")),
            ("abc", Some("abc")),
            ("8e03978e-40d5-43dd-bc93-6894a57f9324", Some("8e03978e-40d5-43dd-bc93-6894a57f9324")),
            (r#""a \" \\ b""#, Some(r#"a " \ b"#)),
            ("\"\"", None),
            ("", None),
            ("\"abc", None),
            ("\"abc\" x", None),
            ("a b", None),
            (r#""a\b""#, None),
            ("ä", None),
        ] {
            let found = idempotency_key(&headers(&[("idempotency-key", value)]));
            assert_eq!(found.ok().flatten().as_deref(), key, "{value:?}");
        }
        assert!(idempotency_key(&headers(&[("idempotency-key", &"x".repeat(257))])).is_err());
        assert!(matches!(
            idempotency_key(&headers(&[("idempotency-key", "a"), ("idempotency-key", "a")])),
            Err(Problem::DoubledHeader(name)) if name == "idempotency-key"
        ));
    }

    #[test]
    fn a_wait_is_found_among_preferences() {
        for (value, seconds) in [
            ("wait=20", Some(20)),
            ("respond-async, wait=5", Some(5)),
            ("Wait = \"7\"; x=1", Some(7)),
            ("wait=x", None),
            ("", None),
        ] {
            assert_eq!(
                preferred_wait(&headers(&[("prefer", value)])),
                seconds.map(Duration::from_secs),
                "{value:?}"
            );
        }
    }

    #[test]
    fn etags_match_weakly() {
        for (value, named) in [
            ("\"1-a\"", true),
            ("W/\"1-a\"", true),
            ("\"x\", \"1-a\"", true),
            ("*", true),
            ("\"1-b\"", false),
            ("1-a", false),
        ] {
            assert_eq!(
                none_match_names(&headers(&[("if-none-match", value)]), "\"1-a\""),
                named,
                "{value:?}"
            );
        }
    }
}
