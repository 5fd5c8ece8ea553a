//! Steps: atomic changes, one script each. A step may be sent twice, and a repeat answers as the first time.
//!
//! Each step has two files: `<step>.lua` does it, `<step>.rs` calls it and reads the reply. The parts that scripts share
//! are in `common/`, in the order in which they build on each other: clock, job, log, feed, queue, deliver, end; settled,
//! of deliveries; and page, which reads.

pub(crate) mod append;
pub(crate) mod cancel;
pub(crate) mod claim;
pub(crate) mod dead_letters;
pub(crate) mod delete;
pub(crate) mod deliveries;
pub(crate) mod due;
pub(crate) mod end;
pub(crate) mod followed;
pub(crate) mod list;
pub(crate) mod past;
pub(crate) mod pause;
pub(crate) mod queue;
pub(crate) mod read;
pub(crate) mod release;
pub(crate) mod renew;
pub(crate) mod replay;
mod reply;
pub(crate) mod settle;
mod start;
pub(crate) mod submit;
pub(crate) mod sweep;

use std::time::Duration;

use model::{JobId, Report, Timestamp, Token};

use crate::script::ScriptCall;

pub(crate) const CLOCK: &str = include_str!("common/clock.lua");
pub(crate) const JOB: &str = include_str!("common/job.lua");
pub(crate) const LOG: &str = include_str!("common/log.lua");
pub(crate) const FEED: &str = include_str!("common/feed.lua");
pub(crate) const PAGE: &str = include_str!("common/page.lua");
pub(crate) const QUEUE: &str = include_str!("common/queue.lua");
pub(crate) const DELIVER: &str = include_str!("common/deliver.lua");
pub(crate) const END: &str = include_str!("common/end.lua");
pub(crate) const SETTLED: &str = include_str!("common/settled.lua");
/// What every step needs that changes where a job stands.
pub(crate) const ALL: &[&str] = &[CLOCK, JOB, LOG, FEED, QUEUE, DELIVER, END];

/// A worker's right to an attempt, as every call of the attempt carries it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lease {
    /// The job.
    pub job: JobId,
    /// The fence.
    pub token: Token,
    /// How long the lease lasts from each accepted call on.
    pub duration: Duration,
}

/// The answer to an accepted call of an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held {
    /// Until when the lease lasts unless renewed, by Redis' clock.
    pub expires_at: Timestamp,
    /// The job was cancelled: stop working; nothing was recorded.
    pub cancelled: bool,
}

/// The number of a write within its attempt, from 1, by which its repeat is recognised. `None` is a write whose repeat would
/// be another one.
pub type Batch = Option<u64>;

fn batch_word(batch: Batch) -> String {
    batch.map(|number| number.to_string()).unwrap_or_default()
}

/// The longest duration that a script hears of: a hundred years. Sums with the time stay far from where numbers lose digits.
const LONGEST_MS: u64 = 100 * 365 * 24 * 3600 * 1000;

/// A duration as scripts take it: no TTL may be 0, and none so large that Redis refuses it in the middle of a script.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).map_or(LONGEST_MS, |ms| ms.clamp(1, LONGEST_MS))
}

/// A random word for the marks of the events that a step writes: a script's own randomness starts alike on every server.
fn random_word() -> String {
    format!("{:016x}", rand::random::<u64>())
}

/// The reports as scripts take them: the values of the last progress among them, or two empty words; then a pair for each, its
/// event's type and fields, ready to be written.
fn with_reports(call: ScriptCall, reports: &[Report]) -> ScriptCall {
    let is_progress = |report: &&Report| matches!(report, Report::Progress { .. });
    let last = reports.iter().rfind(is_progress).map(Report::values);
    let (progress, message) = last.unwrap_or_default();
    reports.iter().fold(call.arg(progress).arg(message.unwrap_or_default()), |call, report| {
        let (first, second) = report.values();
        match report {
            Report::Progress { .. } => {
                let message = second.unwrap_or_default();
                call.arg("progress").arg(format_args!(r#","progress":{first},"message":{message}"#))
            }
            Report::Output(_) => call.arg("output").arg(format_args!(r#","output":{first}"#)),
            Report::Text(_) => call.arg("output").arg(format_args!(r#","text":{first}"#)),
        }
    })
}
