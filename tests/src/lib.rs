//! Whole systems: Redis, gateways and workers as processes of their own, as users run them.

mod answer;
mod apart;
mod authority;
mod balancer;
mod behind;
mod client;
pub mod command;
mod counted;
mod crowd;
mod fold;
mod history;
mod hook;
mod http2;
pub mod http2_frames;
mod meddler;
mod middleman;
mod program;
mod raw;
mod redis;
mod remote;
mod running;
mod system;
mod wire;
mod wiretap;

pub use answer::Answer;
pub use apart::Apart;
pub use authority::Authority;
pub use balancer::{Balancer, Balances};
pub use behind::{Behind, Saved};
pub use client::Client;
pub use counted::{assert_counted, assert_counted_at_once, brief, data, turns};
pub use crowd::{Crowd, Followed, Told, Visit};
pub use fold::{fold, told};
pub use history::{frames, held, take};
pub use hook::{ANSWER, Got, Hook};
pub use http2::{Http2, Http2Answer, Http2Stream, ROOMY, Windows};
pub use meddler::{Fault, Meddler};
pub use middleman::{Manner, Middleman};
pub use program::programs_of;
pub use raw::{HEARTBEAT, Http, RawStream};
pub use redis::Redis;
pub use remote::Remote;
pub use running::Running;
pub use system::{Builder, System, repository};
pub use wire::{Wire, WireAnswer};
pub use wiretap::{Reads, Wiretap};

use std::time::Duration;

/// As long as anything may take that should take moments: on a busy machine even moments are long.
pub const SOON: Duration = Duration::from_mins(1);
