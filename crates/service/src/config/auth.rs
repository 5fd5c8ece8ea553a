//! `[auth]`: who may call, and what each may do.

use std::collections::BTreeSet;
use std::fmt;

use model::Owner;
use serde::{Deserialize, Deserializer, de};

/// The credentials that Jobcast accepts.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthConfig {
    /// May a request come without a key? It is then of the owner `anonymous` and has all scopes but `admin`.
    /// Default false; `jobcast dev` sets it.
    pub anonymous: bool,
    /// The keys, each a table `[[auth.keys]]`. Default none.
    pub keys: Vec<AuthKey>,
}

/// One key, known by its hash.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthKey {
    /// Whose jobs the key sees and makes.
    pub owner: Owner,
    /// SHA-256 of the whole key, 64 hex digits.
    pub sha256: KeyHash,
    /// What the key may do: at least one of `submit`, `read`, `work`, `admin`.
    #[serde(deserialize_with = "scopes")]
    pub scopes: BTreeSet<Scope>,
}

/// What a credential may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Submit and cancel.
    Submit,
    /// Poll, stream and list.
    Read,
    /// The worker API.
    Work,
    /// What concerns all owners.
    Admin,
}

impl Scope {
    /// The scope as it is written in configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Read => "read",
            Self::Work => "work",
            Self::Admin => "admin",
        }
    }
}

fn scopes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<Scope>, D::Error> {
    let scopes = BTreeSet::deserialize(deserializer)?;
    if scopes.is_empty() {
        let allowed = "at least one of submit, read, work, admin";
        return Err(de::Error::invalid_value(de::Unexpected::Other("an empty list"), &allowed));
    }
    Ok(scopes)
}

/// The SHA-256 of a key. `Debug` doesn't show it; compare in constant time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl<'de> Deserialize<'de> for KeyHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut bytes = [0; 32];
        // Somebody may have put the key itself here, so the error doesn't show it.
        hex::decode_to_slice(&text, &mut bytes).map_err(|_| {
            let found = format!("a text of {} characters", text.chars().count());
            let allowed = "64 hex digits, the SHA-256 of the whole key (printf %s \"$KEY\" | sha256sum)";
            de::Error::invalid_value(de::Unexpected::Other(&found), &allowed)
        })?;
        Ok(Self(bytes))
    }
}
