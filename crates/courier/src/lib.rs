//! The courier: tells receivers how jobs have ended.
//!
//! ```text
//! claim ──► turn ──► host: a place? ──► attempt ──► http: one signed POST ──► verdict ──► settler: store.settle
//!                      │ gate: window, breaker        └─ resolve: only addresses that are allowed
//!                      └─ no: it waits in the line, or is put off without an attempt
//! ```
//!
//! **Invariant:** what is in hand is in Redis too, under a lease that outlives the request: no two couriers send the same delivery
//! at once, and a courier that dies loses none. No receiver, however slow or broken, keeps another one waiting.

mod alarm;
mod attempt;
mod authorities;
mod claim;
mod courier;
mod crowd;
mod deliver;
mod depth;
mod destinations;
mod gate;
mod host;
mod http;
mod memory;
mod message;
mod metrics;
mod options;
mod resolve;
mod schedule;
mod secrets;
mod settler;
mod turn;
mod verdict;

use std::sync::Arc;

use model::webhook::TargetRules;
use service::stop::Shutdown;
use store::Store;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::task::TaskTracker;

use claim::Claimer;
use courier::Courier;
use destinations::Destinations;
use host::Hosts;
use http::Sender;

pub use authorities::{Authorities, AuthoritiesError};
pub use http::SetupError;
pub use metrics::{Became, BecameLabels, CourierMetrics, Failure, FailureLabels};
pub use options::Options;
pub use resolve::{Found, Lookup, SystemLookup};
pub use secrets::Secrets;

/// What a courier is made of.
pub struct Parts {
    /// The way to Redis.
    pub store: Store,
    /// Times and limits.
    pub options: Options,
    /// Where deliveries may go.
    pub rules: TargetRules,
    /// By what they are signed.
    pub secrets: Secrets,
    /// Who else may sign the certificates of receivers.
    pub authorities: Authorities,
    /// How names become addresses.
    pub lookup: Arc<dyn Lookup>,
    /// What the courier counts.
    pub metrics: CourierMetrics,
}

/// Delivers until `shutdown`. From its soft stop on nothing is claimed or begun, and requests under way have [`Options::grace`] to
/// end; what is left then, or at the hard stop, is given back, to be delivered again. Returns when nothing is left. Redis being away is
/// waited out.
pub async fn run(parts: Parts, shutdown: &Shutdown) -> Result<(), SetupError> {
    let Parts { store, options, rules, secrets, authorities, lookup, metrics } = parts;
    let rules = Arc::new(rules);
    let idle = usize::try_from(options.per_host).unwrap_or(usize::MAX);
    let sender = Sender::new(authorities, Arc::clone(&rules), lookup, idle)?;
    let hosts = Hosts::new(&options, sender);
    let courier = Arc::new(Courier {
        store,
        destinations: Destinations::new(rules),
        secrets,
        hosts,
        metrics,
        permits: Arc::new(Semaphore::new(options.concurrency)),
        options,
        deliveries: TaskTracker::new(),
        soft: shutdown.soft().clone(),
        cut: shutdown.hard().child_token(),
    });

    // Should this future be dropped, the requests end.
    let _cut = courier.cut.clone().drop_guard();
    let mut loops = JoinSet::new();
    let work = async {
        let claim_everywhere = courier.store.for_each_partition(|partition| {
            loops.spawn(Claimer::new(Arc::clone(&courier), partition).run());
        });
        tokio::join!(claim_everywhere, depth::look_now_and_then(&courier));
    };
    courier.soft.run_until_cancelled(Box::pin(work)).await;

    let all_done = async {
        // A claim that is under way is waited for, so that what it brings is given back.
        while loops.join_next().await.is_some() {}
        courier.deliveries.close();
        courier.deliveries.wait().await;
    };
    let grace = async {
        sleep(courier.options.grace).await;
        courier.cut.cancel();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = all_done => {}
        () = grace => {}
    }
    Ok(())
}
