//! By what deliveries are signed.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use model::Owner;
use model::webhook::{SealKeys, Secret, Unsealable};
use store::WebhookSecret;

/// The keys that open submitted secrets, and the secrets of owners. `Debug` shows none of them.
#[derive(Clone, Default)]
pub struct Secrets {
    /// `webhooks.encryption_keys`.
    pub keys: SealKeys,
    /// `webhooks.owners.<owner>.secrets`: two during a rotation, the new one first.
    pub owners: BTreeMap<Owner, Arc<[Secret]>>,
}

/// Why a delivery can't be signed. The configuration may be mended: it is tried again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoSecret {
    #[error("not tried: {0}")]
    Unsealable(#[from] Unsealable),
    #[error("not tried: there are no webhooks.owners.{0}.secrets to sign with")]
    Owner(Owner),
}

impl Secrets {
    /// What signs a delivery of `owner`'s to `url`.
    pub(crate) fn of(
        &self,
        secret: &WebhookSecret,
        owner: &Owner,
        url: &str,
    ) -> Result<Arc<[Secret]>, NoSecret> {
        match secret {
            WebhookSecret::Own(sealed) => Ok([self.keys.open(sealed, owner, url)?].into()),
            WebhookSecret::None => Ok([Secret::none()].into()),
            WebhookSecret::Owner => {
                let secrets = self.owners.get(owner).filter(|secrets| !secrets.is_empty());
                secrets.cloned().ok_or_else(|| NoSecret::Owner(owner.clone()))
            }
        }
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}
