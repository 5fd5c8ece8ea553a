//! JSON that is carried, not read: payloads, outputs and results.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::value::RawValue;

/// The deepest nesting of arrays and objects that is accepted.
pub const MAX_DEPTH: usize = 128;

/// JSON that nests deeper than [`MAX_DEPTH`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("JSON nested deeper than {MAX_DEPTH}")]
pub struct TooDeep;

/// One JSON value as text: valid, at most [`MAX_DEPTH`] deep, and without a space or a newline outside of its strings, so
/// that it fits one SSE `data:` line. Numbers keep every digit that they came with. Cheap to clone.
#[derive(Clone)]
pub struct Json(Arc<RawValue>);

impl Json {
    /// `null`.
    pub fn null() -> Self {
        Self(RawValue::NULL.to_owned().into())
    }

    /// The value that `value` serializes to.
    pub fn of(value: &impl Serialize) -> Result<Self, serde_json::Error> {
        Self::parse(&serde_json::to_string(value)?)
    }

    /// Reads one JSON value, and nothing after it.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// The value as JSON text.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// Whether it is `null`.
    pub fn is_null(&self) -> bool {
        self.as_str() == "null"
    }

    fn compacted(raw: Box<RawValue>) -> Result<Self, TooDeep> {
        match compact(raw.get())? {
            None => Ok(Self(raw.into())),
            // Taking spaces out of valid JSON leaves it valid.
            Some(text) => Ok(Self(RawValue::from_string(text).unwrap_or(raw).into())),
        }
    }
}

/// `text` without its insignificant whitespace, or `None` where it has none. `text` is valid JSON.
fn compact(text: &str) -> Result<Option<String>, TooDeep> {
    let (mut depth, mut in_string, mut escaped, mut spaces) = (0_usize, false, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth -= 1,
            b' ' | b'\n' | b'\r' | b'\t' => spaces = true,
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(TooDeep);
        }
    }
    Ok(spaces.then(|| without_spaces(text)))
}

fn without_spaces(text: &str) -> String {
    let (mut in_string, mut escaped) = (false, false);
    text.chars()
        .filter(|&c| {
            match c {
                _ if escaped => escaped = false,
                '\\' if in_string => escaped = true,
                '"' => in_string = !in_string,
                _ => {}
            }
            in_string || !matches!(c, ' ' | '\n' | '\r' | '\t')
        })
        .collect()
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::compacted(Box::<RawValue>::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_values_and_drops_the_space_between_them() {
        for (text, kept) in [
            ("null", "null"),
            (" { \"a\" :\r\n [ 1 , 2.50e1 ] } ", "{\"a\":[1,2.50e1]}"),
            (r#"{"a b":"c \" d\\"}"#, r#"{"a b":"c \" d\\"}"#),
            ("[\"\\\\\", \"ä ö\"]", "[\"\\\\\",\"ä ö\"]"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
        ] {
            assert_eq!(Json::parse(text).unwrap().as_str(), kept);
        }
    }

    #[test]
    fn refuses_what_is_no_json_or_too_deep() {
        let nested = |n: usize| "[".repeat(n) + &"]".repeat(n);
        assert!(Json::parse(&nested(MAX_DEPTH)).is_ok());
        assert!(Json::parse(&nested(MAX_DEPTH + 1)).unwrap_err().to_string().contains("deeper than 128"));
        assert!(Json::parse(&nested(10_000)).is_err());
        for bad in ["", "{", "nul", "1 2", "\"", "{\"a\":}", "\u{feff}1"] {
            assert!(Json::parse(bad).is_err(), "{bad:?}");
        }
    }
}
