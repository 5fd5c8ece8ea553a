//! The calls of workers, and what each must answer and write.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{Report, RunLimits, TaskName, Token};
use serde_json::{Value, json};
use store::{Claimable, Claimed, End, Lease, WorkError};

use super::op::Most;
use super::snapshot::Snapshot;
use super::world::{HERE, World};

/// A call of a worker, with all that it carries.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Claim { tasks: Vec<TaskName>, token: Token, lease: Duration, most: Most },
    Renew(Lease),
    Append(Lease, Option<u64>, Vec<Report>),
    End(Lease, End, Option<u64>, Vec<Report>),
    Release(Lease),
}

impl Call {
    /// By what lease it is made; none for a claim.
    fn lease(&self) -> Option<&Lease> {
        match self {
            Self::Claim { .. } => None,
            Self::Append(lease, ..) | Self::End(lease, ..) | Self::Renew(lease) | Self::Release(lease) => {
                Some(lease)
            }
        }
    }

    /// Whether it ends an attempt.
    fn ends(&self) -> bool {
        matches!(self, Self::End(..) | Self::Release(_))
    }
}

/// What a call came to.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Answer {
    Claimed(Box<Claimed>),
    Nothing,
    Held {
        cancelled: bool,
    },
    Lost,
    Gap,
    /// An external job can't be given back.
    External,
}

impl World {
    /// Makes a call, maybe twice, and holds its answer to what Redis said before.
    pub(crate) async fn call(&mut self, call: Call, twice: bool) {
        let expected = self.expected(&call);
        let seen: Vec<_> = self.jobs.iter().map(|job| job.history.0.len()).collect();
        let turns = Turns::of(&self.before);
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
            (None, Answer::Claimed(claimed)) => {
                self.check_claimed(claimed);
                self.check_limits(&call, Some(claimed), &turns);
            }
            (None, Answer::Nothing) => {
                self.check_nothing_ready(&call);
                self.check_limits(&call, None, &turns);
            }
            (None, _) => panic!("{call:?} came to {answer:?}"),
        }
        self.check_written(&call, &answer, &seen);
        self.check_lease(&call, &answer);
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
    pub(crate) async fn again(&mut self, pick: u8) {
        if self.accepted.is_empty() {
            return;
        }
        let (call, first) = self.accepted[usize::from(pick) % self.accepted.len()].clone();
        let lasting = self.before.lasting();
        let answer = self.make(&call).await;
        self.look().await;
        assert_eq!(self.before.lasting(), lasting, "{call:?} arrived once more");
        let job = match &first {
            Answer::Claimed(claimed) => Some(claimed.job()),
            _ => call.lease().map(|lease| lease.job),
        };
        if self.jobs.iter().any(|known| Some(known.id) == job && known.is_deleted) {
            assert!(matches!(answer, Answer::Nothing | Answer::Lost), "{call:?} came to {answer:?}");
            return;
        }
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
            Err(WorkError::External) => Answer::External,
            Err(error) => panic!("{call:?}: {error}"),
        };
        match call {
            Call::Claim { tasks, token, lease, most } => {
                let limits = RunLimits { fleet: most.fleet, per_owner: most.of_owner };
                let tasks: Vec<_> =
                    tasks.iter().map(|task| Claimable { task: task.clone(), limits }).collect();
                match store.claim(HERE, &tasks, *token, *lease).await.unwrap() {
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
        let lease = call.lease()?;
        let batch = match call {
            Call::Append(_, batch, _) | Call::End(_, _, batch, _) => *batch,
            _ => None,
        };
        let job = self.known(lease.job);
        if job.is_deleted {
            return Some(Answer::Lost);
        }
        let hash = self.before.job(lease.job);
        let is_ours = hash.text("lease") == lease.token.to_string();
        let is_release = matches!(call, Call::Release(_));
        Some(match hash.text("status") {
            "pending" | "processing" if is_ours && is_release && job.external.is_some() => Answer::External,
            "pending" if is_ours && hash.next_limit() <= self.now => Answer::Lost,
            "pending" | "processing" if is_ours => {
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

    /// What a call has written since `seen`: all of its reports, or none. The first of an external job has started it, or found
    /// that its time is up.
    fn check_written(&self, call: &Call, answer: &Answer, seen: &[usize]) {
        let Some(lease) = call.lease() else { return };
        let (batch, reports) = match call {
            Call::Append(_, batch, reports) | Call::End(_, _, batch, reports) => (*batch, &reports[..]),
            _ => (None, &[][..]),
        };
        let at = self.jobs.iter().position(|job| job.id == lease.job).unwrap();
        let mut written: Vec<_> = self.jobs[at].history.0[seen[at]..].iter().map(|seen| &seen.json).collect();
        let is_first = self.jobs[at].history.0[..seen[at]].last().unwrap().kind() == "queued";
        if self.jobs[at].external.is_some() && is_first && !written.is_empty() {
            let first = written.remove(0);
            match answer {
                Answer::Lost => assert_eq!(first["errorCode"], "unclaimed"),
                _ => assert_eq!((&first["type"], &first["attempt"]), (&json!("started"), &json!(1))),
            }
        }
        let is_end = call.ends();
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

    /// An accepted report renews the lease: an external job's own, whatever its reporter says.
    fn check_lease(&self, call: &Call, answer: &Answer) {
        let (Some(lease), false) = (call.lease(), call.ends()) else { return };
        if *answer == (Answer::Held { cancelled: false }) {
            let own = self.known(lease.job).external.map(|(_, ms)| ms);
            let length = own.unwrap_or_else(|| u64::try_from(lease.duration.as_millis()).unwrap());
            assert_eq!(self.before.job(lease.job).number("leaseUntil"), self.now + length);
        }
    }

    /// What was claimed was next in line.
    fn check_claimed(&self, claimed: &Claimed) {
        let job = self.jobs.iter().find(|job| job.id == claimed.job()).unwrap();
        let hash = self.before.job(job.id);
        assert!(job.external.is_none(), "no worker takes an external job");
        assert_eq!((claimed.owner.as_str(), claimed.task.as_str()), (job.owner, job.task));
        assert_eq!(claimed.payload.as_str(), format!("\"{}\"", job.owner));
        assert_eq!(u64::from(claimed.attempt), hash.number("attempt"));
        assert_eq!(hash.text("lease"), claimed.lease.token.to_string());
        assert_eq!(claimed.expires_at.as_millis(), hash.number("leaseUntil"));
        let left = hash.next_limit().saturating_sub(self.now);
        assert_eq!(claimed.time_left, Duration::from_millis(left));
        // None of this owner's that is still ready goes before it.
        let rank = hash.number("priority") * 8_796_093_022_208 + hash.number("createdAt");
        for (_, score) in self.before.zset(&format!("readyof:{}:{}", job.task, job.owner)) {
            #[expect(clippy::cast_precision_loss, reason = "it has fewer digits than a double holds")]
            let rank = rank as f64;
            assert!(score >= rank, "one that goes before it waits");
        }
    }

    fn check_nothing_ready(&self, call: &Call) {
        let Call::Claim { tasks, most, .. } = call else { panic!("{call:?}") };
        for task in tasks {
            let running = self.before.zset(&format!("running:{task}")).len();
            let is_full = most.fleet.is_some_and(|most| running >= most as usize);
            let is_held_up = is_full || self.is_paused(task.as_str());
            assert!(
                is_held_up || self.before.zset(&format!("ready:{task}")).is_empty(),
                "there was something to claim"
            );
        }
    }

    /// No more run than may, nothing of a paused task was started, and owners had their turns.
    fn check_limits(&self, call: &Call, claimed: Option<&Claimed>, turns: &Turns) {
        let Call::Claim { tasks, most, .. } = call else { panic!("{call:?}") };
        let running_of = |task: &str, owner: &str| {
            let counts = self.before.hash(&format!("runningof:{task}"));
            counts.get(owner).map_or(0, |count| count.parse::<u32>().unwrap())
        };
        let turns_now = Turns::of(&self.before);
        for task in tasks.iter().map(TaskName::as_str) {
            // Whoever has lost a turn has no job left that could start, or as many run as may.
            for (owner, _) in turns.0[task].iter().filter(|(owner, _)| !turns_now.has(task, owner)) {
                let waits = !self.before.zset(&format!("readyof:{task}:{owner}")).is_empty();
                let may = most.of_owner.is_none_or(|most| running_of(task, owner) < most);
                assert!(!(waits && may), "{owner} has lost its turn at {task}");
            }
        }
        let Some(claimed) = claimed else { return };
        let (task, owner) = (claimed.task.as_str(), claimed.owner.as_str());
        assert!(!self.is_paused(task));
        let running = self.before.zset(&format!("running:{task}")).len();
        assert!(most.fleet.is_none_or(|most| running <= most as usize), "{running} run");
        assert!(most.of_owner.is_none_or(|most| running_of(task, owner) <= most));
        let own = turns.0[task].iter().position(|(other, _)| other == owner).expect("it had a turn");
        for (other, turn) in &turns.0[task][..own] {
            let still = turns_now.0[task].iter().any(|now| now == &(other.clone(), *turn));
            assert!(!still, "it was {other}'s turn");
        }
    }
}

/// The owners' turns at each task, the next first.
struct Turns(BTreeMap<&'static str, Vec<(String, f64)>>);

impl Turns {
    fn of(now: &Snapshot) -> Self {
        let of = |task: &'static str| {
            let owners = now.zset(&format!("ready:{task}"));
            (task, owners.into_iter().map(|(owner, turn)| (owner.to_owned(), turn)).collect())
        };
        Self(["a", "b"].map(of).into())
    }

    fn has(&self, task: &str, owner: &str) -> bool {
        self.0[task].iter().any(|(other, _)| other == owner)
    }
}
