//! The report for a terminal.

use std::fmt::Write as _;

use super::text::{bytes, millis, number, whole};
use super::{Faults, Process, Report, Role};
use crate::plan::Scenario;
use crate::times::Figures;

/// The rows, each with its name.
pub(super) fn table(report: &Report) -> String {
    let mut text = format!("{}\n\n", title(report));
    for (name, row) in rows(report) {
        let _ = writeln!(text, "{name:10}  {row}");
    }
    text
}

/// What was done, in a line.
pub(super) fn title(report: &Report) -> String {
    let plan = &report.plan;
    let (streams, jobs) = (whole(plan.streams as u64), whole(plan.jobs as u64));
    let what = match plan.scenario {
        Scenario::Idle => "no events".to_owned(),
        _ => {
            format!("{} events/s of {} bytes", number(plan.events_per_second), whole(plan.event_bytes as u64))
        }
    };
    let scenario = name(plan.scenario);
    format!("jobcast load {scenario}: {streams} streams of {jobs} jobs, {what}, {} s", number(plan.seconds))
}

pub(super) fn name(scenario: Scenario) -> &'static str {
    match scenario {
        Scenario::Idle => "idle",
        Scenario::Fanout => "fanout",
        Scenario::Jobs => "jobs",
        Scenario::Burst => "burst",
        Scenario::Storm => "storm",
    }
}

/// All rows.
pub(super) fn rows(report: &Report) -> Vec<(String, String)> {
    let mut rows = vec![row("streams", streams(report)), row("events", events(report))];
    rows.push(row("check", check(&report.faults)));
    if report.latency.count > 0 {
        rows.push(row("latency", figures(&report.latency)));
        rows.push(row("publisher", publisher(report)));
    }
    if let Some(storm) = &report.storm {
        let back = match storm.seconds {
            Some(seconds) => format!("all back in {}", millis(seconds * 1000.0)),
            None => "not all came back".to_owned(),
        };
        rows.push(row("storm", format!("{back}; opening {}", figures(&storm.reopening))));
    }
    rows.extend(report.processes.iter().map(process));
    rows.push(row("kernel", kernel(report)));
    rows.push(row("tester", tester(report)));
    rows.extend(
        report.errors.iter().map(|(what, times)| row("error", format!("{} × {what}", whole(*times)))),
    );
    rows
}

fn row(name: &str, text: String) -> (String, String) {
    (name.to_owned(), text)
}

fn streams(report: &Report) -> String {
    let streams = &report.streams;
    #[expect(clippy::cast_precision_loss, reason = "shown to people")]
    let rate = streams.opened as f64 / streams.opening_seconds.max(0.001);
    let mut text = format!(
        "{} opened in {} ({}/s; {}), {} ended",
        whole(streams.opened),
        millis(streams.opening_seconds * 1000.0),
        number(rate),
        figures(&streams.opening),
        whole(streams.ended)
    );
    if streams.cuts + streams.failures > 0 {
        let (cuts, failures) = (whole(streams.cuts), whole(streams.failures));
        let _ = write!(text, "; {cuts} cut by the other side, {failures} tries came to nothing");
    }
    text
}

fn events(report: &Report) -> String {
    let events = &report.events;
    format!(
        "{} published, {} delivered ({}/s)",
        whole(events.published),
        whole(events.delivered),
        number(events.delivered_per_second)
    )
}

/// What the check says, in a line.
pub(super) fn check(faults: &Faults) -> String {
    let found = [
        (faults.lost, "events lost"),
        (faults.streams_with_loss, "streams with loss"),
        (faults.repeated, "events repeated"),
        (faults.reordered, "events out of order"),
        (faults.rewritten, "events with another mark"),
        (faults.trimmed, "times told that the log was trimmed"),
        (faults.rewound, "times told that history was rewound"),
        (faults.not_opened, "streams never opened"),
        (faults.not_ended, "streams didn't end"),
        (faults.lost_jobs, "jobs lost"),
    ];
    let found: Vec<_> = found
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{} {what}", whole(count)))
        .collect();
    if found.is_empty() {
        "ok: every stream told every event once, in order".to_owned()
    } else {
        format!("FAULTS: {}", found.join(", "))
    }
}

/// The figures of many times, in a line.
pub(super) fn figures(figures: &Figures) -> String {
    let Figures { p50, p90, p99, p999, max, .. } = *figures;
    let [p50, p90, p99, p999, max] = [p50, p90, p99, p999, max].map(millis);
    format!("p50 {p50}, p90 {p90}, p99 {p99}, p99.9 {p999}, max {max}")
}

fn publisher(report: &Report) -> String {
    let publishing = &report.publishing;
    let (late, answered) = (&publishing.late, &publishing.answered);
    format!(
        "{} reports; sent late p50 {}, p99 {}, max {}; answered p50 {}, p99 {}, max {}",
        whole(publishing.reports),
        millis(late.p50),
        millis(late.p99),
        millis(late.max),
        millis(answered.p50),
        millis(answered.p99),
        millis(answered.max)
    )
}

fn process(process: &Process) -> (String, String) {
    let name = match process.role {
        Role::Server => "server",
        Role::Redis => "redis",
    };
    let mut text = format!("pid {}: {} of a core", process.pid, percent(process.cores));
    if let Some(us) = process.us_per_event {
        let _ = write!(text, ", {} µs an event delivered", number(us));
    }
    #[expect(clippy::cast_precision_loss, reason = "shown to people")]
    let memory = process.memory_open as f64;
    let per_stream = bytes(process.memory_per_stream);
    let _ = write!(text, "; {} with all streams open, {per_stream} a stream", bytes(memory));
    row(name, text)
}

#[expect(clippy::cast_precision_loss, reason = "shown to people")]
fn kernel(report: &Report) -> String {
    let kernel = &report.kernel;
    let [before, open, end] =
        [kernel.memory_before, kernel.memory_open, kernel.memory_end].map(|memory| bytes(memory as f64));
    format!(
        "TCP memory of this machine {before} before, {open} with all streams open, {end} after the last event"
    )
}

fn tester(report: &Report) -> String {
    let checker = &report.checker;
    let mut text = format!("checking took {} of a core", percent(checker.cores));
    if let Some(us) = checker.us_per_event {
        let _ = write!(text, ", {} µs an event", number(us));
    }
    let processes = report.plan.processes;
    if processes > 1 {
        let _ = write!(text, ", in {processes} processes");
    }
    #[expect(clippy::cast_precision_loss, reason = "few processes")]
    if checker.cores > 0.9 * processes as f64 {
        text.push_str(": the latencies are the tester's own; share the run among more processes");
    }
    text
}

fn percent(share: f64) -> String {
    format!("{} %", number((share * 1000.0).round() / 10.0))
}
