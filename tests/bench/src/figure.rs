//! The figures: what is measured, in which unit, and what it should be. A new one is a row here, and a part that adds to it.

use std::collections::BTreeMap;

use serde::Serialize;

/// What a figure should be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Target {
    AtLeast(f64),
    AtMost(f64),
}

/// A row of the registry.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    pub name: &'static str,
    pub unit: &'static str,
    pub target: Option<Target>,
}

const fn figure(name: &'static str, unit: &'static str, target: Option<Target>) -> Figure {
    Figure { name, unit, target }
}

/// All figures, in the order in which they are shown.
pub const FIGURES: &[Figure] = &[
    figure("bare_submissions", "1/s", None),
    figure("store_submissions", "1/s", None),
    figure("store_submissions_to_bare", "ratio", Some(Target::AtLeast(0.5))),
    figure("http_submissions", "1/s", None),
    figure("bare_jobs", "1/s", None),
    figure("worker_jobs", "1/s", None),
    figure("worker_jobs_to_bare", "ratio", Some(Target::AtLeast(0.5))),
    figure("bare_redis_cpu_per_submission", "us", None),
    figure("store_redis_cpu_per_submission", "us", None),
    figure("http_redis_cpu_per_submission", "us", None),
    figure("bare_redis_cpu_per_job", "us", None),
    figure("worker_redis_cpu_per_job", "us", None),
    figure("round_trips_per_job", "commands", Some(Target::AtMost(6.0))),
    figure("round_trips_per_lone_job", "commands", None),
    figure("bare_posts", "1/s", None),
    figure("courier_deliveries", "1/s", None),
    figure("courier_deliveries_to_bare", "ratio", Some(Target::AtLeast(0.6))),
    figure("bare_cpu_per_post", "us", None),
    figure("courier_cpu_per_delivery", "us", None),
    figure("courier_cpu_bare_to_delivery", "ratio", Some(Target::AtLeast(0.6))),
    figure("courier_redis_cpu_per_delivery", "us", None),
    figure("courier_steps_per_delivery", "commands", None),
    figure("good_delivery_p99_beside_bad", "ms", Some(Target::AtMost(1000.0))),
    figure("idle_start", "ms", Some(Target::AtMost(20.0))),
    figure("memory_per_finished_job", "bytes", None),
    figure("bare_append_one", "us", None),
    figure("empty_script_one", "us", None),
    figure("bare_in_script_one", "us", None),
    figure("append_one", "us", None),
    figure("append_to_bare_one", "times", Some(Target::AtMost(5.0))),
    figure("bare_append_twenty", "us", None),
    figure("empty_script_twenty", "us", None),
    figure("bare_in_script_twenty", "us", None),
    figure("append_twenty", "us", None),
    figure("append_to_bare_twenty", "times", Some(Target::AtMost(2.0))),
    figure("bare_append_one_valkey", "us", None),
    figure("empty_script_one_valkey", "us", None),
    figure("bare_in_script_one_valkey", "us", None),
    figure("append_one_valkey", "us", None),
    figure("append_to_bare_one_valkey", "times", Some(Target::AtMost(5.0))),
    figure("bare_append_twenty_valkey", "us", None),
    figure("empty_script_twenty_valkey", "us", None),
    figure("bare_in_script_twenty_valkey", "us", None),
    figure("append_twenty_valkey", "us", None),
    figure("append_to_bare_twenty_valkey", "times", Some(Target::AtMost(2.0))),
    figure("outputs_per_append", "events", None),
    figure("stream_memory_few_logs", "bytes", Some(Target::AtMost(2000.0))),
    figure("stream_memory_log_each", "bytes", Some(Target::AtMost(3500.0))),
    figure("stream_memory_http10", "bytes", Some(Target::AtMost(2000.0))),
    figure("stream_memory_http2", "bytes", Some(Target::AtMost(12_000.0))),
    figure("floor_cpu_per_event_fanout", "us", None),
    figure("stream_cpu_per_event_fanout", "us", None),
    figure("stream_to_floor_fanout", "times", Some(Target::AtMost(1.3))),
    figure("floor_cpu_per_event_jobs", "us", None),
    figure("stream_cpu_per_event_jobs", "us", None),
    figure("stream_to_floor_jobs", "times", Some(Target::AtMost(2.0))),
    figure("stream_cpu_per_event_burst", "us", None),
    figure("burst_to_fanout", "times", Some(Target::AtMost(0.3))),
    figure("floor_opens", "1/s", None),
    figure("stream_opens", "1/s", None),
    figure("floor_cpu_per_open", "us", None),
    figure("stream_cpu_per_open", "us", None),
    figure("opens_cpu_floor_to_stream", "ratio", Some(Target::AtLeast(0.6))),
    figure("latency_p50_half_load", "ms", None),
    figure("latency_p99_half_load", "ms", Some(Target::AtMost(5.0))),
    figure("latency_p50_append", "ms", None),
    figure("latency_p99_append", "ms", Some(Target::AtMost(5.0))),
    figure("storm_opens", "1/s", None),
    figure("storm_log_reads", "reads a log", None),
    figure("storm_commands", "commands a stream", None),
    figure("floor_cpu_per_event_few", "us", None),
    figure("stream_cpu_per_event_few", "us", None),
    figure("floor_cpu_per_event_many", "us", None),
    figure("stream_cpu_per_event_many", "us", None),
    figure("floor_many_to_few", "times", None),
    figure("many_to_few", "times", Some(Target::AtMost(1.15))),
    figure("many_to_few_to_floor", "times", None),
    figure("stream_memory_proxy", "bytes", Some(Target::AtMost(2500.0))),
    figure("stream_cpu_per_event_proxy", "us", None),
    figure("throughput_jobs", "1/s", Some(Target::AtLeast(60_000.0))),
    figure("throughput_cores", "cores", None),
    figure("fleet_streams", "streams", None),
    figure("fleet_redis_cpu_few", "us", None),
    figure("fleet_redis_cpu_many", "us", None),
    figure("fleet_redis_many_to_few", "times", Some(Target::AtMost(1.15))),
    figure("nchan_memory", "bytes", None),
    figure("memory_to_nchan", "times", Some(Target::AtMost(0.2))),
    figure("nchan_cpu_per_event_fanout", "us", None),
    figure("fanout_cpu_to_nchan", "times", Some(Target::AtMost(1.0))),
    figure("nchan_cpu_per_event_jobs", "us", None),
    figure("jobs_cpu_to_nchan", "times", None),
    figure("nchan_events_jobs", "1/s", None),
    figure("nchan_latency_p99", "ms", None),
    figure("latency_p99_beside_nchan", "ms", None),
    figure("latency_p99_to_nchan", "times", Some(Target::AtMost(1.0))),
    figure("pushpin_memory", "bytes", None),
    figure("memory_to_pushpin", "times", None),
    figure("pushpin_cpu_per_event_fanout", "us", None),
    figure("fanout_cpu_to_pushpin", "times", None),
    figure("pushpin_cpu_per_event_jobs", "us", None),
    figure("jobs_cpu_to_pushpin", "times", None),
    figure("pushpin_events_jobs", "1/s", None),
    figure("pushpin_latency_p99", "ms", None),
    figure("latency_p99_beside_pushpin", "ms", None),
    figure("latency_p99_to_pushpin", "times", None),
];

/// What was measured: for each figure a sample a run.
#[derive(Debug, Default)]
pub struct Record(BTreeMap<&'static str, Vec<f64>>);

impl Record {
    /// Adds this run's sample. Panics where the registry has no such figure.
    pub fn add(&mut self, name: &'static str, value: f64) {
        assert!(FIGURES.iter().any(|figure| figure.name == name), "there is no figure {name}");
        self.0.entry(name).or_default().push(value);
    }

    /// The newest sample of `name`, which there is.
    pub fn last(&self, name: &str) -> f64 {
        *self.0[name].last().expect("a figure that is there has a sample")
    }

    /// Whether there is a sample of `name`.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// What all figures came to that were measured.
    pub fn sums(&self) -> Vec<Sum> {
        FIGURES.iter().filter_map(|figure| Some(Sum::of(figure, self.0.get(figure.name)?))).collect()
    }
}

/// What a figure came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sum {
    pub name: &'static str,
    pub median: f64,
    pub min: f64,
    pub max: f64,
    pub unit: &'static str,
    pub target: Option<Target>,
    pub verdict: Option<Verdict>,
}

/// Whether the target is met: by every run, by none, or by some.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Met,
    Missed,
    Undecided,
}

impl Sum {
    fn of(figure: &Figure, samples: &[f64]) -> Self {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (sorted[0], sorted[sorted.len() - 1]);
        let median = f64::midpoint(sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        let verdict = figure.target.map(|target| {
            let holds = |value: f64| match target {
                Target::AtLeast(least) => value >= least,
                Target::AtMost(most) => value <= most,
            };
            // What is faster than its floor was held against one that something else disturbed.
            let is_no_floor = figure.unit == "ratio" && max > 1.0;
            match (holds(min), holds(max)) {
                (true, true) if is_no_floor => Verdict::Undecided,
                (true, true) => Verdict::Met,
                (false, false) => Verdict::Missed,
                _ => Verdict::Undecided,
            }
        });
        Self { name: figure.name, median, min, max, unit: figure.unit, target: figure.target, verdict }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_met_by_all_runs_or_by_none_or_is_undecided() {
        for (target, samples, median, verdict) in [
            (Target::AtLeast(2.0), &[3.0, 2.0, 9.0][..], 3.0, Verdict::Met),
            (Target::AtLeast(2.0), &[1.0, 3.0], 2.0, Verdict::Undecided),
            (Target::AtLeast(2.0), &[1.0, 1.9], 1.45, Verdict::Missed),
            (Target::AtMost(6.0), &[6.0], 6.0, Verdict::Met),
            (Target::AtMost(6.0), &[5.0, 6.5], 5.75, Verdict::Undecided),
            (Target::AtMost(6.0), &[7.0, 6.5], 6.75, Verdict::Missed),
        ] {
            let sum = Sum::of(&figure("x", "1/s", Some(target)), samples);
            assert!((sum.median - median).abs() < 1e-9, "{sum:?}");
            assert_eq!(sum.verdict, Some(verdict), "{sum:?}");
        }
    }

    #[test]
    fn a_floor_that_is_slower_than_what_stands_on_it_decides_nothing() {
        let ratio = figure("x", "ratio", Some(Target::AtLeast(0.5)));
        for (samples, verdict) in [
            (&[0.6, 0.9][..], Verdict::Met),
            (&[0.6, 1.1], Verdict::Undecided),
            (&[0.1, 0.2], Verdict::Missed),
        ] {
            assert_eq!(Sum::of(&ratio, samples).verdict, Some(verdict), "{samples:?}");
        }
    }

    #[test]
    fn no_two_figures_have_one_name() {
        let mut names: Vec<_> = FIGURES.iter().map(|figure| figure.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FIGURES.len());
    }
}
