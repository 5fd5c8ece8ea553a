//! What a run is to do.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use client::TaskName;
use serde::Serialize;

use crate::error::PlanError;

/// What the load is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scenario {
    /// Streams of jobs that wait: what an open stream costs.
    Idle,
    /// One job, followed by all streams.
    Fanout,
    /// Many jobs, each followed by 1 to 3 streams.
    Jobs,
    /// Many small outputs on few jobs, as from language models.
    Burst,
    /// All streams are cut at once in the middle of the run, and come back at once.
    Storm,
}

/// A run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What the load is like.
    pub scenario: Scenario,
    /// The gateways, or the load balancers before them; streams and reports take them in turn. At least one.
    pub urls: Vec<String>,
    /// The API key, with the scopes `submit`, `read` and `work`.
    pub key: Option<String>,
    /// A task that the gateways know. No worker gets its jobs: they are external ones.
    pub task: TaskName,
    /// Streams in all, over all processes that share the run. From 1.
    pub streams: usize,
    /// Jobs; `None` for what the scenario usually has.
    pub jobs: Option<usize>,
    /// Events a second over all jobs; `None` for what the scenario usually has. Each event goes to all streams of its job.
    pub rate: Option<f64>,
    /// For how long events are published; a run takes longer. From 1 s.
    pub duration: Duration,
    /// How large an event's JSON is, about, in bytes; there is no event below some 160.
    pub size: usize,
    /// The most events in one report, 1 to 1,000.
    pub batch: usize,
    /// How many streams are opened at once at first. From 1.
    pub opening: usize,
    /// How many streams are opened in a second, at first, by each process; `None` for as many as can be.
    pub open_rate: Option<f64>,
    /// The addresses to connect from.
    pub sources: Vec<IpAddr>,
    /// Processes of this machine to watch, gateways usually.
    pub pids: Vec<u32>,
    /// The process of Redis, to watch as well.
    pub redis_pid: Option<u32>,
    /// Where other processes join, and how many there are in all, this one included.
    pub lead: Option<(SocketAddr, usize)>,
}

/// The bytes of an output's event beside those that are there to make it larger.
const ENVELOPE: usize = 161;
/// The longest that a job may go without a report: half of the longest lease.
const SILENCE: f64 = 1800.0;

impl Plan {
    /// A run of `scenario` as it usually is: 1,000 streams, half a minute, of the gateway on this machine's port 8080.
    pub fn new(scenario: Scenario, task: TaskName) -> Self {
        Self {
            scenario,
            urls: vec!["http://127.0.0.1:8080".into()],
            key: None,
            task,
            streams: 1000,
            jobs: None,
            rate: None,
            duration: Duration::from_secs(30),
            size: 200,
            batch: 100,
            opening: 128,
            open_rate: None,
            sources: Vec::new(),
            pids: Vec::new(),
            redis_pid: None,
            lead: None,
        }
    }

    /// How many jobs there are.
    pub fn jobs(&self) -> usize {
        let usual = match self.scenario {
            Scenario::Fanout => 1,
            Scenario::Burst => 4,
            Scenario::Jobs => self.streams / 2,
            Scenario::Idle | Scenario::Storm => self.streams / 9,
        };
        self.jobs.unwrap_or(usual).min(self.streams).max(1)
    }

    /// Events a second, over all jobs.
    pub fn rate(&self) -> f64 {
        self.rate.unwrap_or(match self.scenario {
            Scenario::Idle => 0.0,
            Scenario::Fanout => 10.0,
            Scenario::Storm => 100.0,
            Scenario::Jobs => 500.0,
            Scenario::Burst => 2000.0,
        })
    }

    /// How many processes share the run.
    pub fn processes(&self) -> usize {
        self.lead.map_or(1, |(_, processes)| processes)
    }

    /// How many streams follow each job: as many more as there are jobs too few. With many jobs 1, 2, 3, 1, 2, 3 and so on
    /// where that is their number.
    pub fn streams_of_jobs(&self) -> Vec<usize> {
        let (streams, jobs) = (self.streams, self.jobs());
        let mut of: Vec<_> = (0..jobs).map(|at| streams / jobs + usize::from(at < streams % jobs)).collect();
        if self.scenario == Scenario::Jobs {
            for three in of.chunks_exact_mut(3).filter(|three| **three == [2, 2, 2]) {
                three.copy_from_slice(&[1, 2, 3]);
            }
        }
        of
    }

    /// The bytes that fill an event up to its size.
    pub(crate) fn pad(&self) -> usize {
        self.size.saturating_sub(ENVELOPE)
    }

    /// Refuses what can't be.
    pub(crate) fn check(&self) -> Result<(), PlanError> {
        let (rate, jobs) = (self.rate(), self.jobs());
        #[expect(clippy::cast_precision_loss, reason = "numbers of jobs are small")]
        let silence = jobs as f64 / rate;
        let is_long = self.duration.as_secs_f64() > SILENCE;
        match () {
            () if self.urls.is_empty() => Err(PlanError::NoUrl),
            () if self.streams == 0 => Err(PlanError::NoStreams),
            () if self.jobs == Some(0) => Err(PlanError::NoJobs),
            () if self.jobs.is_some_and(|jobs| jobs > self.streams) => Err(PlanError::MoreJobs),
            () if self.streams < self.processes() => Err(PlanError::MoreProcesses),
            () if !(1..=1000).contains(&self.batch) => Err(PlanError::Batch),
            () if self.duration < Duration::from_secs(1) => Err(PlanError::Duration),
            () if !(0.0..=1e9).contains(&rate) => Err(PlanError::Rate),
            () if rate > 0.0 && is_long && silence > SILENCE => Err(PlanError::Silence),
            () => Ok(()),
        }
    }
}

/// The part of `parts` that takes the streams from the first to the last of its share: so many of each job.
pub(crate) fn share(streams_of_jobs: &[usize], part: usize, parts: usize) -> Vec<usize> {
    let all: usize = streams_of_jobs.iter().sum();
    let (from, to) = (all * part / parts, all * (part + 1) / parts);
    let mut before = 0;
    let shares = streams_of_jobs.iter().map(|&streams| {
        let begin = before;
        before += streams;
        before.min(to).saturating_sub(begin.max(from))
    });
    shares.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(scenario: Scenario, streams: usize) -> Plan {
        Plan { streams, ..Plan::new(scenario, "load".parse().unwrap()) }
    }

    #[test]
    fn each_scenario_spreads_its_streams() {
        assert_eq!(plan(Scenario::Fanout, 500).streams_of_jobs(), [500]);
        assert_eq!(plan(Scenario::Burst, 10).streams_of_jobs(), [3, 3, 2, 2]);
        assert_eq!(plan(Scenario::Idle, 18).streams_of_jobs(), [9, 9]);
        assert_eq!(plan(Scenario::Jobs, 14).streams_of_jobs(), [1, 2, 3, 1, 2, 3, 2]);
        assert_eq!(plan(Scenario::Jobs, 1).streams_of_jobs(), [1]);
        let one_each = Plan { jobs: Some(3), ..plan(Scenario::Jobs, 3) };
        assert_eq!(one_each.streams_of_jobs(), [1, 1, 1]);
    }

    #[test]
    fn shares_are_even_and_leave_nothing_out() {
        for (streams, parts) in [(vec![10], 3), (vec![1, 2, 3, 1, 2, 3], 4), (vec![5, 5], 2), (vec![1], 1)] {
            let shares: Vec<_> = (0..parts).map(|part| share(&streams, part, parts)).collect();
            for (job, &wanted) in streams.iter().enumerate() {
                assert_eq!(shares.iter().map(|share| share[job]).sum::<usize>(), wanted, "{shares:?}");
            }
            let sizes: Vec<usize> = shares.iter().map(|share| share.iter().sum()).collect();
            assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1, "{sizes:?}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let sound = plan(Scenario::Jobs, 10);
        assert_eq!(sound.check(), Ok(()));
        for (plan, error) in [
            (Plan { urls: vec![], ..sound.clone() }, PlanError::NoUrl),
            (Plan { streams: 0, ..sound.clone() }, PlanError::NoStreams),
            (Plan { jobs: Some(11), ..sound.clone() }, PlanError::MoreJobs),
            (Plan { batch: 1001, ..sound.clone() }, PlanError::Batch),
            (Plan { rate: Some(-1.0), ..sound.clone() }, PlanError::Rate),
            (Plan { rate: Some(f64::NAN), ..sound.clone() }, PlanError::Rate),
            (Plan { duration: Duration::ZERO, ..sound.clone() }, PlanError::Duration),
            (
                Plan { rate: Some(0.001), duration: Duration::from_hours(1), ..sound.clone() },
                PlanError::Silence,
            ),
            (Plan { lead: Some(("127.0.0.1:1".parse().unwrap(), 11)), ..sound }, PlanError::MoreProcesses),
        ] {
            assert_eq!(plan.check(), Err(error));
        }
    }
}
