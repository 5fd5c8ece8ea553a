//! The test kit: real parts that the tests of all other crates stand on.
//!
//! | module | gives |
//! |---|---|
//! | [`redis`] | real Redis (or Valkey) servers on free ports, to pause, kill and restart: single, a Cluster, behind Sentinels |
//! | [`proxy`] | a TCP proxy before a server that breaks on demand, down to single replies |
//! | [`sse`] | a reader of event streams, one that reconnects like a browser, and the check of a history |
//! | [`process`] | the real `jobcast` binary as a child process |
//! | [`BadReceiver`] | a receiver of webhooks that never answers, drips, floods or resets |
//! | [`http()`] | an HTTP client of tests, over HTTP/1.1 or HTTP/2 ([`speaks_http2`]) |
//! | [`eventually()`] | waiting on a condition with a deadline, instead of sleeping |
//!
//! Everything here panics with a sentence when it can't do its work: a test has nothing better to do with an
//! error. Nothing here depends on the crates under test, so none of their mistakes can hide in the kit.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "for tests alone: a broken part must fail the test at once, with a sentence"
)]

mod bad_receiver;
mod eventually;
mod group;
mod http;
mod port;
pub mod process;
pub mod proxy;
pub mod redis;
pub mod sse;

pub use bad_receiver::{Bad, BadReceiver};
pub(crate) use eventually::Looks;
pub use eventually::{eventually, eventually_ok, eventually_some};
pub use http::{http, speaks_http2};
pub use port::{free_port, wait_http_ok, wait_port};
