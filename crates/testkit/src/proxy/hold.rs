//! Connections of some clients that carry nothing, while others' pass.

use std::collections::HashSet;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Shared;

type Whose = Arc<dyn Fn(SocketAddr) -> Option<bool> + Send + Sync>;

/// One rule about whose connections are held. No two of a proxy have the same number.
#[derive(Clone)]
pub(super) struct Hold {
    number: u64,
    whose: Whose,
    /// The connections that it held, by their clients.
    struck: Arc<Mutex<HashSet<SocketAddr>>>,
}

impl Hold {
    pub(super) fn new(number: u64, whose: Whose) -> Self {
        Self { number, whose, struck: Arc::default() }
    }
}

impl PartialEq for Hold {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold").field("number", &self.number).finish_non_exhaustive()
    }
}

/// What a connection knows of the rules: each is asked until it knows.
#[derive(Clone)]
pub(super) struct Judged {
    client: SocketAddr,
    /// By the numbers of the rules.
    holds: Vec<(u64, bool)>,
}

impl Judged {
    pub(super) fn new(client: SocketAddr) -> Self {
        Self { client, holds: Vec::new() }
    }

    /// Whether one of `rules` holds this connection, or may do so.
    pub(super) fn is_held_by(&mut self, rules: &[Hold]) -> bool {
        self.holds.retain(|(number, _)| rules.iter().any(|rule| rule.number == *number));
        let mut is_held = false;
        for rule in rules {
            let known = self.holds.iter().find(|(number, _)| *number == rule.number).map(|(_, held)| *held);
            is_held |= known.unwrap_or_else(|| self.ask(rule));
        }
        is_held
    }

    fn ask(&mut self, rule: &Hold) -> bool {
        let Some(held) = (rule.whose)(self.client) else { return true };
        if held {
            rule.struck.lock().insert(self.client);
        }
        self.holds.push((rule.number, held));
        held
    }
}

/// A rule as long as this lives; what it held back arrives afterwards. See [`Proxy::hold_clients`](super::Proxy::hold_clients).
#[must_use = "the rule ends when this is dropped"]
pub struct Held {
    shared: Arc<Shared>,
    rule: Hold,
}

impl Held {
    pub(super) fn new(shared: Arc<Shared>, rule: Hold) -> Self {
        shared.state.send_modify(|state| state.holds.push(rule.clone()));
        Self { shared, rule }
    }

    /// Those of which it wasn't known yet are asked about again.
    pub fn ask_again(&self) {
        self.shared.state.send_modify(|_| {});
    }

    /// How many connections it holds, or held.
    pub fn connections(&self) -> usize {
        self.rule.struck.lock().len()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shared.state.send_modify(|state| state.holds.retain(|rule| *rule != self.rule));
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("connections", &self.connections()).finish_non_exhaustive()
    }
}
