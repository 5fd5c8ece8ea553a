//! Where deliveries go, by their URLs: each is read and judged once, and remembered, since most are used again and again.

use std::collections::HashMap;
use std::sync::Arc;

use model::webhook::{Target, TargetError, TargetRules};
use parking_lot::Mutex;
use reqwest::Url;

/// So many are remembered; then all are forgotten.
const MOST: usize = 4096;

/// Where a delivery may go, as far as its URL says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    pub(crate) target: Target,
    /// The target's URL, read.
    pub(crate) url: Url,
    /// The target's host and port.
    pub(crate) host: String,
}

/// The destinations that are known.
pub(crate) struct Destinations {
    rules: Arc<TargetRules>,
    known: Mutex<HashMap<String, Arc<Destination>>>,
}

impl Destinations {
    /// By rules that stay the same.
    pub(crate) fn new(rules: Arc<TargetRules>) -> Self {
        Self { rules, known: Mutex::default() }
    }

    /// The destination that `url` means, if it may be gone to.
    pub(crate) fn of(&self, url: &str) -> Result<Arc<Destination>, TargetError> {
        if let Some(known) = self.known.lock().get(url) {
            return Ok(Arc::clone(known));
        }
        let target = self.rules.target(url)?;
        let read = Url::parse(target.url()).map_err(|error| TargetError::NotAUrl(error.to_string()))?;
        let host = format!("{}:{}", target.host(), target.port());
        let destination = Arc::new(Destination { target, url: read, host });
        let mut known = self.known.lock();
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(url.to_owned(), Arc::clone(&destination));
        Ok(destination)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_remembered_among_so_many_and_no_refused_one_is() {
        let destinations = Destinations::new(Arc::new(TargetRules::default()));
        let first = destinations.of("https://Example.com:443/hook").unwrap();
        assert_eq!((first.target.host(), first.url.as_str()), ("example.com", "https://example.com/hook"));
        assert!(Arc::ptr_eq(&first, &destinations.of("https://Example.com:443/hook").unwrap()));
        assert!(destinations.of("http://127.0.0.1/").is_err());
        assert_eq!(destinations.known.lock().len(), 1);
        for number in 0..MOST {
            destinations.of(&format!("https://example.com/{number}")).unwrap();
        }
        assert!(destinations.known.lock().len() <= MOST);
        assert_eq!(destinations.of("https://Example.com:443/hook").unwrap(), first);
    }
}
