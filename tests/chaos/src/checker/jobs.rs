//! Every accepted job, as Redis and a poll have it in the end.

use std::collections::HashMap;

use serde_json::Value;

use super::event::{Event, TYPES, is_terminal, unix_ms};
use super::finding::{Findings, Kind};
use super::life::Life;
use super::loss::Losses;
use super::track::Problem;
use super::truth::{Log, Truth, cursor_of};
use super::verdict::Counts;
use crate::record::{AcknowledgedEnd, Durability, JobRecord, LogEntry, Run};

/// How far the clocks of a run may lie apart: Redis' own, and those of whoever was told.
const CLOCKS_MS: u64 = 500;

/// Judges all jobs of a run. Returns those of which Redis lacks an acknowledged end, by their indexes.
pub(super) fn check(
    truth: &Truth<'_>,
    losses: &Losses,
    findings: &mut Findings,
    counts: &mut Counts,
) -> Vec<usize> {
    let run = truth.run;
    let mut ends_lost = Vec::new();
    for (index, job) in run.jobs.iter().enumerate() {
        let mut found = |(kind, sentence): Problem| findings.about(kind, job.id.clone(), sentence);
        match presence(job) {
            Ok(true) => {
                log(job).into_iter().for_each(&mut found);
                if let Err(sentence) = poll(job) {
                    found((Kind::PollDisagrees, sentence));
                }
            }
            Ok(false) => {
                counts.jobs_lost += 1;
                lost(job, run, losses).into_iter().for_each(&mut found);
            }
            Err(problem) => found(problem),
        }
        counts.ends_acknowledged += job.acknowledged_ends.len() as u64;
        let lost: Vec<_> = job.acknowledged_ends.iter().filter(|end| !is_kept(end, job, run)).collect();
        counts.acknowledged_ends_lost += lost.len() as u64;
        ends_lost.extend((!lost.is_empty()).then_some(index));
        lost.into_iter().filter_map(|end| end_lost(end, job, run, losses)).for_each(&mut found);
    }
    made_twice(run, findings);
    listed(truth, findings);
    ends_lost
}

/// Whether the job is there, if poll and log agree on that.
fn presence(job: &JobRecord) -> Result<bool, Problem> {
    match (job.final_poll.status, job.final_log.is_empty()) {
        (200, false) => Ok(true),
        (404, true) => Ok(false),
        (200, true) => Err((Kind::BrokenLog, "a poll finds the job, and its log is gone".to_owned())),
        (404, false) => {
            let length = job.final_log.len();
            Err((Kind::PollDisagrees, format!("a poll says 404, and its log has {length} entries")))
        }
        (status, _) => Err((Kind::PollDisagrees, format!("a poll says {status}: {}", job.final_poll.body))),
    }
}

/// What is wrong with the loss of an accepted job.
fn lost(job: &JobRecord, run: &Run, losses: &Losses) -> Option<Problem> {
    let (from, until) = (job.submitted_at_ms, job.answered_at_ms);
    let gone = format!("it was accepted at {until} ms (first sent at {from} ms), and is gone");
    if run.durability == Durability::Replicated {
        return Some((Kind::JobLost, format!("{gone}; it was acknowledged as replicated")));
    }
    let explained = losses.of_writes(Log::of_job(job).partition, from, until);
    (!explained).then(|| (Kind::JobLost, format!("{gone}; nothing that was struck explains it")))
}

/// Whether the log's end is the one that was acknowledged: of its kind, and not written later. (A job whose end Redis lost is
/// worked at again, and may well end in the same way.)
fn is_kept(end: &AcknowledgedEnd, job: &JobRecord, run: &Run) -> bool {
    job.final_log.last().is_some_and(|last| {
        let at = Event::parse(&last.json).and_then(|event| event.at_unix_ms()).unwrap_or_default();
        last.kind == end.kind && at.saturating_sub(run.started_at_unix_ms) <= end.at_ms + CLOCKS_MS
    })
}

/// What is wrong with the loss of an acknowledged end.
fn end_lost(end: &AcknowledgedEnd, job: &JobRecord, run: &Run, losses: &Losses) -> Option<Problem> {
    let last = job.final_log.last().map(|last| last.json.as_str());
    let gone = format!("`{}` was acknowledged at {} ms, and its log ends with {last:?}", end.kind, end.at_ms);
    if run.durability == Durability::Replicated {
        return Some((Kind::EndLost, format!("{gone}; it was acknowledged as replicated")));
    }
    let explained = losses.of_writes(Log::of_job(job).partition, end.at_ms, end.at_ms);
    (!explained).then(|| (Kind::EndLost, format!("{gone}; nothing that was struck explains it")))
}

/// What is wrong with a job's log.
fn log(job: &JobRecord) -> Vec<Problem> {
    let mut problems = Vec::new();
    let log = Log::of_job(job);
    if let Err(sentence) = log.check(true) {
        problems.push((Kind::BrokenLog, sentence));
    }
    let whole = log.entries.first().is_some_and(|first| first.seq == 1);
    let mut life = if whole { Life::from_start(job.outputs) } else { Life::from_somewhere(job.outputs) };
    let mut at_before = 0;
    for entry in log.entries {
        match read(job, entry) {
            Ok(event) => {
                if let Err((kind, why)) = life.take(&event) {
                    problems.push((kind, format!("entry {}-{}: {why}", entry.seq, entry.mark)));
                }
                let at = event.at_unix_ms().unwrap_or_default();
                if at < at_before {
                    problems.push((Kind::BrokenLog, format!("the time of entry {} goes back", entry.seq)));
                }
                at_before = at;
            }
            Err(problem) => problems.push(problem),
        }
    }
    let ends = log.entries.iter().filter(|entry| is_terminal(&entry.kind)).count();
    if ends == 0 {
        let last = log.entries.last().map(|entry| entry.kind.as_str());
        problems.push((Kind::NoEnd, format!("it was accepted, and its log ends with {last:?}")));
    }
    problems
}

/// An entry's event, which must be what the entry's head says.
fn read(job: &JobRecord, entry: &LogEntry) -> Result<Event, Problem> {
    let event = Event::parse(&entry.json)
        .filter(|event| TYPES.contains(&event.kind.as_str()))
        .filter(|event| event.at_unix_ms().is_some())
        .ok_or_else(|| (Kind::BrokenLog, format!("entry {} can't be read: {}", entry.seq, entry.json)))?;
    let same =
        event.job_id.as_deref() == Some(&job.id) && event.seq == Some(entry.seq) && event.kind == entry.kind;
    if same {
        Ok(event)
    } else {
        let (seq, kind, json) = (entry.seq, &entry.kind, &entry.json);
        Err((Kind::BrokenLog, format!("entry {seq} of type `{kind}` carries {json}")))
    }
}

/// Holds the poll against the last event.
fn poll(job: &JobRecord) -> Result<(), String> {
    let body = &job.final_poll.body;
    let polled: Value = serde_json::from_str(body).map_err(|error| format!("{error}: {body}"))?;
    let Some(last) = job.final_log.last() else { return Ok(()) };
    let event: Value = serde_json::from_str(&last.json).unwrap_or_default();
    let status = match last.kind.as_str() {
        "completed" | "failed" | "cancelled" => last.kind.as_str(),
        "queued" | "retrying" => "pending",
        _ => "processing",
    };
    let cursor = cursor_of(last).to_string();
    agree("id", &polled["id"], &job.id.clone().into())?;
    agree("status", &polled["status"], &status.into())?;
    agree("lastEventId", &polled["lastEventId"], &cursor.into())?;
    agree("attempt", &polled["attempt"], &event["attempt"])?;
    if !is_terminal(&last.kind) {
        return Ok(());
    }
    let time = |value: &Value| value.as_str().and_then(unix_ms);
    if time(&polled["finishedAt"]) != time(&event["at"]) {
        return Err(format!(
            "the poll's finishedAt is {}, the last event's time {}",
            polled["finishedAt"], event["at"]
        ));
    }
    if last.kind == "completed" {
        agree("progress", &polled["progress"], &100.into())
            .or_else(|_| agree("progress", &polled["progress"], &100.0.into()))?;
        if event["resultOmitted"] != true {
            agree("result", &polled["result"], &event["result"])?;
        }
    } else {
        agree("error", &polled["error"], &event["error"])?;
        agree("errorCode", &polled["errorCode"], &event["errorCode"])?;
    }
    Ok(())
}

fn agree(name: &str, polled: &Value, told: &Value) -> Result<(), String> {
    if polled == told {
        Ok(())
    } else {
        Err(format!("the poll's {name} is {polled}, by the log it is {told}"))
    }
}

/// One key, one job.
fn made_twice(run: &Run, findings: &mut Findings) {
    let mut by_key: HashMap<(&str, &str), &str> = HashMap::new();
    for job in run.jobs.iter().filter(|job| job.final_poll.status == 200) {
        if let Some(other) = by_key.insert((&job.owner, &job.key), &job.id) {
            let sentence = format!("the key {} made this job and {other}", job.key);
            findings.about(Kind::MadeTwice, job.id.clone(), sentence);
        }
    }
}

/// The owners' lists have every job, and no other.
fn listed(truth: &Truth<'_>, findings: &mut Findings) {
    for owner in &truth.run.owners {
        let Some(listed) = &owner.listed else { continue };
        let unknown: Vec<_> = listed.iter().filter(|id| truth.job(id).is_none()).collect();
        if unknown.len() > owner.unanswered.len() {
            let (n, given_up, name) = (unknown.len(), owner.unanswered.len(), &owner.owner);
            let sentence =
                format!("{name} has {n} jobs that no answer named, and gave up {given_up}: {unknown:?}");
            findings.general(Kind::MadeTwice, sentence);
        }
        let listed: std::collections::HashSet<_> = listed.iter().map(String::as_str).collect();
        let there = |job: &&JobRecord| job.owner == owner.owner && job.final_poll.status == 200;
        for job in truth.run.jobs.iter().filter(there) {
            if !listed.contains(job.id.as_str()) {
                findings.about(
                    Kind::Unlisted,
                    job.id.clone(),
                    format!("{} has it, and doesn't list it", owner.owner),
                );
            }
        }
    }
}
