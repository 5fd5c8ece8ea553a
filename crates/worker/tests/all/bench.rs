//! A Redis, a sweeper, workers, and what a test wants to know of a job.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use model::{Job, JobId, Json, Owner, Status, TaskName};
use serde_json::Value;
use service::stop::{Finished, Shutdown};
use store::{NewJob, Options as StoreOptions, Store, Submitted, SweepOptions, Target, sweep_until};
use testkit::eventually_some;
use testkit::redis::RedisServer;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use worker::{AnyHandler, Handler, Options, Outcome, OutcomeLabels, Parts, WorkerMetrics};

/// How long anything may take; generous, for machines under load.
pub const LONG: Duration = Duration::from_mins(1);
pub const LEASE: Duration = Duration::from_secs(5);

pub struct Bench {
    pub server: RedisServer,
    /// The test's own.
    pub store: Store,
    _sweeper: JoinSet<()>,
}

impl Bench {
    pub async fn start() -> Self {
        Self::on(RedisServer::start().await)
    }

    pub fn on(server: RedisServer) -> Self {
        let store = store(&server.url());
        let mut sweeper = JoinSet::new();
        let options = SweepOptions { interval: Duration::from_millis(200), lease: LEASE };
        sweeper.spawn(sweep_until(store.clone(), options, CancellationToken::new()));
        Self { server, store, _sweeper: sweeper }
    }

    /// A worker that runs `handler` for [`task`].
    pub fn worker(&self, options: Options, handler: impl Handler) -> Worker {
        Worker::start(&self.server.url(), options, Arc::new(handler))
    }

    pub async fn submit(&self, job: NewJob) -> JobId {
        match self.store.submit(&job).await.unwrap() {
            Submitted::Created(id) => id,
            Submitted::Replayed(id) => panic!("{id} was there already"),
        }
    }

    pub async fn job(&self, id: JobId) -> Job {
        self.store.job(id).await.unwrap().unwrap()
    }

    /// The job, once it has ended.
    pub async fn ended(&self, id: JobId) -> Job {
        eventually_some(LONG, "the job has ended", async || {
            self.store.job(id).await.ok().flatten().filter(|job| job.status.is_terminal())
        })
        .await
    }

    pub async fn reaches(&self, id: JobId, status: Status) {
        testkit::eventually_ok(LONG, "the job gets there", async || match self.store.job(id).await {
            Ok(Some(job)) if job.status == status => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
    }

    /// All events of the job, as their JSON.
    pub async fn events(&self, id: JobId) -> Vec<Value> {
        let log = self.store.log(&id.into(), 0, usize::MAX >> 16).await.unwrap().unwrap();
        let bodies = log.page.entries.iter().map(|entry| &entry.body.as_ref().unwrap().json);
        bodies.map(|json| serde_json::from_slice(json).unwrap()).collect()
    }

    pub async fn types(&self, id: JobId) -> Vec<String> {
        self.events(id).await.iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
    }

    /// The outputs of the job, in order.
    pub async fn outputs(&self, id: JobId) -> Vec<Value> {
        self.events(id).await.into_iter().filter_map(|event| event.get("output").cloned()).collect()
    }
}

/// A worker in this process, with a store of its own.
pub struct Worker {
    pub metrics: WorkerMetrics,
    pub shutdown: Shutdown,
}

impl Worker {
    pub fn start(url: &str, options: Options, handler: Arc<dyn AnyHandler>) -> Self {
        let (metrics, shutdown) = (WorkerMetrics::default(), Shutdown::manual());
        let handlers = HashMap::from([(task(), handler)]);
        let parts = Parts { store: store(url), options, handlers, metrics: metrics.clone() };
        let stop = shutdown.clone();
        shutdown.tasks().spawn(async move { worker::run(parts, &stop).await });
        Self { metrics, shutdown }
    }

    /// How many attempts have ended so.
    pub fn outcomes(&self, outcome: Outcome) -> u64 {
        self.metrics.ended.get_or_create(&OutcomeLabels { outcome }).get()
    }

    pub async fn stop(self) -> Finished {
        self.shutdown.finish(LONG).await
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.shutdown.stop_hard();
    }
}

pub fn store(url: &str) -> Store {
    Store::new(StoreOptions::new(Target::parse(url).unwrap()))
}

pub fn options() -> Options {
    Options { lease: LEASE, heartbeat: Duration::from_secs(1), ..Options::default() }
}

pub fn task() -> TaskName {
    "report".parse().unwrap()
}

pub fn owner() -> Owner {
    "acme".parse().unwrap()
}

pub fn new_job() -> NewJob {
    NewJob::new(owner(), task())
}

pub fn json(value: impl serde::Serialize) -> Json {
    Json::of(&value).unwrap()
}
