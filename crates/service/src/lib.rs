//! What every role needs and nothing of any role: configuration, start and two-stage stop, logs, metrics,
//! `/healthz` and `/readyz`.
//!
//! Invariant: this crate knows neither Redis nor jobs. It reads what the operator wrote, checks it, and hands
//! typed values to whoever asks; it keeps no process-wide state, so that several roles live in one process.

pub mod config;
pub mod health;
pub mod logging;
pub mod metrics;
pub mod ops;
pub mod start;
pub mod stop;
