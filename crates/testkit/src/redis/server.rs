//! One real server: a child process on a free port, with its data in a temporary folder.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Client, cmd};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::group::{Group, print_tail};
use crate::{Looks, free_port};

/// How long a start or a graceful stop may take; generous, for machines under load.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a test's own question may take.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);
/// The server's output, in its folder.
const LOG: &str = "server.log";
/// Its configuration, in its folder.
const CONFIG: &str = "redis.conf";
/// The Unix socket, in its folder.
const SOCKET: &str = "redis.sock";

/// A real redis-server (or valkey-server) of this test's own.
///
/// The binary is the builder's [`program`](RedisServerBuilder::program), else `JOBCAST_TEST_REDIS`, else `redis-server`, else `valkey-server` on the PATH. Dropping it kills the
/// server and removes its data; if the test is panicking, what the server printed goes to stderr first.
pub struct RedisServer {
    options: RedisServerBuilder,
    folder: TempDir,
    port: u16,
    bus_port: u16,
    /// `None` while it is down.
    process: Mutex<Option<Group>>,
}

/// How a [`RedisServer`] is to be.
#[derive(Debug, Clone)]
pub struct RedisServerBuilder {
    program: Option<PathBuf>,
    append_only: bool,
    cluster: Option<Cluster>,
    unix_socket: bool,
    settings: Vec<(String, String)>,
}

/// Its part in a Cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cluster {
    /// It is all of it, and owns all slots.
    Alone,
    /// A node of it, which somebody else brings together with the others.
    Member,
}

impl RedisServerBuilder {
    /// The server's program, whatever the environment says.
    #[must_use]
    pub fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = Some(program.into());
        self
    }

    /// Whether writes are on disk before they are answered (`appendfsync always`), so that they survive
    /// [`RedisServer::kill`]; true by default. If false, a restarted server is empty.
    #[must_use]
    pub fn append_only(mut self, append_only: bool) -> Self {
        self.append_only = append_only;
        self
    }

    /// Limits its memory, in bytes; what would go beyond is refused (`noeviction`) unless `maxmemory-policy` is set.
    #[must_use]
    pub fn maxmemory(self, bytes: u64) -> Self {
        self.setting("maxmemory", &bytes.to_string())
    }

    /// Whether it listens on a Unix socket as well: see [`RedisServer::unix_url`].
    #[must_use]
    pub fn unix_socket(mut self, unix_socket: bool) -> Self {
        self.unix_socket = unix_socket;
        self
    }

    /// Whether it is a Cluster of one node, which owns all slots.
    #[must_use]
    pub fn cluster(mut self, cluster: bool) -> Self {
        self.cluster = cluster.then_some(Cluster::Alone);
        self
    }

    /// A node of a Cluster, without slots and without the others: see [`RedisCluster`](super::RedisCluster).
    pub(super) fn cluster_member(mut self) -> Self {
        self.cluster = Some(Cluster::Member);
        self
    }

    /// Any other setting of redis.conf, as in `.setting("maxmemory-policy", "allkeys-lru")`.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts it, and returns when it answers (and, as a Cluster, says `cluster_state:ok`).
    pub async fn start(self) -> RedisServer {
        let folder = tempfile::Builder::new().prefix("jc-redis-").tempdir().expect("a temporary folder");
        let server = RedisServer {
            options: self,
            folder,
            port: free_port(),
            bus_port: free_port(),
            process: Mutex::new(None),
        };
        server.launch().await;
        server
    }
}

impl RedisServer {
    /// Starts a server with an append-only file, without Cluster.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// Chooses how the server is to be.
    pub fn builder() -> RedisServerBuilder {
        RedisServerBuilder {
            program: None,
            append_only: true,
            cluster: None,
            unix_socket: false,
            settings: Vec::new(),
        }
    }

    /// Its address as configuration takes it: `redis://127.0.0.1:PORT`, or `redis-cluster://…` for a Cluster.
    pub fn url(&self) -> String {
        let scheme = if self.options.cluster.is_some() { "redis-cluster" } else { "redis" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// Its address by the Unix socket: `unix:///path`. Panics if it was built without one.
    pub fn unix_url(&self) -> String {
        assert!(self.options.unix_socket, "this server was built without unix_socket(true)");
        format!("unix://{}", self.folder.path().join(SOCKET).display())
    }

    /// Its TCP port on 127.0.0.1: the same for its whole life, restarts included.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its TCP address, `127.0.0.1:PORT`: what [`Proxy::start`](crate::proxy::Proxy::start) takes.
    pub fn addr(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The port on which the other nodes of its Cluster reach it.
    pub(super) fn bus_port(&self) -> u16 {
        self.bus_port
    }

    /// The folder of its data and its output.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A new connection for the test's own questions; each may take 5 s.
    pub async fn client(&self) -> MultiplexedConnection {
        self.connect().await.unwrap_or_else(|error| panic!("no connection to {}: {error}", self.url()))
    }

    /// The channels of sharded Pub/Sub that have a subscriber now.
    pub async fn shard_channels(&self) -> Vec<String> {
        let asked = cmd("PUBSUB").arg("SHARDCHANNELS").query_async(&mut self.client().await).await;
        asked.expect("a server that runs tells its channels")
    }

    /// Stops it in the middle of whatever it does (SIGSTOP): connections stay open, nothing is answered.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on after [`Self::pause`].
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Kills it (SIGKILL), as a power cut does; returns when it is gone. [`Self::restart`] brings it back.
    pub fn kill(&self) {
        if let Some(mut process) = self.process.lock().take() {
            process.kill();
        }
    }

    /// Stops it in order (SIGTERM); returns when it is gone. [`Self::restart`] brings it back.
    pub fn stop(&self) {
        if let Some(mut process) = self.process.lock().take() {
            process.signal(Signal::CONT);
            process.signal(Signal::TERM);
            assert!(
                process.wait(PATIENCE).is_some(),
                "the server on port {} didn't stop in order",
                self.port
            );
        }
    }

    /// Stops it in order if it runs, and starts it again on the same port with the same data; returns when it
    /// answers and has loaded its data.
    pub async fn restart(&self) {
        self.stop();
        self.launch().await;
    }

    /// Whether it was started and not stopped or killed since; a paused one runs.
    pub(super) fn runs(&self) -> bool {
        self.process.lock().is_some()
    }

    fn signal(&self, signal: Signal) {
        self.process.lock().as_mut().expect("the server runs").signal(signal);
    }

    /// As [`Self::client`], where it may be down.
    pub(super) async fn connect(&self) -> redis::RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(Some(RESPONSE_TIMEOUT))
            .set_connection_timeout(Some(RESPONSE_TIMEOUT));
        // By plain TCP for a Cluster too: its only node owns every slot.
        Client::open(format!("redis://127.0.0.1:{}", self.port))?
            .get_multiplexed_async_connection_with_config(&config)
            .await
    }

    async fn launch(&self) {
        let mut command = self.command();
        let process = Group::spawn(&mut command).unwrap_or_else(|error| {
            panic!("the server's program {} can't be started: {error}", command.get_program().display())
        });
        let pid = process.id();
        *self.process.lock() = Some(process);
        let looks = Looks::new(PATIENCE, "the server answers");
        while let Err(seen) = self.ready(pid).await {
            looks.again(&seen).await;
        }
        if self.options.cluster == Some(Cluster::Alone) {
            let mut connection = self.client().await;
            own_all_slots(&mut connection).await;
            let looks = Looks::new(PATIENCE, "the Cluster is whole");
            while let Err(seen) = cluster_ok(&mut connection).await {
                looks.again(&seen).await;
            }
        }
    }

    /// Whether it is our own process that answers, with all its data.
    async fn ready(&self, pid: u32) -> Result<(), String> {
        if let Some(status) = self.process.lock().as_mut().and_then(Group::ended) {
            print_tail("redis", &self.folder.path().join(LOG));
            panic!("the server on port {} ended at its start: {status}", self.port);
        }
        let mut connection = self.connect().await.map_err(|error| error.to_string())?;
        let info: String =
            cmd("INFO").query_async(&mut connection).await.map_err(|error| error.to_string())?;
        if !info.contains(&format!("process_id:{pid}\r\n")) {
            return Err(format!("another server answers on port {}", self.port));
        }
        // While it loads, PING answers with the error LOADING.
        cmd("PING").exec_async(&mut connection).await.map_err(|error| error.to_string())
    }

    fn command(&self) -> Command {
        let log = OpenOptions::new().create(true).append(true).open(self.folder.path().join(LOG));
        let log = log.expect("the server's folder can be written");
        let config = self.folder.path().join(CONFIG);
        // Written once: what a server rewrites in it, such as whose replica it is, survives its end.
        if !config.exists() {
            fs::write(&config, self.config()).expect("the server's folder can be written");
        }
        let mut command = Command::new(self.options.program.clone().unwrap_or_else(binary));
        // The folder as working directory: a Unix socket's path must be short, so it is opened by a relative one.
        command.current_dir(self.folder.path()).arg(CONFIG).stdin(Stdio::null());
        command.stderr(log.try_clone().expect("a second handle")).stdout(log);
        command
    }

    /// Its redis.conf.
    fn config(&self) -> String {
        let mut config = String::new();
        let mut set = |name: &str, value: &str| {
            let value = if value.is_empty() { "\"\"" } else { value };
            config.extend([name, " ", value, "\n"]);
        };
        set("port", &self.port.to_string());
        set("bind", "127.0.0.1");
        set("save", "");
        set("appendonly", if self.options.append_only { "yes" } else { "no" });
        set("appendfsync", "always");
        set("enable-debug-command", "yes");
        if self.options.unix_socket {
            set("unixsocket", SOCKET);
        }
        if self.options.cluster.is_some() {
            set("cluster-enabled", "yes");
            set("cluster-port", &self.bus_port.to_string());
        }
        for (name, value) in &self.options.settings {
            set(name, value);
        }
        config
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        drop(self.process.lock().take());
        if std::thread::panicking() {
            print_tail(&format!("redis on port {}", self.port), &self.folder.path().join(LOG));
        }
    }
}

impl std::fmt::Debug for RedisServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisServer").field("url", &self.url()).finish_non_exhaustive()
    }
}

/// Gives a new node all slots; a restarted one has them already.
async fn own_all_slots(connection: &mut impl ConnectionLike) {
    let info: String =
        cmd("CLUSTER").arg("INFO").query_async(connection).await.expect("CLUSTER INFO answers");
    if info.contains("cluster_slots_assigned:0\r\n") {
        let mut add = cmd("CLUSTER");
        add.arg("ADDSLOTSRANGE").arg(0).arg(16_383);
        add.exec_async(connection).await.expect("a new node takes all slots");
    }
}

async fn cluster_ok(connection: &mut impl ConnectionLike) -> Result<(), String> {
    let info: Result<String, _> = cmd("CLUSTER").arg("INFO").query_async(connection).await;
    match info {
        Ok(info) if info.contains("cluster_state:ok") => Ok(()),
        Ok(info) => Err(info),
        Err(error) => Err(error.to_string()),
    }
}

/// The server's program.
pub(super) fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("JOBCAST_TEST_REDIS") {
        return path.into();
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    ["redis-server", "valkey-server"]
        .iter()
        .flat_map(|name| std::env::split_paths(&folders).map(move |folder| folder.join(name)))
        .find(|path| path.is_file())
        .unwrap_or_else(|| {
            panic!(
                "the tests need a Redis server: install the package redis-server (Debian, Ubuntu), redis (Fedora, \
                 Homebrew) or valkey, or set JOBCAST_TEST_REDIS to the path of a redis-server or valkey-server"
            )
        })
}
