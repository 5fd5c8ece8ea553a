//! The queue over a whole fleet: who is next, when a job starts, how many run at once, and what idling costs.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use model::{JobId, Timestamp};
use serde_json::{Value, json};
use testkit::process::Jobcast;
use testkit::redis::cmd;
use whole::{Client, SOON, System};

const ADMIN: &str = "admin-key";
const OWNERS: [&str; 2] = ["acme-key", "zeta-key"];

/// A key of each owner, and one for the tasks.
fn keys() -> String {
    let key = |owner: &str, key: &str, scopes: &str| {
        let script = format!("printf %s {key} | sha256sum");
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        let hash = String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned();
        format!("[[auth.keys]]\nowner = {owner:?}\nsha256 = {hash:?}\nscopes = [{scopes}]\n")
    };
    key("acme", OWNERS[0], r#""submit", "read""#)
        + &key("zeta", OWNERS[1], r#""submit", "read""#)
        + &key("operator", ADMIN, r#""admin""#)
}

fn time(job: &Value, field: &str) -> u64 {
    serde_json::from_value::<Timestamp>(job[field].clone()).unwrap().as_millis()
}

/// A task that takes so long, with more settings.
fn sleeper(name: &str, seconds: f32, more: &str) -> String {
    format!("[tasks.{name}]\ncommand = [\"sh\", \"-c\", \"cat > /dev/null; sleep {seconds}\"]\n{more}\n")
}

async fn submit(client: &Client, key: &str, body: &Value) -> JobId {
    client.with_key(key).submit_with(body).await
}

async fn all_ended(client: &Client, key: &str, ids: &[JobId]) -> Vec<Value> {
    let mut jobs = Vec::new();
    for &id in ids {
        let job = client.with_key(key).ended(id).await;
        assert_eq!(job["status"], "completed", "{job}");
        jobs.push(job);
    }
    jobs
}

/// The most of `jobs` that ran at the same time, by Redis' clock.
fn most_at_once(jobs: &[Value]) -> i32 {
    let mut turns: Vec<_> =
        jobs.iter().flat_map(|job| [(time(job, "startedAt"), 1), (time(job, "finishedAt"), -1)]).collect();
    turns.sort_unstable();
    let (mut now, mut most) = (0, 0);
    for (_, turn) in turns {
        now += turn;
        most = most.max(now);
    }
    most
}

#[tokio::test]
async fn a_paused_task_waits_and_resumes_by_priority_and_in_turns() {
    let system =
        System::builder().keys(&keys()).settings(&sleeper("print", 0.02, "concurrency = 1")).start().await;
    let client = system.client(0);
    let cli = async |key: &str, args: &[&str]| {
        let command =
            Jobcast::builder().args(args).env("JOBCAST_URL", client.url("")).env("JOBCAST_KEY", key);
        let running = command.start();
        (running.wait_exit(SOON).await.code(), running.stdout(), running.stderr())
    };
    let (code, _, stderr) = cli(OWNERS[0], &["tasks", "pause", "print"]).await;
    assert!(code == Some(1) && stderr.contains("`admin`"), "{stderr}");
    let (code, stdout, _) = cli(ADMIN, &["tasks", "pause", "print"]).await;
    assert_eq!((code, &*stdout), (Some(0), "print paused: 0 running, 0 ready\n"));
    let (code, _, stderr) = cli(ADMIN, &["tasks", "pause", "nothing"]).await;
    assert!(code == Some(1) && stderr.contains("no task `nothing`"), "{stderr}");

    let mut expected = BTreeMap::<_, Vec<JobId>>::new();
    for priority in ["low", "normal", "high", "low", "high", "normal"] {
        let body = json!({ "task": "print", "payload": null, "priority": priority });
        let id = submit(client, OWNERS[0], &body).await;
        let rank = ["high", "normal", "low"].iter().position(|other| *other == priority).unwrap();
        expected.entry(rank).or_default().push(id);
    }
    let expected: Vec<_> = expected.into_values().flatten().collect();
    let other = submit(client, OWNERS[1], &json!({ "task": "print", "payload": null })).await;
    let listed = async || -> Value {
        let answer = client.with_key(ADMIN).get("/api/tasks").await.json::<Value>().await.unwrap();
        let tasks = answer["tasks"].as_array().unwrap();
        tasks.iter().find(|task| task["task"] == "print").unwrap().clone()
    };
    let task = listed().await;
    assert_eq!((&task["paused"], &task["ready"], &task["running"]), (&true.into(), &7.into(), &0.into()));
    assert_eq!((&task["concurrency"], &task["maxRunning"]), (&1.into(), &Value::Null));
    assert_eq!(task["oldest"], client.with_key(OWNERS[0]).job(expected[4]).await["createdAt"]);
    // Nothing is lost by a second of sweeps and bells.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(listed().await["ready"], 7);

    let (code, stdout, _) = cli(ADMIN, &["tasks"]).await;
    let line = stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    assert!(
        code == Some(0) && line.into_iter().any(|line| line["task"] == "print" && line["paused"] == true)
    );
    let (code, stdout, _) = cli(ADMIN, &["tasks", "resume", "print"]).await;
    assert!(code == Some(0) && stdout.starts_with("print resumed: "), "{stdout}");
    let jobs = all_ended(client, OWNERS[0], &expected).await;
    let starts: Vec<_> = jobs.iter().map(|job| time(job, "startedAt")).collect();
    assert!(starts.is_sorted(), "high, normal, low, each by age: {jobs:#?}");
    let other = all_ended(client, OWNERS[1], &[other]).await.remove(0);
    assert!(time(&other, "startedAt") <= starts[2], "the other owner's turn: {other}");
    assert_eq!(listed().await["paused"], false);
    system.nothing_grows().await;
}

#[tokio::test]
async fn a_delayed_job_starts_when_its_time_has_come() {
    let system = System::builder().start().await;
    let client = system.client(0);
    let body = json!({ "task": "wordcount", "payload": { "text": "a b" }, "delay": 1.5 });
    let id = client.submit_with(&body).await;
    let job = client.ended(id).await;
    let waited = time(&job, "startedAt") - time(&job, "createdAt");
    assert!((1500..30_000).contains(&waited), "{waited} ms");
}

#[tokio::test]
async fn no_more_run_than_may_in_the_fleet_of_an_owner_and_in_a_worker() {
    let settings = sleeper("fleet", 0.3, "max_running = 3")
        + &sleeper("own", 0.3, "max_running_per_owner = 2")
        + &sleeper("alone", 0.3, "concurrency = 1")
        + "[worker]\nconcurrency = 12\n";
    let system =
        System::builder().workers(2).keys(&keys()).settings(&settings).store("partitions = 4").start().await;
    let client = system.client(0);
    let mut ids = BTreeMap::<_, Vec<_>>::new();
    for _ in 0..12 {
        for task in ["fleet", "own", "alone"] {
            for key in OWNERS {
                let id = submit(client, key, &json!({ "task": task, "payload": null })).await;
                ids.entry((task, key)).or_default().push(id);
            }
        }
    }
    // Places are divided among partitions, and jobs come to them by chance: until each that has a place has jobs for it.
    for (task, keys, homes) in [("fleet", &OWNERS[..], 3), ("own", &OWNERS[..1], 2), ("own", &OWNERS[1..], 2)]
    {
        loop {
            let mut met = BTreeMap::<_, usize>::new();
            for id in keys.iter().flat_map(|&key| &ids[&(task, key)]) {
                *met.entry(id.partition()).or_default() += 1;
            }
            if met.values().filter(|&&jobs| jobs >= 3).count() == homes {
                break;
            }
            let id = submit(client, keys[0], &json!({ "task": task, "payload": null })).await;
            ids.entry((task, keys[0])).or_default().push(id);
        }
    }
    let mut jobs = BTreeMap::<_, Vec<Value>>::new();
    for ((task, key), ids) in ids {
        let ended = all_ended(client, key, &ids).await;
        if task == "own" {
            assert_eq!(most_at_once(&ended), 2, "of one owner");
        }
        jobs.entry(task).or_default().extend(ended);
    }
    assert_eq!(most_at_once(&jobs["fleet"]), 3);
    assert_eq!(most_at_once(&jobs["alone"]), 2, "one in each worker");
    system.nothing_grows().await;
}

/// Everything that Redis was asked, what scripts call included.
async fn commands(system: &System) -> BTreeMap<String, u64> {
    let mut redis = system.redis.client().await;
    let info: String = cmd("INFO").arg("commandstats").query_async(&mut redis).await.unwrap();
    let calls = info.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        Some((name.to_owned(), rest.split(',').next()?.parse().ok()?))
    });
    calls.collect()
}

async fn blocked(system: &System) -> usize {
    let mut redis = system.redis.client().await;
    let info: String = cmd("INFO").arg("clients").query_async(&mut redis).await.unwrap();
    let count = info.lines().find_map(|line| line.strip_prefix("blocked_clients:"));
    count.unwrap().trim().parse().unwrap()
}

/// A hundred workers, with nothing to do. What they ask is counted for longer than anything that they do has as its period, but
/// for their waits at bells; and a job that comes is started at once.
#[tokio::test]
async fn an_idle_fleet_of_a_hundred_workers_costs_little_and_starts_a_job_at_once() {
    const WORKERS: usize = 100;
    const PARTITIONS: usize = 16;
    let mut system = System::builder().workers(0).store(&format!("partitions = {PARTITIONS}")).start().await;
    for _ in 0..WORKERS {
        system.start_worker();
    }
    testkit::eventually(5 * SOON, "all wait at all bells", async || {
        blocked(&system).await == WORKERS * PARTITIONS
    })
    .await;
    // A fleet that has just started looks more often whether somebody sweeps, until its turns have spread out.
    tokio::time::sleep(Duration::from_secs(90)).await;
    let (began, before) = (Instant::now(), commands(&system).await);
    tokio::time::sleep(Duration::from_secs(30)).await;
    let (after, seconds) = (commands(&system).await, began.elapsed().as_secs_f64());
    let mut rates = BTreeMap::new();
    for (name, calls) in after {
        let calls = u32::try_from(calls - before.get(&name).copied().unwrap_or(0)).unwrap();
        if calls > 0 {
            rates.insert(name, f64::from(calls) / seconds);
        }
    }
    // Each wait at a bell lasts 144 to 180 s: by chance more of them or fewer ended meanwhile.
    let bells = f64::from(u32::try_from(WORKERS * PARTITIONS).unwrap()) / 162.0;
    rates.insert("blpop".into(), bells);
    let rate: f64 = rates.values().sum();
    println!("{WORKERS} idle workers at {PARTITIONS} partitions: {rate:.1} commands a second: {rates:.1?}");
    assert!(rate < 100.0, "{rate:.1} commands a second: {rates:.1?}");

    let client = system.client(0);
    let mut waits = Vec::new();
    for _ in 0..15 {
        let id = client.submit("wordcount", json!({ "text": "a b c" })).await;
        let job = client.ended(id).await;
        waits.push(time(&job, "startedAt") - time(&job, "createdAt"));
    }
    waits.sort_unstable();
    println!("a job submitted to them starts after {} ms (median): {waits:?}", waits[waits.len() / 2]);
    assert!(waits[waits.len() / 2] < 1000, "{waits:?}");
}
