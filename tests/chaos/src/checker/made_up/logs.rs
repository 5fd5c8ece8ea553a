//! A model of what Redis holds: logs of jobs and feeds, their caps, and their return to an earlier state.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Dice, STARTED};
use crate::checker::event::{Event, is_life_cycle, is_terminal};
use crate::opaque::partition_of;
use crate::record::{AcknowledgedEnd, LogEntry, Polled, Run};

#[derive(Clone)]
pub(super) struct Logs {
    jobs: BTreeMap<usize, Vec<LogEntry>>,
    feeds: BTreeMap<(usize, u16), Vec<LogEntry>>,
    /// What was acknowledged stays so, whatever is lost.
    ends: Vec<(usize, AcknowledgedEnd)>,
}

/// How far a job is, by its log.
struct State {
    last: String,
    attempt: u64,
    counter: u64,
}

impl Logs {
    pub(super) fn new() -> Self {
        Self { jobs: BTreeMap::new(), feeds: BTreeMap::new(), ends: Vec::new() }
    }

    pub(super) fn of_job(&self, index: usize) -> &[LogEntry] {
        self.jobs.get(&index).map_or(&[], Vec::as_slice)
    }

    pub(super) fn of_feed(&self, owner: usize, partition: u16) -> &[LogEntry] {
        self.feeds.get(&(owner, partition)).map_or(&[], Vec::as_slice)
    }

    pub(super) fn any_open(&self, run: &Run) -> bool {
        (0..run.jobs.len()).any(|index| self.is_open(index))
    }

    fn is_open(&self, index: usize) -> bool {
        self.of_job(index).last().is_some_and(|last| !is_terminal(&last.kind))
    }

    /// Returns the partition to what `saved` had of it.
    pub(super) fn fall_back(&mut self, run: &Run, partition: u16, saved: &Self) {
        for (index, job) in run.jobs.iter().enumerate() {
            if partition_of(&job.id) == Some(partition) {
                match saved.jobs.get(&index) {
                    Some(log) => self.jobs.insert(index, log.clone()),
                    None => self.jobs.remove(&index),
                };
            }
        }
        for owner in 0..run.owners.len() {
            match saved.feeds.get(&(owner, partition)) {
                Some(log) => self.feeds.insert((owner, partition), log.clone()),
                None => self.feeds.remove(&(owner, partition)),
            };
        }
    }

    pub(super) fn submit(&mut self, run: &Run, index: usize, dice: &mut Dice, now: u64) {
        self.jobs.insert(index, Vec::new());
        self.write(run, index, dice, now, "queued", 0, json!({"task": "count"}), json!({}));
    }

    /// Some job's next event.
    pub(super) fn advance(&mut self, run: &Run, dice: &mut Dice, now: u64) {
        let open: Vec<usize> = (0..run.jobs.len()).filter(|index| self.is_open(*index)).collect();
        let Some(&index) = open.get(dice.index(open.len())) else { return };
        let State { last, attempt, counter } = self.state(index);
        let planned = run.jobs[index].outputs.unwrap();
        let error = json!({"error": "it failed", "errorCode": "handler"});
        let none = json!({});
        if matches!(last.as_str(), "queued" | "retrying") {
            return match dice.below(20) {
                0 => self.write(run, index, dice, now, "cancelled", attempt, error, none),
                _ => self.write(run, index, dice, now, "started", attempt + 1, none.clone(), none),
            };
        }
        match dice.below(20) {
            0 if attempt < 3 => self.write(run, index, dice, now, "retrying", attempt, error, none),
            1 if dice.one_in(3) => self.write(run, index, dice, now, "failed", attempt, error, none),
            2..6 => {
                let progress = json!({"progress": 5, "message": null});
                self.write(run, index, dice, now, "progress", attempt, progress, none);
            }
            _ if counter == planned => {
                self.write(
                    run,
                    index,
                    dice,
                    now,
                    "completed",
                    attempt,
                    none,
                    json!({"result": {"ok": true}}),
                );
            }
            _ => {
                let output = json!({"output": {"n": counter + 1}});
                self.write(run, index, dice, now, "output", attempt, output, none);
            }
        }
    }

    fn state(&self, index: usize) -> State {
        let log = self.of_job(index);
        let last = log.last().unwrap();
        let json: Value = serde_json::from_str(&last.json).unwrap();
        let attempt = json["attempt"].as_u64().unwrap();
        let events = log.iter().map(|entry| serde_json::from_str::<Value>(&entry.json).unwrap());
        let of_attempt = events.filter(|event| event["attempt"] == attempt);
        let counter = of_attempt.filter_map(|event| event["output"]["n"].as_u64()).max().unwrap_or(0);
        State { last: last.kind.clone(), attempt, counter }
    }

    #[expect(clippy::too_many_arguments, reason = "an event has so many parts")]
    fn write(
        &mut self,
        run: &Run,
        index: usize,
        dice: &mut Dice,
        now: u64,
        kind: &str,
        attempt: u64,
        open: Value,
        private: Value,
    ) {
        let job = &run.jobs[index];
        if is_terminal(kind) {
            // An answer takes a moment.
            let end = AcknowledgedEnd { at_ms: now + dice.below(30), kind: kind.to_owned() };
            self.ends.push((index, end));
        }
        let log = self.jobs.get_mut(&index).unwrap();
        let seq = log.last().map_or(1, |last| last.seq + 1);
        let mut event = json!({
            "jobId": job.id, "seq": seq, "type": kind, "at": rfc3339(now), "attempt": attempt,
        });
        let all = event.as_object_mut().unwrap();
        all.extend(open.as_object().unwrap().clone());
        let told = Value::Object(all.clone()).to_string();
        all.extend(private.as_object().unwrap().clone());
        push(log, seq, dice, kind, event.to_string(), job.log_cap.unwrap_or(10_000));
        if is_life_cycle(kind) {
            let owner = run.owners.iter().position(|owner| owner.owner == job.owner).unwrap();
            let feed = self.feeds.entry((owner, partition_of(&job.id).unwrap())).or_default();
            let seq = feed.last().map_or(STARTED + now, |last| last.seq + 1);
            push(feed, seq, dice, kind, told, 10_000);
        }
    }

    /// Every end of a job that was ever written.
    pub(super) fn acknowledged_ends(&self, index: usize) -> Vec<AcknowledgedEnd> {
        let of_job = self.ends.iter().filter(|(of, _)| *of == index);
        of_job.map(|(_, end)| end.clone()).collect()
    }

    /// When the job ended, in ms since the run's start.
    pub(super) fn ended_ms(&self, index: usize) -> Option<u64> {
        let last = self.of_job(index).last().filter(|last| is_terminal(&last.kind))?;
        Some(Event::parse(&last.json)?.at_unix_ms()? - STARTED)
    }

    pub(super) fn poll(&self, run: &Run, index: usize) -> Polled {
        let Some(last) = self.of_job(index).last() else {
            return Polled { status: 404, body: "{}".to_owned() };
        };
        let event: Value = serde_json::from_str(&last.json).unwrap();
        let status = match last.kind.as_str() {
            "queued" | "retrying" => "pending",
            end if is_terminal(end) => end,
            _ => "processing",
        };
        let job = &run.jobs[index];
        let body = json!({
            "id": job.id, "createdAt": rfc3339(job.answered_at_ms), "status": status, "lastEventId": format!("{}-{}", last.seq, last.mark),
            "attempt": event["attempt"], "result": event["result"], "error": event["error"],
            "errorCode": event["errorCode"], "finishedAt": event["at"],
            "progress": if status == "completed" { json!(100) } else { Value::Null },
        });
        Polled { status: 200, body: body.to_string() }
    }
}

fn rfc3339(ms: u64) -> String {
    let at = jiff::Timestamp::from_millisecond((STARTED + ms).try_into().unwrap()).unwrap();
    format!("{at:.3}")
}

fn push(log: &mut Vec<LogEntry>, seq: u64, dice: &mut Dice, kind: &str, json: String, cap: u64) {
    let before = log.last().map_or_else(|| "000000".to_owned(), |last| last.mark.clone());
    log.push(LogEntry { seq, mark: dice.mark(), before, kind: kind.to_owned(), json });
    if log.len() as u64 > cap {
        log.remove(0);
    }
}
