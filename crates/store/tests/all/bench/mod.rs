//! A server, a store on it, and jobs to put there.

use std::collections::BTreeSet;
use std::time::Duration;

use model::{ErrorCode, JobId, Json, Owner, Partition, Report, Status, TaskName, Timestamp, Token};
use store::{Claimed, End, NewJob, Options, Store, Submitted, SweepOptions, Swept, Target};
use testkit::redis::RedisServer;

pub(crate) const LEASE: Duration = Duration::from_secs(30);
pub(crate) const SWEEP: SweepOptions = SweepOptions { interval: Duration::from_secs(1), lease: LEASE };
pub(crate) const T0: u64 = 1_795_514_400_000;

/// A server, a store on it, and a time that stands still until the test moves it.
pub(crate) struct Bench {
    pub(crate) server: RedisServer,
    pub(crate) store: Store,
    pub(crate) now: u64,
}

impl Bench {
    pub(crate) async fn start(cluster: bool) -> Self {
        let server = RedisServer::builder().append_only(false).cluster(cluster).start().await;
        let mut options = Options::new(Target::parse(&server.url()).unwrap());
        // However long the machine stands still.
        (options.patience, options.response_timeout) = (Duration::from_mins(1), Duration::from_mins(1));
        Self { server, store: Store::new(options), now: T0 }
    }

    /// The store, at the test's time.
    pub(crate) fn at(&self) -> Store {
        self.store.at(Timestamp::from_millis(self.now))
    }

    pub(crate) fn pass(&mut self, seconds: u64) {
        self.now += seconds * 1000;
    }

    pub(crate) async fn submit(&self, job: &NewJob) -> JobId {
        match self.at().submit(job).await.unwrap() {
            Submitted::Created(id) => id,
            Submitted::Replayed(id) => panic!("{id} was there already"),
        }
    }

    pub(crate) async fn claim(&self, id: JobId) -> Claimed {
        self.at().claim(id.partition(), &[task().into()], token(), LEASE).await.unwrap().expect("a ready job")
    }

    pub(crate) async fn nothing_ready(&self, id: JobId) -> bool {
        self.at().claim(id.partition(), &[task().into()], token(), LEASE).await.unwrap().is_none()
    }

    /// Whether the bell of the test's task rings, or has rung since it was heard last.
    pub(crate) async fn rings(&self, partition: Partition) -> bool {
        let wait = Duration::from_millis(50);
        self.store.wait_for_bell(partition, &[task()], wait).await.unwrap().is_some()
    }

    pub(crate) async fn sweep(&self, id: JobId) -> u64 {
        let mut all = 0;
        loop {
            match self.at().sweep(id.partition(), "test", &SWEEP).await.unwrap() {
                Swept::Changed(changes) => return all + changes,
                Swept::More(changes) => all += changes,
                Swept::Held(until) => panic!("held until {until}"),
            }
        }
    }

    /// Sweeps each second, as a living fleet does, for so long.
    pub(crate) async fn sweep_for(&mut self, id: JobId, seconds: u64) -> u64 {
        let mut changes = 0;
        for _ in 0..seconds {
            self.pass(1);
            changes += self.sweep(id).await;
        }
        changes
    }

    pub(crate) async fn types(&self, id: JobId) -> Vec<String> {
        let log = self.store.log(&id.into(), 0, 1 << 20).await.unwrap().unwrap();
        let bodies = log.page.entries.into_iter().map(|entry| entry.body.unwrap());
        bodies.map(|body| String::from_utf8(body.name.to_vec()).unwrap()).collect()
    }

    pub(crate) async fn status(&self, id: JobId) -> Status {
        self.store.job(id).await.unwrap().unwrap().status
    }

    /// Every key has a TTL, but for those that hold no job for ever.
    pub(crate) async fn nothing_grows(&self) {
        self.nothing_grows_but(&[]).await;
    }

    /// The same, while jobs live: but for these keys, which lose each job at its end.
    pub(crate) async fn nothing_grows_but(&self, living: &[&str]) {
        let mut redis = self.server.client().await;
        let lasting: BTreeSet<_> = testkit::redis::keys_without_ttl(&mut redis)
            .await
            .into_iter()
            .map(|key| key.rsplit_once("}:").map_or(key.clone(), |(_, name)| name.to_owned()))
            .map(|name| name.split_once(':').map_or(name.clone(), |(name, _)| name.to_owned()))
            .collect();
        let allowed = ["due", "expiry", "failedof", "full", "jc", "jobsof", "sweeper", "tasks"];
        let allowed: BTreeSet<_> = allowed.iter().chain(living).map(|&name| name.to_owned()).collect();
        assert!(lasting.is_subset(&allowed), "{lasting:?}");
    }
}

pub(crate) fn task() -> TaskName {
    "report".parse().unwrap()
}

pub(crate) fn token() -> Token {
    Token::from_random(rand::random())
}

pub(crate) fn owner() -> Owner {
    "acme".parse().unwrap()
}

pub(crate) fn new_job() -> NewJob {
    NewJob {
        payload: Json::parse(r#"{"a":[],"b":1e400}"#).unwrap(),
        metadata: Some(Json::parse(r#"{"k":"v"}"#).unwrap()),
        max_attempts: 2,
        timeout: Duration::from_hours(1),
        deadline: Duration::from_hours(2),
        queue_timeout: Duration::from_hours(2),
        retention: Duration::from_mins(10),
        ..NewJob::new(owner(), task())
    }
}

pub(crate) fn text(text: &str) -> Report {
    Report::Text(text.into())
}

pub(crate) fn failed(error: &str) -> End {
    End::Failed { error: error.into(), code: ErrorCode::Handler }
}

pub(crate) fn retry(error: &str) -> End {
    End::Retry { error: error.into(), code: ErrorCode::Handler }
}

pub(crate) fn done() -> End {
    End::Completed(Json::parse("{\"n\":1}").unwrap())
}

/// Runs `test` on a single server and on a Cluster.
macro_rules! on_both {
    ($name:ident, $bench:ident, $body:block) => {
        mod $name {
            use super::*;
            #[tokio::test]
            async fn single() {
                run(Bench::start(false).await).await;
            }
            #[tokio::test]
            async fn cluster() {
                run(Bench::start(true).await).await;
            }
            #[allow(unused_mut, reason = "not every test moves the time")]
            async fn run(mut $bench: Bench) {
                $body
                $bench.nothing_grows().await;
            }
        }
    };
}
