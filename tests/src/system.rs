//! A system of processes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use testkit::process::Jobcast;
use testkit::proxy::Proxy;
use testkit::redis::{RedisCluster, RedisServer, SentinelSet};
use testkit::{free_port, wait_http_ok};

use crate::{Client, Redis, SOON};

/// The folder of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// The default tasks of a test: two built-in ones, a worker's over HTTP, and programs of `tests/programs`.
fn tasks() -> String {
    let program = |name: &str| repository().join("tests/programs").join(name).display().to_string();
    format!(
        "[tasks.wordcount]\nhandler = \"wordcount\"\n[tasks.narrate]\nhandler = \"narrate\"\n[tasks.remote]\n\
         [tasks.count]\ncommand = [\"python3\", \"-I\", \"-S\", {:?}]\n",
        program("count.py")
    )
}

/// A system to be.
#[derive(Debug)]
pub struct Builder {
    gateways: usize,
    workers: usize,
    couriers: usize,
    settings: String,
    store: String,
    topology: Topology,
    node_timeout: Option<Duration>,
    proxied: bool,
    durable: bool,
    anonymous: bool,
}

/// How the servers belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Topology {
    Single,
    Cluster,
    Sentinel,
}

/// A running system. Dropping it kills all of it.
#[derive(Debug)]
pub struct System {
    /// The server, or the servers.
    pub redis: Redis,
    /// What stands between the processes and the server, if the test asked for it.
    pub proxy: Option<Proxy>,
    /// The gateways, in the order of `clients`.
    pub gateways: Vec<Jobcast>,
    /// A client of each gateway.
    pub clients: Vec<Client>,
    /// The workers.
    pub workers: Vec<Jobcast>,
    /// The couriers.
    pub couriers: Vec<Jobcast>,
    ports: Vec<u16>,
    config: String,
}

impl System {
    /// One gateway and one worker, unless told otherwise.
    pub fn builder() -> Builder {
        Builder {
            gateways: 1,
            workers: 1,
            couriers: 0,
            settings: String::new(),
            store: String::new(),
            topology: Topology::Single,
            node_timeout: None,
            proxied: false,
            durable: true,
            anonymous: true,
        }
    }

    /// The client of gateway `index`.
    pub fn client(&self, index: usize) -> &Client {
        &self.clients[index]
    }

    /// Starts one more worker.
    pub fn start_worker(&mut self) {
        self.workers.push(Jobcast::builder().arg("worker").config(&self.config).start());
    }

    /// Starts one more courier.
    pub fn start_courier(&mut self) {
        self.couriers.push(Jobcast::builder().arg("courier").config(&self.config).start());
    }

    /// Starts gateway `index` anew, on its port; the one before must have been stopped. Ready when this returns, unless Redis
    /// is away: then wait for the port.
    pub fn restart_gateway(&mut self, index: usize) {
        self.gateways[index] = start_gateway(&self.config, self.ports[index]);
    }

    /// Changes the configuration of whatever is started from now on.
    pub fn reconfigure(&mut self, change: impl FnOnce(&str) -> String) {
        self.config = change(&self.config);
    }

    /// Waits until gateway `index` serves.
    pub async fn wait_gateway(&self, index: usize) {
        wait_http_ok(&self.clients[index].url("/healthz"), SOON).await;
    }

    /// The keys that Redis holds, but for those that come and go by themselves.
    pub async fn stored(&self) -> Vec<String> {
        let keys = self.redis.keys().await;
        keys.into_iter().map(|info| info.key).filter(|key| !key.ends_with("}:sweeper")).collect()
    }

    /// How many jobs there are in Redis.
    pub async fn jobs(&self) -> usize {
        let keys = self.redis.keys().await;
        keys.iter().filter(|info| info.key.contains("}:job:")).count()
    }

    /// The names of keys without a TTL, their prefix and owner or task left out, sorted; after all jobs have ended.
    pub async fn lasting_keys(&self) -> Vec<String> {
        let keys = self.redis.keys().await;
        let mut names: Vec<_> = keys
            .iter()
            .filter(|info| info.ttl.is_none())
            .map(|info| &info.key)
            .map(|key| key.rsplit_once("}:").map_or(key.as_str(), |(_, name)| name))
            .map(|name| name.split(':').next().unwrap().to_owned())
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// Once all jobs have ended: every key has a TTL, but for the few that hold no job for ever.
    pub async fn nothing_grows(&self) {
        let allowed = ["expiry", "failedof", "jc", "jobsof", "sweeper", "tasks"];
        testkit::eventually(SOON, "only lasting keys have no TTL", async || {
            self.lasting_keys().await.iter().all(|name| allowed.contains(&name.as_str()))
        })
        .await;
    }
}

fn start_gateway(config: &str, port: u16) -> Jobcast {
    Jobcast::builder().args(["gateway", "--listen", &format!("127.0.0.1:{port}")]).config(config).start()
}

impl Builder {
    /// So many gateways.
    #[must_use]
    pub fn gateways(self, gateways: usize) -> Self {
        Self { gateways, ..self }
    }

    /// So many workers.
    #[must_use]
    pub fn workers(self, workers: usize) -> Self {
        Self { workers, ..self }
    }

    /// So many couriers, where else there is none.
    #[must_use]
    pub fn couriers(self, couriers: usize) -> Self {
        Self { couriers, ..self }
    }

    /// More configuration, TOML; sections other than `[store]`, `[auth]` and the default tasks. Repeatable.
    #[must_use]
    pub fn settings(mut self, toml: &str) -> Self {
        self.settings += toml;
        self.settings += "\n";
        self
    }

    /// More lines of the section `[store]`. Repeatable.
    #[must_use]
    pub fn store(mut self, toml: &str) -> Self {
        self.store += toml;
        self.store += "\n";
        self
    }

    /// Requests need a key; `toml` declares them, each as `[[auth.keys]]`.
    #[must_use]
    pub fn keys(mut self, toml: &str) -> Self {
        self.anonymous = false;
        self.settings = toml.to_owned() + "\n" + &self.settings;
        self
    }

    /// Redis is a Cluster of three primaries and a replica of each.
    #[must_use]
    pub fn cluster(self) -> Self {
        Self { topology: Topology::Cluster, ..self }
    }

    /// After how long a silent node of the Cluster is thought dead, where that isn't to be soon.
    #[must_use]
    pub fn node_timeout(self, node_timeout: Duration) -> Self {
        Self { node_timeout: Some(node_timeout), ..self }
    }

    /// Redis is a primary with two replicas, behind three Sentinels.
    #[must_use]
    pub fn sentinel(self) -> Self {
        Self { topology: Topology::Sentinel, ..self }
    }

    /// Redis keeps nothing on disk: killed, it comes back empty.
    #[must_use]
    pub fn volatile(self) -> Self {
        Self { durable: false, ..self }
    }

    /// All processes reach Redis, a single server, through a proxy that the test can break. (The servers of a Cluster and
    /// those behind Sentinels have proxies of their own.)
    #[must_use]
    pub fn proxied(self) -> Self {
        Self { proxied: true, ..self }
    }

    async fn redis(&self) -> Redis {
        match self.topology {
            Topology::Single => Redis::Single(RedisServer::builder().append_only(self.durable).start().await),
            Topology::Cluster => {
                let cluster = RedisCluster::builder().append_only(self.durable);
                let cluster = match self.node_timeout {
                    Some(node_timeout) => cluster.node_timeout(node_timeout),
                    None => cluster,
                };
                Redis::Cluster(cluster.start().await)
            }
            Topology::Sentinel => {
                Redis::Sentinel(SentinelSet::builder().append_only(self.durable).start().await)
            }
        }
    }

    /// Starts it; ready when this returns.
    pub async fn start(self) -> System {
        let redis = self.redis().await;
        let proxy = if self.proxied { Some(Proxy::start(redis.addr()).await) } else { None };
        let url = proxy.as_ref().map_or_else(|| redis.url(), Proxy::url);
        let input = repository().join("examples");
        let config = format!(
            "[store]\nurl = {url:?}\n{}[auth]\nanonymous = {}\n{}\n{}\n",
            self.store,
            self.anonymous,
            self.settings
                .replace("[worker]\n", &format!("[worker]\ninput_dir = {:?}\n", input.display().to_string())),
            tasks()
        );
        let ports: Vec<_> = (0..self.gateways).map(|_| free_port()).collect();
        let gateways = ports.iter().map(|&port| start_gateway(&config, port)).collect();
        let clients: Vec<_> =
            ports.iter().map(|port| Client::new(format!("http://127.0.0.1:{port}"))).collect();
        let mut system = System {
            redis,
            proxy,
            gateways,
            clients,
            workers: Vec::new(),
            couriers: Vec::new(),
            ports,
            config,
        };
        for _ in 0..self.workers {
            system.start_worker();
        }
        for _ in 0..self.couriers {
            system.start_courier();
        }
        for client in &system.clients {
            wait_http_ok(&client.url("/readyz"), SOON).await;
        }
        system
    }
}
