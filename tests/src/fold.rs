//! What a job's events say of it, all taken together: DESIGN's words, and no code of the gateway.

use serde_json::{Value, json};

/// The fields of a polled job that its events tell. The others (`maxAttempts`, `metadata`, `expiresAt`, `priority` and the
/// URLs) are in none of them.
const TOLD: [&str; 14] = [
    "id",
    "task",
    "status",
    "progress",
    "message",
    "result",
    "error",
    "errorCode",
    "attempt",
    "createdAt",
    "updatedAt",
    "startedAt",
    "finishedAt",
    "lastEventId",
];

/// The job as its events, with their ids, tell it; for jobs whose result was small enough for its event.
pub fn fold<'a>(events: impl IntoIterator<Item = (&'a str, &'a Value)>) -> Value {
    let mut job: Value = TOLD.iter().map(|&name| (name.to_owned(), Value::Null)).collect();
    for (id, event) in events {
        for (field, from) in [("id", "jobId"), ("attempt", "attempt"), ("updatedAt", "at")] {
            job[field] = event[from].clone();
        }
        job["lastEventId"] = json!(id);
        let mut take = |fields: &[&str]| fields.iter().for_each(|&field| job[field] = event[field].clone());
        match event["type"].as_str().unwrap() {
            "queued" => {
                take(&["task"]);
                job["status"] = json!("pending");
                job["createdAt"] = event["at"].clone();
            }
            "started" => {
                take(&["progress", "message", "error", "errorCode"]); // an event without them: null
                job["status"] = json!("processing");
                job["startedAt"] = event["at"].clone();
            }
            "progress" => take(&["progress", "message"]),
            "output" => {}
            "retrying" => {
                take(&["error", "errorCode"]);
                job["status"] = json!("pending");
            }
            end => {
                match end {
                    "completed" => {
                        take(&["result"]);
                        job["progress"] = json!(100);
                    }
                    "failed" | "cancelled" => take(&["error", "errorCode"]),
                    other => panic!("an event of the type {other}"),
                }
                job["status"] = json!(end);
                job["finishedAt"] = event["at"].clone();
            }
        }
    }
    job
}

/// The same fields of a job as polled.
pub fn told(job: &Value) -> Value {
    TOLD.iter()
        .map(|&name| (name.to_owned(), job.get(name).unwrap_or_else(|| panic!("no {name}: {job}")).clone()))
        .collect()
}
