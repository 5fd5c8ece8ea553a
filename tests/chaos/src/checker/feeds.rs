//! The owners' feeds against the logs of their jobs: one slot, one script, so they can't differ, whatever Redis lost.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::event::is_life_cycle;
use super::finding::{Findings, Kind};
use super::truth::{Log, LogKey, Truth};
use crate::opaque::partition_of;
use crate::record::{JobRecord, LogEntry, OwnerRecord};

/// What a feed leaves out.
const PRIVATE: [&str; 5] = ["result", "output", "text", "payload", "resultOmitted"];

/// Judges all feeds of a run.
pub(super) fn check(truth: &Truth<'_>, findings: &mut Findings) {
    for (index, owner) in truth.run.owners.iter().enumerate() {
        let mut jobs: HashMap<u16, Vec<&JobRecord>> = HashMap::new();
        for job in truth.run.jobs.iter().filter(|job| job.owner == owner.owner) {
            jobs.entry(partition_of(&job.id).unwrap_or_default()).or_default().push(job);
        }
        for partition in 0..truth.run.partitions {
            let about = truth.name_of(LogKey::Feed(index, partition));
            let of_it = jobs.remove(&partition).unwrap_or_default();
            for (kind, sentence) in feed(owner, partition, &of_it) {
                findings.about(kind, about.clone(), sentence);
            }
        }
        for job in jobs.values().flatten() {
            let sentence = format!("its partition isn't one of {}", truth.run.partitions);
            findings.about(Kind::Malformed, job.id.clone(), sentence);
        }
    }
}

/// What a job's log and the feed both say of an event.
#[derive(PartialEq, Eq, Debug)]
struct Fact {
    seq: u64,
    kind: String,
    at: String,
    attempt: u64,
}

impl Fact {
    fn of(kind: &str, json: &Value) -> Self {
        Self {
            seq: json["seq"].as_u64().unwrap_or_default(),
            kind: kind.to_owned(),
            at: json["at"].as_str().unwrap_or_default().to_owned(),
            attempt: json["attempt"].as_u64().unwrap_or_default(),
        }
    }
}

fn feed(owner: &OwnerRecord, partition: u16, jobs: &[&JobRecord]) -> Vec<(Kind, String)> {
    let log = Log::of_feed(owner, partition);
    let mut problems = Vec::new();
    if let Err(sentence) = log.check(false) {
        problems.push((Kind::BrokenLog, sentence));
    }
    let mut told: HashMap<String, Vec<Fact>> = HashMap::new();
    for entry in log.entries {
        match entry_of(entry) {
            Ok((job, fact)) => told.entry(job).or_default().push(fact),
            Err(problem) => problems.push(problem),
        }
    }
    let trimmed = log.entries.first().is_some_and(|first| first.before != "000000");
    for job in jobs {
        problems.extend(of_job(job, told.remove(&job.id).unwrap_or_default(), trimmed));
    }
    // Submissions that were never answered may have made jobs that nobody knows; but no more than there were of them.
    let unknown: HashSet<_> = told.keys().collect();
    if unknown.len() > owner.unanswered.len() {
        problems.push((Kind::FeedExtra, format!("it tells of jobs that no answer named: {unknown:?}")));
    }
    problems
}

fn entry_of(entry: &LogEntry) -> Result<(String, Fact), (Kind, String)> {
    let json: Value = serde_json::from_str(&entry.json).unwrap_or_default();
    let (Some(job), true) = (json["jobId"].as_str(), json["type"] == entry.kind.as_str()) else {
        return Err((
            Kind::BrokenLog,
            format!("entry {} of type `{}` carries {}", entry.seq, entry.kind, entry.json),
        ));
    };
    if !is_life_cycle(&entry.kind) {
        return Err((Kind::FeedExtra, format!("entry {} is `{}`", entry.seq, entry.kind)));
    }
    if let Some(private) = PRIVATE.iter().find(|name| json.get(name).is_some()) {
        return Err((Kind::FeedExtra, format!("entry {} carries a `{private}`", entry.seq)));
    }
    Ok((job.to_owned(), Fact::of(&entry.kind, &json)))
}

fn of_job(job: &JobRecord, told: Vec<Fact>, feed_trimmed: bool) -> Option<(Kind, String)> {
    let id = &job.id;
    let log = Log::of_job(job);
    let first = log.entries.first().map_or(u64::MAX, |first| first.seq);
    let due: Vec<Fact> = log
        .entries
        .iter()
        .filter(|entry| is_life_cycle(&entry.kind))
        .map(|entry| Fact::of(&entry.kind, &serde_json::from_str(&entry.json).unwrap_or_default()))
        .collect();
    if log.entries.is_empty() {
        return (!told.is_empty())
            .then(|| (Kind::FeedExtra, format!("it tells {told:?} of {id}, which is gone")));
    }
    // Of a log that was trimmed the feed may know more, and the other way round.
    let told: Vec<Fact> = told.into_iter().filter(|fact| fact.seq >= first).collect();
    let due = if feed_trimmed { &due[due.len().saturating_sub(told.len())..] } else { &due[..] };
    if told == due {
        return None;
    }
    let kind = if told.len() > due.len() { Kind::FeedExtra } else { Kind::FeedLacks };
    Some((kind, format!("of {id} it tells {told:?}, and the job's log {due:?}")))
}
