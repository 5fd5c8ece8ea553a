//! `jobcast courier`.

use std::io;
use std::sync::Arc;

use ::courier::{CourierMetrics, SystemLookup};
use service::config::{Config, Loaded};
use service::ops;
use service::stop::Shutdown;
use tokio::net::TcpListener;

use super::{ListenError, courier_limit, listen};
use crate::role::{Own, Roles, Watch};
use crate::{open_files, parts};

/// Runs a courier until it is asked to stop.
pub(super) async fn run(loaded: Loaded, shutdown: Shutdown) -> anyhow::Result<()> {
    let config = loaded.config;
    let options = parts::store_options(&config)?;
    let listener = listen_if_any(&config).await?;
    let open_files = open_files::raise();
    tracing::info!(store = %config.store.url, open_files, "the courier runs");
    let mut roles = Roles::new(shutdown.clone());
    let own = roles.prepare(options, &config, Watch::Loose);
    start(&mut roles, listener, own, &config, shutdown)?;
    Ok(roles.finish(courier_limit(&config)).await?)
}

/// The listener of health and metrics, where the configuration wants one.
pub(super) async fn listen_if_any(config: &Config) -> Result<Option<TcpListener>, ListenError> {
    match config.courier.listen {
        Some(address) => listen(address, "courier.listen").await.map(Some),
        None => Ok(None),
    }
}

/// Starts a courier among `roles`, with its health and metrics on `listener`.
pub(super) fn start(
    roles: &mut Roles,
    listener: Option<TcpListener>,
    own: Own,
    config: &Config,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let Own { store, health, metrics } = own;
    let parts = ::courier::Parts {
        store: store.clone(),
        options: parts::courier_options(config),
        rules: parts::target_rules(config),
        secrets: parts::webhook_secrets(config),
        authorities: parts::webhook_authorities(config)?,
        lookup: Arc::new(SystemLookup::default()),
        metrics: CourierMetrics::new(&metrics),
    };
    let server = listener.map(|listener| ops::serve(listener, ops::router(health, metrics))).transpose()?;
    roles.run("courier", store, async move {
        let ended = ::courier::run(parts, &shutdown).await;
        drop(server);
        ended.map_err(io::Error::other)
    });
    Ok(())
}
