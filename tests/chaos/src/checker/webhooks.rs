//! Webhooks: every end is told at least once, by one id as long as Redis kept it, and nothing else is.

use std::collections::HashMap;

use super::event::is_terminal;
use super::finding::{Findings, Kind};
use super::truth::Truth;
use super::verdict::Counts;
use crate::record::{Arrival, JobRecord};

pub(super) fn check(truth: &Truth<'_>, findings: &mut Findings, counts: &mut Counts) {
    let run = truth.run;
    let mut taken: HashMap<&str, u64> = HashMap::new();
    for arrival in &run.arrivals {
        let job = truth.job(&arrival.job_id).map(|index| &run.jobs[index]);
        // A job that Redis lost may have ended and been told before, and an end that it lost was another one.
        if let Err(sentence) = right(arrival, job, run.topology.fails_over()) {
            findings.about(
                Kind::FalselyTold,
                arrival.job_id.clone(),
                format!("at {} ms {sentence}", arrival.at_ms),
            );
        }
        if (200..300).contains(&arrival.answered) {
            *taken.entry(&arrival.webhook_id).or_default() += 1;
        }
    }
    for job in run.jobs.iter().filter(|job| job.webhook) {
        let Some(id) = id_of_end(job) else { continue };
        if !taken.contains_key(id.as_str()) {
            let came = run.arrivals.iter().filter(|arrival| arrival.webhook_id == id).count();
            let sentence =
                format!("its end, {id}, was never taken by the receiver, to whom it came {came} times");
            findings.about(Kind::Untold, job.id.clone(), sentence);
        }
    }
    counts.told = taken.len() as u64;
    counts.told_again = taken.values().map(|times| times - 1).sum();
}

/// The `webhook-id` of the end that Redis holds.
fn id_of_end(job: &JobRecord) -> Option<String> {
    let end = job.final_log.last().filter(|entry| is_terminal(&entry.kind))?;
    Some(format!("{}.{}-{}", job.id, end.seq, end.mark))
}

fn right(arrival: &Arrival, job: Option<&JobRecord>, may_be_lost: bool) -> Result<(), String> {
    if !arrival.is_signed {
        return Err(format!("{} came without a right signature", arrival.webhook_id));
    }
    let Some(job) = job else {
        return if may_be_lost { Ok(()) } else { Err("a job was told of that nobody submitted".to_owned()) };
    };
    if !job.webhook {
        return Err("it was told of a job that has no webhook".to_owned());
    }
    match id_of_end(job) {
        Some(id) if id == arrival.webhook_id => {
            let kind = job.final_log.last().map(|end| format!("job.{}", end.kind)).unwrap_or_default();
            if arrival.kind == kind {
                Ok(())
            } else {
                Err(format!("it was told {}, and the log says {kind}", arrival.kind))
            }
        }
        _ if may_be_lost => Ok(()),
        end => Err(format!("it was told of the end {}, and the log's is {end:?}", arrival.webhook_id)),
    }
}
