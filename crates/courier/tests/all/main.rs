//! Couriers on a real Redis, with real receivers: a file for each thing that they promise.
//!
//! One program, since each for itself would take longer to build than to run.

// To see that a courier may run on any thread the compiler looks through all of an HTTP client.
#![recursion_limit = "256"]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    missing_docs,
    reason = "a test that can't go on fails at once"
)]

mod bench;
mod deliver;
mod hosts;
mod settled;
mod targets;
