//! The report of what a run came to.

use std::collections::BTreeMap;

use model::Timestamp;

use super::{Checker, Events, Faults, Kernel, Planned, Point, Process, Publishing, Report, Storm, Streams};
use crate::course::Ran;
use crate::hold::{self, Counts, Tally};
use crate::plan::{Plan, Scenario};
use crate::times::Times;
use crate::watch::{Role, Second, Used};

impl Report {
    /// The report of `plan`, that came to `ran`; the watched processes are `processes`.
    pub(crate) fn new(plan: &Plan, processes: &[(u32, Role)], ran: &Ran) -> Self {
        let tallies = &ran.tallies;
        let merged = |part: fn(&Tally) -> &crate::times::Counted| {
            let mut times = Times::new();
            for tally in tallies {
                times.merge(part(tally));
            }
            times
        };
        let counts = tallies.iter().fold(Counts::default(), |sum, tally| sum.plus(tally.counts));
        let latency = merged(|tally| &tally.latency);
        let [begin, end] = ran.counts;
        let seconds = ran.time.as_secs_f64();
        let delivered = end.events - begin.events;
        Self {
            plan: Planned::of(plan),
            began_at: Timestamp::from_millis(ran.began_us / 1000),
            ran_seconds: seconds,
            streams: Streams {
                opened: counts.opened,
                ended: counts.ended,
                opening_seconds: ran.opening.as_secs_f64(),
                opening: merged(|tally| &tally.opening).figures(),
                cuts: counts.cuts,
                failures: counts.failures,
            },
            events: Events {
                published: ran.published.events,
                delivered: counts.events,
                delivered_per_second: ratio(delivered, seconds).unwrap_or(0.0),
                bytes: counts.bytes,
            },
            faults: faults(plan, counts, ran),
            latency: latency.figures(),
            distribution: latency.distribution(),
            publishing: Publishing {
                reports: ran.published.reports,
                late: ran.published.late.figures(),
                answered: ran.published.answered.figures(),
            },
            storm: (plan.scenario == Scenario::Storm).then(|| Storm {
                seconds: ran.storm.map(|took| took.as_secs_f64()),
                reopening: merged(|tally| &tally.reopening).figures(),
            }),
            checker: Checker {
                us_per_event: ratio(end.cpu_us - begin.cpu_us, count(delivered)),
                cores: ratio(end.cpu_us - begin.cpu_us, seconds * 1e6).unwrap_or(0.0),
            },
            processes: watched(plan, processes, ran, delivered),
            kernel: Kernel {
                memory_before: ran.looks[0].kernel,
                memory_open: ran.looks[1].kernel,
                memory_end: ran.looks[2].kernel,
            },
            errors: errors(ran),
            seconds: points(ran),
        }
    }
}

impl Planned {
    fn of(plan: &Plan) -> Self {
        Self {
            scenario: plan.scenario,
            urls: plan.urls.clone(),
            task: plan.task.to_string(),
            streams: plan.streams,
            jobs: plan.jobs(),
            events_per_second: plan.rate(),
            event_bytes: plan.size,
            seconds: plan.duration.as_secs_f64(),
            processes: plan.processes(),
        }
    }
}

fn faults(plan: &Plan, counts: Counts, ran: &Ran) -> Faults {
    let streams = plan.streams as u64;
    Faults {
        lost: counts.lost,
        streams_with_loss: ran.tallies.iter().map(|tally| tally.streams_with_loss).sum(),
        repeated: counts.repeated,
        reordered: counts.reordered,
        rewritten: counts.rewritten,
        trimmed: counts.trimmed,
        rewound: counts.rewound,
        not_opened: streams.saturating_sub(counts.opened),
        not_ended: counts.opened.saturating_sub(counts.ended),
        lost_jobs: ran.published.lost_jobs,
    }
}

fn watched(plan: &Plan, processes: &[(u32, Role)], ran: &Ran, delivered: u64) -> Vec<Process> {
    let [before, open, end] = &ran.looks;
    let process = |(at, &(pid, role)): (usize, &(u32, Role))| {
        let [before, open, end] =
            [before, open, end].map(|look| look.used.get(at).copied().unwrap_or_default());
        let cpu = (end.cpu - open.cpu).max(0.0);
        let grown = count(open.memory) - count(before.memory);
        Process {
            pid,
            role,
            cores: cpu / ran.time.as_secs_f64().max(f64::MIN_POSITIVE),
            us_per_event: (delivered > 0).then(|| cpu * 1e6 / count(delivered)),
            memory_before: before.memory,
            memory_open: open.memory,
            memory_end: end.memory,
            memory_per_stream: grown / count(plan.streams as u64),
        }
    };
    processes.iter().enumerate().map(process).collect()
}

fn errors(ran: &Ran) -> BTreeMap<String, u64> {
    let mut errors = ran.published.errors.clone();
    for (what, count) in ran.tallies.iter().flat_map(|tally| &tally.errors) {
        *errors.entry(what.clone()).or_default() += count;
    }
    errors
}

/// Seconds of all processes, those of one time together.
fn points(ran: &Ran) -> Vec<Point> {
    let mut seconds: BTreeMap<u64, (hold::Second, Times)> = BTreeMap::new();
    for second in ran.tallies.iter().flat_map(|tally| &tally.seconds) {
        let (sum, latency) =
            seconds.entry(second.at).or_insert_with(|| (hold::Second::default(), Times::new()));
        sum.open += second.open;
        sum.events += second.events;
        sum.connections += second.connections;
        latency.merge(&second.latency);
    }
    let begin = i64::try_from(ran.began_us / 1_000_000).unwrap_or(i64::MAX);
    let point = |(&at, (second, latency)): (&u64, &(hold::Second, Times))| {
        let (cores, memory) = usage(&ran.seconds, at);
        Point {
            at: i64::try_from(at).unwrap_or(i64::MAX) - begin,
            open: second.open,
            events: second.events,
            connections: second.connections,
            latency: latency.figures(),
            cores,
            memory,
        }
    };
    seconds.iter().map(point).collect()
}

/// What the watched processes used in the second that ends `at`; nothing if nobody looked then.
fn usage(seconds: &[Second], at: u64) -> (Vec<f64>, Vec<u64>) {
    let Some(here) = seconds.iter().position(|second| second.at == at).filter(|&here| here > 0) else {
        return (Vec::new(), Vec::new());
    };
    let (before, now) = (&seconds[here - 1], &seconds[here]);
    let time = count(now.at - before.at).max(1.0);
    let cores = before.used.iter().zip(&now.used).map(|(before, now)| (now.cpu - before.cpu).max(0.0) / time);
    let memory = now.used.iter().map(|&Used { memory, .. }| memory);
    (cores.collect(), memory.collect())
}

fn ratio(of: u64, to: f64) -> Option<f64> {
    (to > 0.0).then(|| count(of) / to)
}

#[expect(clippy::cast_precision_loss, reason = "counts of a run are below 2^52")]
fn count(count: u64) -> f64 {
    count as f64
}
