//! The verdict on a run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::finding::Violation;
use crate::record::Run;

/// What a run was found to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// What was broken that was promised. None is a pass.
    pub violations: Vec<Violation>,
    /// What happened.
    pub counts: Counts,
}

impl Verdict {
    /// Whether every promise was kept.
    pub fn passed(&self) -> bool {
        self.violations.is_empty()
    }

    /// How many violations of each kind there are.
    pub fn by_kind(&self) -> BTreeMap<String, usize> {
        let mut kinds = BTreeMap::new();
        for violation in &self.violations {
            *kinds.entry(violation.kind.name()).or_default() += 1;
        }
        kinds
    }
}

/// What happened in a run, counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Clients that followed.
    pub clients: u64,
    /// Jobs that were accepted.
    pub jobs: u64,
    /// Submissions that took more than one request.
    pub submissions_repeated: u64,
    /// Faults, by the name of their kind.
    pub faults: BTreeMap<String, u64>,
    /// Events that clients received, repeats and voided ones included.
    pub events: u64,
    /// Streams that were opened beyond each client's first.
    pub reconnects: u64,
    /// Streams that were closed as they should.
    pub closed: u64,
    /// Streams that broke.
    pub broken: u64,
    /// Requests for a stream that found nobody.
    pub unreached: u64,
    /// Requests for a stream that were answered with a 5xx.
    pub refused: u64,
    /// `rewound` snapshots that clients received.
    pub rewinds: u64,
    /// `trimmed` snapshots that clients received.
    pub trims: u64,
    /// Clients that were told that a job is gone, which Redis had lost.
    pub gone: u64,
    /// Snapshots per client.
    pub snapshots: Spread,
    /// Events that a `rewound` or `trimmed` made void after a client had seen them.
    pub voided: u64,
    /// Ends that clients saw, or that were acknowledged, and that Redis lost.
    pub ends_lost: u64,
    /// Ends that were acknowledged: to whoever cancelled, or to a worker.
    pub ends_acknowledged: u64,
    /// Those of them that Redis lost.
    pub acknowledged_ends_lost: u64,
    /// Accepted jobs that Redis lost.
    pub jobs_lost: u64,
    /// Clients that had left with what Redis then lost.
    pub had_left: u64,
    /// Ends that the receiver was told of, each once.
    pub told: u64,
    /// Webhooks that came again though the receiver had taken them.
    pub told_again: u64,
    /// Jobs that ended at their deadline, or after it.
    pub deadlines_passed: u64,
    /// By how many ms they ended after it, all time included in which Redis was away.
    pub late_ms: Spread,
    /// Milliseconds from when an event was written (or its stream was opened, if that was later) to when a client had it.
    pub delay_ms: Spread,
    #[serde(skip)]
    pub(super) delays: Vec<u64>,
    #[serde(skip)]
    pub(super) lateness: Vec<u64>,
    #[serde(skip)]
    pub(super) snapshots_of_clients: Vec<u64>,
}

/// How a number is spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// Half are no larger.
    pub p50: u64,
    /// 99 of 100 are no larger.
    pub p99: u64,
    /// The largest.
    pub max: u64,
}

impl Spread {
    pub(super) fn of(mut all: Vec<u64>) -> Self {
        all.sort_unstable();
        let Some(&max) = all.last() else { return Self::default() };
        let at = |percent: usize| all[(all.len() - 1) * percent / 100];
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let mean = all.iter().sum::<u64>() as f64 / all.len() as f64;
        Self { mean, p50: at(50), p99: at(99), max }
    }
}

impl Counts {
    pub(super) fn of_faults(run: &Run) -> Self {
        let mut counts = Self {
            clients: run.clients.len() as u64,
            jobs: run.jobs.len() as u64,
            submissions_repeated: run.jobs.iter().filter(|job| job.tries > 1).count() as u64,
            ..Self::default()
        };
        for fault in &run.faults {
            *counts.faults.entry(fault.kind.name().to_owned()).or_default() += 1;
        }
        counts
    }

    pub(super) fn finish(&mut self) {
        self.delay_ms = Spread::of(std::mem::take(&mut self.delays));
        self.late_ms = Spread::of(std::mem::take(&mut self.lateness));
        self.snapshots = Spread::of(std::mem::take(&mut self.snapshots_of_clients));
    }
}
