//! Stream tokens: short-lived credentials for EventSource, which can't send a header.
//!
//! `<base64url of JSON>.<base64url of its HMAC-SHA256>`; any node with the key verifies it without a look-up. Jobs are written
//! as bytes: a token for 100 of them, and a URL that names them, fit in the 8 KiB that proxies allow a request's first line.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::{JobId, Owner, Timestamp};

/// The most jobs that one token is for.
pub const MAX_JOBS: usize = 100;

/// What a token allows, to whom, and until when.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StreamToken {
    /// Whose jobs.
    #[serde(rename = "o")]
    pub owner: Owner,
    /// Which of them.
    #[serde(flatten)]
    pub allows: Allows,
    /// Until when, by the clock of the node that reads it.
    #[serde(rename = "e", with = "millis")]
    pub expires_at: Timestamp,
}

/// What a token is for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Allows {
    /// The streams of these jobs, at most [`MAX_JOBS`].
    #[serde(rename = "j", with = "packed")]
    Jobs(Vec<JobId>),
    /// The owner's feed.
    #[serde(rename = "f")]
    Feed(bool),
}

/// Why a token is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// No key signed this text: it is no token, was altered, or its key is no longer known.
    #[error("the token is not valid")]
    Invalid,
    /// It was valid.
    #[error("the token has expired")]
    Expired,
}

impl StreamToken {
    /// The token's text, signed with `key`.
    pub fn sign(&self, key: &[u8]) -> String {
        // Names, ids and a number always have a JSON form.
        let claims = URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default());
        let mac = mac(key, &claims).map(|mac| mac.finalize().into_bytes());
        format!("{claims}.{}", URL_SAFE_NO_PAD.encode(mac.unwrap_or_default()))
    }

    /// The token of `text`, if one of `keys` signed it and it hasn't expired at `now`. The signature is compared in constant
    /// time, and before anything of the text is read.
    pub fn verify<'a>(
        text: &str,
        keys: impl IntoIterator<Item = &'a [u8]>,
        now: Timestamp,
    ) -> Result<Self, Refused> {
        let (claims, signature) = text.split_once('.').ok_or(Refused::Invalid)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Refused::Invalid)?;
        let signed = |key| mac(key, claims).is_some_and(|mac| mac.verify_slice(&signature).is_ok());
        if !keys.into_iter().any(signed) {
            return Err(Refused::Invalid);
        }
        let claims = URL_SAFE_NO_PAD.decode(claims).map_err(|_| Refused::Invalid)?;
        let token: Self = serde_json::from_slice(&claims).map_err(|_| Refused::Invalid)?;
        if token.expires_at > now { Ok(token) } else { Err(Refused::Expired) }
    }

    /// Whether it is for the stream of `job`.
    pub fn allows_job(&self, job: JobId) -> bool {
        matches!(&self.allows, Allows::Jobs(jobs) if jobs.contains(&job))
    }

    /// Whether it is for the owner's feed.
    pub fn allows_feed(&self) -> bool {
        matches!(self.allows, Allows::Feed(true))
    }
}

fn mac(key: &[u8], claims: &str) -> Option<Hmac<Sha256>> {
    // HMAC takes keys of any length.
    Some(Hmac::<Sha256>::new_from_slice(key).ok()?.chain_update(claims))
}

/// Jobs as one base64url of all their bytes.
mod packed {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde::{Deserialize, Deserializer, Serializer, de};

    use crate::JobId;

    pub(super) fn serialize<S: Serializer>(jobs: &[JobId], serializer: S) -> Result<S::Ok, S::Error> {
        let bytes: Vec<u8> = jobs.iter().flat_map(|job| job.to_bytes()).collect();
        serializer.serialize_str(&URL_SAFE_NO_PAD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<JobId>, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        let bytes = URL_SAFE_NO_PAD.decode(&*text).map_err(de::Error::custom)?;
        let (ids, rest) = bytes.as_chunks();
        if rest.is_empty() {
            Ok(ids.iter().copied().map(JobId::from_bytes).collect())
        } else {
            Err(de::Error::custom("no whole number of ids"))
        }
    }
}

mod millis {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::Timestamp;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's `with` asks for a reference")]
    pub(super) fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(time.as_millis())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        u64::deserialize(deserializer).map(Timestamp::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Partition;

    const NOW: Timestamp = Timestamp::from_millis(1_795_514_400_000);

    fn token() -> StreamToken {
        let job = JobId::new(NOW, [7; 10], Partition(3));
        let expires_at = Timestamp::from_millis(NOW.as_millis() + 1);
        StreamToken { owner: "acme".parse().unwrap(), allows: Allows::Jobs(vec![job]), expires_at }
    }

    #[test]
    fn is_believed_with_either_key_until_it_expires() {
        let (token, old, new) = (token(), &[1; 32][..], &[2; 32][..]);
        for keys in [vec![old], vec![new, old], vec![old, new]] {
            assert_eq!(StreamToken::verify(&token.sign(old), keys, NOW), Ok(token.clone()));
        }
        let text = token.sign(old);
        assert_eq!(StreamToken::verify(&text, [new], NOW), Err(Refused::Invalid));
        assert_eq!(StreamToken::verify(&text, [], NOW), Err(Refused::Invalid));
        assert_eq!(StreamToken::verify(&text, [old], token.expires_at), Err(Refused::Expired));
    }

    #[test]
    fn any_change_is_found() {
        let key = &[1; 32][..];
        let text = token().sign(key);
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let altered = String::from_utf8(bytes).unwrap();
            assert_eq!(StreamToken::verify(&altered, [key], NOW), Err(Refused::Invalid), "{at}");
        }
        for bad in
            ["", ".", "a.b", &text[..text.len() - 1], &format!("{text}A"), text.split('.').next().unwrap()]
        {
            assert_eq!(StreamToken::verify(bad, [key], NOW), Err(Refused::Invalid), "{bad}");
        }
    }

    #[test]
    fn is_short_however_many_jobs_it_is_for() {
        let jobs: Vec<_> = (0..100).map(|n| JobId::new(NOW, [n; 10], Partition(n.into()))).collect();
        let many = StreamToken { allows: Allows::Jobs(jobs), ..token() };
        let text = many.sign(&[1; 32]);
        assert!(text.len() < 3000, "{}", text.len());
        assert_eq!(StreamToken::verify(&text, [&[1; 32][..]], NOW), Ok(many));
    }

    #[test]
    fn is_for_its_jobs_alone() {
        let own = token();
        let Allows::Jobs(jobs) = &own.allows else { panic!() };
        assert!(own.allows_job(jobs[0]));
        assert!(!own.allows_job(JobId::new(NOW, [8; 10], Partition(3))));
        let feed = StreamToken { allows: Allows::Feed(true), ..token() };
        assert!(!feed.allows_job(jobs[0]) && feed.allows_feed() && !own.allows_feed());
    }
}
