//! The gateway: HTTP in front of jobs.
//!
//! **Invariant:** a gateway holds no state that another gateway would miss. What a client needs to go on elsewhere is in its
//! cursor and in Redis.

#[cfg(test)]
mod allocations;
mod api;
mod bells;
#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod bench;
mod body;
mod carrier;
mod header;
mod hub;
mod metrics;
mod owner;
mod page;
mod problem;
#[cfg(test)]
mod rig;
mod server;

use std::io;
use std::sync::Arc;

use model::webhook::TargetRules;
use service::config::Config;
use service::health::Health;
use service::metrics::Metrics;
use service::stop::Shutdown;
use store::Store;
use tokio::net::TcpListener;

use crate::api::Targets;
use crate::bells::Bells;
use crate::hub::{Beats, Hub, HubOptions, Pulse};
use crate::metrics::GatewayMetrics;

/// What a gateway is made of.
#[derive(Clone)]
pub struct Parts {
    /// The way to Redis. Of this gateway alone: its live connection carries this gateway's streams.
    pub store: Store,
    /// The configuration.
    pub config: Arc<Config>,
    /// Whether it is ready; kept true by whoever watches Redis.
    pub health: Health,
    /// Where its metrics are shown.
    pub metrics: Metrics,
}

/// What every handler can reach. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App(Arc<Inner>);

struct Inner {
    store: Store,
    config: Arc<Config>,
    hub: Hub,
    pulse: Arc<Pulse>,
    bells: Bells,
    targets: Targets,
    metrics: GatewayMetrics,
    shutdown: Shutdown,
}

impl App {
    /// What is made of `parts`, and runs on what `shutdown` stops.
    fn new(parts: Parts, shutdown: Shutdown) -> Self {
        let Parts { store, config, metrics, .. } = parts;
        let stream = &config.stream;
        let options = HubOptions {
            ring_log: stream.ring_log.as_usize(),
            rings: stream.rings.as_usize(),
            page: stream.page.as_usize(),
            reads: stream.reads_in_flight,
            linger: stream.linger,
            reconcile: stream.reconcile,
            coalesce: stream.coalesce,
            base_url: config.gateway.public_url.clone().unwrap_or_default(),
        };
        let beats = Beats { every: stream.heartbeat, jitter: stream.heartbeat_jitter, drain: stream.drain };
        let tasks = shutdown.tasks().clone();
        let rules = TargetRules::new(config.webhooks.allow.clone());
        warn_of_endpoints(&config, &rules);
        Self(Arc::new(Inner {
            hub: Hub::new(store.clone(), options, tasks.clone(), shutdown.hard().child_token()),
            pulse: Arc::new(Pulse::new(beats)),
            targets: Targets::new(rules, tasks.clone(), shutdown.soft().clone()),
            bells: Bells::new(store.clone(), tasks, shutdown.soft().clone()),
            metrics: GatewayMetrics::register(&metrics),
            store,
            config,
            shutdown,
        }))
    }

    pub(crate) fn store(&self) -> &Store {
        &self.0.store
    }

    pub(crate) fn config(&self) -> &Config {
        &self.0.config
    }

    pub(crate) fn hub(&self) -> &Hub {
        &self.0.hub
    }

    pub(crate) fn pulse(&self) -> &Arc<Pulse> {
        &self.0.pulse
    }

    pub(crate) fn bells(&self) -> &Bells {
        &self.0.bells
    }

    pub(crate) fn targets(&self) -> &Targets {
        &self.0.targets
    }

    pub(crate) fn metrics(&self) -> &GatewayMetrics {
        &self.0.metrics
    }

    pub(crate) fn shutdown(&self) -> &Shutdown {
        &self.0.shutdown
    }

    /// What `statusUrl` and `eventsUrl` begin with.
    pub(crate) fn base_url(&self) -> &str {
        self.0.config.gateway.public_url.as_deref().unwrap_or_default()
    }
}

/// Says which of the owners' endpoints would be dead letters each time. Their URLs are left out: some hold a token.
fn warn_of_endpoints(config: &Config, rules: &TargetRules) {
    for (owner, has) in &config.webhooks.owners {
        for (number, url) in has.endpoints.iter().enumerate() {
            if let Err(error) = rules.target(url) {
                let setting = format!("webhooks.owners.{owner}.endpoints[{number}]");
                tracing::warn!(setting, %error, "an endpoint that nothing will be delivered to");
            }
        }
    }
}

/// Serves `listener` until `shutdown`'s soft stop; then `/readyz` says no, streams are closed spread over the drain time, and
/// what was accepted is finished. Returns when all of it is done, or at the hard stop.
pub async fn run(listener: TcpListener, parts: Parts, shutdown: Shutdown) -> io::Result<()> {
    let (health, metrics) = (parts.health.clone(), parts.metrics.clone());
    let app = App::new(parts, shutdown);
    let router = api::router(app.clone(), health, metrics);
    server::serve(listener, router, app).await
}
