//! From a name to addresses: only to such as a delivery may go to. What is checked here is what is connected to, so a name
//! that means something else at each look-up gains nothing.

use std::error::Error as StdError;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use model::webhook::{Target, TargetError, TargetRules};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// What a look-up comes to.
pub type Found = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Looks names up.
pub trait Lookup: Send + Sync + 'static {
    /// All addresses of `name`.
    fn lookup(&self, name: &str) -> Found;
}

/// As the machine does it.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemLookup;

impl Lookup for SystemLookup {
    fn lookup(&self, name: &str) -> Found {
        let name = name.to_owned();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// No address of a name may be gone to.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct Refused(pub(crate) TargetError);

/// Looks up the name of one target.
pub(crate) struct Guarded {
    pub(crate) target: Target,
    pub(crate) rules: Arc<TargetRules>,
    pub(crate) lookup: Arc<dyn Lookup>,
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let (target, rules) = (self.target.clone(), Arc::clone(&self.rules));
        let found = self.lookup.lookup(name.as_str());
        Box::pin(async move {
            let found = found.await?;
            let mut refusal = None;
            let allowed: Vec<_> = found
                .into_iter()
                .filter(|&ip| rules.address(&target, ip).map_err(|error| refusal = Some(error)).is_ok())
                .map(|ip| SocketAddr::new(ip, 0))
                .collect();
            match refusal {
                Some(error) if allowed.is_empty() => {
                    Err(Box::new(Refused(error)) as Box<dyn StdError + Send + Sync>)
                }
                _ => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        })
    }
}
