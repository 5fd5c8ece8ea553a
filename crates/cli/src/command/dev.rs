//! `jobcast dev`: gateways, a worker, a courier and a private Redis server, one process tree.

mod child;
mod find;
mod folder;
mod listeners;
mod seal_key;
mod server;
mod welcome;

use std::env;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use model::webhook::{Allow, SealKeys};
use service::config::{Config, ConfigError, Loaded, StoreUrl, TokenKey};
use service::health::Health;
use service::stop::Shutdown;
use tokio::net::TcpListener;

use self::folder::Folder;
use self::server::Server;
use super::{courier, courier_limit, gateway, gateway_limit, worker, worker_limit};
use crate::role::{Roles, Watch};
use crate::{open_files, parts};

/// Over how long streams are closed at most: no load balancer has to hear of the stop.
const DRAIN: Duration = Duration::from_secs(1);
/// The task of the article's calls, where the configuration has it and names no other.
const DEFAULT_TASK: &str = "wordcount";
/// What webhooks may point at beyond the public internet: a receiver that is tried out runs here.
const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1"];
/// The pause between two looks whether all roles are ready.
const LOOK: Duration = Duration::from_millis(10);

/// Runs everything until it is asked to stop.
pub(super) async fn run(loaded: Loaded, shutdown: Shutdown) -> anyhow::Result<()> {
    let Loaded { mut config, dir, .. } = loaded;
    make_easy(&mut config);
    open_files::raise();
    // Whatever can be wrong is found before anything is started.
    let handlers = parts::handlers(&config, &dir)?;
    let gateways = listeners::bind(config.gateway.listen, config.dev.gateways).await?;
    let probes = Probes {
        worker: worker::listen_if_any(&config).await?,
        courier: courier::listen_if_any(&config).await?,
    };
    let named = config.dev.server.as_ref().map(|server| in_folder(server, &dir));
    let program = find::find(named.as_deref(), &env::var_os("PATH").unwrap_or_default())?;
    let data = std::path::absolute(&config.dev.dir).map_err(ConfigError::NoFolder)?;

    let folder = Folder::take(&data)?;
    if config.webhooks.encryption_keys.is_empty() {
        let key = seal_key::seal_key(&data, rand::random());
        let key = key.with_context(|| format!("the key of webhooks' secrets in {}", data.display()))?;
        config.webhooks.encryption_keys = SealKeys::new(vec![key]);
    }
    let server = Server::start(program.clone(), folder, shutdown.soft()).await?;
    tracing::info!(program = %program.display(), data = %server.folder().display(), "a private Redis server runs");
    tracing::info!("requests without a key are allowed: they are of the owner \"anonymous\"");
    tracing::info!("webhooks may point at this machine ({})", LOOPBACK.join(", "));
    config.store.url = StoreUrl::parse(&server.url())?;
    let ended = run_roles(Arc::new(config), handlers, gateways, probes, shutdown).await;
    // Last: until here the roles may have had something to write.
    server.stop().await;
    ended
}

/// What only somebody who tries things out wants: no key, the article's calls, webhooks to this machine, and
/// nothing that waits.
fn make_easy(config: &mut Config) {
    config.auth.anonymous = true;
    config.gateway.article = true;
    let task = DEFAULT_TASK.parse().ok().filter(|task| config.tasks.contains_key(task));
    config.gateway.default_task = config.gateway.default_task.take().or(task);
    if config.auth.token_keys.is_empty() {
        config.auth.token_keys.push(TokenKey::from_random(rand::random()));
    }
    config.webhooks.allow.extend(LOOPBACK.iter().filter_map(|net| net.parse::<Allow>().ok()));
    config.stream.drain = config.stream.drain.min(DRAIN);
    config.courier.grace = config.courier.grace.min(DRAIN);
}

/// A program with a slash starts from the configuration's folder; one without is looked up in `PATH`.
fn in_folder(program: &Path, dir: &Path) -> PathBuf {
    if program.components().count() > 1 { dir.join(program) } else { program.to_path_buf() }
}

/// Where the roles without HTTP of their own tell their health and metrics, if anywhere.
struct Probes {
    worker: Option<TcpListener>,
    courier: Option<TcpListener>,
}

async fn run_roles(
    config: Arc<Config>,
    handlers: worker::Handlers,
    gateways: Vec<TcpListener>,
    probes: Probes,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let options = parts::store_options(&config)?;
    let mut roles = Roles::new(shutdown.clone());
    let mut health = Vec::new();
    let addresses = gateways.iter().map(TcpListener::local_addr).collect::<Result<Vec<_>, _>>()?;
    for listener in gateways {
        let own = roles.prepare(options.clone(), &config, Watch::Close);
        health.push(own.health.clone());
        gateway::start(&mut roles, listener, own, &config, shutdown.clone());
    }
    let own = roles.prepare(options.clone(), &config, Watch::Loose);
    health.push(own.health.clone());
    worker::start(&mut roles, probes.worker, own, handlers, &config, shutdown.clone())?;
    let own = roles.prepare(options, &config, Watch::Loose);
    health.push(own.health.clone());
    courier::start(&mut roles, probes.courier, own, &config, shutdown.clone())?;

    let ready = async {
        while !health.iter().all(Health::ready) {
            tokio::time::sleep(LOOK).await;
        }
    };
    if shutdown.soft().run_until_cancelled(ready).await.is_some() {
        welcome::print(&addresses, &config);
    }
    let limit = gateway_limit(&config).max(worker_limit(&config)).max(courier_limit(&config));
    Ok(roles.finish(limit).await?)
}
