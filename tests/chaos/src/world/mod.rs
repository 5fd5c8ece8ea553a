//! The system under fire: a balancer, three gateways, three workers, two couriers, Redis, and a proxy on each way that can be cut.
//!
//! ```text
//! clients ── haproxy ─┬─ gateway 1 ── proxy ─┐
//!                     ├─ gateway 2 ── proxy ─┼─ Redis (single: a proxy for each process;
//!                     └─ gateway 3 ── proxy ─┤         Sentinel, Cluster: one for each server)
//!                          worker 1…3 ─ proxy┤
//! receiver ◄────────────── courier 1, 2 ─ proxy┘
//! ```

mod balancer;
mod clock;
mod keys;
mod link;
mod part;
mod receiver;
mod redis;
mod settings;
mod sockets;

use std::path::{Path, PathBuf};

use testkit::process::Jobcast;
use testkit::proxy::Proxy;
use testkit::redis::Node;
use testkit::{free_port, wait_http_ok};

use crate::record::{Durability, Role, Target, Topology};

pub use clock::Clock;
pub use keys::{partition_of, slot_of_partition, tag_of};
pub use link::Link;
pub use part::Part;
pub use receiver::{Manner, Receiver};
pub use redis::{Reader, Redis};
pub use settings::{CAP, KEYS, SECRET, Settings, Tenant};
pub use sockets::Cut;

/// What a world is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How Redis stands.
    pub topology: Topology,
    /// `store.durability`.
    pub durability: Durability,
    /// A fault of the product's own, by the name that its variable `JOBCAST_PLANT` takes.
    pub planted: Option<String>,
    /// Times and limits of the roles.
    pub settings: Settings,
    /// Where the parts' logs go.
    pub logs: PathBuf,
}

/// A running system. Dropping it kills all of it.
pub struct World {
    /// The time since its start.
    pub clock: Clock,
    /// The servers.
    pub redis: Redis,
    /// The ways to them that can be broken.
    pub links: Vec<Link>,
    /// The gateways, 1 first.
    pub gateways: Vec<Part>,
    /// The workers, 1 first.
    pub workers: Vec<Part>,
    /// The couriers, 1 first.
    pub couriers: Vec<Part>,
    /// Where webhooks go.
    pub receiver: Receiver,
    balancer: Jobcast,
    address: String,
}

/// How many gateways, and how many workers.
pub const EACH: u16 = 3;

/// How many couriers.
pub const COURIERS: u16 = 2;

impl World {
    /// Starts all of it; ready when this returns.
    pub async fn start(plan: &Plan) -> Self {
        std::fs::create_dir_all(&plan.logs).expect("the folder of logs can be made");
        let redis = Redis::start(plan.topology, plan.durability).await;
        let mut links = redis.links();
        let mut parts = Vec::new();
        let mut ports = Vec::new();
        let all = [(Role::Gateway, EACH), (Role::Worker, EACH), (Role::Courier, COURIERS)];
        for (role, n) in all.into_iter().flat_map(|(role, count)| (1..=count).map(move |n| (role, n))) {
            let target = Target { role, n };
            let url = match redis.single() {
                Some(server) => {
                    let proxy = Proxy::start(server.addr()).await;
                    let url = proxy.url();
                    links.push(Link::own(target.clone(), proxy));
                    url
                }
                None => redis.url(),
            };
            let port = (role == Role::Gateway).then(free_port);
            ports.extend(port);
            let config = plan.settings.config(&url, plan.durability);
            parts.push(Part::start(target, config, port, plan.planted.clone(), &plan.logs));
        }
        let mut workers = parts.split_off(usize::from(EACH));
        let couriers = workers.split_off(usize::from(EACH));
        for port in &ports {
            wait_http_ok(&format!("http://127.0.0.1:{port}/readyz"), whole::SOON).await;
        }
        let (balancer, address) = balancer::start(&ports).await;
        wait_http_ok(&format!("http://{address}/healthz"), whole::SOON).await;
        let clock = Clock::start();
        let receiver = Receiver::start(clock).await;
        Self { clock, redis, links, gateways: parts, workers, couriers, receiver, balancer, address }
    }

    /// Where clients go: the balancer's `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The part with this role and number.
    pub fn part(&self, role: Role, n: u16) -> &Part {
        let parts = match role {
            Role::Worker => &self.workers,
            Role::Courier => &self.couriers,
            _ => &self.gateways,
        };
        &parts[usize::from(n) - 1]
    }

    /// What stands in the way to Redis of `target`.
    pub fn proxy(&self, target: &Target) -> &Proxy {
        let link = self.links.iter().find(|link| link.target == *target);
        link.expect("the schedule names ways that there are").proxy(&self.redis)
    }

    /// Cuts a gateway, a worker or a courier off from Redis' servers (not from Sentinels) for as long as what this returns lives: its
    /// connections stay open, new ones are accepted, and nothing passes. `None` if it is down.
    pub fn cut_off(&self, target: &Target) -> Option<Cut> {
        if let Some(link) = self.links.iter().find(|link| link.target == *target) {
            return Some(Cut::own(link.proxy(&self.redis)));
        }
        let pid = self.part(target.role, target.n).pid()?;
        Some(Cut::shared(pid, self.redis.nodes().iter().map(Node::proxy)))
    }

    /// Makes whole what is broken, but for Redis' servers, which the nemesis heals itself.
    pub fn heal(&self) {
        for link in &self.links {
            link.proxy(&self.redis).pass();
        }
        for part in self.parts() {
            part.heal();
        }
    }

    fn parts(&self) -> impl Iterator<Item = &Part> {
        self.gateways.iter().chain(&self.workers).chain(&self.couriers)
    }

    /// Parts that ended though nobody ended them.
    pub fn dead(&self) -> Vec<String> {
        self.parts().filter_map(Part::died).collect()
    }

    /// Keeps what the balancer has logged, and what the parts did.
    pub fn keep_logs(&self, folder: &Path) {
        let log = self.balancer.stderr() + &self.balancer.stdout();
        let _ = std::fs::write(folder.join("balancer.log"), log);
        self.redis.keep_logs(folder);
        for part in self.parts() {
            part.keep_log();
        }
    }
}
