//! Submissions, each repeated with its Idempotency-Key until it is answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::client::Work;
use crate::dice::Dice;
use crate::record::AcknowledgedEnd;
use crate::world::{CAP, Clock, KEYS, Manner, World};

/// How much work there is.
#[derive(Clone, Copy, Debug)]
pub struct LoadPlan {
    /// Jobs a minute.
    pub jobs_a_minute: u64,
    /// How long the longest job takes, if nobody disturbs it, in ms; the shortest a tenth of that, and most less than the half.
    pub longest_ms: u64,
}

/// A job that was accepted.
#[derive(Clone, Debug)]
pub struct Submitted {
    /// Its id.
    pub id: String,
    /// Its owner's number in [`KEYS`].
    pub tenant: usize,
    /// Its Idempotency-Key.
    pub key: String,
    /// When it was first sent.
    pub submitted_at_ms: u64,
    /// When an answer named the id.
    pub answered_at_ms: u64,
    /// How many requests that took.
    pub tries: u32,
    /// The task's cap of the log, if it has one of its own.
    pub log_cap: Option<u64>,
    /// How many outputs its handler writes.
    pub outputs: u64,
    /// Whether the receiver is to be told of its end.
    pub webhook: bool,
    /// Its deadline from its submission on, if it has one of its own.
    pub deadline_ms: Option<u64>,
    /// The cancel that was acknowledged.
    pub cancelled: Option<AcknowledgedEnd>,
}

/// What all submissions came to.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) accepted: Vec<Submitted>,
    /// Owner's number and key of submissions that were given up.
    pub(super) unanswered: Vec<(usize, String)>,
    pub(super) wrong: Vec<String>,
}

/// Submits until told to stop.
pub struct Load {
    pace: JoinSet<()>,
    stop: CancellationToken,
    give_up: CancellationToken,
    ledger: Arc<Mutex<Ledger>>,
    pending: Arc<AtomicUsize>,
}

/// How long one request may take: longer than the patience of a gateway, which is 3 s.
const REQUEST: Duration = Duration::from_secs(8);
const PAUSE: (u64, u64) = (200, 600);

/// Where webhooks go.
#[derive(Clone)]
struct Targets {
    willing: String,
    flaky: String,
}

#[derive(Clone)]
struct Desk {
    http: Client,
    base: String,
    clock: Clock,
    work: Arc<Work>,
    ledger: Arc<Mutex<Ledger>>,
    give_up: CancellationToken,
    pending: Arc<AtomicUsize>,
}

impl Load {
    /// Begins.
    pub fn start(world: &World, plan: LoadPlan, seed: u64, work: &Arc<Work>) -> Self {
        let (stop, give_up) = (CancellationToken::new(), CancellationToken::new());
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        let pending = Arc::new(AtomicUsize::new(0));
        let desk = Desk {
            http: testkit::http().timeout(REQUEST).build().expect("an HTTP client"),
            base: format!("http://{}", world.address()),
            clock: world.clock,
            work: Arc::clone(work),
            ledger: Arc::clone(&ledger),
            give_up: give_up.clone(),
            pending: Arc::clone(&pending),
        };
        let targets = Targets {
            willing: world.receiver.url(Manner::Willing),
            flaky: world.receiver.url(Manner::Flaky),
        };
        let mut pace = JoinSet::new();
        pace.spawn(submit_all(desk, targets, plan, seed, stop.clone()));
        Self { pace, stop, give_up, ledger, pending }
    }

    /// From now on nothing new is submitted; what is under way goes on until it is answered.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// How many submissions and cancels are still without an answer.
    pub fn pending(&self) -> usize {
        self.pending.load(Ordering::SeqCst)
    }

    /// Gives up what has no answer, and gives all that is known.
    pub(super) async fn finish(mut self) -> Ledger {
        self.stop.cancel();
        self.give_up.cancel();
        while let Some(ended) = self.pace.join_next().await {
            ended.expect("the load doesn't panic");
        }
        std::mem::take(&mut *self.ledger.lock())
    }
}

async fn submit_all(desk: Desk, targets: Targets, plan: LoadPlan, seed: u64, stop: CancellationToken) {
    let (mut dice, mut hooks) = (Dice::new(seed, "load"), Dice::new(seed, "webhooks"));
    let mut under_way = JoinSet::new();
    let pause = Duration::from_mins(1) / u32::try_from(plan.jobs_a_minute.max(1)).unwrap_or(1);
    let begin = Instant::now();
    for number in 0_u32.. {
        let due = begin + pause * number;
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep_until(due) => {}
        }
        // Most end somewhere that listens, and some where it takes patience.
        let target = match hooks.between(0, 9) {
            0..4 => None,
            4..8 => Some(&targets.willing),
            _ => Some(&targets.flaky),
        };
        let job = Job::thrown(&mut dice, plan, seed, number, target);
        desk.pending.fetch_add(1, Ordering::SeqCst);
        let (desk, own) = (desk.clone(), Dice::new(seed, &format!("job {number}")));
        under_way.spawn(async move {
            let pending = Arc::clone(&desk.pending);
            desk.see_through(job, own).await;
            pending.fetch_sub(1, Ordering::SeqCst);
        });
        while under_way.try_join_next().is_some() {}
    }
    while under_way.join_next().await.is_some() {}
}

/// What is submitted.
struct Job {
    tenant: usize,
    key: String,
    body: String,
    log_cap: Option<u64>,
    outputs: u64,
    webhook: bool,
    deadline_ms: Option<u64>,
    cancel_after: Option<Duration>,
    repeat_after: Option<Duration>,
}

impl Job {
    fn thrown(dice: &mut Dice, plan: LoadPlan, seed: u64, number: u32, target: Option<&String>) -> Self {
        let tenant = dice.index(KEYS.len());
        let most_ms = if dice.percent(80) { plan.longest_ms * 4 / 10 } else { plan.longest_ms };
        let lasts_ms = dice.between(plan.longest_ms / 10, most_ms);
        let pace_ms = dice.between(150, 700);
        let outputs = (lasts_ms / pace_ms).max(1);
        let is_capped = dice.percent(10);
        let retry_after = dice.percent(12).then(|| dice.between(1, outputs));
        // What has a deadline comes in time or doesn't. What nobody works at has nobody but the sweep to end it.
        let mut limits = Dice::new(seed, &format!("limits {number}"));
        let is_nobodys = limits.percent(6);
        let has_deadline = is_nobodys || limits.percent(15);
        let deadline_ms = has_deadline.then(|| limits.between(500, lasts_ms * 3 / 2));
        let body = json!({
            "task": if is_capped { "capped" } else { "counted" },
            "payload": {
                "outputs": outputs, "paceMs": pace_ms, "retryAfter": retry_after, "fails": dice.percent(6),
            },
            "webhook": target.map(|url| json!({ "url": url })),
            "deadline": deadline_ms.map(|ms| Duration::from_millis(ms).as_secs_f64()),
            "external": is_nobodys,
        });
        Self {
            tenant,
            key: format!("chaos-{seed}-{number}"),
            body: body.to_string(),
            log_cap: is_capped.then_some(CAP),
            outputs,
            webhook: target.is_some(),
            deadline_ms,
            cancel_after: dice.percent(8).then(|| Duration::from_millis(dice.between(500, lasts_ms))),
            repeat_after: dice.percent(5).then(|| Duration::from_millis(dice.between(500, 5_000))),
        }
    }
}

/// An answer that ends the asking, or none yet.
enum Answer {
    Job(String),
    No,
    Refused(String),
}

impl Desk {
    async fn see_through(&self, job: Job, mut dice: Dice) {
        let submitted_at_ms = self.clock.now_ms();
        let Some((id, tries)) = self.submit(&job, &mut dice).await else {
            self.ledger.lock().unanswered.push((job.tenant, job.key));
            return;
        };
        let place = self.accept(&job, id.clone(), submitted_at_ms, tries);
        if let Some(after) = job.cancel_after {
            sleep_or(&self.give_up, after).await;
            self.cancel(&id, job.tenant, place, &mut dice).await;
        }
        if let Some(after) = job.repeat_after {
            sleep_or(&self.give_up, after).await;
            let again = self.clock.now_ms();
            if let Some((other, tries)) = self.submit(&job, &mut dice).await
                && other != id
            {
                self.accept(&job, other, again, tries);
            }
        }
    }

    fn accept(&self, job: &Job, id: String, submitted_at_ms: u64, tries: u32) -> usize {
        self.work.accepted(&id, job.tenant);
        let mut ledger = self.ledger.lock();
        ledger.accepted.push(Submitted {
            id,
            tenant: job.tenant,
            key: job.key.clone(),
            submitted_at_ms,
            answered_at_ms: self.clock.now_ms(),
            tries,
            log_cap: job.log_cap,
            outputs: job.outputs,
            webhook: job.webhook,
            deadline_ms: job.deadline_ms,
            cancelled: None,
        });
        ledger.accepted.len() - 1
    }

    /// Until it is answered, or given up.
    async fn submit(&self, job: &Job, dice: &mut Dice) -> Option<(String, u32)> {
        for tries in 1.. {
            match self.send(job).await {
                Answer::Job(id) => return Some((id, tries)),
                Answer::No if self.give_up.is_cancelled() => return None,
                Answer::No => sleep_or(&self.give_up, pause(dice)).await,
                Answer::Refused(why) => {
                    self.ledger.lock().wrong.push(format!("the submission {} was refused: {why}", job.key));
                    return None;
                }
            }
        }
        None
    }

    async fn send(&self, job: &Job) -> Answer {
        let request = self.http.post(format!("{}/api/jobs", self.base));
        let request = request.bearer_auth(KEYS[job.tenant].key).header("Idempotency-Key", &job.key);
        let request = request.header("Content-Type", "application/json").body(job.body.clone());
        let Ok(response) = request.send().await else { return Answer::No };
        let status = response.status();
        let Ok(body) = response.text().await else { return Answer::No };
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Answer::No;
        }
        let answer: Value = serde_json::from_str(&body).unwrap_or_default();
        match answer["jobId"].as_str() {
            Some(id) if status == StatusCode::ACCEPTED => Answer::Job(id.to_owned()),
            _ => Answer::Refused(format!("{status} {body}")),
        }
    }

    async fn cancel(&self, id: &str, tenant: usize, place: usize, dice: &mut Dice) {
        loop {
            let request = self.http.post(format!("{}/api/jobs/{id}/cancel", self.base));
            let request = request.bearer_auth(KEYS[tenant].key);
            match request.send().await.map(|response| response.status()) {
                Ok(StatusCode::ACCEPTED) => {
                    let acknowledged =
                        AcknowledgedEnd { at_ms: self.clock.now_ms(), kind: "cancelled".to_owned() };
                    self.ledger.lock().accepted[place].cancelled = Some(acknowledged);
                    return;
                }
                // Ended already, by itself or by an earlier try whose answer was lost; or Redis lost it.
                Ok(StatusCode::CONFLICT | StatusCode::NOT_FOUND) => return,
                Ok(_) | Err(_) if self.give_up.is_cancelled() => return,
                Ok(_) | Err(_) => sleep_or(&self.give_up, pause(dice)).await,
            }
        }
    }
}

fn pause(dice: &mut Dice) -> Duration {
    Duration::from_millis(dice.between(PAUSE.0, PAUSE.1))
}

async fn sleep_or(stop: &CancellationToken, length: Duration) {
    tokio::select! {
        () = sleep(length) => {}
        () = stop.cancelled() => {}
    }
}
