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
mod backoff;
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
mod verdict;

use std::collections::HashMap;
use std::sync::Arc;

use model::TaskName;
use service::stop::Shutdown;
use store::Store;

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
    claim::work(parts, shutdown).await;
}
