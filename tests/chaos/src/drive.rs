//! A run from start to quiescence: world, load, clients, nemesis; then peace, and what is left is read.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::sleep;

use crate::client::{Crowd, CrowdPlan, Known, Work};
use crate::load::{Load, LoadPlan, harvest};
use crate::nemesis::{Faults, Lookout, Nemesis, Profile, Schedule};
use crate::plant::LAST_MESSAGE_DROPPED;
use crate::record::{Durability, Run, Topology};
use crate::world::{KEYS, Plan, Reader, Settings, World};

/// What to run.
#[derive(Clone, Debug)]
pub struct Orders {
    /// How Redis stands.
    pub topology: Topology,
    /// What everything that is left to chance is made from.
    pub seed: u64,
    /// How long faults and load go on.
    pub seconds: u64,
    /// `store.durability`.
    pub durability: Durability,
    /// How many clients follow at once.
    pub clients: u32,
    /// How many jobs are submitted a minute.
    pub jobs_a_minute: u64,
    /// The planted fault, by its name.
    pub planted: Option<String>,
    /// How long after the faults all may take to come to an end.
    pub deadline: Duration,
    /// Where the parts' logs go.
    pub logs: PathBuf,
}

impl Orders {
    /// What is going to be done to the world.
    pub fn schedule(&self) -> Schedule {
        let profile = Profile::of_plant(self.planted.as_deref());
        Schedule::new(self.seed, self.topology, self.durability, self.seconds, profile)
    }

    fn plan(&self) -> Plan {
        let is_ours = self.planted.as_deref() == Some(LAST_MESSAGE_DROPPED);
        let settings =
            if is_ours { Settings { reconcile: "5m", max_age: "1d" } } else { Settings::default() };
        Plan {
            topology: self.topology,
            durability: self.durability,
            planted: self.planted.clone().filter(|_| !is_ours),
            settings,
            logs: self.logs.clone(),
        }
    }

    /// Jobs are shorter where the run is.
    fn load(&self) -> LoadPlan {
        let longest = (self.seconds * 1_000 / 3).clamp(4_000, 20_000);
        LoadPlan { jobs_a_minute: self.jobs_a_minute, longest_ms: longest }
    }
}

/// Runs it. The record has a note that begins with `WRONG:` for all that the driver itself found amiss.
pub async fn drive(orders: &Orders) -> Run {
    let world = Arc::new(World::start(&orders.plan()).await);
    let started_at_unix_ms = world.redis.now_unix_ms().await.saturating_sub(world.clock.now_ms());
    let server = world.redis.version().await;
    let faults = Faults::default();
    let work = Arc::new(Work::default());
    if orders.planted.as_deref() == Some(LAST_MESSAGE_DROPPED) {
        drop_last_messages(&world);
    }
    say(&world, &format!("{server}, {} s of chaos, seed {}", orders.seconds, orders.seed));
    let end_ms = orders.seconds * 1_000;
    let load = Load::start(&world, orders.load(), orders.seed, &work);
    let crowd_plan = CrowdPlan { clients: orders.clients, several: 25, feeds: 15 };
    let crowd = Crowd::start(&world, crowd_plan, orders.seed, &work);
    let lookout = Lookout::start(&world, world.redis.partitions().await);
    let told = Arc::clone(&world);
    let nemesis = Nemesis::start(&world, orders.schedule(), &faults, end_ms, move |act| {
        say(&told, &act.deed.to_string());
    });

    let mut next_ms = 5_000;
    while world.clock.now_ms() < end_ms {
        world.clock.until(next_ms.min(end_ms)).await;
        next_ms += 5_000;
        say(&world, &progress(&work, &crowd, &faults));
    }
    load.stop();
    crowd.last_orders();
    say(&world, "peace: waiting for all jobs to end and all clients to hear of it");
    nemesis.finish().await;
    let is_ours = orders.planted.as_deref() == Some(LAST_MESSAGE_DROPPED);
    if !is_ours {
        world.heal();
    }
    let peace_ms = world.clock.now_ms();
    let settled = settle(&world, &load, &crowd, &work, orders.deadline).await;
    let quiet_ms = world.clock.now_ms();

    let partitions = world.redis.partitions().await;
    let clients = crowd.finish().await;
    let (jobs, owners, wrong) = harvest(&world, load, partitions, started_at_unix_ms).await;
    lookout.finish(&faults).await;
    let (faults, mut all_notes) = faults.take();
    all_notes.extend(settled.wrong);
    all_notes.extend(wrong.into_iter().map(|wrong| format!("WRONG: {wrong}")));
    all_notes.extend(world.dead().into_iter().map(|dead| format!("WRONG: {dead}")));
    let webhooks_ms = quiet_ms - settled.told_ms.unwrap_or(quiet_ms);
    all_notes.push(format!(
        "{:.1} s from the last fault to quiet, the last {:.1} s of them for webhooks alone",
        seconds(quiet_ms - peace_ms),
        seconds(webhooks_ms)
    ));
    world.keep_logs(&orders.logs);
    say(&world, "all is read");
    Run {
        topology: orders.topology,
        seed: orders.seed,
        seconds: orders.seconds,
        durability: orders.durability,
        server,
        planted: orders.planted.clone(),
        started_at_unix_ms,
        partitions,
        jobs,
        owners,
        clients,
        arrivals: world.receiver.arrivals(),
        faults,
        notes: all_notes,
    }
}

/// How all came to an end.
struct Settled {
    /// When all was answered, ended and seen, and only webhooks weren't delivered.
    told_ms: Option<u64>,
    /// What didn't.
    wrong: Option<String>,
}

/// Waits until all is answered, ended, seen and delivered, or until the deadline.
async fn settle(world: &World, load: &Load, crowd: &Crowd, work: &Work, deadline: Duration) -> Settled {
    let http = testkit::http().timeout(Duration::from_secs(5)).build().expect("an HTTP client");
    let end_ms = world.clock.now_ms() + u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
    let mut next_ms = world.clock.now_ms() + 5_000;
    let mut told_ms = None;
    loop {
        look_after(world, &http, work, work.open().into_iter().take(50)).await;
        let quiet_ms = world.clock.now_ms().saturating_sub(crowd.seen().feed_at_ms.load(Ordering::Relaxed));
        // The feeds never end: that they are silent for longer than lost messages may stay unseen is their end.
        let is_quiet = quiet_ms > 6_000;
        if work.open().is_empty() && load.pending() == 0 && crowd.following() == 0 && is_quiet {
            // Who saw an end has left, and Redis may have lost it since.
            look_after(world, &http, work, work.all().into_iter()).await;
            let undelivered = undelivered(world).await;
            if work.open().is_empty() {
                told_ms.get_or_insert(world.clock.now_ms());
                if undelivered == 0 {
                    return Settled { told_ms, wrong: None };
                }
            }
        }
        let (open, now_ms) = (work.open(), world.clock.now_ms());
        if now_ms > end_ms {
            let jobs: Vec<_> = open.iter().map(|job| job.id.as_str()).collect();
            let undelivered = undelivered(world).await;
            let wrong = format!(
                "WRONG: after {deadline:?} of peace {} requests have no answer, {} clients still follow, {quiet_ms} ms ago a \
                 feed went on, {undelivered} webhooks aren't delivered, and {} jobs haven't ended: {}",
                load.pending(),
                crowd.following(),
                jobs.len(),
                jobs.join(" ")
            );
            return Settled { told_ms, wrong: Some(wrong) };
        }
        if now_ms > next_ms {
            next_ms += 5_000;
            say(world, &format!("{} jobs open, {} clients follow", open.len(), crowd.following()));
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// How many deliveries aren't settled.
async fn undelivered(world: &World) -> usize {
    let mut reader = Reader::new(&world.redis);
    let mut all = 0;
    for partition in 0..world.redis.partitions().await {
        all += reader.members(partition, "due").await;
    }
    all
}

/// Polls `jobs`, and notes which have ended and which haven't.
async fn look_after(world: &World, http: &reqwest::Client, work: &Work, jobs: impl Iterator<Item = Known>) {
    for job in jobs {
        let url = format!("http://{}/api/jobs/{}", world.address(), job.id);
        let Ok(answer) = http.get(url).bearer_auth(KEYS[job.tenant].key).send().await else { continue };
        let (status, body) = (answer.status(), answer.text().await.unwrap_or_default());
        let has_ended = ["completed", "failed", "cancelled"].iter().any(|end| is_status(&body, end));
        if status == 404 || has_ended {
            work.ended(&job.id);
        } else if status == 200 {
            work.reopened(&job.id);
        }
    }
}

fn is_status(body: &str, status: &str) -> bool {
    let job: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    job["status"] == status
}

/// The fault that the harness makes itself: nobody hears of an end by a live message.
fn drop_last_messages(world: &World) {
    for link in &world.links {
        link.proxy(&world.redis).drop_messages(|channel, payload| {
            let mut words = payload.splitn(5, |byte| *byte == b' ');
            let kind = words.nth(3).unwrap_or_default();
            channel.contains("}:live:") && [&b"completed"[..], b"failed", b"cancelled"].contains(&kind)
        });
    }
}

fn progress(work: &Work, crowd: &Crowd, faults: &Faults) -> String {
    let ((accepted, ended), seen) = (work.counts(), crowd.seen());
    let count = |number: &std::sync::atomic::AtomicU64| number.load(Ordering::Relaxed);
    format!(
        "{accepted} jobs accepted, {ended} ended; {} events on {} streams, {} rewound, {} requests in vain; {} faults",
        count(&seen.frames),
        count(&seen.opened),
        count(&seen.rewound),
        count(&seen.refused),
        faults.count()
    )
}

fn say(world: &World, what: &str) {
    let mut out = std::io::stderr();
    let time = seconds(world.clock.now_ms());
    let dim = if out.is_terminal() { ("\x1b[2m", "\x1b[0m") } else { ("", "") };
    let _ = writeln!(out, "{}{time:>7.1} s{}  {what}", dim.0, dim.1);
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1_000.0
}
