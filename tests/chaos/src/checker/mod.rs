//! The checker: from the facts of a run to a verdict, without a line of what it checks.
//!
//! What Redis holds after quiescence (the *truth*) is judged by itself: every log a legal life of its job, every feed what the
//! logs say, every poll the same. Then each client is walked through what it saw, frame by frame, and what it holds in the end is
//! held against the truth. Where the two differ, a fault must explain it, and the client must have been told.

mod across;
mod client;
mod event;
mod feeds;
mod finding;
mod holds;
mod jobs;
mod late;
mod life;
mod loss;
mod track;
mod truth;
mod verdict;
mod webhooks;
mod why;

#[cfg(test)]
pub(crate) mod made_up;
#[cfg(test)]
mod tests;

pub use finding::{Kind, Violation};
pub use verdict::{Counts, Spread, Verdict};

use crate::record::Run;
use across::Across;
use finding::Findings;
use loss::Losses;
use truth::Truth;

/// Judges a run.
pub fn check(run: &Run) -> Verdict {
    let mut findings = Findings::default();
    let mut counts = Counts::of_faults(run);
    let losses = Losses::of(run);
    let truth = Truth::of(run, &mut findings);
    let mut across = Across::default();

    let acknowledged = jobs::check(&truth, &losses, &mut findings, &mut counts);
    late::check(&truth, &losses, &mut findings, &mut counts);
    feeds::check(&truth, &mut findings);
    webhooks::check(&truth, &mut findings, &mut counts);
    for client in &run.clients {
        client::check(client, &truth, &losses, &mut across, &mut findings, &mut counts);
    }
    across.check(&truth, &mut findings);
    counts.ends_lost = across.ends_lost(&truth, &acknowledged) as u64;
    counts.finish();
    Verdict { violations: findings.all(), counts }
}
