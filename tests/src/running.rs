//! Jobs in their middle, each followed at every gateway: what a test lets things happen to.

use model::JobId;
use serde_json::json;
use testkit::sse::{Event, FollowLog, Follower, check_history};

use crate::{SOON, System, assert_counted, assert_counted_at_once, brief, frames, held};

/// Running jobs of the task `count`, and their browsers.
#[derive(Debug)]
pub struct Running {
    count: u64,
    jobs: Vec<JobId>,
    browsers: Vec<(JobId, Follower)>,
}

impl Running {
    /// So many jobs that count to `count` in about so many seconds; back when every browser has seen its job run.
    pub async fn start(system: &System, jobs: usize, count: u64, seconds: u64) -> Self {
        let mut running = Self { count, jobs: Vec::new(), browsers: Vec::new() };
        for _ in 0..jobs {
            let id = system.client(0).submit("count", json!({ "n": count, "seconds": seconds })).await;
            running.jobs.push(id);
            running.browsers.extend(system.clients.iter().map(|client| (id, client.follow(id))));
        }
        running.see_more().await;
        running
    }

    /// The jobs.
    pub fn jobs(&self) -> &[JobId] {
        &self.jobs
    }

    /// Waits until every browser has seen a few events more than it has now, or the end.
    pub async fn see_more(&self) {
        let before: Vec<usize> = self.browsers.iter().map(|(_, browser)| browser.count()).collect();
        let is_further = |(before, (_, browser)): (&usize, &(JobId, Follower))| {
            browser.count() > before + 5 || browser.log().ended.is_some()
        };
        let all_are = async || before.iter().zip(&self.browsers).all(is_further);
        testkit::eventually(SOON, "every browser sees its job go on", all_are).await;
    }

    /// All ends as if nothing had been: in one attempt, every event once, in order, and no stream was ever closed.
    pub async fn end_untouched(self, system: &System) {
        let count = self.count;
        for (id, log, truth) in self.end(system).await {
            assert_counted_at_once(&log.events, count);
            assert_eq!(frames(&log.events), frames(&truth), "{id}: {}", brief(&log));
            assert_eq!((log.connects, log.breaks, log.failures), (2, 0, 0), "{id}: {}", brief(&log));
        }
    }

    /// All ends, and every browser holds what Redis has, though that may have lost what it had acknowledged: whoever had seen
    /// such a thing was told. How many were.
    pub async fn end_told(self, system: &System) -> usize {
        let count = self.count;
        let mut told = 0;
        for (id, log, truth) in self.end(system).await {
            check_history(&log.events).unwrap_or_else(|error| panic!("{id}: {error}"));
            let snapshots: Vec<_> = log.events.iter().filter(|event| event.event == "snapshot").collect();
            assert!(
                snapshots.iter().all(|event| event.data.contains(r#""reason":"rewound""#)),
                "{snapshots:?}"
            );
            assert_eq!(held(&log.events), frames(&truth), "{id}: {}", brief(&log));
            assert_counted(&truth, count);
            told += usize::from(!snapshots.is_empty());
        }
        told
    }

    /// Waits for the end of all; what each browser has seen, and what a stream says that is opened now.
    async fn end(self, system: &System) -> Vec<(JobId, FollowLog, Vec<Event>)> {
        let mut all = Vec::new();
        for (id, browser) in self.browsers {
            let log = browser.wait().await;
            assert_eq!(log.ended, Some(204), "{id}: {}", brief(&log));
            let truth = system.client(0).events(id).await;
            let job = system.client(1).job(id).await;
            assert_eq!(job["status"], "completed", "{job}");
            assert_eq!(job["lastEventId"], truth.last().unwrap().last_event_id, "{job}");
            all.push((id, log, truth));
        }
        all
    }
}
