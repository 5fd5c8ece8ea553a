//! From serde's sentences to ours. Serde's have fixed forms, "unknown field `a`, expected one of `b`, `c`" and
//! "invalid value: string "a", expected …"; ours name the key as the operator knows it and show no secret.

use super::error::{ConfigError, Place};
use super::key::Key;

/// The error for what serde says in `message` about `key`, which was set at `at`.
pub(super) fn refused(at: Place, key: Key, message: &str) -> ConfigError {
    let message = message.trim_end();
    if let Some(rest) = message.strip_prefix("unknown field ") {
        let (name, allowed) = first_of_quoted(rest);
        let key = if key.last_name() == Some(name.as_str()) { key } else { key.child(&name) };
        return ConfigError::UnknownKey { at, key, allowed };
    }
    if let Some(name) = message.strip_prefix("missing field ") {
        let key = key.child(name.trim_matches('`'));
        return ConfigError::BadValue { at, key, message: " is missing".to_owned() };
    }
    if let Some(rest) = message.strip_prefix("unknown variant ") {
        let (found, allowed) = first_of_quoted(rest);
        let message = unfit(&key, &format!("{found:?}"), &allowed.join(", "));
        return ConfigError::BadValue { at, key, message };
    }
    let invalid = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "));
    let message = match invalid.and_then(|rest| rest.rsplit_once(", expected ")) {
        Some((found, allowed)) => unfit(&key, &plain_value(found), plain_kind(allowed)),
        None => format!(": {message}"),
    };
    ConfigError::BadValue { at, key, message }
}

fn unfit(key: &Key, found: &str, allowed: &str) -> String {
    // Only what our own checks say of a secret, "a text of 3 characters", may be shown of it.
    if key.is_secret() && !found.starts_with("a text of ") && !found.starts_with("an empty ") {
        format!(" can't be this; allowed: {allowed}")
    } else {
        format!(" is {found}; allowed: {allowed}")
    }
}

/// The first and the other words that stand in backticks.
fn first_of_quoted(text: &str) -> (String, Vec<String>) {
    let mut quoted = text.split('`').skip(1).step_by(2).map(str::to_owned);
    (quoted.next().unwrap_or_default(), quoted.collect())
}

/// "string "a"" and "integer `5`" without the type, which the value shows anyway.
fn plain_value(found: &str) -> String {
    for kind in ["integer ", "floating point ", "boolean "] {
        if let Some(value) = found.strip_prefix(kind) {
            return value.trim_matches('`').to_owned();
        }
    }
    found.strip_prefix("string ").unwrap_or(plain_kind(found)).to_owned()
}

/// A kind of value in the words of a TOML file.
fn plain_kind(kind: &str) -> &str {
    match kind {
        "sequence" | "a sequence" => "a list",
        "map" | "a map" => "a table",
        "a string" => "a text",
        "a boolean" => "true or false",
        kind if kind.starts_with("struct ") => "a table",
        kind => kind,
    }
}
