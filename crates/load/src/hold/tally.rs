//! What was seen, counted.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::times::{Counted, Times};

/// Counts over all streams of a holder. All but `open` only grow; `lost` falls when what was missing comes late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Streams that are open now.
    pub open: u64,
    /// Streams that were open at least once.
    pub opened: u64,
    /// Streams that have come to their end: the job's last event, or 204.
    pub ended: u64,
    /// Connections that were answered with a stream.
    pub connections: u64,
    /// When the newest of them was, in microseconds since the Unix epoch.
    pub last_opening_us: u64,
    /// Tries to open a stream that came to nothing.
    pub failures: u64,
    /// Streams that were cut before their end by the other side.
    pub cuts: u64,
    /// Events, repeats included.
    pub events: u64,
    /// Of these, outputs with the time they were due at, so those that the latency is of.
    pub outputs: u64,
    /// Reads of sockets that brought something.
    pub reads: u64,
    /// Bytes that came.
    pub bytes: u64,
    /// Events that are missing before later ones of the same stream.
    pub lost: u64,
    /// Events that were told before.
    pub repeated: u64,
    /// Events that came after later ones.
    pub reordered: u64,
    /// Events whose mark is another one than was told before: another event at the same place.
    pub rewritten: u64,
    /// Snapshots that say that the log no longer reaches back.
    pub trimmed: u64,
    /// Snapshots that say that history was changed.
    pub rewound: u64,
    /// The processor time that the holding thread has used, in microseconds.
    pub cpu_us: u64,
}

impl Counts {
    /// The sum of both.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            open: self.open + other.open,
            opened: self.opened + other.opened,
            ended: self.ended + other.ended,
            connections: self.connections + other.connections,
            last_opening_us: self.last_opening_us.max(other.last_opening_us),
            failures: self.failures + other.failures,
            cuts: self.cuts + other.cuts,
            events: self.events + other.events,
            outputs: self.outputs + other.outputs,
            reads: self.reads + other.reads,
            bytes: self.bytes + other.bytes,
            lost: self.lost + other.lost,
            repeated: self.repeated + other.repeated,
            reordered: self.reordered + other.reordered,
            rewritten: self.rewritten + other.rewritten,
            trimmed: self.trimmed + other.trimmed,
            rewound: self.rewound + other.rewound,
            cpu_us: self.cpu_us + other.cpu_us,
        }
    }
}

/// One second of a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Second {
    /// Its end, in seconds since the Unix epoch.
    pub at: u64,
    /// Streams that were open at its end.
    pub open: u64,
    /// Events that came in it.
    pub events: u64,
    /// Streams that were opened in it, again or for the first time.
    pub connections: u64,
    /// From when its outputs were due until they came.
    pub latency: Counted,
}

/// What all streams of a holder have told.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// The counts at the end; `lost` includes what was missing at the streams' ends.
    pub counts: Counts,
    /// Streams that have lost events.
    pub streams_with_loss: u64,
    /// What went wrong when streams were opened or read, in words, and how often.
    pub errors: BTreeMap<String, u64>,
    /// From when outputs were due until they came.
    pub latency: Counted,
    /// From the beginning of a connection to the head of its stream: of first openings.
    pub opening: Counted,
    /// The same of openings after the first.
    pub reopening: Counted,
    /// Second by second.
    pub seconds: Vec<Second>,
}

/// The tally while it grows, in the holding thread.
#[derive(Debug)]
pub(super) struct Growing {
    pub(super) counts: Counts,
    pub(super) latency: Times,
    pub(super) opening: Times,
    pub(super) reopening: Times,
    pub(super) errors: BTreeMap<String, u64>,
    all_latency: Times,
    seconds: Vec<Second>,
    before: Counts,
}

impl Growing {
    pub(super) fn new() -> Self {
        Self {
            counts: Counts::default(),
            latency: Times::new(),
            opening: Times::new(),
            reopening: Times::new(),
            errors: BTreeMap::new(),
            all_latency: Times::new(),
            seconds: Vec::new(),
            before: Counts::default(),
        }
    }

    /// A second has passed; it is `at` now.
    pub(super) fn tick(&mut self, at: u64) {
        let latency = self.latency.take();
        self.all_latency.merge(&latency);
        self.seconds.push(Second {
            at,
            open: self.counts.open,
            events: self.counts.events - self.before.events,
            connections: self.counts.connections - self.before.connections,
            latency,
        });
        self.before = self.counts;
    }

    /// One more thing that went wrong.
    pub(super) fn error(&mut self, what: String) {
        *self.errors.entry(what).or_default() += 1;
    }

    /// All of it.
    pub(super) fn tally(&mut self, at: u64) -> Tally {
        self.tick(at);
        Tally {
            counts: self.counts,
            streams_with_loss: 0,
            errors: self.errors.clone(),
            latency: self.all_latency.counted(),
            opening: self.opening.counted(),
            reopening: self.reopening.counted(),
            seconds: self.seconds.clone(),
        }
    }
}

/// What others may see of the tally while it grows.
#[derive(Debug, Default)]
pub(crate) struct Shared(Mutex<(Counts, Option<String>)>);

impl Shared {
    pub(crate) fn counts(&self) -> Counts {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    pub(crate) fn last_error(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    pub(super) fn tell(&self, counts: Counts) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0 = counts;
    }

    pub(super) fn tell_error(&self, error: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1 = Some(error);
    }
}
