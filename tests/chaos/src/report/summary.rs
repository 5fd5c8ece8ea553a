//! A run in a few numbers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::checker::{Counts, Verdict};
use crate::record::{Durability, Run, Topology};

/// What a table's row is made from; as JSON, what programs compare.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// How Redis stood.
    pub topology: Topology,
    /// `store.durability`.
    pub durability: Durability,
    /// The schedule's seed.
    pub seed: u64,
    /// How long faults and load went on.
    pub seconds: u64,
    /// Redis' name and version.
    pub server: String,
    /// What was broken on purpose.
    pub planted: Option<String>,
    /// Whether no promise was broken.
    pub passed: bool,
    /// Broken promises, by kind.
    pub violations: BTreeMap<String, usize>,
    /// What happened.
    pub counts: Counts,
    /// What else the driver had to say.
    pub notes: Vec<String>,
}

impl Summary {
    /// Of one run.
    pub fn of(run: &Run, verdict: &Verdict) -> Self {
        Self {
            topology: run.topology,
            durability: run.durability,
            seed: run.seed,
            seconds: run.seconds,
            server: run.server.clone(),
            planted: run.planted.clone(),
            passed: verdict.passed(),
            violations: verdict.by_kind(),
            counts: verdict.counts.clone(),
            notes: run.notes.clone(),
        }
    }

    /// How many faults of this kind there were.
    pub(super) fn faults(&self, kind: &str) -> u64 {
        self.counts.faults.get(kind).copied().unwrap_or_default()
    }

    /// How many promises were broken.
    pub(super) fn broken(&self) -> usize {
        self.violations.values().sum()
    }
}
