//! `[auth]`: who may call, and what each may do.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use model::Owner;
use serde::{Deserialize, Deserializer, de};

use super::value::{DAY, SECOND, duration};

/// The credentials that Jobcast accepts.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthConfig {
    /// May a request come without a key? It is then of the owner `anonymous` and has all scopes but `admin`.
    /// Default false; `jobcast dev` sets it.
    pub anonymous: bool,
    /// The keys, each a table `[[auth.keys]]`. Default none.
    pub keys: Vec<AuthKey>,
    /// What stream tokens are signed with: the first signs, all are believed, at most two. The same on every gateway.
    /// Default none: no tokens are given out.
    #[serde(deserialize_with = "token_keys")]
    pub token_keys: Vec<TokenKey>,
    /// How long a stream token lasts that doesn't ask for less. Default 1h, 1s to 7d.
    #[serde(deserialize_with = "duration::<_, SECOND, { 7 * DAY }>")]
    pub token_ttl: Duration,
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            anonymous: false,
            keys: Vec::new(),
            token_keys: Vec::new(),
            token_ttl: Duration::from_hours(1),
        }
    }
}

/// A secret that stream tokens are signed with. `Debug` doesn't show it.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenKey(Vec<u8>);

impl TokenKey {
    /// The shortest key, in bytes: as long as the hash.
    pub const MIN: usize = 32;

    /// A key of the caller's randomness.
    pub fn from_random(bytes: [u8; Self::MIN]) -> Self {
        Self(bytes.to_vec())
    }

    /// The key.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

fn token_keys<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<TokenKey>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let keys: Option<Vec<_>> = texts.iter().map(|text| hex::decode(text).ok().map(TokenKey)).collect();
    keys.filter(|keys| keys.len() <= 2 && keys.iter().all(|key| key.0.len() >= TokenKey::MIN)).ok_or_else(
        || {
            let found = format!("{} texts that aren't such keys", texts.len());
            let allowed = "at most two keys of 64 hex digits or more each (openssl rand -hex 32)";
            de::Error::invalid_value(de::Unexpected::Other(&found), &allowed)
        },
    )
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
    /// Poll and stream.
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
