//! What tests are made of is itself tested, on the real thing: a file for each part.
//!
//! One program, since each for itself would take longer to build than to run.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that can't go on fails at once"
)]

mod cluster;
mod process;
mod proxy;
mod redis;
mod sentinel;
mod sse;
