//! What Jobcast means, without any way to do it: jobs and their states, events, marks, cursors, replay, wire types.
//!
//! **Invariant:** no I/O, no async, no Redis, no HTTP, no clock and no randomness of its own (both are passed in).

pub mod clock;
pub mod cursor;
pub mod event;
pub mod fingerprint;
pub mod id;
pub mod job;
pub mod json;
pub mod limits;
pub mod log_id;
pub mod name;
pub mod replay;
pub mod report;
pub mod several;
pub mod stream_token;
pub mod token;
pub mod webhook;
pub mod wire;

pub use clock::{BadTime, Clock, SystemClock, Timestamp};
pub use cursor::{Cursor, Mark, Position};
pub use event::{Entry, EntryBody, EntryHead, EventType};
pub use id::{JobId, Partition};
pub use job::{ErrorCode, Job, Priority, Status};
pub use json::Json;
pub use limits::RunLimits;
pub use log_id::LogId;
pub use name::{Owner, TaskName};
pub use report::Report;
pub use token::Token;
