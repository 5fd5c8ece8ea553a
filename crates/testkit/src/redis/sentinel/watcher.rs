//! One Sentinel.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, RedisResult, cmd};
use tempfile::TempDir;

use super::{ANSWER, PATIENCE};
use crate::group::{Group, print_tail};
use crate::redis::node::CLIENTS;
use crate::redis::server::binary;
use crate::{Looks, free_port};

const CONFIG: &str = "sentinel.conf";
const LOG: &str = "sentinel.log";

/// A process that watches a primary. Killed when dropped.
pub(super) struct Watcher {
    folder: TempDir,
    port: u16,
    /// `None` while it is down.
    process: Mutex<Option<Group>>,
}

impl Watcher {
    /// Starts one; `config` says what it watches.
    pub(super) async fn start(config: String) -> Self {
        let folder = tempfile::Builder::new().prefix("jc-sentinel-").tempdir().expect("a temporary folder");
        let port = free_port();
        let config = format!("port {port}\nbind 127.0.0.1\nsentinel announce-ip 127.0.0.1\n{config}");
        fs::write(folder.path().join(CONFIG), config).expect("the Sentinel's folder can be written");
        let watcher = Self { folder, port, process: Mutex::new(None) };
        watcher.launch().await;
        watcher
    }

    /// Starts it; what it knew it has written in its configuration.
    pub(super) async fn launch(&self) {
        let log = File::options().create(true).append(true).open(self.log());
        let log = log.expect("the Sentinel's folder can be written");
        let mut command = Command::new(binary());
        command.current_dir(self.folder.path()).args([CONFIG, "--sentinel"]).stdin(Stdio::null());
        command.stderr(log.try_clone().expect("a second handle")).stdout(log);
        *self.process.lock() = Some(Group::spawn(&mut command).expect("the server's program can be started"));
        let looks = Looks::new(PATIENCE, "the Sentinel answers");
        while let Err(error) = self.hurry().await {
            looks.again(&error.to_string()).await;
        }
    }

    pub(super) fn kill(&self) {
        if let Some(mut process) = self.process.lock().take() {
            process.kill();
        }
    }

    pub(super) fn addr(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What it says.
    pub(super) fn log(&self) -> PathBuf {
        self.folder.path().join(LOG)
    }

    /// What it knows of the primary `name`.
    pub(super) async fn state(&self, name: &str) -> RedisResult<HashMap<String, String>> {
        self.connect().await?.send(cmd("SENTINEL").arg("MASTER").arg(name)).await
    }

    /// The port of the one that it tells clients.
    pub(super) async fn primary(&self, name: &str) -> RedisResult<String> {
        let question = cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(name).to_owned();
        let (_host, port): (String, String) = self.connect().await?.send(&question).await?;
        Ok(port)
    }

    /// Forgets the primary `name`, and calls the one at `port` so.
    pub(super) async fn watch_another(&self, name: &str, port: u16) -> RedisResult<()> {
        let forget = cmd("SENTINEL").arg("REMOVE").arg(name).to_owned();
        self.connect().await?.send::<()>(&forget).await?;
        let watch =
            cmd("SENTINEL").arg("MONITOR").arg(name).arg(CLIENTS.to_string()).arg(port).arg(1).to_owned();
        self.connect().await?.send(&watch).await
    }

    /// Looks at servers, and tells the other Sentinels of itself, more often than every 10 s and 2 s: tests need not wait
    /// for that. All else is at its usual pace.
    async fn hurry(&self) -> RedisResult<()> {
        let periods = ["DEBUG", "INFO-PERIOD", "1000", "PUBLISH-PERIOD", "500"];
        self.connect().await?.send(cmd("SENTINEL").arg(&periods)).await
    }

    async fn connect(&self) -> RedisResult<Asking> {
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(Some(ANSWER))
            .set_connection_timeout(Some(ANSWER));
        let client = Client::open(format!("redis://127.0.0.1:{}", self.port))?;
        Ok(Asking(client.get_multiplexed_async_connection_with_config(&config).await?))
    }
}

/// A connection for one question.
struct Asking(MultiplexedConnection);

impl Asking {
    async fn send<T: redis::FromRedisValue>(mut self, question: &Cmd) -> RedisResult<T> {
        question.query_async(&mut self.0).await
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        drop(self.process.lock().take());
        if std::thread::panicking() {
            print_tail(&format!("Sentinel on port {}", self.port), &self.log());
        }
    }
}

impl std::fmt::Debug for Watcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watcher").field("port", &self.port).finish_non_exhaustive()
    }
}
