//! A log as the test has seen it grow, and what its events say of the job.

use bytes::Bytes;
use model::{Entry, JobId, Mark, Status};
use serde_json::{Value, json};

/// One event that was seen.
pub(crate) struct Seen {
    pub(crate) text: String,
    pub(crate) mark: Mark,
    pub(crate) json: Value,
}

impl Seen {
    pub(crate) fn kind(&self) -> &str {
        self.json["type"].as_str().unwrap()
    }

    pub(crate) fn is_terminal(&self) -> bool {
        matches!(self.kind(), "completed" | "failed" | "cancelled")
    }

    pub(crate) fn is_life_cycle(&self) -> bool {
        !matches!(self.kind(), "progress" | "output")
    }
}

/// All of a job's events, from the first.
#[derive(Default)]
pub(crate) struct History(pub(crate) Vec<Seen>);

impl History {
    /// Takes in the log as it is now: it goes on from what was seen, without a hole, and nothing seen has changed.
    pub(crate) fn grow(&mut self, id: JobId, log: &[String]) {
        let mut last = None;
        for text in log {
            let entry = Entry::parse(&Bytes::from(text.clone())).unwrap();
            let seq = usize::try_from(entry.head.seq).unwrap();
            assert!(last.is_none_or(|last| seq == last + 1), "a hole in {log:#?}");
            last = Some(seq);
            if let Some(seen) = self.0.get(seq - 1) {
                assert_eq!(seen.text, *text, "history was rewritten");
                continue;
            }
            assert_eq!(seq, self.0.len() + 1, "a hole before {text}");
            let body = entry.body.unwrap();
            let json: Value = serde_json::from_slice(&body.json).unwrap();
            let before = self.0.last();
            assert_eq!(
                entry.head.before,
                before.map_or(Mark::START, |seen| seen.mark),
                "the chain is broken"
            );
            assert_eq!((&json["jobId"], &json["seq"]), (&json!(id.to_string()), &json!(seq)));
            assert_eq!(json["type"].as_str().unwrap().as_bytes(), &*body.name);
            assert!(before.is_none_or(|seen| !seen.is_terminal()), "{text} after the end");
            let is_later = |field: &str| match (&json[field], before.map(|seen| &seen.json[field])) {
                (_, None) => true,
                (Value::String(now), Some(Value::String(then))) => now >= then,
                (now, Some(then)) => now.as_u64() >= then.as_u64(),
            };
            assert!(is_later("at") && is_later("attempt"), "{text} goes back");
            self.0.push(Seen { text: text.clone(), mark: entry.head.mark, json });
        }
        assert!(last.is_some_and(|last| last == self.0.len()), "the newest events are gone: {log:#?}");
    }

    pub(crate) fn count(&self, matches: impl Fn(&Seen) -> bool) -> u64 {
        self.0.iter().filter(|seen| matches(seen)).count() as u64
    }

    /// The job as its events tell it, by DESIGN section 4.
    pub(crate) fn fold(&self) -> Value {
        let mut job = json!({});
        for Seen { json: event, .. } in &self.0 {
            job["attempt"] = event["attempt"].clone();
            job["updatedAt"] = event["at"].clone();
            let status = match event["type"].as_str().unwrap() {
                "queued" => {
                    job["task"] = event["task"].clone();
                    job["createdAt"] = event["at"].clone();
                    Status::Pending
                }
                "started" => {
                    for field in ["progress", "message", "error", "errorCode"] {
                        job[field] = Value::Null;
                    }
                    job["startedAt"] = event["at"].clone();
                    Status::Processing
                }
                "progress" => {
                    job["progress"] = event["progress"].clone();
                    job["message"] = event["message"].clone();
                    Status::Processing
                }
                "output" => Status::Processing,
                end => {
                    job["error"] = event["error"].clone();
                    job["errorCode"] = event["errorCode"].clone();
                    if end == "completed" {
                        job["progress"] = json!(100);
                        job["result"] = event["result"].clone();
                    }
                    if end == "retrying" { Status::Pending } else { end.parse().unwrap() }
                }
            };
            let before = job["status"].as_str().map(|status| status.parse::<Status>().unwrap());
            assert!(
                before.is_none_or(|before| before == status || before.may_become(status)),
                "{before:?} became {status:?}"
            );
            if status.is_terminal() {
                job["finishedAt"] = event["at"].clone();
            }
            job["status"] = json!(status);
        }
        job
    }
}

/// What the store says of the same job, as the fold says it.
pub(crate) fn polled(job: &model::Job, omitted: bool) -> Value {
    let told = json!({
        "task": job.task, "status": job.status, "progress": job.progress, "message": job.message,
        "result": job.result, "error": job.error, "errorCode": job.error_code, "attempt": job.attempt,
        "createdAt": job.created_at, "updatedAt": job.updated_at, "startedAt": job.started_at,
        "finishedAt": job.finished_at,
    });
    let Value::Object(mut told) = told else { panic!("an object") };
    if omitted {
        assert_ne!(told.remove("result"), Some(Value::Null));
    }
    told.retain(|_, value| !value.is_null());
    Value::Object(told)
}
