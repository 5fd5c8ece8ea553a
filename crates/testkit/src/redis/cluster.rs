//! A real Cluster of several nodes.

mod map;
mod migrate;

use std::time::Duration;

use redis::{Cmd, FromRedisValue, RedisResult, cmd};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::node::CLIENTS;
use super::{Node, RedisServer};
use crate::Looks;
use map::NodeLine;
pub use migrate::Moved;

/// How long anything may take that the nodes have to agree on; generous, for machines under load.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long a node may take to answer that may be paused.
const ANSWER: Duration = Duration::from_secs(1);
const SLOTS: usize = 16_384;

/// A Cluster: primaries with an even share of the slots each, and their replicas.
///
/// ```text
///          clients ── 127.0.0.2:PORT (proxy) ──┐
///  the other nodes ── 127.0.0.1:PORT ──────────┴─ node      bus, replication and MIGRATE go directly
/// ```
///
/// Clients are told the proxies' addresses alone (in CLUSTER SLOTS, MOVED and ASK, as the nodes' host names), so
/// [`Self::cut`] hides a node from clients while the Cluster thinks that all is well. A node that is cut off from the other
/// nodes too is had by [`Self::pause`]; one that clients reach and other nodes don't is not to be had.
///
/// Nodes are numbered: first the primaries in the order of their slots, then the first replica of each, then the second.
/// The number stays a node's own whatever becomes of it. Dropping it kills all.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Node>,
    replicas: usize,
}

/// How a [`RedisCluster`] is to be.
#[derive(Debug, Clone)]
pub struct RedisClusterBuilder {
    primaries: usize,
    replicas: usize,
    node_timeout: Duration,
    append_only: bool,
    settings: Vec<(String, String)>,
}

impl RedisClusterBuilder {
    /// So many primaries; 3 by default. With fewer than 3 nobody elects another when one dies.
    #[must_use]
    pub fn primaries(self, primaries: usize) -> Self {
        Self { primaries, ..self }
    }

    /// So many replicas of each primary; 1 by default.
    #[must_use]
    pub fn replicas(self, replicas: usize) -> Self {
        Self { replicas, ..self }
    }

    /// After how long a silent node is thought dead (`cluster-node-timeout`); 1.5 s by default.
    #[must_use]
    pub fn node_timeout(self, node_timeout: Duration) -> Self {
        Self { node_timeout, ..self }
    }

    /// Whether a node's writes are on disk before they are answered, so that it has them again after
    /// [`RedisCluster::kill`] and [`RedisCluster::restart`]; true by default.
    #[must_use]
    pub fn append_only(self, append_only: bool) -> Self {
        Self { append_only, ..self }
    }

    /// Any other setting of redis.conf, for all nodes.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts it; healthy when this returns.
    pub async fn start(self) -> RedisCluster {
        let count = self.primaries * (1 + self.replicas);
        let mut starting = JoinSet::new();
        for _ in 0..count {
            starting.spawn(Node::start(self.node()));
        }
        let cluster = RedisCluster { nodes: starting.join_all().await, replicas: self.replicas };
        cluster.meet().await;
        cluster.give_slots(self.primaries).await;
        cluster.give_replicas(self.primaries).await;
        cluster.wait_healthy().await;
        cluster
    }

    fn node(&self) -> super::RedisServerBuilder {
        let mut node = RedisServer::builder().append_only(self.append_only).cluster_member();
        for (name, value) in [
            ("cluster-announce-ip", "127.0.0.1"),
            // Only clients are told the host name.
            ("cluster-announce-hostname", &CLIENTS.to_string()),
            ("cluster-preferred-endpoint-type", "hostname"),
            ("cluster-node-timeout", &self.node_timeout.as_millis().to_string()),
            // A replica stays with the shard that the test gave it to.
            ("cluster-allow-replica-migration", "no"),
            // However old a replica's data are, it takes over: a test wants the failover, not the question.
            ("cluster-replica-validity-factor", "0"),
            ("repl-diskless-sync-delay", "0"),
        ] {
            node = node.setting(name, value);
        }
        self.settings.iter().fold(node, |node, (name, value)| node.setting(name, value))
    }
}

impl RedisCluster {
    /// Starts 3 primaries with a replica each.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// Chooses how it is to be.
    pub fn builder() -> RedisClusterBuilder {
        RedisClusterBuilder {
            primaries: 3,
            replicas: 1,
            node_timeout: Duration::from_millis(1_500),
            append_only: true,
            settings: Vec::new(),
        }
    }

    /// Its address as configuration takes it: `redis-cluster://127.0.0.2:PORT,…`, with all nodes.
    pub fn url(&self) -> String {
        let addresses: Vec<_> = self.nodes.iter().map(Node::addr).collect();
        format!("redis-cluster://{}", addresses.join(","))
    }

    /// All nodes, by number.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Kills node `n` (SIGKILL).
    pub fn kill(&self, n: usize) {
        self.nodes[n].kill();
    }

    /// Starts node `n` anew; back when it answers, which is before it has found its place: see [`Self::wait_healthy`].
    pub async fn restart(&self, n: usize) {
        self.nodes[n].restart().await;
    }

    /// Stops node `n` in the middle of whatever it does (SIGSTOP): nobody hears of it any more.
    pub fn pause(&self, n: usize) {
        self.nodes[n].pause();
    }

    /// Lets node `n` go on.
    pub fn resume(&self, n: usize) {
        self.nodes[n].resume();
    }

    /// Cuts node `n` off from clients; the other nodes still reach it, so nobody takes its place.
    pub fn cut(&self, n: usize) {
        self.nodes[n].cut();
    }

    /// Ends [`Self::cut`].
    pub fn heal(&self, n: usize) {
        self.nodes[n].heal();
    }

    /// The slot of `key`.
    pub async fn slot_of(&self, key: &str) -> u16 {
        let mut question = cmd("CLUSTER");
        question.arg("KEYSLOT").arg(key);
        let looks = Looks::new(PATIENCE, "a node answers");
        loop {
            for n in 0..self.nodes.len() {
                if let Ok(slot) = self.ask(n, &question).await {
                    return slot;
                }
            }
            looks.again("none").await;
        }
    }

    /// The node that is the primary of `slot` now, as most nodes see it; waits until there is one.
    pub async fn primary_of(&self, slot: u16) -> usize {
        let looks = Looks::new(PATIENCE, "the slot has a primary");
        loop {
            if let Some(primary) = self.try_primary_of(slot).await {
                return primary;
            }
            looks.again("none").await;
        }
    }

    /// The nodes that own slots now, as most nodes see it; waits until all slots are served.
    pub async fn primaries(&self) -> Vec<usize> {
        let looks = Looks::new(PATIENCE, "all slots are served");
        loop {
            match self.check_served().await {
                Ok(maps) => {
                    let owners = maps[0].1.iter().filter(|line| !line.slots.is_empty());
                    return owners.filter_map(|line| self.by_port(line.port)).collect();
                }
                Err(seen) => looks.again(&seen).await,
            }
        }
    }

    /// The nodes that are replicas of node `n` now, as it says itself.
    pub async fn replicas_of(&self, n: usize) -> Vec<usize> {
        let lines = self.map_of(n).await.unwrap_or_default();
        let own = lines.iter().find(|line| line.is_self).map(|line| line.id.clone());
        let replicas = lines.iter().filter(|line| own.is_some() && line.primary == own);
        replicas.filter_map(|line| self.by_port(line.port)).collect()
    }

    /// Waits until others serve the slots of node `n`, which were some: after it went.
    pub async fn wait_replaced(&self, n: usize) {
        let looks = Looks::new(PATIENCE, "another node has its place");
        loop {
            match self.check_served().await {
                Ok(maps) if maps.iter().all(|(_, lines)| self.is_without_slots(n, lines)) => return,
                Ok(_) => looks.again("it still has its slots").await,
                Err(seen) => looks.again(&seen).await,
            }
        }
    }

    fn is_without_slots(&self, n: usize, lines: &[NodeLine]) -> bool {
        lines.iter().all(|line| line.slots.is_empty() || self.by_port(line.port) != Some(n))
    }

    /// Waits until all slots are served by primaries that live, as all nodes see it that answer; at once, if a primary's
    /// death wasn't noticed yet: see [`Self::wait_replaced`].
    pub async fn wait_served(&self) {
        let looks = Looks::new(PATIENCE, "all slots are served");
        while let Err(seen) = self.check_served().await {
            looks.again(&seen).await;
        }
    }

    /// Waits until all nodes run and agree, all slots are served, and every primary has its replicas, in step.
    pub async fn wait_healthy(&self) {
        let looks = Looks::new(PATIENCE, "the Cluster is healthy");
        while let Err(seen) = self.check_healthy().await {
            looks.again(&seen).await;
        }
    }

    /// What of [`Self::wait_healthy`] isn't so now.
    pub async fn check_healthy(&self) -> Result<(), String> {
        if let Some(down) = self.nodes.iter().position(|node| !node.runs()) {
            return Err(format!("node {down} is down"));
        }
        let maps = self.check_served().await?;
        if maps.len() < self.nodes.len() {
            return Err(format!("{} of {} nodes answer", maps.len(), self.nodes.len()));
        }
        for (n, lines) in &maps {
            if let Some(bad) = lines.iter().find(|line| line.is_failing || !line.is_connected) {
                return Err(format!("node {n} misses {bad:?}"));
            }
        }
        for n in 0..self.nodes.len() {
            self.check_replication(n).await?;
        }
        Ok(())
    }

    /// Every node that answers has the same map, and knows all nodes by the addresses that clients are to be told.
    async fn check_served(&self) -> Result<Vec<(usize, Vec<NodeLine>)>, String> {
        let mut maps: Vec<(usize, Vec<NodeLine>)> = Vec::new();
        for (n, node) in self.nodes.iter().enumerate() {
            let Ok(lines) = self.map_of(n).await else { continue };
            let info: String = self.ask(n, cmd("CLUSTER").arg("INFO")).await.unwrap_or_default();
            if !info.contains("cluster_state:ok") || !info.contains("cluster_slots_ok:16384") {
                return Err(format!("node {n} at {}: {info}", node.addr()));
            }
            let hidden = lines.iter().find(|line| line.host != CLIENTS.to_string());
            if hidden.is_some() || lines.len() != self.nodes.len() {
                return Err(format!("node {n} knows {} nodes, and of these not {hidden:?}", lines.len()));
            }
            let failing =
                lines.iter().find(|line| !line.slots.is_empty() && (line.is_failing || !line.is_primary));
            if let Some(failing) = failing {
                return Err(format!("node {n} sees slots of {failing:?}"));
            }
            if let Some((other, before)) = maps.first()
                && map::owners(before) != map::owners(&lines)
            {
                return Err(format!("nodes {other} and {n} see other owners"));
            }
            maps.push((n, lines));
        }
        if maps.len() * 2 > self.nodes.len() { Ok(maps) } else { Err("most nodes don't answer".into()) }
    }

    async fn check_replication(&self, n: usize) -> Result<(), String> {
        let info: String =
            self.ask(n, cmd("INFO").arg("replication")).await.map_err(|error| error.to_string())?;
        let in_step = info.lines().filter(|line| line.contains("state=online")).count();
        let is_fine = if info.contains("role:master") {
            in_step == self.replicas
        } else {
            info.contains("master_link_status:up")
        };
        if is_fine { Ok(()) } else { Err(format!("node {n}: {info}")) }
    }

    async fn try_primary_of(&self, slot: u16) -> Option<usize> {
        let mut votes = vec![0; self.nodes.len()];
        for n in 0..self.nodes.len() {
            let lines = self.map_of(n).await.unwrap_or_default();
            let named = lines.iter().find(|line| line.owns(slot));
            // Before a failover the dead one still owns it; it is as good as no answer.
            if let Some(line) = named.filter(|line| line.is_primary && !line.is_failing)
                && let Some(named) = self.by_port(line.port)
            {
                votes[named] += 1;
            }
        }
        let (winner, count) = votes.into_iter().enumerate().max_by_key(|(_, count)| *count)?;
        (count * 2 > self.nodes.iter().filter(|node| node.runs()).count()).then_some(winner)
    }

    /// The nodes as node `n` sees them.
    async fn map_of(&self, n: usize) -> RedisResult<Vec<NodeLine>> {
        let text: String = self.ask(n, cmd("CLUSTER").arg("NODES")).await?;
        Ok(text.lines().map(NodeLine::read).collect())
    }

    fn by_port(&self, port: u16) -> Option<usize> {
        self.nodes.iter().position(|node| node.server().port() == port)
    }

    /// Asks node `n`, if it runs and answers soon.
    async fn ask<T: FromRedisValue>(&self, n: usize, question: &Cmd) -> RedisResult<T> {
        self.ask_within(n, question, ANSWER).await
    }

    async fn ask_within<T: FromRedisValue>(
        &self,
        n: usize,
        question: &Cmd,
        limit: Duration,
    ) -> RedisResult<T> {
        let late = || std::io::Error::from(std::io::ErrorKind::TimedOut);
        if !self.nodes[n].runs() {
            return Err(late().into());
        }
        let asked = async {
            let mut connection = self.nodes[n].server().connect().await?;
            question.query_async(&mut connection).await
        };
        timeout(limit, asked).await.unwrap_or_else(|_elapsed| Err(late().into()))
    }

    /// Tells a new Cluster's node something.
    async fn tell(&self, n: usize, words: &[String]) {
        let mut order = cmd("CLUSTER");
        order.arg(words);
        self.ask_within::<()>(n, &order, PATIENCE).await.unwrap_or_else(|error| panic!("{words:?}: {error}"));
    }

    /// Everybody meets everybody: quicker than by hearsay.
    async fn meet(&self) {
        for n in 0..self.nodes.len() {
            // While it is alone: afterwards they would have to agree on who has which.
            self.tell(n, &["SET-CONFIG-EPOCH".into(), (n + 1).to_string()]).await;
        }
        for n in 0..self.nodes.len() {
            for other in &self.nodes[n + 1..] {
                let server = other.server();
                let at = [server.port(), server.bus_port()].map(|port| port.to_string());
                self.tell(n, &[&["MEET".into(), "127.0.0.1".into()], &at[..]].concat()).await;
            }
        }
        let looks = Looks::new(PATIENCE, "the nodes know each other");
        while let Err(seen) = self.check_known().await {
            looks.again(&seen).await;
        }
    }

    async fn check_known(&self) -> Result<(), String> {
        for n in 0..self.nodes.len() {
            let lines = self.map_of(n).await.unwrap_or_default();
            let known = lines.iter().filter(|line| line.is_connected && !line.is_handshake).count();
            if known < self.nodes.len() {
                return Err(format!("node {n}: {lines:?}"));
            }
        }
        Ok(())
    }

    async fn give_slots(&self, primaries: usize) {
        for n in 0..primaries {
            let (first, last) = (SLOTS * n / primaries, SLOTS * (n + 1) / primaries - 1);
            self.tell(n, &["ADDSLOTSRANGE".into(), first.to_string(), last.to_string()]).await;
        }
    }

    async fn give_replicas(&self, primaries: usize) {
        for n in primaries..self.nodes.len() {
            let id = self.id_of(n % primaries).await.expect("a new node answers");
            self.tell(n, &["REPLICATE".into(), id]).await;
        }
    }

    async fn id_of(&self, n: usize) -> RedisResult<String> {
        self.ask(n, cmd("CLUSTER").arg("MYID")).await
    }
}
