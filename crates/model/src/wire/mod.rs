//! The JSON of the HTTP API. Apart from the inner types on purpose: these are fixed.

mod delivery;
mod job;
mod seconds;
mod submit;
mod tasks;
mod work;

pub use delivery::{
    AttemptView, DeadLetterFilter, DeadLetterList, DeliveryList, DeliveryStatus, DeliveryView, Replayed,
};
pub use job::{Accepted, FeedSnapshot, JobList, JobView, Snapshot, SnapshotReason, urls};
pub use seconds::{BadSeconds, Seconds};
pub use submit::{ExternalLease, ExternalRequest, SubmitRequest, WebhookRequest};
pub use tasks::{TaskView, TasksResponse};
pub use work::{
    ClaimRequest, ClaimResponse, CompleteRequest, FailRequest, LeaseRequest, LeaseResponse, OutputItem,
    OutputRequest, ProgressRequest,
};
