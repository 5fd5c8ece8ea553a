//! The client of Jobcast: submit jobs, ask how they stand, cancel and retry them, follow them, and report of those that you work at
//! yourself.
//!
//! ```no_run
//! use client::{Client, Event, Start, Submit};
//! use tokio_stream::StreamExt;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::builder("https://jobs.example.com").key(std::env::var("JOBCAST_KEY")?).build()?;
//!
//! let payload = serde_json::json!({ "video": "s3://in/cat.mov" });
//! let job = client.submit(&Submit::new("transcode".parse()?, &payload)?).await?;
//!
//! let mut events = client.follow(job.id, Start::BEGINNING);
//! while let Some(event) = events.next().await {
//!     match event? {
//!         Event::Progress { progress: Some(percent), .. } => println!("{} %", percent.get()),
//!         Event::Completed { result, .. } => println!("done: {result:?}"),
//!         Event::Failed { error, .. } => println!("failed: {error}"),
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! What it promises:
//! - **A followed job is told once and in order**, whatever breaks in between: the connection, a gateway, a proxy. A hole
//!   is never passed over: where history was lost, a [`Event::Snapshot`] says so.
//! - **A lost answer makes no second job**: every submission has an `Idempotency-Key`, and is sent again with the same one.
//! - **A report is recorded once**, however often it had to be sent, and in order: see [`Client::report`].
//! - **It never hammers**: what fails is tried again ever more slowly and with jitter, and no sooner than the gateway allows.
//!
//! It needs a Tokio runtime with time and I/O. Proxies named in the environment are not used.
//!
//! **Invariant:** nothing of Jobcast's inside but the wire types of `model`.

mod backoff;
mod builder;
mod cancel;
mod client;
mod deliveries;
mod ended;
mod error;
mod event;
mod feed;
mod follow;
mod following;
mod http;
mod list;
mod poll;
mod report;
mod sse;
mod submit;
mod tasks;

pub use builder::ClientBuilder;
pub use client::Client;
pub use deliveries::DeadLetters;
pub use error::{BuildError, Error, FollowError, Problem};
pub use event::{Event, Head, NotAnEvent, Other, Output, Snapshot};
pub use feed::{BadFeedCursor, FeedCursor, FeedEvent, FeedNews, FeedStart, FollowFeed};
pub use follow::{Connection, Follow, Start};
pub use following::Following;
pub use list::List;
pub use model::report::Percent;
pub use model::webhook::{DeliveryId, Secret as WebhookSecret};
pub use model::wire::{Accepted, JobList, JobView, SnapshotReason, TaskView};
pub use model::wire::{AttemptView, DeadLetterList, DeliveryStatus, DeliveryView};
pub use model::{Cursor, ErrorCode, JobId, Json, Position, Priority, Status, TaskName, Timestamp, Token};
pub use report::{Over, ReportError, Reporter};
pub use submit::{Submit, Submitted};
