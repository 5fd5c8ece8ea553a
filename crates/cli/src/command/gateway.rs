//! `jobcast gateway`.

use std::sync::Arc;

use service::config::{Config, Loaded};
use service::stop::Shutdown;
use tokio::net::TcpListener;

use super::{gateway_limit, listen};
use crate::role::{Own, Roles, Watch};
use crate::{open_files, parts};

/// Runs a gateway until it is asked to stop.
pub(super) async fn run(loaded: Loaded, shutdown: Shutdown) -> anyhow::Result<()> {
    let config = Arc::new(loaded.config);
    let options = parts::store_options(&config)?;
    let listener = listen(config.gateway.listen, "--listen").await?;
    let (address, open_files) = (listener.local_addr()?, open_files::raise());
    tracing::info!(%address, store = %config.store.url, open_files, "the gateway listens");
    let mut roles = Roles::new(shutdown.clone());
    let own = roles.prepare(options, &config, Watch::Close);
    start(&mut roles, listener, own, &config, shutdown);
    Ok(roles.finish(gateway_limit(&config)).await?)
}

/// Starts a gateway among `roles`.
pub(super) fn start(
    roles: &mut Roles,
    listener: TcpListener,
    own: Own,
    config: &Arc<Config>,
    shutdown: Shutdown,
) {
    let Own { store, health, metrics } = own;
    let parts = gateway::Parts { store: store.clone(), config: Arc::clone(config), health, metrics };
    roles.run("gateway", store, gateway::run(listener, parts, shutdown));
}
