//! `jobcast worker`.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use model::TaskName;
use service::config::{Config, Loaded};
use service::ops;
use service::stop::Shutdown;
use tokio::net::TcpListener;
use worker::{AnyHandler, WorkerMetrics};

use super::{ListenError, listen, worker_limit};
use crate::parts;
use crate::role::{Own, Roles, Watch};

/// What runs each task here.
pub(super) type Handlers = HashMap<TaskName, Arc<dyn AnyHandler>>;

/// Runs a worker until it is asked to stop.
pub(super) async fn run(loaded: Loaded, shutdown: Shutdown) -> anyhow::Result<()> {
    let Loaded { config, dir, .. } = loaded;
    let handlers = parts::handlers(&config, &dir)?;
    let options = parts::store_options(&config)?;
    let listener = listen_if_any(&config).await?;
    let tasks: Vec<_> = handlers.keys().map(ToString::to_string).collect();
    tracing::info!(tasks = tasks.join(" "), store = %config.store.url, "the worker runs");
    let mut roles = Roles::new(shutdown.clone());
    let own = roles.prepare(options, &config, Watch::Loose);
    start(&mut roles, listener, own, handlers, &config, shutdown)?;
    Ok(roles.finish(worker_limit(&config)).await?)
}

/// The listener of health and metrics, where the configuration wants one.
pub(super) async fn listen_if_any(config: &Config) -> Result<Option<TcpListener>, ListenError> {
    match config.worker.listen {
        Some(address) => listen(address, "worker.listen").await.map(Some),
        None => Ok(None),
    }
}

/// Starts a worker among `roles`, with its health and metrics on `listener`.
pub(super) fn start(
    roles: &mut Roles,
    listener: Option<TcpListener>,
    own: Own,
    handlers: Handlers,
    config: &Config,
    shutdown: Shutdown,
) -> io::Result<()> {
    let Own { store, health, metrics } = own;
    let options = parts::worker_options(config);
    let parts =
        worker::Parts { store: store.clone(), options, handlers, metrics: WorkerMetrics::new(&metrics) };
    let server = listener.map(|listener| ops::serve(listener, ops::router(health, metrics))).transpose()?;
    roles.run("worker", store, async move {
        worker::run(parts, &shutdown).await;
        drop(server);
        Ok(())
    });
    Ok(())
}
