//! Secrets at rest: encrypted with a key from configuration, so that whoever reads Redis learns none.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{Key, KeyInit, XChaCha20Poly1305, XNonce};

use super::Secret;
use crate::Owner;

const NONCE: usize = 24;

/// A key that secrets are encrypted with: 32 bytes. `Debug` doesn't show it.
#[derive(Clone, PartialEq, Eq)]
pub struct SealKey([u8; 32]);

impl SealKey {
    /// A key of the caller's randomness.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey(…)")
    }
}

/// The keys of a fleet: the first one seals, each opens, so that a key can be replaced while what it sealed is still there.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SealKeys(Vec<SealKey>);

/// A secret, encrypted (XChaCha20-Poly1305) and bound to its owner and URL: moved to another target it doesn't open.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sealed(String);

/// Why a secret didn't come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("none of webhooks.encryption_keys opens the stored secret")]
pub struct Unsealable;

impl SealKeys {
    /// The keys, the one that seals first.
    pub fn new(keys: Vec<SealKey>) -> Self {
        Self(keys)
    }

    /// Whether there is none: nothing can be sealed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Seals `secret` for `owner`'s target `url`. `nonce` must be random. `None` without a key.
    pub fn seal(&self, secret: &Secret, owner: &Owner, url: &str, nonce: [u8; NONCE]) -> Option<Sealed> {
        let aad = aad(owner, url);
        let payload = Payload { msg: secret.expose().as_bytes(), aad: aad.as_bytes() };
        let encrypted = cipher(self.0.first()?).encrypt(&XNonce::from(nonce), payload).ok()?;
        Some(Sealed(STANDARD_NO_PAD.encode([&nonce[..], &encrypted].concat())))
    }

    /// The secret that was sealed for `owner`'s target `url`.
    pub fn open(&self, sealed: &Sealed, owner: &Owner, url: &str) -> Result<Secret, Unsealable> {
        let bytes = STANDARD_NO_PAD.decode(&sealed.0).map_err(|_| Unsealable)?;
        let (nonce, encrypted) = bytes.split_first_chunk::<NONCE>().ok_or(Unsealable)?;
        let aad = aad(owner, url);
        let open = |key| {
            let payload = Payload { msg: encrypted, aad: aad.as_bytes() };
            cipher(key).decrypt(&XNonce::from(*nonce), payload).ok()
        };
        let secret = self.0.iter().find_map(open).ok_or(Unsealable)?;
        String::from_utf8(secret).ok().and_then(|text| text.parse().ok()).ok_or(Unsealable)
    }
}

fn cipher(key: &SealKey) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(&Key::from(key.0))
}

fn aad(owner: &Owner, url: &str) -> String {
    format!("{owner} {url}")
}

impl fmt::Display for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Sealed {
    type Err = Unsealable;
    fn from_str(text: &str) -> Result<Self, Unsealable> {
        if STANDARD_NO_PAD.decode(text).is_ok() { Ok(Self(text.to_owned())) } else { Err(Unsealable) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://example.com/hook";

    #[test]
    fn opens_with_any_key_that_sealed_it_and_for_its_own_target_alone() {
        let (old, new) = (SealKey::new([1; 32]), SealKey::new([2; 32]));
        let (owner, other): (Owner, Owner) = ("acme".parse().unwrap(), "other".parse().unwrap());
        let secret: Secret = "hush".parse().unwrap();
        let before = SealKeys::new(vec![old.clone()]);
        let sealed = before.seal(&secret, &owner, URL, [9; 24]).unwrap();
        assert!(!sealed.to_string().contains("hush"));
        let rotated = SealKeys::new(vec![new.clone(), old]);
        assert_eq!(rotated.open(&sealed, &owner, URL), Ok(secret.clone()));
        assert_eq!(SealKeys::new(vec![new]).open(&sealed, &owner, URL), Err(Unsealable));
        assert_eq!(rotated.open(&sealed, &other, URL), Err(Unsealable));
        assert_eq!(rotated.open(&sealed, &owner, "https://evil.example/"), Err(Unsealable));
        assert_eq!(sealed.to_string().parse(), Ok(sealed.clone()));
        assert_eq!(SealKeys::default().seal(&secret, &owner, URL, [9; 24]), None);
        for bad in ["", "AAAA", "!"] {
            let opened = bad.parse().and_then(|sealed: Sealed| rotated.open(&sealed, &owner, URL));
            assert_eq!(opened, Err(Unsealable), "{bad}");
        }
    }
}
