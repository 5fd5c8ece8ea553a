//! What all clients together saw: one event, one text; on a single Redis, one history.

use std::collections::HashMap;

use super::event::is_terminal;
use super::finding::{Findings, Kind};
use super::truth::{LogKey, Truth};
use crate::opaque::Cursor;

/// Every event that any client saw.
#[derive(Default)]
pub(super) struct Across<'r> {
    texts: HashMap<(LogKey, Cursor), (&'r str, u32)>,
    /// The highest number that any client saw of a log.
    highest: HashMap<LogKey, u64>,
    /// Ends that clients saw.
    ends: HashMap<LogKey, Vec<Cursor>>,
}

impl<'r> Across<'r> {
    /// One more; a problem if another client was shown something else at that place.
    pub(super) fn saw(
        &mut self,
        key: LogKey,
        cursor: Cursor,
        kind: &str,
        data: &'r str,
        client: u32,
    ) -> Option<String> {
        let highest = self.highest.entry(key).or_default();
        *highest = cursor.seq.max(*highest);
        let (text, first) = *self.texts.entry((key, cursor)).or_insert((data, client));
        if is_terminal(kind) && matches!(key, LogKey::Job(_)) {
            let ends = self.ends.entry(key).or_default();
            if !ends.contains(&cursor) {
                ends.push(cursor);
            }
        }
        (text != data).then(|| format!("client {first} was shown {text} as {cursor}, this one {data}"))
    }

    /// The highest number that any client saw of a log so far.
    pub(super) fn highest(&self, key: LogKey) -> u64 {
        self.highest.get(&key).copied().unwrap_or_default()
    }

    /// How many ends Redis doesn't have, of those that clients saw and, where nobody saw one, those of `acknowledged` jobs.
    pub(super) fn ends_lost(&self, truth: &Truth<'_>, acknowledged: &[usize]) -> usize {
        let lost = |key: LogKey| {
            let log = truth.log(key);
            self.ends.get(&key).map_or(0, |ends| ends.iter().filter(|end| log.end() != **end).count())
        };
        let seen: usize = self.ends.keys().map(|key| lost(*key)).sum();
        seen + acknowledged.iter().filter(|index| lost(LogKey::Job(**index)) == 0).count()
    }

    /// Where nothing is ever lost, every number of a log had one mark.
    pub(super) fn check(&self, truth: &Truth<'_>, findings: &mut Findings) {
        if truth.run.topology.fails_over() {
            return;
        }
        let mut marks: HashMap<(LogKey, u64), u32> = HashMap::new();
        for ((key, cursor), (text, client)) in &self.texts {
            let mark = *marks.entry((*key, cursor.seq)).or_insert(cursor.mark);
            if mark != cursor.mark {
                let seq = cursor.seq;
                let sentence = format!(
                    "number {seq} had the marks {mark:06x} and {:06x} on a Redis that loses nothing (client {client}: {text})",
                    cursor.mark
                );
                findings.about(Kind::Forged, truth.name_of(*key), sentence);
            }
        }
    }
}
