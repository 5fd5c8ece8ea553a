//! Jobs a second through one worker process with an empty handler, and what one job asks of Redis.

use std::time::Duration;

use anyhow::ensure;
use model::Partition;
use store::Submitted;
use testkit::redis::{AsyncCommands, cmd};
use tokio::time::{Instant, sleep};

use crate::figure::Record;
use crate::monitor::{Monitor, by_name};
use crate::scene::{Scene, new_job, task};
use crate::worker;

/// How many jobs, of all that are ready, the worker gets through, and what each costs Redis.
pub async fn through_a_worker(scene: &Scene, record: &mut Record) -> anyhow::Result<()> {
    let place = Place::of(scene).await?;
    let jobs = place.ready(scene).await?;
    ensure!(jobs > 0, "there is something to do");
    let before = scene.cpu().await?;
    let _worker = worker::start(&scene.server.url())?;
    // It takes a moment to come to work, which isn't what is measured. From the last look at which all were ready, not the first at
    // which some were gone: on a busy machine that may be after the last job.
    let mut began = Instant::now();
    while place.ready(scene).await? == jobs {
        began = Instant::now();
        sleep(Duration::from_millis(1)).await;
    }
    while !place.is_idle(scene).await? {
        sleep(Duration::from_millis(5)).await;
    }
    record.add("worker_jobs", jobs as f64 / began.elapsed().as_secs_f64());
    record.add("worker_redis_cpu_per_job", (scene.cpu().await? - before) / jobs as f64);
    record.add("worker_jobs_to_bare", record.last("worker_jobs") / record.last("bare_jobs"));
    Ok(())
}

/// What jobs ask of Redis from submission to end: where many are ready, and one at a time with an idle worker; and how long such
/// a one waits for its start.
pub async fn asked_of_redis(scene: &Scene, jobs: usize, record: &mut Record) -> anyhow::Result<()> {
    let monitor = Monitor::start(&scene.server).await?;
    for _ in 0..jobs {
        scene.store.submit(&new_job()).await?;
    }
    let worker = worker::start(&scene.server.url())?;
    let heard = {
        while !have_ended(&monitor, jobs) {
            sleep(Duration::from_millis(5)).await;
        }
        monitor.stop(&scene.server).await?
    };
    record.add("round_trips_per_job", heard.len() as f64 / jobs as f64);
    eprintln!("  {jobs} jobs together: {:?}", by_name(&heard));

    let monitor = Monitor::start(&scene.server).await?;
    let lone = jobs / 10;
    let mut ids = Vec::new();
    for n in 1..=lone {
        let (Submitted::Created(id) | Submitted::Replayed(id)) = scene.store.submit(&new_job()).await?;
        ids.push(id);
        while !have_ended(&monitor, n) {
            sleep(Duration::from_millis(1)).await;
        }
        // It goes back to the bell.
        sleep(Duration::from_millis(10)).await;
    }
    let heard = monitor.stop(&scene.server).await?;
    record.add("round_trips_per_lone_job", heard.len() as f64 / lone as f64);
    eprintln!("  {lone} jobs one by one: {:?}", by_name(&heard));
    let mut waits = Vec::new();
    for id in ids {
        let job = scene.store.job(id).await?.expect("it is kept");
        let started = job.started_at.expect("it has ended");
        waits.push((started.as_millis() - job.created_at.as_millis()) as f64);
    }
    waits.sort_by(f64::total_cmp);
    record.add("idle_start", waits[waits.len() / 2]);
    drop(worker);
    Ok(())
}

/// Where the jobs are.
struct Place {
    prefix: String,
}

impl Place {
    async fn of(scene: &Scene) -> anyhow::Result<Self> {
        let tasks: Vec<String> = scene.redis.clone().keys("jc:*}:tasks").await?;
        ensure!(tasks.len() == 1, "one partition: {}", Partition(0));
        Ok(Self { prefix: tasks[0].trim_end_matches("tasks").to_owned() })
    }

    /// How many jobs are ready, whoever's they are.
    async fn ready(&self, scene: &Scene) -> anyhow::Result<usize> {
        let mut redis = scene.redis.clone();
        let owners: Vec<String> = redis.zrange(format!("{}ready:{}", self.prefix, task()), 0, -1).await?;
        let mut ready = 0;
        for owner in owners {
            ready += redis.zcard::<_, usize>(format!("{}readyof:{}:{owner}", self.prefix, task())).await?;
        }
        Ok(ready)
    }

    async fn is_idle(&self, scene: &Scene) -> anyhow::Result<bool> {
        let keys = [format!("{}ready:{}", self.prefix, task()), format!("{}running:{}", self.prefix, task())];
        Ok(cmd("EXISTS").arg(&keys).query_async::<u64>(&mut scene.redis.clone()).await? == 0)
    }
}

/// Whether so many jobs have ended, by what was heard: that asks nothing.
fn have_ended(monitor: &Monitor, jobs: usize) -> bool {
    monitor.count(|words| words.iter().any(|word| word == "completed")) >= jobs
}
