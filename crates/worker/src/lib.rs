//! The worker: claims jobs, runs their handlers, and tells how they go.
//!
//! ```text
//! claim ──► attempt ──► handler ── context ──► coalesce ──► store.append ──► Redis
//!               │          └─ exec: any program          ▲
//!               ├── lease: heartbeats, and every call repeated until it is answered
//!               └── store.end / store.release
//! ```
//!
//! **Invariant:** a handler never waits for Redis to tell its progress, no output is ever dropped, and no failing write
//! fails a job. Whatever a worker starts, it also ends: [`run`] returns when no attempt, and no program, is left.

mod attempt;
mod claim;
mod coalesce;
mod context;
pub mod exec;
mod fit;
mod handler;
mod lease;
mod metrics;
mod options;
mod outgoing;
mod pace;
mod places;
mod verdict;
mod workshop;

use std::collections::HashMap;
use std::sync::Arc;

use model::TaskName;
use service::stop::Shutdown;
use store::Store;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::task::TaskTracker;

use attempt::Stops;
use claim::Claimer;
use places::Places;
use workshop::Workshop;

pub use context::{Context, Recording};
pub use exec::Exec;
pub use handler::{AnyHandler, Failure, Handler};
pub use metrics::{Outcome, OutcomeLabels, WorkerMetrics};
pub use options::Options;

/// What a worker is made of.
pub struct Parts {
    /// The way to Redis.
    pub store: Store,
    /// Times and limits.
    pub options: Options,
    /// What runs each task; tasks without a handler here are left to others.
    pub handlers: HashMap<TaskName, Arc<dyn AnyHandler>>,
    /// What the worker counts.
    pub metrics: WorkerMetrics,
}

/// Works until `shutdown`. From its soft stop on nothing is claimed, and what runs has [`Options::grace`] to end; what is left
/// then, or at the hard stop, is given back. Returns when no attempt is left. Redis being away is waited out.
pub async fn run(parts: Parts, shutdown: &Shutdown) {
    let Parts { store, options, handlers, metrics } = parts;
    let (soft, hard) = (shutdown.soft().clone(), shutdown.hard().clone());
    let stops = Stops { give_back: hard.child_token(), hard };
    let shop = Arc::new(Workshop {
        store,
        permits: Arc::new(Semaphore::new(options.concurrency)),
        places: Places::new(&options.task_concurrency),
        options: Arc::new(options),
        handlers,
        metrics,
        attempts: TaskTracker::new(),
        soft: soft.clone(),
        stops: stops.clone(),
    });

    // Should this future be dropped, the attempts give back what they have.
    let _give_back = stops.give_back.clone().drop_guard();
    let mut loops = JoinSet::new();
    if !shop.handlers.is_empty() {
        let claim_everywhere = shop.store.for_each_partition(|partition| {
            loops.spawn(Claimer::new(Arc::clone(&shop), partition).run());
        });
        soft.run_until_cancelled(Box::pin(claim_everywhere)).await;
    }
    soft.cancelled().await;

    let all_done = async {
        // A claim that is under way is waited for, so that what it brings is given back.
        while loops.join_next().await.is_some() {}
        shop.attempts.close();
        shop.attempts.wait().await;
    };
    let grace = async {
        sleep(shop.options.grace).await;
        stops.give_back.cancel();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = all_done => {}
        () = grace => {}
    }
}
