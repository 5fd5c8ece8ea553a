//! What a run came to: for programs, for terminals, and as a page.

mod build;
mod html;
mod plot;
mod table;
mod text;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::plan::Scenario;
use crate::times::Figures;
pub use crate::watch::Role;

/// What a run came to. Its JSON has the same names in camelCase; times are milliseconds and memory is bytes unless a name says
/// otherwise.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Report {
    /// What was to be done.
    pub plan: Planned,
    /// When publishing began, RFC 3339.
    pub began_at: model::Timestamp,
    /// For how long events were published, in seconds; until the last one was acknowledged.
    pub ran_seconds: f64,
    /// The streams.
    pub streams: Streams,
    /// The events.
    pub events: Events,
    /// What shouldn't be: all 0 where every stream told every event once and in order.
    pub faults: Faults,
    /// From when events were due until they came.
    pub latency: Figures,
    /// The share of events (0 to 1) that came within so many milliseconds.
    pub distribution: Vec<(f64, f64)>,
    /// The publisher.
    pub publishing: Publishing,
    /// All streams came back at once; `null` in other scenarios.
    pub storm: Option<Storm>,
    /// What the checking itself cost.
    pub checker: Checker,
    /// The processes that were watched.
    pub processes: Vec<Process>,
    /// The kernel's memory for TCP on this machine, both ends of each stream where both are here.
    pub kernel: Kernel,
    /// What went wrong with connections, in words, and how often; streams come back after it, and reports are sent again.
    pub errors: BTreeMap<String, u64>,
    /// Second by second.
    pub seconds: Vec<Point>,
}

/// What was to be done.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "as in the plan")]
pub struct Planned {
    pub scenario: Scenario,
    pub urls: Vec<String>,
    pub task: String,
    pub streams: usize,
    pub jobs: usize,
    pub events_per_second: f64,
    pub event_bytes: usize,
    pub seconds: f64,
    pub processes: usize,
}

/// The streams.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Streams {
    /// Those that were open at least once.
    pub opened: u64,
    /// Those that came to their job's end.
    pub ended: u64,
    /// How long it took to open all of them at first, in seconds.
    pub opening_seconds: f64,
    /// From the beginning of a connection to the stream's head, of first openings.
    pub opening: Figures,
    /// Streams that the other side cut before their end; they came back.
    pub cuts: u64,
    /// Tries to open one that came to nothing; they were repeated.
    pub failures: u64,
}

/// The events.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Events {
    /// Outputs that the gateways have acknowledged.
    pub published: u64,
    /// Events that came on all streams, in all.
    pub delivered: u64,
    /// The same a second, while events were published.
    pub delivered_per_second: f64,
    /// Bytes that came on all streams, in all.
    pub bytes: u64,
}

/// What shouldn't be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Faults {
    /// Events that a stream never told, summed over the streams.
    pub lost: u64,
    /// Streams that lost events.
    pub streams_with_loss: u64,
    /// Events that a stream told again.
    pub repeated: u64,
    /// Events that a stream told after later ones.
    pub reordered: u64,
    /// Events with another mark than was told before at their place.
    pub rewritten: u64,
    /// Streams that said themselves that the log no longer reached back to their cursor.
    pub trimmed: u64,
    /// Streams that said themselves that Redis lost what they had told.
    pub rewound: u64,
    /// Streams that never opened.
    pub not_opened: u64,
    /// Streams that didn't end with their job.
    pub not_ended: u64,
    /// Jobs that took no more reports.
    pub lost_jobs: u64,
}

/// The publisher.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Publishing {
    /// Reports that were acknowledged, each with one event or more.
    pub reports: u64,
    /// From when an event was due until its report was sent: what of the latency is the publisher's wait.
    pub late: Figures,
    /// From sending a report until its answer.
    pub answered: Figures,
}

/// All streams came back at once.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Storm {
    /// From the cut until all were back, in seconds; `null` if they weren't.
    pub seconds: Option<f64>,
    /// From the beginning of a connection to the stream's head.
    pub reopening: Figures,
}

/// What the checking itself cost.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Checker {
    /// Processor time for each event that was read and checked, in microseconds.
    pub us_per_event: Option<f64>,
    /// How busy the holding threads were while events were published: 1 is a whole core. Near 1 for each process, the
    /// latencies are the tester's own.
    pub cores: f64,
}

/// A process that was watched.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// What it is.
    pub role: Role,
    /// How busy it was while events were published: 1 is a whole core.
    pub cores: f64,
    /// Processor time for each event delivered, in microseconds.
    pub us_per_event: Option<f64>,
    /// Its memory (proportional set size) before streams were opened.
    pub memory_before: u64,
    /// With all of them open, at rest.
    pub memory_open: u64,
    /// After the last event.
    pub memory_end: u64,
    /// What one stream took of it.
    pub memory_per_stream: f64,
}

/// The kernel's memory for TCP.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Kernel {
    /// Before streams were opened.
    pub memory_before: u64,
    /// With all of them open, at rest.
    pub memory_open: u64,
    /// After the last event.
    pub memory_end: u64,
}

/// One second.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Point {
    /// Seconds since publishing began; before, it is below 0.
    pub at: i64,
    /// Streams open.
    pub open: u64,
    /// Events that came.
    pub events: u64,
    /// Streams opened.
    pub connections: u64,
    /// Latency of what came.
    pub latency: Figures,
    /// How busy each watched process was; 1 is a whole core.
    pub cores: Vec<f64>,
    /// The resident set of each.
    pub memory: Vec<u64>,
}

impl Report {
    /// Whether every stream opened, told every event of its job once and in order, and ended.
    pub fn is_clean(&self) -> bool {
        self.faults == Faults::default()
    }

    /// The report for a terminal, some 20 lines.
    pub fn table(&self) -> String {
        table::table(self)
    }

    /// The report as a page of its own, with plots; it loads nothing.
    pub fn html(&self) -> String {
        html::page(self)
    }
}
