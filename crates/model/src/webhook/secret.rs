//! A receiver's secret.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const PREFIX: &str = "whsec_";

/// What sender and receiver share. `whsec_` and base64 is a key of 24 to 64 bytes, as Standard Webhooks have it; any other text
/// is a key of its own bytes. `Debug` doesn't show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    text: String,
    key: Vec<u8>,
}

/// Text that can't be a secret. Says nothing of the text, which may be one mistyped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a webhook secret is `whsec_` and the base64 of 24 to 64 bytes (printf whsec_; openssl rand -base64 24), or another text of 1 \
     to 256 bytes"
)]
pub struct BadSecret;

impl Secret {
    /// No secret at all: the empty key.
    pub fn none() -> Self {
        Self { text: String::new(), key: Vec::new() }
    }

    /// A secret of the caller's randomness.
    pub fn from_random(bytes: [u8; 24]) -> Self {
        Self { text: format!("{PREFIX}{}", STANDARD.encode(bytes)), key: bytes.to_vec() }
    }

    /// The text as given.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// The key of `webhook-signature`.
    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        self.text.is_empty()
    }
}

impl FromStr for Secret {
    type Err = BadSecret;
    fn from_str(text: &str) -> Result<Self, BadSecret> {
        if !(1..=256).contains(&text.len()) {
            return Err(BadSecret);
        }
        let key = match text.strip_prefix(PREFIX) {
            None => text.as_bytes().to_vec(),
            Some(encoded) => {
                let key = STANDARD.decode(encoded).map_err(|_| BadSecret)?;
                if !(24..=64).contains(&key.len()) {
                    return Err(BadSecret);
                }
                key
            }
        };
        Ok(Self { text: text.to_owned(), key })
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standard_one_is_decoded_and_any_other_text_is_its_own_key() {
        let standard: Secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap();
        assert_eq!(standard.key().len(), 24);
        let plain: Secret = "hush".parse().unwrap();
        assert_eq!(plain.key(), b"hush");
        assert_eq!(Secret::from_random([7; 24]), Secret::from_random([7; 24]).expose().parse().unwrap());
        for bad in ["", "whsec_", "whsec_????", "whsec_c2hvcnQ=", &"x".repeat(257)] {
            assert_eq!(bad.parse::<Secret>(), Err(BadSecret), "{bad}");
        }
    }

    #[test]
    fn is_not_shown() {
        assert_eq!(format!("{:?}", "hush".parse::<Secret>().unwrap()), "Secret(…)");
    }
}
