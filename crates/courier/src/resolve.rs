//! From a name to addresses: only to such as a delivery may go to. What is checked here is what is connected to, so a name
//! that means something else at each look-up gains nothing.

use std::collections::HashSet;
use std::error::Error as StdError;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use model::webhook::{Target, TargetError, TargetRules};
use parking_lot::Mutex;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// What a look-up comes to.
pub type Found = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Looks names up.
pub trait Lookup: Send + Sync + 'static {
    /// All addresses of `name`.
    fn lookup(&self, name: &str) -> Found;
}

/// As the machine does it. A look-up takes a thread for as long as the machine's resolver does, whoever still waits: names whose
/// look-up was quick the last time have threads that no other name can take from them.
#[derive(Clone, Debug)]
pub struct SystemLookup {
    quick: Arc<Mutex<HashSet<String>>>,
    others: Arc<Semaphore>,
}

/// How many look-ups of names that aren't known to be quick are under way at once: a quarter of the runtime's threads.
const OTHERS: usize = 128;
/// What is quick.
const QUICK: Duration = Duration::from_secs(1);
/// So many names are known to be quick; then all are forgotten.
const MOST_QUICK: usize = 20_000;

impl Default for SystemLookup {
    fn default() -> Self {
        Self { quick: Arc::default(), others: Arc::new(Semaphore::new(OTHERS)) }
    }
}

impl Lookup for SystemLookup {
    fn lookup(&self, name: &str) -> Found {
        let (name, Self { quick, others }) = (name.to_owned(), self.clone());
        Box::pin(async move {
            let permit = if quick.lock().contains(&name) {
                None
            } else {
                Some(others.acquire_owned().await.map_err(io::Error::other)?)
            };
            // On its own thread to the end, with the permit, should nobody wait any more.
            let asked = tokio::task::spawn_blocking(move || {
                let _permit = permit;
                let began = Instant::now();
                let found =
                    (name.as_str(), 0).to_socket_addrs().map(|found| found.map(|one| one.ip()).collect());
                let mut quick = quick.lock();
                if began.elapsed() > QUICK {
                    quick.remove(&name);
                } else if found.is_ok() {
                    if quick.len() >= MOST_QUICK {
                        quick.clear();
                    }
                    quick.insert(name);
                }
                found
            });
            asked.await.map_err(io::Error::other)?
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_that_are_quick_do_not_wait_for_others() {
        let lookup = SystemLookup::default();
        let loopback = lookup.lookup("localhost").await.unwrap();
        assert!(loopback.iter().all(IpAddr::is_loopback) && !loopback.is_empty());
        assert!(lookup.lookup("no-such-host.invalid").await.is_err());
        // As many as hang at once.
        let _hanging = Arc::clone(&lookup.others).acquire_many_owned(128).await.unwrap();
        assert!(lookup.lookup("localhost").await.is_ok());
        let other = tokio::time::timeout(Duration::from_millis(50), lookup.lookup("no-such-host.invalid"));
        assert!(other.await.is_err(), "it waits for its turn");
    }
}
