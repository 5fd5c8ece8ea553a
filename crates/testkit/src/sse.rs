//! Server-Sent Events as the WHATWG standard says, read by code that shares nothing with the server under test.
//!
//! [`SseStream`] is one response; [`follow`] is a browser's EventSource, which comes back by itself;
//! [`check_history`] says whether what was seen is a job's history without hole or repeat.

mod follow;
mod history;
mod parser;
mod stream;

pub use follow::{FollowLog, FollowOptions, Follower, follow};
pub use history::check_history;
pub use parser::{Event, Parser};
pub use stream::{End, SseBuilder, SseStream};
