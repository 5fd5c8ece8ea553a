//! The fingerprint of a request: equal for requests that mean the same.

use serde::Serialize;
use sha2::{Digest, Sha256};

/// The SHA-256, in hex, of `value`'s canonical JSON: keys sorted, no spaces.
pub fn of(value: &impl Serialize) -> Result<String, serde_json::Error> {
    // `Value` keeps objects sorted by key, at every depth.
    let canonical = serde_json::to_vec(&serde_json::to_value(value)?)?;
    Ok(sha256(&canonical))
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
    }
}
