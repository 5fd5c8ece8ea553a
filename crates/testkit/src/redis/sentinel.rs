//! A real primary with replicas, watched by real Sentinels.

mod watcher;

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use redis::{FromRedisValue, RedisResult, cmd};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::node::CLIENTS;
use super::{Node, RedisServer, RedisServerBuilder};
use crate::Looks;
use watcher::Watcher;

/// What the Sentinels call the primary.
const NAME: &str = "main";
/// How long anything may take that the Sentinels have to agree on; generous, for machines under load.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long a server may take to answer that may be paused.
const ANSWER: Duration = Duration::from_secs(1);

/// One primary, its replicas, and Sentinels that choose another primary when it dies.
///
/// ```text
///  clients, Sentinels, replicas ── 127.0.0.2:PORT (proxy) ── server
///                       clients ── 127.0.0.1:PORT ────────── Sentinel
/// ```
///
/// Here everybody goes by the proxies, since Sentinels tell clients the addresses that they use themselves: a server that is
/// [`cut`](Self::cut) off is cut off from all, and an old primary then goes on by itself, with nobody to hear of it, until
/// it is healed and made a replica. One that clients alone don't reach is not to be had.
///
/// Servers are numbered: 0 is the first primary. The number stays a server's own whatever becomes of it. Dropping it kills
/// all.
#[derive(Debug)]
pub struct SentinelSet {
    nodes: Vec<Node>,
    sentinels: Vec<Watcher>,
}

/// How a [`SentinelSet`] is to be.
#[derive(Debug, Clone)]
pub struct SentinelSetBuilder {
    replicas: usize,
    sentinels: usize,
    down_after: Duration,
    failover_timeout: Duration,
    append_only: bool,
    settings: Vec<(String, String)>,
}

impl SentinelSetBuilder {
    /// So many replicas; 2 by default.
    #[must_use]
    pub fn replicas(self, replicas: usize) -> Self {
        Self { replicas, ..self }
    }

    /// So many Sentinels, of which more than half decide; 3 by default.
    #[must_use]
    pub fn sentinels(self, sentinels: usize) -> Self {
        Self { sentinels, ..self }
    }

    /// After how long a silent primary is thought dead; 3 s by default, so that none is replaced because a busy machine let
    /// it stand still. Clearly more than 1 s: a Sentinel counts a new primary's silence from the moment in which it hears of it,
    /// but sends its first PING a second later. With 1 s all of them think it dead just then, and some replace it at once.
    #[must_use]
    pub fn down_after(self, down_after: Duration) -> Self {
        Self { down_after, ..self }
    }

    /// How long a failover may take before another is tried; 5 s by default.
    #[must_use]
    pub fn failover_timeout(self, failover_timeout: Duration) -> Self {
        Self { failover_timeout, ..self }
    }

    /// Whether a server's writes are on disk before they are answered, so that it has them again after
    /// [`SentinelSet::kill`] and [`SentinelSet::restart`]; true by default.
    #[must_use]
    pub fn append_only(self, append_only: bool) -> Self {
        Self { append_only, ..self }
    }

    /// Any other setting of redis.conf, for all servers.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts it; healthy when this returns.
    pub async fn start(self) -> SentinelSet {
        let primary = Node::start(self.server()).await;
        let follows = format!("{CLIENTS} {}", primary.server().port());
        let mut starting = JoinSet::new();
        for _ in 0..self.replicas {
            starting.spawn(Node::start(self.server().setting("replicaof", &follows)));
        }
        let mut nodes = vec![primary];
        nodes.extend(starting.join_all().await);
        let set = SentinelSet { nodes, sentinels: Vec::new() };
        // Before the Sentinels' first look, so that this finds everybody.
        let looks = Looks::new(PATIENCE, "the replicas are in step");
        while let Err(seen) = set.check_replication(0).await {
            looks.again(&seen).await;
        }
        let quorum = self.sentinels / 2 + 1;
        let config = format!(
            "sentinel monitor {NAME} {follows} {quorum}\n\
             sentinel down-after-milliseconds {NAME} {}\n\
             sentinel failover-timeout {NAME} {}\n\
             sentinel parallel-syncs {NAME} 10\n",
            self.down_after.as_millis(),
            self.failover_timeout.as_millis()
        );
        let mut watching = JoinSet::new();
        for _ in 0..self.sentinels {
            watching.spawn(Watcher::start(config.clone()));
        }
        let set = SentinelSet { sentinels: watching.join_all().await, ..set };
        set.wait_healthy().await;
        set
    }

    fn server(&self) -> RedisServerBuilder {
        let server = RedisServer::builder()
            .append_only(self.append_only)
            .setting("replica-announce-ip", &CLIENTS.to_string())
            .setting("repl-diskless-sync-delay", "0");
        self.settings.iter().fold(server, |server, (name, value)| server.setting(name, value))
    }
}

impl SentinelSet {
    /// Starts a primary, two replicas and three Sentinels.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// Chooses how it is to be.
    pub fn builder() -> SentinelSetBuilder {
        SentinelSetBuilder {
            replicas: 2,
            sentinels: 3,
            down_after: Duration::from_secs(3),
            failover_timeout: Duration::from_secs(5),
            append_only: true,
            settings: Vec::new(),
        }
    }

    /// Its address as configuration takes it: `redis-sentinel://127.0.0.1:PORT,…/main`, with all Sentinels.
    pub fn url(&self) -> String {
        let addresses: Vec<_> = self.sentinels.iter().map(Watcher::addr).collect();
        format!("redis-sentinel://{}/{NAME}", addresses.join(","))
    }

    /// All servers, by number.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Kills server `n` (SIGKILL).
    pub fn kill(&self, n: usize) {
        self.nodes[n].kill();
    }

    /// Starts server `n` anew; back when it answers, which is before it has found its place: see [`Self::wait_healthy`].
    pub async fn restart(&self, n: usize) {
        self.nodes[n].restart().await;
    }

    /// Stops server `n` in the middle of whatever it does (SIGSTOP).
    pub fn pause(&self, n: usize) {
        self.nodes[n].pause();
    }

    /// Lets server `n` go on.
    pub fn resume(&self, n: usize) {
        self.nodes[n].resume();
    }

    /// Cuts server `n` off from clients, Sentinels and its replicas. (What it began itself, a replica's link to its primary,
    /// goes by the primary's proxy and stays.)
    pub fn cut(&self, n: usize) {
        self.nodes[n].cut();
    }

    /// Ends [`Self::cut`].
    pub fn heal(&self, n: usize) {
        self.nodes[n].heal();
    }

    /// Kills Sentinel `n` (SIGKILL).
    pub fn kill_sentinel(&self, n: usize) {
        self.sentinels[n].kill();
    }

    /// Starts Sentinel `n` anew after [`Self::kill_sentinel`], with what it knew.
    pub async fn restart_sentinel(&self, n: usize) {
        self.sentinels[n].launch().await;
    }

    /// Makes replica `n` a primary of its own, and has all Sentinels name it. The old one isn't told, nor its other replicas: it
    /// goes on for whoever comes to it, as one that is cut off from replicas and Sentinels alone.
    pub async fn name_in_silence(&self, n: usize) {
        let promotion = cmd("REPLICAOF").arg("NO").arg("ONE").to_owned();
        let promoted: RedisResult<()> = promotion.query_async(&mut self.nodes[n].client().await).await;
        promoted.expect("a replica that runs takes orders");
        for sentinel in &self.sentinels {
            sentinel
                .watch_another(NAME, self.nodes[n].server().port())
                .await
                .expect("a Sentinel that runs takes orders");
        }
    }

    /// Copies each Sentinel's log to `folder`, as `sentinel-1.log` and so on, as far as that can be done.
    pub fn keep_logs(&self, folder: &Path) {
        for (n, sentinel) in (1..).zip(&self.sentinels) {
            let _ = std::fs::copy(sentinel.log(), folder.join(format!("sentinel-{n}.log")));
        }
    }

    /// The server that most Sentinels call the primary now; waits until there is one.
    pub async fn primary(&self) -> usize {
        let looks = Looks::new(PATIENCE, "most Sentinels name a primary");
        loop {
            if let Some(primary) = self.try_primary().await {
                return primary;
            }
            looks.again("none").await;
        }
    }

    /// Waits until most Sentinels name a server as primary that isn't server `n`, and it is one: after a failover. Returns
    /// that server.
    pub async fn wait_other_primary(&self, n: usize) -> usize {
        let looks = Looks::new(PATIENCE, "another primary is chosen");
        loop {
            let named = self.primary().await;
            if named != n && self.is_primary(named).await {
                return named;
            }
            looks.again(&format!("server {named}")).await;
        }
    }

    async fn is_primary(&self, n: usize) -> bool {
        let info: RedisResult<String> = self.ask(n, "replication").await;
        info.is_ok_and(|info| info.contains("role:master"))
    }

    /// Waits until all servers and Sentinels run and agree, and every replica is in step.
    pub async fn wait_healthy(&self) {
        let looks = Looks::new(PATIENCE, "the servers and Sentinels are healthy");
        while let Err(seen) = self.check_healthy().await {
            looks.again(&seen).await;
        }
    }

    /// What of [`Self::wait_healthy`] isn't so now.
    pub async fn check_healthy(&self) -> Result<(), String> {
        if let Some(down) = self.nodes.iter().position(|node| !node.runs()) {
            return Err(format!("server {down} is down"));
        }
        let mut named = Vec::new();
        for sentinel in &self.sentinels {
            let known = sentinel.state(NAME).await.map_err(|error| error.to_string())?;
            self.check_known(&known)?;
            named.push(known["port"].clone());
        }
        named.dedup();
        let [port] = &named[..] else { return Err(format!("the Sentinels name {named:?}")) };
        let primary = self.by_port(port).ok_or_else(|| format!("nobody has the port {port}"))?;
        self.check_replication(primary).await
    }

    /// Whether a Sentinel sees everybody, and everybody well.
    fn check_known(&self, known: &HashMap<String, String>) -> Result<(), String> {
        let is = |name: &str, value: usize| known.get(name) == Some(&value.to_string());
        let is_well = known.get("flags").is_some_and(|flags| flags == "master")
            && is("num-slaves", self.nodes.len() - 1)
            && is("num-other-sentinels", self.sentinels.len() - 1);
        if is_well { Ok(()) } else { Err(format!("a Sentinel says {known:?}")) }
    }

    /// Whether server `n` is the primary, and all others its replicas, in step.
    async fn check_replication(&self, n: usize) -> Result<(), String> {
        for other in 0..self.nodes.len() {
            let info: String =
                self.ask(other, "replication").await.map_err(|error| format!("server {other}: {error}"))?;
            let is_fine = if other == n {
                let in_step = info.lines().filter(|line| line.contains("state=online")).count();
                info.contains("role:master") && in_step == self.nodes.len() - 1
            } else {
                info.contains("role:slave") && info.contains("master_link_status:up")
            };
            if !is_fine {
                return Err(format!("server {other}: {info}"));
            }
        }
        Ok(())
    }

    async fn try_primary(&self) -> Option<usize> {
        let mut votes = vec![0; self.nodes.len()];
        for sentinel in &self.sentinels {
            let named = sentinel.primary(NAME).await.ok().and_then(|port| self.by_port(&port));
            if let Some(named) = named {
                votes[named] += 1;
            }
        }
        votes.iter().position(|count| count * 2 > self.sentinels.len())
    }

    fn by_port(&self, port: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.server().port().to_string() == port)
    }

    /// A section of INFO of server `n`, if it runs and answers soon.
    async fn ask<T: FromRedisValue>(&self, n: usize, section: &str) -> RedisResult<T> {
        let late = || std::io::Error::from(std::io::ErrorKind::TimedOut);
        if !self.nodes[n].runs() {
            return Err(late().into());
        }
        let asked = async {
            let mut connection = self.nodes[n].server().connect().await?;
            cmd("INFO").arg(section).query_async(&mut connection).await
        };
        timeout(ANSWER, asked).await.unwrap_or_else(|_elapsed| Err(late().into()))
    }
}
