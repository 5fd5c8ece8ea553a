//! Several workers, clients and sweepers, and what each call must answer.

use std::collections::BTreeMap;
use std::time::Duration;

use model::report::Percent;
use model::{ErrorCode, JobId, Json, Owner, Partition, Report, Status, TaskName, Timestamp, Token};
use serde_json::Value;
use store::{
    CancelError, Claimed, End, Idempotency, Lease, NewJob, Store, SubmitError, Submitted, SweepOptions,
    Swept, WorkError,
};
use testkit::redis::{MultiplexedConnection, cmd};

use crate::invariants::{self, Known};
use crate::log::{History, polled};
use crate::snapshot::Snapshot;

const T0: u64 = 1_795_514_400_000;
const SWEEP: SweepOptions = SweepOptions { interval: Duration::from_secs(1), lease: Duration::from_secs(5) };
const RETENTION: Duration = Duration::from_mins(10);
const HERE: Partition = Partition(0);

/// One thing that happens. Numbers pick from what there is.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Submit {
        owner: bool,
        task: bool,
        small: bool,
        key: Option<u8>,
        other_body: bool,
        attempts: u8,
    },
    Claim {
        tasks: u8,
        lease: u8,
    },
    Renew(u8),
    Append {
        pick: u8,
        batch: Batch,
        says: Vec<Say>,
    },
    End {
        pick: u8,
        how: How,
        batch: Batch,
        says: Vec<Say>,
    },
    Release(u8),
    /// The worker forgets its lease.
    Crash(u8),
    Cancel {
        pick: u8,
        stranger: bool,
    },
    Sweep(bool),
    Pass(u32),
    GoBack(u32),
    /// A call that was accepted some time ago arrives once more.
    Again(u8),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Batch {
    Next,
    Old,
    Gap,
    Uncounted,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum How {
    Completed,
    CompletedLarge,
    Failed,
    Retry,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Say {
    Progress(u8),
    Text(u8),
    Output(u8),
    Large,
}

/// A call of a worker, with all that it carries.
#[derive(Clone, Debug)]
enum Call {
    Claim { tasks: Vec<TaskName>, token: Token, lease: Duration },
    Renew(Lease),
    Append(Lease, Option<u64>, Vec<Report>),
    End(Lease, End, Option<u64>, Vec<Report>),
    Release(Lease),
}

/// What a call came to.
#[derive(Clone, PartialEq, Debug)]
enum Answer {
    Claimed(Box<Claimed>),
    Nothing,
    Held { cancelled: bool },
    Lost,
    Gap,
}

pub(crate) struct World {
    store: Store,
    redis: MultiplexedConnection,
    now: u64,
    before: Snapshot,
    jobs: Vec<Known>,
    /// Leases that some worker believes to have; the last batch number that it knows to be written.
    leases: Vec<(Lease, u64)>,
    keys: BTreeMap<(&'static str, u8), (JobId, bool)>,
    accepted: Vec<(Call, Answer)>,
    omitted: Vec<JobId>,
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

    fn at(&self) -> Store {
        self.store.at(Timestamp::from_millis(self.now))
    }

    /// Does `op`, maybe twice, and looks at everything after each time.
    pub(crate) async fn step(&mut self, op: &Op, twice: bool) {
        match *op {
            Op::Submit { owner, task, small, key, other_body, attempts } => {
                let owner = if owner { "acme" } else { "zeta" };
                let task = if task { "a" } else { "b" };
                let job = new_job(owner, task, small, attempts, key, other_body);
                self.submit(&job, owner, task, key, other_body).await;
                if twice && key.is_some() {
                    self.submit(&job, owner, task, key, other_body).await;
                }
            }
            Op::Claim { tasks, lease } => {
                let tasks: Vec<TaskName> = [&["a"][..], &["b"], &["a", "b"], &["b", "a"]][usize::from(tasks)]
                    .iter()
                    .map(|task| task.parse().unwrap())
                    .collect();
                let token = Token::from_random(rand::random());
                self.call(Call::Claim { tasks, token, lease: Duration::from_secs(lease.into()) }, twice)
                    .await;
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

    fn lease(&self, pick: u8) -> Option<(Lease, u64)> {
        let count = self.leases.len();
        (count > 0).then(|| self.leases[usize::from(pick) % count])
    }

    /// Reads Redis anew, and holds it to everything.
    async fn look(&mut self) {
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
                self.jobs.push(Known { id, owner, task, retention_ms, history: History::default() });
                if let Some(key) = key {
                    self.keys.insert((owner, key), (id, body));
                }
            }
            (Ok(Submitted::Replayed(id)), Some((first, same))) => assert_eq!((id, body), (first, same)),
            (Err(SubmitError::Mismatch(id)), Some((first, other))) => {
                assert!(id == first && body != other);
            }
            (answer, used) => panic!("{answer:?}, where the key was used by {used:?}"),
        }
        self.look().await;
        // A bell rings for what is ready.
        assert!(
            !self.before.list(&format!("bell:{task}")).is_empty()
                || self.before.zset(&format!("ready:{task}")).is_empty()
        );
    }

    async fn cancel(&mut self, pick: u8, stranger: bool) {
        if self.jobs.is_empty() {
            return;
        }
        let job = &self.jobs[usize::from(pick) % self.jobs.len()];
        let status: Status = self.before.job(job.id).text("status").parse().unwrap();
        let owner: Owner = if stranger { "stranger" } else { job.owner }.parse().unwrap();
        let answer = self.at().cancel(job.id, &owner, "no \"more\"").await;
        match answer {
            Err(CancelError::Absent) => assert!(stranger),
            Err(CancelError::Terminal(told)) => assert!(!stranger && told == status && status.is_terminal()),
            Ok(()) => assert!(!stranger && !status.is_terminal()),
            Err(error) => panic!("{error}"),
        }
        self.look().await;
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
        for (job, seen) in self.jobs.iter().zip(before) {
            let hash = last.job(job.id);
            let is_lost = |json: &Value| json["errorCode"] == "lost";
            if job.history.0[seen..].iter().any(|seen| is_lost(&seen.json)) {
                // No lease ends before its time, nor within its length after a break.
                assert!(hash.number("leaseUntil") <= self.now, "{} still had its lease", job.id);
                let (swept, grace) = (last.number("sweeper", "last"), last.number("sweeper", "grace"));
                assert!(swept <= self.now && self.now - swept <= 5_000 && grace <= self.now, "a break");
            }
        }
    }

    /// Makes a call, maybe twice, and holds its answer to what Redis said before.
    async fn call(&mut self, call: Call, twice: bool) {
        let expected = self.expected(&call);
        let seen: Vec<_> = self.jobs.iter().map(|job| job.history.0.len()).collect();
        let answer = self.make(&call).await;
        if let (Call::End(lease, End::Completed(result), ..), Answer::Held { cancelled: false }) =
            (&call, &answer)
            && result.as_str().len() > 900
        {
            self.omitted.push(lease.job);
        }
        self.look().await;
        match (&expected, &answer) {
            (Some(expected), answer) => assert_eq!(answer, expected, "{call:?}"),
            (None, Answer::Claimed(claimed)) => self.check_claimed(claimed),
            (None, Answer::Nothing) => self.check_nothing_ready(&call),
            (None, _) => panic!("{call:?} came to {answer:?}"),
        }
        self.check_written(&call, &answer, &seen);
        if twice {
            let lasting = self.before.lasting();
            let again = self.make(&call).await;
            self.look().await;
            if answer != Answer::Nothing {
                assert_eq!(again, answer, "a repeat answers as the first time: {call:?}");
                assert_eq!(self.before.lasting(), lasting, "a repeat changes nothing: {call:?}");
            }
        }
        match (&call, &answer) {
            (_, Answer::Claimed(claimed)) => self.leases.push((claimed.lease, 0)),
            (Call::Append(lease, batch, _), Answer::Held { cancelled: false }) => {
                let batch = *batch;
                let known = self.leases.iter_mut().find(|(held, _)| held == lease).unwrap();
                known.1 = batch.map_or(known.1 + 1, |batch| batch.max(known.1));
            }
            _ => {}
        }
        let is_known_again = !matches!(call, Call::Append(_, None, _));
        if is_known_again && matches!(answer, Answer::Claimed(_) | Answer::Held { .. }) {
            self.accepted.push((call, answer));
        }
    }

    /// An accepted call that arrives once more, however late, writes nothing.
    async fn again(&mut self, pick: u8) {
        if self.accepted.is_empty() {
            return;
        }
        let (call, first) = self.accepted[usize::from(pick) % self.accepted.len()].clone();
        let lasting = self.before.lasting();
        let answer = self.make(&call).await;
        self.look().await;
        assert_eq!(self.before.lasting(), lasting, "{call:?} arrived once more");
        match (&call, first, answer) {
            (Call::End(..) | Call::Release(_), first, answer) => assert_eq!(answer, first, "{call:?}"),
            (Call::Claim { .. }, Answer::Claimed(first), Answer::Claimed(again)) => {
                assert_eq!((first.lease, first.attempt), (again.lease, again.attempt));
            }
            (Call::Claim { .. }, _, Answer::Nothing)
            | (Call::Append(..) | Call::Renew(_), _, Answer::Held { .. } | Answer::Lost) => {}
            (call, first, answer) => panic!("{call:?} came to {answer:?}, first to {first:?}"),
        }
    }

    async fn make(&self, call: &Call) -> Answer {
        let store = self.at();
        let held = |answer: Result<store::Held, WorkError>| match answer {
            Ok(held) => Answer::Held { cancelled: held.cancelled },
            Err(WorkError::LeaseLost) => Answer::Lost,
            Err(WorkError::BatchGap) => Answer::Gap,
            Err(error) => panic!("{call:?}: {error}"),
        };
        match call {
            Call::Claim { tasks, token, lease } => {
                match store.claim(HERE, tasks, *token, *lease).await.unwrap() {
                    Some(claimed) => Answer::Claimed(Box::new(claimed)),
                    None => Answer::Nothing,
                }
            }
            Call::Renew(lease) => held(store.renew(lease).await),
            Call::Append(lease, batch, reports) => held(store.append(lease, *batch, reports).await),
            Call::End(lease, end, batch, reports) => {
                held(store.end(lease, end, *batch, reports).await.map(|ended| ended.held))
            }
            Call::Release(lease) => held(store.release(lease).await),
        }
    }

    /// What the call must answer, by what was in Redis before; `None` for a claim.
    fn expected(&self, call: &Call) -> Option<Answer> {
        let (lease, batch) = match call {
            Call::Claim { .. } => return None,
            Call::Append(lease, batch, _) | Call::End(lease, _, batch, _) => (lease, *batch),
            Call::Renew(lease) | Call::Release(lease) => (lease, None),
        };
        let hash = self.before.job(lease.job);
        let is_ours = hash.text("lease") == lease.token.to_string();
        Some(match hash.text("status") {
            "processing" if is_ours => {
                let is_gap = batch.is_some_and(|batch| batch > hash.number("batch") + 1);
                if is_gap { Answer::Gap } else { Answer::Held { cancelled: false } }
            }
            "cancelled" if is_ours => Answer::Held { cancelled: true },
            _ => self.told_before(call).unwrap_or(Answer::Lost),
        })
    }

    /// The answer to the same end of the same attempt, if it was accepted before.
    fn told_before(&self, call: &Call) -> Option<Answer> {
        let word = |call: &Call| match call {
            Call::End(lease, End::Completed(_), ..) => Some((lease.token, "completed")),
            Call::End(lease, End::Failed { .. }, ..) => Some((lease.token, "failed")),
            Call::End(lease, End::Retry { .. }, ..) => Some((lease.token, "retry")),
            Call::Release(lease) => Some((lease.token, "release")),
            _ => None,
        };
        let own = word(call)?;
        self.accepted.iter().find(|(other, _)| word(other) == Some(own)).map(|(_, answer)| answer.clone())
    }

    /// What a call has written since `seen`: all of its reports, or none.
    fn check_written(&self, call: &Call, answer: &Answer, seen: &[usize]) {
        let (lease, batch, reports) = match call {
            Call::Claim { .. } => return,
            Call::Append(lease, batch, reports) | Call::End(lease, _, batch, reports) => {
                (lease, *batch, &reports[..])
            }
            Call::Renew(lease) | Call::Release(lease) => (lease, None, &[][..]),
        };
        let at = self.jobs.iter().position(|job| job.id == lease.job).unwrap();
        let written: Vec<_> = self.jobs[at].history.0[seen[at]..].iter().map(|seen| &seen.json).collect();
        let is_end = matches!(call, Call::End(..) | Call::Release(_));
        if is_end && *answer == (Answer::Held { cancelled: true }) {
            assert_eq!(
                self.before.score(&format!("running:{}", self.jobs[at].task), &lease.job.to_string()),
                None
            );
        }
        if *answer != (Answer::Held { cancelled: false }) || self.told_before(call).is_some() {
            assert!(written.is_empty(), "{call:?} wrote {written:?}");
            return;
        }
        let last = self.leases.iter().find(|(held, _)| held == lease).unwrap().1;
        let is_new = batch.is_none_or(|batch| batch > last);
        let reports = if is_new { reports } else { &[] };
        assert_eq!(written.len(), reports.len() + usize::from(is_end), "{call:?} wrote {written:?}");
        for (report, event) in reports.iter().zip(written) {
            let (first, second) = report.values();
            let fields = match report {
                Report::Progress { .. } => ["progress", "message"],
                Report::Output(_) => ["output", "output"],
                Report::Text(_) => ["text", "text"],
            };
            let value = |text: &str| serde_json::from_str::<Value>(text).unwrap();
            assert_eq!(event[fields[0]], value(&first));
            assert_eq!(event[fields[1]], value(&second.unwrap_or(first)));
        }
    }

    /// What was claimed was next in line.
    fn check_claimed(&self, claimed: &Claimed) {
        let job = self.jobs.iter().find(|job| job.id == claimed.job()).unwrap();
        let hash = self.before.job(job.id);
        assert_eq!((claimed.owner.as_str(), claimed.task.as_str()), (job.owner, job.task));
        assert_eq!(claimed.payload.as_str(), format!("\"{}\"", job.owner));
        assert_eq!(u64::from(claimed.attempt), hash.number("attempt"));
        assert_eq!(hash.text("lease"), claimed.lease.token.to_string());
        assert_eq!(claimed.expires_at.as_millis(), hash.number("leaseUntil"));
        let left = hash.next_limit().saturating_sub(self.now);
        assert_eq!(claimed.time_left, Duration::from_millis(left));
        // None of this owner's that is still ready is older.
        for (_, score) in self.before.zset(&format!("readyof:{}:{}", job.task, job.owner)) {
            #[expect(clippy::cast_precision_loss, reason = "times have fewer digits than a double holds")]
            let created = hash.number("createdAt") as f64;
            assert!(score % 8_796_093_022_208.0 >= created, "an older one waits");
        }
    }

    fn check_nothing_ready(&self, call: &Call) {
        let Call::Claim { tasks, .. } = call else { panic!("{call:?}") };
        for task in tasks {
            assert!(self.before.zset(&format!("ready:{task}")).is_empty(), "there was something to claim");
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
        self.now = self
            .jobs
            .iter()
            .map(|job| self.before.number(&format!("job:{}", job.id), "deadline"))
            .max()
            .unwrap_or(0)
            .max(self.now)
            + 1;
        self.sweep("x").await;
        for job in &self.jobs {
            let status: Status = self.before.job(job.id).text("status").parse().unwrap();
            assert!(status.is_terminal());
        }
        for key in ["ready:a", "ready:b", "running:a", "running:b", "deadlines"] {
            assert_eq!(self.before.ttl(key), None, "{key} is left");
        }
    }
}

impl Batch {
    fn number(self, last: u64) -> Option<u64> {
        match self {
            Self::Next => Some(last + 1),
            Self::Old => Some(last.max(1)),
            Self::Gap => Some(last + 2),
            Self::Uncounted => None,
        }
    }
}

impl How {
    fn end(self) -> End {
        match self {
            Self::Completed => End::Completed(Json::parse("{\"n\":[]}").unwrap()),
            Self::CompletedLarge => End::Completed(Json::of(&"r".repeat(2_000)).unwrap()),
            Self::Failed => End::Failed { error: "bad\nluck".into(), code: ErrorCode::Handler },
            Self::Retry => End::Retry { error: String::new(), code: ErrorCode::Handler },
        }
    }
}

fn reports(says: &[Say]) -> Vec<Report> {
    let report = |say: &Say| match *say {
        Say::Progress(0) => Report::Progress { progress: None, message: None },
        Say::Progress(n) => Report::Progress {
            progress: Some(Percent::clamped(f64::from(n) * 12.5)),
            message: (n > 2).then(|| "\"ä\"\n".repeat(n.into())),
        },
        Say::Text(n) => Report::Text("é \u{1}".repeat(n.into())),
        Say::Output(0) => Report::Output(Json::null()),
        Say::Output(n) => Report::Output(Json::parse(&format!("{{\"a b\":[[],{{}},1e{n}00]}}")).unwrap()),
        // Published by its head alone.
        Say::Large => Report::Text("x".repeat(5_000)),
    };
    says.iter().map(report).collect()
}

fn new_job(owner: &str, task: &str, small: bool, attempts: u8, key: Option<u8>, other_body: bool) -> NewJob {
    NewJob {
        owner: owner.parse().unwrap(),
        task: task.parse().unwrap(),
        payload: Json::of(&owner).unwrap(),
        metadata: None,
        max_attempts: attempts.into(),
        timeout: Duration::from_secs(20),
        deadline: Duration::from_mins(1),
        queue_timeout: Duration::from_secs(15),
        retention: RETENTION,
        // No batch is so large that an event of it is gone before it was seen.
        log_events: if small { 8 } else { 1_000 },
        log_bytes: if small { 8_000 } else { 1 << 20 },
        idempotency: key.map(|key| Idempotency {
            key: format!("key{key}"),
            fingerprint: if other_body { "two" } else { "one" }.into(),
        }),
    }
}
