//! What a run happens in: a Redis of its own, without a disk, a store on it, and a gateway.

use std::time::Duration;

use model::report::Percent;
use model::{Report, TaskName};
use store::{NewJob, Options, Store, Target};
use testkit::process::Jobcast;
use testkit::redis::{MultiplexedConnection, RedisServer, cmd};
use testkit::{free_port, wait_http_ok};
use whole::{Client, SOON};

use crate::floor::Floor;

/// See the module.
pub struct Scene {
    /// The server.
    pub server: RedisServer,
    /// The store on it.
    pub store: Store,
    /// A client of the gateway.
    pub client: Client,
    /// For questions beside what is measured.
    pub redis: MultiplexedConnection,
    /// The way to many jobs.
    pub floor: Floor,
    _gateway: Jobcast,
}

impl Scene {
    /// Starts it all.
    pub async fn set() -> anyhow::Result<Self> {
        let server = RedisServer::builder().append_only(false).start().await;
        let store = Store::new(Options::new(Target::parse(&server.url())?));
        let config =
            format!("[store]\nurl = {:?}\n[auth]\nanonymous = true\n[tasks.{}]\n", server.url(), task());
        let listen = format!("127.0.0.1:{}", free_port());
        let gateway = Jobcast::builder().args(["gateway", "--listen", &listen]).config(config).start();
        let client = Client::new(format!("http://{listen}"));
        wait_http_ok(&client.url("/readyz"), SOON).await;
        let redis = server.client().await;
        let floor = Floor::learn(&server, &store, &new_job(), LEASE, &reports()).await?;
        Ok(Self { server, store, client, redis, floor, _gateway: gateway })
    }

    /// [`processor`] of its server.
    pub async fn cpu(&self) -> anyhow::Result<f64> {
        processor(&mut self.redis.clone()).await
    }
}

/// The processor time that Redis' one thread has taken, in microseconds.
pub async fn processor(redis: &mut MultiplexedConnection) -> anyhow::Result<f64> {
    let info: String = cmd("INFO").arg("cpu").query_async(redis).await?;
    let seconds = info.lines().filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        // Valkey tells its main thread's time in other ways too.
        ["used_cpu_sys_main_thread", "used_cpu_user_main_thread"]
            .contains(&name)
            .then(|| value.trim().parse::<f64>().ok())
            .flatten()
    });
    Ok(seconds.sum::<f64>() * 1e6)
}

/// How many steps Redis was asked for.
pub async fn steps(redis: &mut MultiplexedConnection) -> anyhow::Result<f64> {
    let info: String = cmd("INFO").arg("commandstats").query_async(redis).await?;
    let calls = info.lines().filter_map(|line| {
        let (name, rest) = line.split_once(":calls=")?;
        let is_step = matches!(name, "cmdstat_eval" | "cmdstat_evalsha");
        is_step.then(|| rest.split(',').next()?.parse::<f64>().ok()).flatten()
    });
    Ok(calls.sum())
}

/// The task whose handler does nothing.
pub fn task() -> TaskName {
    "empty".parse().expect("a good name")
}

/// The task whose handler puts out 2,000 small outputs a second.
pub fn burst() -> TaskName {
    "burst".parse().expect("a good name")
}

/// How long an attempt lives without a sign of life.
pub const LEASE: Duration = Duration::from_secs(30);

/// What a job reports, where it does: with its start, its end and its place in the queue eight events.
pub fn reports() -> Vec<Report> {
    (1..=5)
        .map(|n| Report::Progress { progress: Percent::try_from(f64::from(n) * 20.0).ok(), message: None })
        .collect()
}

/// A job of nothing.
pub fn new_job() -> NewJob {
    NewJob::new("bench".parse().expect("a good name"), task())
}
