//! The store on real servers: a file for each thing that it promises.
//!
//! One program, since each for itself would take longer to build than to run.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that can't go on fails at once"
)]

#[macro_use]
mod bench;

mod delete;
mod deliveries;
mod external;
mod faults;
mod followed;
mod list;
mod machine;
mod partitions;
mod queue;
mod replicated;
mod replicated_cost;
mod replicated_failover;
mod steps;
