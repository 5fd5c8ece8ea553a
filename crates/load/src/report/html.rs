//! The report as a page: one file, no scripts, nothing from elsewhere.

use std::fmt::Write as _;

use super::plot::{Axis, Line, Plot, Scale, escaped, plain};
use super::table::{check, rows, title};
use super::text::millis;
use super::{Point, Report, Role};

const STYLE: &str = include_str!("page.css");

/// The page.
pub(super) fn page(report: &Report) -> String {
    let (title, ok) = (escaped(&title(report)), report.is_clean());
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\"><title>{title}</title><style>{STYLE}</style></head>\n<body>\
         <h1>{title}</h1><p class=\"when\">{} UTC, {}</p><p class=\"{}\">{}</p>\n<table>",
        report.began_at,
        escaped(&report.plan.urls.join(", ")),
        if ok { "ok" } else { "faults" },
        escaped(&check(&report.faults))
    );
    for (name, text) in rows(report) {
        let _ = write!(page, "<tr><th>{}<td>{}", escaped(&name), escaped(&text));
    }
    page.push_str("</table>\n");
    for (heading, plot) in plots(report) {
        let _ = writeln!(page, "<section><h2>{heading}</h2>{}</section>", plot.svg());
    }
    page.push_str("</body></html>\n");
    page
}

fn plots(report: &Report) -> Vec<(&'static str, Plot)> {
    let mut plots = Vec::new();
    if report.latency.count > 0 {
        plots.push(("Latency, from when an event was due until it came", latency(report)));
        plots.push(("Latency by share of events", distribution(report)));
        let events = over_time(report, "events", |point| as_float(point.events));
        plots.push(("Events delivered", time("events a second", plain, vec![events])));
    }
    let open = over_time(report, "open", |point| as_float(point.open));
    let opened = over_time(report, "opened in this second", |point| as_float(point.connections));
    plots.push(("Streams", time("streams", plain, vec![open, opened])));
    if !report.processes.is_empty() {
        let cores = of_processes(report, |point, at| point.cores.get(at).map(|cores| cores * 100.0));
        plots.push(("Processor time", time("% of a core", plain, cores)));
        let memory = of_processes(report, |point, at| {
            point.memory.get(at).map(|&memory| as_float(memory) / 1024.0 / 1024.0)
        });
        plots.push(("Memory", time("resident set, MiB", plain, memory)));
    }
    plots
}

fn latency(report: &Report) -> Plot {
    let line = |name: &str, of: fn(&Point) -> f64| Line {
        name: name.to_owned(),
        points: report
            .seconds
            .iter()
            .filter(|point| point.latency.count > 0)
            .map(|point| (seconds(point.at), of(point)))
            .collect(),
    };
    Plot {
        x: Axis { title: "seconds", scale: Scale::Span, label: plain },
        y: Axis { title: "time", scale: Scale::Log, label: millis },
        lines: vec![
            line("median", |point| point.latency.p50),
            line("p99", |point| point.latency.p99),
            line("longest", |point| point.latency.max),
        ],
    }
}

/// The slowest shares are stretched: each step to the right is ten times rarer.
fn distribution(report: &Report) -> Plot {
    let rarity = |share: f64| 1.0 / (1.0 - share);
    let points = report.distribution.iter().filter(|(share, _)| *share < 1.0);
    Plot {
        x: Axis { title: "share of events that came within", scale: Scale::LogSpan, label: share },
        y: Axis { title: "time", scale: Scale::Even, label: millis },
        lines: vec![Line {
            name: "latency".to_owned(),
            points: points.map(|&(share, ms)| (rarity(share), ms)).collect(),
        }],
    }
}

/// A share of events as its rarity says it: 10 is 90 %, 1,000 is 99.9 %.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the digits of a label")]
fn share(rarity: f64) -> String {
    let digits = (rarity.log10().round() - 2.0).max(0.0) as usize;
    format!("{:.digits$} %", (1.0 - 1.0 / rarity) * 100.0)
}

fn time(title: &'static str, label: fn(f64) -> String, lines: Vec<Line>) -> Plot {
    Plot {
        x: Axis { title: "seconds", scale: Scale::Span, label: plain },
        y: Axis { title, scale: Scale::Even, label },
        lines,
    }
}

fn over_time(report: &Report, name: &str, of: impl Fn(&Point) -> f64) -> Line {
    let points = report.seconds.iter().map(|point| (seconds(point.at), of(point)));
    Line { name: name.to_owned(), points: points.collect() }
}

/// A line for each watched process.
fn of_processes(report: &Report, of: impl Fn(&Point, usize) -> Option<f64>) -> Vec<Line> {
    let line = |(at, process): (usize, &super::Process)| {
        let role = match process.role {
            Role::Server => "server",
            Role::Redis => "redis",
        };
        let points = report.seconds.iter().filter_map(|point| Some((seconds(point.at), of(point, at)?)));
        Line { name: format!("{role} {}", process.pid), points: points.collect() }
    };
    report.processes.iter().enumerate().map(line).collect()
}

#[expect(clippy::cast_precision_loss, reason = "for a plot")]
fn seconds(at: i64) -> f64 {
    at as f64
}

#[expect(clippy::cast_precision_loss, reason = "for a plot")]
fn as_float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rarer_is_more_nines() {
        assert_eq!([1.0, 10.0, 100.0, 1e3, 1e5].map(share), ["0 %", "90 %", "99 %", "99.9 %", "99.999 %"]);
    }
}
