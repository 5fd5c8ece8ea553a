//! What a gateway's streams are measured in: a Redis, a gateway, and jobs that nobody has claimed.

use model::fingerprint::sha256;
use model::{Cursor, JobId, LogId};
use store::{NewJob, Options, Store, Submitted, Target};
use testkit::process::Jobcast;
use testkit::redis::RedisServer;
use testkit::{free_port, wait_http_ok};
use tokio::task::JoinSet;
use whole::SOON;

use super::process::{self, Used};
use super::replay::Replay;
use super::wire::Wire;
use crate::scene::{new_job, task};

/// The key that all clients send.
pub(super) const KEY: &str = "0f8b6a1c3d5e7f90a2b4c6d8e0f1a3b5";
/// Whose it is, and all jobs.
const OWNER: &str = "acme";

/// See the module.
pub(super) struct Scene {
    pub(super) redis: RedisServer,
    pub(super) store: Store,
    pub(super) address: String,
    gateway: Jobcast,
    jobs: Vec<JobId>,
}

impl Scene {
    /// With so many jobs; the gateway has a core of its own if it is pinned.
    pub(super) async fn set(jobs: usize, pin: bool) -> anyhow::Result<Self> {
        let redis = RedisServer::builder().append_only(false).start().await;
        let store = Store::new(Options::new(Target::parse(&redis.url())?));
        let (address, gateway) = gateway_on(&redis, pin).await;
        let jobs = submit(&store, jobs).await?;
        Ok(Self { redis, store, address, gateway, jobs })
    }

    /// Where so many streams are, over all jobs in turn.
    pub(super) fn paths(&self, streams: usize) -> Vec<String> {
        self.jobs.iter().cycle().take(streams).map(|job| format!("/api/jobs/{job}/events")).collect()
    }

    /// What publishes events of its jobs, after those that they have.
    pub(super) async fn replay(&self) -> anyhow::Result<Replay> {
        let logs: Vec<_> = self.jobs.iter().map(|&job| LogId::from(job)).collect();
        let mut tips = Vec::new();
        for logs in logs.chunks(1000) {
            for tip in self.store.tips(logs).await {
                tips.push(tip?.unwrap_or(Cursor::START));
            }
        }
        let logs = self.jobs.iter().copied().zip(tips).collect();
        Replay::new(&self.redis.addr(), Wire::Redis, logs).await
    }

    /// What its gateway has used.
    pub(super) fn used(&self) -> anyhow::Result<Used> {
        Used::of(self.gateway_pid())
    }

    /// The process of its gateway.
    pub(super) fn gateway_pid(&self) -> u32 {
        self.gateway.pid()
    }

    /// Its gateway is no more.
    pub(super) fn kill_gateway(&self) {
        self.gateway.kill();
    }
}

/// A gateway on `redis` that is ready, and where.
pub(super) async fn gateway_on(redis: &RedisServer, pin: bool) -> (String, Jobcast) {
    let config = format!(
        "[store]\nurl = {:?}\n[[auth.keys]]\nowner = \"{OWNER}\"\nsha256 = \"{}\"\nscopes = [\"read\"]\n\
         [gateway]\nmax_streams = 1000\n[tasks.{}]\n",
        redis.url(),
        sha256(KEY.as_bytes()),
        task()
    );
    let address = format!("127.0.0.1:{}", free_port());
    let gateway = process::gateway(&address, config, pin);
    wait_http_ok(&format!("http://{address}/readyz"), SOON).await;
    (address, gateway)
}

async fn submit(store: &Store, count: usize) -> anyhow::Result<Vec<JobId>> {
    let (mut lanes, mut jobs) = (JoinSet::new(), Vec::new());
    for lane in 0..32 {
        let store = store.clone();
        lanes.spawn(async move {
            let mut jobs = Vec::new();
            let job = NewJob { owner: OWNER.parse()?, ..new_job() };
            for _ in (lane..count).step_by(32) {
                let (Submitted::Created(id) | Submitted::Replayed(id)) = store.submit(&job).await?;
                jobs.push(id);
            }
            anyhow::Ok(jobs)
        });
    }
    for lane in lanes.join_all().await {
        jobs.extend(lane?);
    }
    Ok(jobs)
}
