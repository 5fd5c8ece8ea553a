//! Webhooks: what is sent when a job ends, signed how, and by which names deliveries go.

mod body;
mod delivery_id;
mod sealed;
mod secret;
mod signature;
mod target;

pub use body::body;
pub use delivery_id::{BadDeliveryId, DeliveryId, MAX_TARGETS};
pub use sealed::{SealKey, SealKeys, Sealed, Unsealable};
pub use secret::{BadSecret, Secret};
pub use signature::{Signed, sign};
pub use target::{Allow, BadAllow, Target, TargetError, TargetRules};
