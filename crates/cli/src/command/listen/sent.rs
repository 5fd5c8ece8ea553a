//! Which webhooks were sent in this run: a feed that Redis rewound tells ends again.

use std::collections::{HashSet, VecDeque};

/// So many are remembered, some 100 bytes each.
const MOST: usize = 10_000;

/// The webhook-ids sent last.
#[derive(Debug, Default)]
pub(super) struct Sent {
    ids: HashSet<String>,
    order: VecDeque<String>,
}

impl Sent {
    /// Whether `id` is among them.
    pub(super) fn has(&self, id: &str) -> bool {
        self.ids.contains(id)
    }

    /// Adds `id`, and forgets the oldest if there are too many.
    pub(super) fn add(&mut self, id: String) {
        if self.ids.insert(id.clone()) {
            self.order.push_back(id);
        }
        if self.order.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten() {
        let mut sent = Sent::default();
        for n in 0..=MOST {
            sent.add(n.to_string());
            sent.add(n.to_string());
        }
        assert!(!sent.has("0") && sent.has("1") && sent.has(&MOST.to_string()));
        assert_eq!((sent.ids.len(), sent.order.len()), (MOST, MOST));
    }
}
