//! The fingerprint of a request: equal for requests that mean the same.

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The SHA-256, in hex, of the canonical JSON of `request`: keys sorted, no spaces, and without those of its own fields that
/// are null, so that a field which a later version adds changes nothing for requests that don't have it.
pub fn of(request: &impl Serialize) -> Result<String, serde_json::Error> {
    let text = serde_json::to_string(request)?;
    // `Value` keeps objects sorted by key, at every depth. It holds no number beyond an f64: a request with one is known
    // only by its very text.
    let canonical = match serde_json::from_str(&text) {
        Ok(Value::Object(mut fields)) => {
            fields.retain(|_, value| !value.is_null());
            Value::Object(fields).to_string()
        }
        Ok(value) => value.to_string(),
        Err(_) => text,
    };
    Ok(sha256(canonical.as_bytes()))
}

/// The SHA-256 of `bytes` in hex.
pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Json;

    #[test]
    fn order_and_space_do_not_matter_and_values_do() {
        let of_text = |text: &str| of(&Json::parse(text).unwrap()).unwrap();
        assert_eq!(
            of_text(r#"{"a":1,"b":{"c":2,"d":[1,2]}}"#),
            of_text(r#"{ "b": {"d":[1, 2],"c":2}, "a":1}"#)
        );
        assert_ne!(of_text(r#"{"a":1}"#), of_text(r#"{"a":2}"#));
        assert_ne!(of_text(r#"{"a":[1,2]}"#), of_text(r#"{"a":[2,1]}"#));
        assert_eq!(of_text(r#"{"a":1,"b":null}"#), of_text(r#"{"a":1}"#));
        assert_ne!(of_text(r#"{"a":{"b":null}}"#), of_text(r#"{"a":{}}"#));
        assert_eq!(of_text("[1e999]"), of_text("[1e999]"));
        assert_ne!(of_text("[1e999]"), of_text("[2e999]"));
    }
}
