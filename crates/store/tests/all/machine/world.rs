//! Several workers, clients and sweepers, and what each call must answer.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{JobId, Owner, Partition, Status, TaskName, Timestamp, Token};
use serde_json::Value;
use store::{
    CancelError, DeleteError, External, Lease, NewJob, Store, SubmitError, Submitted, SweepOptions, Swept,
};
use testkit::redis::{MultiplexedConnection, cmd};

use super::calls::{Answer, Call};
use super::invariants::{self, Known};
use super::log::{History, polled};
use super::op::{Batch, Op, RETENTION, new_job, reports};
use super::snapshot::Snapshot;

const T0: u64 = 1_795_514_400_000;
const SWEEP: SweepOptions = SweepOptions { interval: Duration::from_secs(1), lease: Duration::from_secs(5) };
pub(crate) const HERE: Partition = Partition(0);

pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) redis: MultiplexedConnection,
    pub(crate) now: u64,
    pub(crate) before: Snapshot,
    pub(crate) jobs: Vec<Known>,
    /// Leases that some worker believes to have; the last batch number that it knows to be written.
    pub(crate) leases: Vec<(Lease, u64)>,
    pub(crate) keys: BTreeMap<(&'static str, u8), (JobId, bool)>,
    pub(crate) accepted: Vec<(Call, Answer)>,
    pub(crate) omitted: Vec<JobId>,
}

impl World {
    /// A new world on an empty Redis.
    pub(crate) async fn new(store: Store, mut redis: MultiplexedConnection) -> Self {
        cmd("FLUSHALL").exec_async(&mut redis).await.unwrap();
        store.reach().await.unwrap();
        Self {
            store,
            redis,
            now: T0,
            before: Snapshot::default(),
            jobs: Vec::new(),
            leases: Vec::new(),
            keys: BTreeMap::new(),
            accepted: Vec::new(),
            omitted: Vec::new(),
        }
    }

    pub(crate) fn at(&self) -> Store {
        self.store.at(Timestamp::from_millis(self.now))
    }

    /// Does `op`, maybe twice, and looks at everything after each time.
    pub(crate) async fn step(&mut self, op: &Op, twice: bool) {
        match *op {
            Op::Submit { owner, task, small, key, other_body, attempts, wish } => {
                let owner = if owner { "acme" } else { "zeta" };
                let task = if task { "a" } else { "b" };
                let job = new_job(owner, task, small, attempts, key, other_body, wish);
                self.submit(&job, owner, task, key, other_body).await;
                if twice && key.is_some() {
                    self.submit(&job, owner, task, key, other_body).await;
                }
            }
            Op::Claim { tasks, lease, most } => {
                let tasks: Vec<TaskName> = [&["a"][..], &["b"], &["a", "b"], &["b", "a"]][usize::from(tasks)]
                    .iter()
                    .map(|task| task.parse().unwrap())
                    .collect();
                let token = Token::from_random(rand::random());
                let lease = Duration::from_secs(lease.into());
                self.call(Call::Claim { tasks, token, lease, most }, twice).await;
            }
            Op::Pause(task) => {
                for _ in 0..=u8::from(twice) {
                    self.pause(task, true).await;
                }
            }
            Op::Resume(task) => {
                for _ in 0..=u8::from(twice) {
                    self.pause(task, false).await;
                }
            }
            Op::Renew(pick) => {
                if let Some((lease, _)) = self.lease(pick) {
                    self.call(Call::Renew(lease), twice).await;
                }
            }
            Op::Append { pick, batch, ref says } => {
                if let Some((lease, last)) = self.lease(pick) {
                    let call = Call::Append(lease, batch.number(last), reports(says));
                    self.call(call, twice && !matches!(batch, Batch::Uncounted)).await;
                }
            }
            Op::End { pick, how, batch, ref says } => {
                if let Some((lease, last)) = self.lease(pick) {
                    self.call(Call::End(lease, how.end(), batch.number(last), reports(says)), twice).await;
                }
            }
            Op::Release(pick) => {
                if let Some((lease, _)) = self.lease(pick) {
                    self.call(Call::Release(lease), twice).await;
                }
            }
            Op::Crash(pick) => {
                if !self.leases.is_empty() {
                    self.leases.swap_remove(usize::from(pick) % self.leases.len());
                }
            }
            Op::Cancel { pick, stranger } => {
                for _ in 0..=u8::from(twice) {
                    self.cancel(pick, stranger).await;
                }
            }
            Op::Follow { pick, still } => {
                self.follow(pick, still).await;
                if twice {
                    // Another follower, who goes on for less long.
                    self.follow(pick, still / 2).await;
                }
            }
            Op::Delete { pick, stranger } => {
                for _ in 0..=u8::from(twice) {
                    self.delete(pick, stranger).await;
                }
            }
            Op::Sweep(other) => {
                for _ in 0..=u8::from(twice) {
                    self.sweep(if other { "x" } else { "y" }).await;
                }
            }
            Op::Pass(ms) => self.now += u64::from(ms),
            Op::GoBack(ms) => self.now -= u64::from(ms),
            Op::Again(pick) => self.again(pick).await,
        }
    }

    pub(crate) fn known(&self, id: JobId) -> &Known {
        self.jobs.iter().find(|job| job.id == id).unwrap()
    }

    /// The jobs that are there.
    fn kept(&self) -> impl Iterator<Item = &Known> {
        self.jobs.iter().filter(|job| !job.is_deleted)
    }

    fn lease(&self, pick: u8) -> Option<(Lease, u64)> {
        let count = self.leases.len();
        (count > 0).then(|| self.leases[usize::from(pick) % count])
    }

    /// Reads Redis anew, and holds it to everything.
    pub(crate) async fn look(&mut self) {
        let now = Snapshot::read(&mut self.redis).await;
        let grown: Vec<_> = self.jobs.iter().map(|job| job.history.0.len()).collect();
        invariants::check(&now, &mut self.jobs);
        for (job, seen) in self.jobs.iter().zip(grown) {
            if job.history.0.len() > seen {
                let found = self.store.job(job.id).await.unwrap().unwrap();
                let mut told = job.history.fold();
                told.as_object_mut().unwrap().retain(|_, value| !value.is_null());
                assert_eq!(
                    polled(&found, self.omitted.contains(&job.id)),
                    told,
                    "the polled job is the fold"
                );
                assert_eq!(found.last_event.seq, job.history.0.len() as u64);
            }
        }
        self.before = now;
    }

    async fn submit(
        &mut self,
        job: &NewJob,
        owner: &'static str,
        task: &'static str,
        key: Option<u8>,
        body: bool,
    ) {
        let answer = self.at().submit(job).await;
        let used = key.and_then(|key| self.keys.get(&(owner, key)).copied());
        match (answer, used) {
            (Ok(Submitted::Created(id)), None) => {
                let retention_ms = i64::try_from(RETENTION.as_millis()).unwrap();
                let delay_ms = u64::try_from(job.delay.as_millis()).unwrap();
                let is_patient = !job.retry.first.is_zero();
                let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap();
                self.jobs.push(Known {
                    id,
                    owner,
                    task,
                    retention_ms,
                    delay_ms,
                    is_patient,
                    external: job.external.map(|external| (external.token, ms(external.lease))),
                    disconnect_ms: job.cancel_on_disconnect.map(ms),
                    is_deleted: false,
                    history: History::default(),
                });
                // Its reporter says nothing of a lease: the calls come with that of workers.
                if let Some(External { token, .. }) = job.external {
                    self.leases.push((Lease { job: id, token, duration: SWEEP.lease }, 0));
                }
                if let Some(key) = key {
                    self.keys.insert((owner, key), (id, body));
                }
            }
            (Ok(Submitted::Replayed(id)), Some((first, same))) => {
                assert_eq!((id, body), (first, same));
                assert!(!self.known(id).is_deleted);
                let token = self.store.external_token(id).await.unwrap();
                assert_eq!(token, self.known(id).external.map(|(token, _)| token));
            }
            (Err(SubmitError::Expired(id)), Some((first, same))) => {
                assert!(id == first && body == same && self.known(id).is_deleted);
            }
            (Err(SubmitError::Mismatch(id)), Some((first, other))) => {
                assert!(id == first && body != other);
            }
            (answer, used) => panic!("{answer:?}, where the key was used by {used:?}"),
        }
        self.look().await;
        self.check_rings(task);
    }

    /// A bell rings for what is ready. (Nobody here takes the rings.)
    fn check_rings(&self, task: &str) {
        assert!(
            !self.before.list(&format!("bell:{task}")).is_empty()
                || self.before.zset(&format!("ready:{task}")).is_empty()
        );
    }

    async fn pause(&mut self, task: bool, pauses: bool) {
        let name = if task { "a" } else { "b" };
        let task: TaskName = name.parse().unwrap();
        if pauses {
            self.at().pause_task(&task).await.unwrap();
        } else {
            self.at().resume_task(&task).await.unwrap();
        }
        self.look().await;
        assert_eq!(self.is_paused(name), pauses);
        if !pauses {
            self.check_rings(name);
        }
    }

    pub(crate) fn is_paused(&self, task: &str) -> bool {
        self.before.list("paused").iter().any(|paused| paused == task)
    }

    async fn cancel(&mut self, pick: u8, stranger: bool) {
        if self.jobs.is_empty() {
            return;
        }
        let job = &self.jobs[usize::from(pick) % self.jobs.len()];
        let status = self.status(job).filter(|_| !stranger);
        let owner: Owner = if stranger { "stranger" } else { job.owner }.parse().unwrap();
        let answer = self.at().cancel(job.id, &owner, "no \"more\"").await;
        match (answer, status) {
            (Err(CancelError::Absent), None) => {}
            (Err(CancelError::Terminal(told)), Some(status)) => assert!(told == status && told.is_terminal()),
            (Ok(()), Some(status)) => assert!(!status.is_terminal()),
            (answer, status) => panic!("{answer:?}, where it was {status:?}"),
        }
        self.look().await;
    }

    /// Where a job stood when it was last looked at; `None` if it was deleted.
    fn status(&self, job: &Known) -> Option<Status> {
        (!job.is_deleted).then(|| self.before.job(job.id).text("status").parse().unwrap())
    }

    async fn delete(&mut self, pick: u8, stranger: bool) {
        if self.jobs.is_empty() {
            return;
        }
        let at = usize::from(pick) % self.jobs.len();
        let job = &self.jobs[at];
        let status = self.status(job).filter(|_| !stranger);
        let owner: Owner = if stranger { "stranger" } else { job.owner }.parse().unwrap();
        match (self.at().delete(job.id, &owner).await, status) {
            (Err(DeleteError::Absent), None) => {}
            (Err(DeleteError::Living(told)), Some(status)) => assert!(told == status && !told.is_terminal()),
            (Ok(()), Some(status)) => {
                assert!(status.is_terminal());
                self.jobs[at].is_deleted = true;
            }
            (answer, status) => panic!("{answer:?}, where it was {status:?}"),
        }
        self.look().await;
    }

    async fn follow(&mut self, pick: u8, still: u8) {
        if self.jobs.is_empty() {
            return;
        }
        let job = &self.jobs[usize::from(pick) % self.jobs.len()];
        let (id, before) = (job.id, self.before.job(job.id).number("followedUntil"));
        let needed =
            job.disconnect_ms.filter(|_| self.status(job).is_some_and(|status| !status.is_terminal()));
        let matters = self.at().followed(id, Duration::from_secs(still.into())).await.unwrap();
        self.look().await;
        assert_eq!(matters, needed.is_some());
        let until = needed.map_or(before, |within| before.max(self.now + u64::from(still) * 1_000 + within));
        assert_eq!(self.before.job(id).number("followedUntil"), until);
    }

    async fn sweep(&mut self, holder: &str) {
        let before: Vec<_> = self.jobs.iter().map(|job| job.history.0.len()).collect();
        let held_until = self.before.number("sweeper", "until");
        match self.at().sweep(HERE, holder, &SWEEP).await.unwrap() {
            Swept::Held(until) => {
                assert!(until.as_millis() == held_until && held_until > self.now);
                assert_ne!(self.before.hash("sweeper")["holder"], holder);
            }
            Swept::Changed(_) => {}
            Swept::More(_) => panic!("so few jobs"),
        }
        let last = std::mem::take(&mut self.before);
        self.look().await;
        let was_held = self.before.hash("sweeper")["holder"] != holder;
        let (swept, grace) = (last.number("sweeper", "last"), last.number("sweeper", "grace"));
        let is_break = swept > self.now || self.now - swept > 5_000;
        for (job, seen) in self.jobs.iter().zip(before) {
            let hash = last.job(job.id);
            if let Some(at) = last.score("later", &job.id.to_string()) {
                let waits = self.before.score("later", &job.id.to_string()).is_some();
                #[expect(clippy::cast_precision_loss, reason = "times have fewer digits than a double holds")]
                let is_due = at <= self.now as f64;
                let ended = job.history.0.last().unwrap().is_terminal();
                assert!(
                    if is_due { !waits || was_held } else { waits || ended },
                    "{} starts at {at}",
                    job.id
                );
            }
            let is_lost = |json: &Value| json["errorCode"] == "lost";
            if job.history.0[seen..].iter().any(|seen| is_lost(&seen.json)) {
                // No lease ends before its time, nor within its length after a break.
                assert!(hash.number("leaseUntil") <= self.now, "{} still had its lease", job.id);
                assert!(!is_break && grace <= self.now, "a break");
            }
            let is_unfollowed =
                |json: &Value| json["error"].as_str().is_some_and(|text| text.starts_with("nobody followed"));
            if job.history.0[seen..].iter().any(|seen| is_unfollowed(&seen.json)) {
                // Not before its time; after a break, which silences followers too, not before they can have come back.
                let back = job.disconnect_ms.unwrap().min(5_000);
                assert!(hash.number("followedUntil") <= self.now, "{} was followed", job.id);
                assert!(!is_break && grace + back <= self.now + 5_000, "a break");
            }
            let left = self.before.job(job.id);
            assert!(
                was_held || !left.is_living() || left.next_limit() > self.now,
                "{} outlives its limit",
                job.id
            );
        }
    }

    /// All workers are gone, and time passes: every attempt is found lost, and every job ends.
    pub(crate) async fn settle(&mut self) {
        let tokens: Vec<_> =
            self.jobs.iter().map(|job| self.before.job(job.id).text("lease").to_owned()).collect();
        // A sweep that was held up, one length of the longest lease after the last break, and a little.
        for _ in 0..14 {
            self.now += 1_000;
            self.sweep("x").await;
        }
        for (job, token) in self.jobs.iter().zip(tokens) {
            let hash = self.before.job(job.id);
            assert!(
                hash.text("status") != "processing" || hash.text("lease") != token,
                "a dead attempt lives"
            );
        }
        for task in ["a", "b"] {
            let left = self.before.zset(&format!("running:{task}"));
            assert!(left.is_empty(), "places that nobody holds: {left:?}");
        }
        for job in self.kept().filter(|job| job.disconnect_ms.is_some()) {
            let (hash, watched) =
                (self.before.job(job.id), self.before.score("unfollowed", &job.id.to_string()));
            #[expect(clippy::cast_precision_loss, reason = "times have fewer digits than a double holds")]
            let is_due = watched.is_some_and(|at| at <= self.now as f64);
            assert!(!is_due, "{} lives unfollowed since {}", job.id, hash.number("followedUntil"));
        }
        self.now = self
            .kept()
            .map(|job| self.before.number(&format!("job:{}", job.id), "deadline"))
            .max()
            .unwrap_or(0)
            .max(self.now)
            + 1;
        self.sweep("x").await;
        for job in self.kept() {
            assert!(self.status(job).is_some_and(Status::is_terminal));
        }
        for key in [
            "ready:a",
            "ready:b",
            "running:a",
            "running:b",
            "runningof:a",
            "runningof:b",
            "deadlines",
            "later",
            "unfollowed",
            "full",
        ] {
            assert_eq!(self.before.ttl(key), None, "{key} is left");
        }
    }
}
