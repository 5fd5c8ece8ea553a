//! Signatures of webhooks: Standard Webhooks 1.0, and a plain one beside it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::Secret;

/// The headers that prove who sent a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signed {
    /// `webhook-timestamp`: seconds since 1970, of this attempt.
    pub timestamp: String,
    /// `webhook-signature`: `v1,<base64 of HMAC-SHA256 of id.timestamp.body>` by each secret, with spaces between; `None` where
    /// there is no secret.
    pub signature: Option<String>,
    /// `X-Webhook-Signature`: the hex HMAC-SHA256 of the body by the first secret's own bytes.
    pub plain: String,
}

/// Signs `body`, the message `id`, at `timestamp` (seconds since 1970), with each of `secrets`: two during a rotation, the new one
/// first. [`Secret::none`] alone gives the plain signature only, by the empty key.
pub fn sign(id: &str, timestamp: u64, body: &[u8], secrets: &[Secret]) -> Signed {
    let timestamp = timestamp.to_string();
    let standard = |secret: &Secret| {
        let parts: [&[u8]; 5] = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body];
        format!("v1,{}", STANDARD.encode(hmac(secret.key(), &parts)))
    };
    let signatures: Vec<_> = secrets.iter().filter(|secret| !secret.is_none()).map(standard).collect();
    let first = secrets.first().map(Secret::expose).unwrap_or_default();
    let plain = hex::encode(hmac(first.as_bytes(), &[body]));
    let signature = (!signatures.is_empty()).then(|| signatures.join(" "));
    Signed { timestamp, signature, plain }
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_published_example() {
        // From the Standard Webhooks specification's reference libraries.
        let secret: Secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap();
        let signed =
            sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#, &[secret]);
        assert_eq!(signed.signature.unwrap(), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(signed.timestamp, "1614265330");
    }

    #[test]
    fn the_plain_one_is_of_the_secret_as_given() {
        // printf '%s' '{"a":1}' | openssl dgst -sha256 -hmac hush
        let plain = |secret| sign("id", 1, br#"{"a":1}"#, &[secret]).plain;
        assert_eq!(
            plain("hush".parse().unwrap()),
            "dfe62afd3a708ea27b217b8cabc11f103edbfb2d176e892a38a2d475a803c4c2"
        );
        assert_eq!(plain(Secret::none()), "e0baad27ae5335a93e2979e6693e7630de7d66b4d5bfd687cdbf1f0018f79cb8");
    }

    #[test]
    fn a_rotation_signs_with_both_and_no_secret_signs_plainly() {
        let (new, old) = (Secret::from_random([1; 24]), Secret::from_random([2; 24]));
        let both = sign("id", 1, b"body", &[new.clone(), old.clone()]);
        let alone = |secret: &Secret| sign("id", 1, b"body", std::slice::from_ref(secret));
        let each = format!("{} {}", alone(&new).signature.unwrap(), alone(&old).signature.unwrap());
        assert_eq!((both.signature, both.plain), (Some(each), alone(&new).plain));
        assert_eq!(sign("id", 1, b"body", &[Secret::none()]).signature, None);
    }
}
