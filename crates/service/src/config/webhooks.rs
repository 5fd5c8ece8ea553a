//! `[webhooks]`: how the ends of jobs are told, and `[courier]`: how a courier tells them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use model::Owner;
use model::webhook::{Allow, MAX_TARGETS, SealKey, SealKeys, Secret, Target};
use serde::{Deserialize, Deserializer, de};

use super::gateway;
use super::size::Size;
use super::value::{DAY, GIB, HOUR, MIB, MINUTE, SECOND, duration, number, size};

/// How the ends of jobs are told. The same on every gateway and courier.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebhooksConfig {
    /// What submitted secrets are encrypted with in Redis, 64 hex digits each: the first one encrypts, all decrypt, at most 4.
    /// Default none: submissions with a secret of their own are refused.
    #[serde(deserialize_with = "seal_keys")]
    pub encryption_keys: SealKeys,
    /// What each owner has: a table `[webhooks.owners.<owner>]`.
    pub owners: BTreeMap<Owner, OwnerWebhooks>,
    /// Where webhooks may point beyond the public internet: networks (`10.0.0.0/8`), addresses and names, the latter two maybe with
    /// a port. Default none: nowhere.
    pub allow: Vec<Allow>,
    /// A PEM file of authorities that may sign the certificates of receivers, beside those that the courier's machine trusts; from the
    /// configuration's folder. Read by couriers, when they start. Default none.
    pub ca_file: Option<PathBuf>,
    /// How long an attempt may take, from the look-up of the name to the last byte of the answer. Default 15s, 1s to 1m.
    #[serde(deserialize_with = "duration::<_, SECOND, MINUTE>")]
    pub timeout: Duration,
    /// How many attempts a delivery has before it is a dead letter. Default 5, 1 to 20.
    #[serde(deserialize_with = "number::<_, _, 1, 20>")]
    pub attempts: u32,
    /// How long the second attempt waits after the first one failed; each other one four times as long as the one before, at
    /// random from half of that on. Default 5s, 10ms to 1h.
    #[serde(deserialize_with = "duration::<_, 10, HOUR>")]
    pub retry_delay: Duration,
    /// The longest such wait, `Retry-After` included; at least [`retry_delay`](Self::retry_delay). Default 1h, 10ms to 1d.
    #[serde(deserialize_with = "duration::<_, 10, DAY>")]
    pub max_retry_delay: Duration,
    /// How old a delivery may get whose receiver's host is so busy or broken that it is not even tried. Default 1d, 1s to 7d.
    #[serde(deserialize_with = "duration::<_, SECOND, { 7 * DAY }>")]
    pub give_up: Duration,
    /// How many dead letters are kept for each owner; the oldest go first. Default 10,000, 1 to 1,000,000.
    #[serde(deserialize_with = "number::<_, _, 1, 1_000_000>")]
    pub dead_letters: u32,
    /// How long a dead letter is kept. Default 7d, 1s to 30d.
    #[serde(deserialize_with = "duration::<_, SECOND, { 30 * DAY }>")]
    pub dead_letter_retention: Duration,
}

impl Default for WebhooksConfig {
    fn default() -> Self {
        Self {
            encryption_keys: SealKeys::default(),
            owners: BTreeMap::new(),
            allow: Vec::new(),
            ca_file: None,
            timeout: Duration::from_secs(15),
            attempts: 5,
            retry_delay: Duration::from_secs(5),
            max_retry_delay: Duration::from_hours(1),
            give_up: Duration::from_hours(24),
            dead_letters: 10_000,
            dead_letter_retention: Duration::from_hours(7 * 24),
        }
    }
}

/// What one owner has.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OwnerWebhooks {
    /// What deliveries are signed with whose job brought no secret of its own: one, or two during a rotation, the new one
    /// first. Default none.
    #[serde(deserialize_with = "secrets")]
    pub secrets: Vec<Secret>,
    /// Where the ends of those jobs are told that named no target of their own, 0 to 8 URLs as the `url` standard writes them; needs
    /// `secrets`. Whether one may be tried is judged at each attempt. Default none.
    #[serde(deserialize_with = "endpoints")]
    pub endpoints: Vec<String>,
}

/// How a courier delivers.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CourierConfig {
    /// How many requests are under way at once. Default 2,000, 1 to 15,000.
    #[serde(deserialize_with = "number::<_, _, 1, 15_000>")]
    pub concurrency: u32,
    /// How many of them to one host and port, once it has shown that it answers well. Default 32, 1 to 1,000.
    #[serde(deserialize_with = "number::<_, _, 1, 1_000>")]
    pub per_host: u32,
    /// How much memory bodies longer than 16 KiB take at once: at most half of it for receivers that haven't shown that they take
    /// anything, and an eighth for each host; what is larger goes alone. Default 128 MiB, 1 MiB to 64 GiB.
    #[serde(deserialize_with = "size::<_, MIB, { 64 * GIB }>")]
    pub bodies: Size,
    /// How long requests under way may go on after SIGTERM; what isn't answered by then is delivered again. Default 15s, 0s to 1m.
    #[serde(deserialize_with = "duration::<_, 0, MINUTE>")]
    pub grace: Duration,
    /// Where the courier serves `/healthz`, `/readyz` and `/metrics`, IP and port. Default none: nowhere.
    #[serde(deserialize_with = "listen_if_any")]
    pub listen: Option<SocketAddr>,
}

impl Default for CourierConfig {
    fn default() -> Self {
        Self {
            concurrency: 2000,
            per_host: 32,
            bodies: Size::mib(128),
            grace: Duration::from_secs(15),
            listen: None,
        }
    }
}

fn listen_if_any<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    gateway::listen(deserializer).map(Some)
}

fn seal_keys<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SealKeys, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let key = |text: &String| {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok().map(|()| SealKey::new(bytes))
    };
    let keys: Option<Vec<_>> = texts.iter().map(key).collect();
    keys.filter(|keys| keys.len() <= 4).map(SealKeys::new).ok_or_else(|| {
        let found = format!("{} texts that aren't such keys", texts.len());
        let allowed = "at most four keys of 64 hex digits each (openssl rand -hex 32)";
        de::Error::invalid_value(de::Unexpected::Other(&found), &allowed)
    })
}

fn secrets<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Secret>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let secrets: Option<Vec<Secret>> = texts.iter().map(|text| text.parse().ok()).collect();
    secrets.filter(|secrets| (1..=2).contains(&secrets.len())).ok_or_else(|| {
        let found = format!("{} texts that aren't such secrets", texts.len());
        let allowed =
            "one or two secrets, whsec_ and the base64 of 24 to 64 bytes, or other texts of 1 to 256 bytes";
        de::Error::invalid_value(de::Unexpected::Other(&found), &allowed)
    })
}

fn endpoints<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let urls = Vec::<String>::deserialize(deserializer)?;
    if urls.len() > usize::from(MAX_TARGETS) {
        let allowed = format!("at most {MAX_TARGETS} URLs");
        return Err(de::Error::invalid_length(urls.len(), &allowed.as_str()));
    }
    let read = |url: &String| {
        let target: Target = url.parse().map_err(de::Error::custom)?;
        Ok(target.url().to_owned())
    };
    urls.iter().map(read).collect()
}
