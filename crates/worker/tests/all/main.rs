//! Workers on a real Redis, and real programs as handlers: a file for each.
//!
//! One program, since each for itself would take longer to build than to run.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    missing_docs,
    reason = "a test that can't go on fails at once, and nobody else uses its parts"
)]

mod bench;
mod ends;
mod exec;
mod handlers;
mod places;
mod redis_fails;
mod run;
