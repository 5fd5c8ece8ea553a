//! Everything that is Redis. No other crate knows that Redis exists.
//!
//! # The key space
//!
//! All keys begin with `jc:{<tag>}:`; the tag decides the slot, and one partition's keys all lie in one slot:
//!
//! ```text
//!  submit ──► job:<id>  hash    what is known of the job, and its lease
//!             log:<id>  list    its events ─────────────► live:<id>  channel
//!             jobsof:<owner>, failedof:<owner>            indexes by creation
//!             feedof:<owner> list ──────────────────────► feedlive:<owner>  channel
//!             idem:<owner>:<hash>                         Idempotency-Key → job
//!             ready:<task> zset of owners ─► readyof:<task>:<owner> zset of jobs ── bell:<task> wakes a worker
//!             later zset by time: delayed jobs, and those that wait for another attempt
//!  claim  ──► running:<task> zset by lease end,  runningof:<task> owner → count,  claim:<token> → job
//!             full hash: tasks that a claim found at their limit, and that limit
//!  pause  ──► paused set of tasks: nothing of them starts
//!  sweep  ──► deadlines, unfollowed, expiry zsets by time;  sweeper hash;  tasks set
//!  an end ──► delivery:<id> hash, body:<jobId> string, due zset by time ── bell:!due wakes a courier
//!  courier ─► claim:<token> → deliveries;  deadof:<owner> zset by time: dead letters
//!  delete ──► deleted:<id>  string: the call that deleted it, so that its repeat is known
//! ```
//!
//! And one key without a tag, in a slot of its own: `jc:partitions`, how many partitions there are (`16`; while they grow
//! `32 16`: 32 exist, and new jobs go to the first 16). A gateway reads it anew about once a second,
//! a worker every ten.
//!
//! # The rules
//!
//! A change is a **step**: one script, all or nothing, and a repeat of it answers as the first time ([`step`]). Every write
//! of an attempt carries its lease token. Time is Redis' own, read once per script. Scripts that must go on while a slot
//! moves touch only the keys that they name; the others also name `still:1` and `still:2`, two keys that never exist, which
//! hold them at TRYAGAIN until the move is over. See `docs/ARCHITECTURE.md`.

mod bell;
mod connect;
mod counters;
mod error;
mod keys;
pub mod live;
mod options;
mod partition;
mod partition_count;
mod plant;
mod policy;
mod primaries;
mod script;
pub mod step;
mod store;
mod sweeper;

pub use connect::backoff::Backoff;
pub use counters::{Counters, EndLabels};
pub use error::{StoreError, WorkError};
pub use live::{LiveSink, Subscription};
pub use options::{Durability, Options, Replication, Target, TargetError};
pub use partition_count::{GrowError, PartitionCounts};
pub use plant::{Plant, planted};
pub use primaries::confirm_until;
pub use step::cancel::CancelError;
pub use step::claim::{Claimable, Claimed};
pub use step::dead_letters::{BadPlace, DeadLetterPlace, DeadLetters, DeadLettersQuery};
pub use step::delete::DeleteError;
pub use step::deliveries::{Delivery, Webhook, WebhookSecret};
pub use step::due::{Due, DueDeliveries, DueOptions};
pub use step::end::{End, Ended, LastReports};
pub use step::list::{ListQuery, Listed};
pub use step::past::Past;
pub use step::queue::QueueState;
pub use step::read::{LogRead, Peek};
pub use step::replay::ReplayError;
pub use step::settle::{DeadLetterLimits, MAX_SETTLEMENTS, Outcome, Settled, Settlement};
pub use step::submit::{External, Idempotency, NewJob, Retry, SubmitError, Submitted};
pub use step::sweep::Swept;
pub use step::{Batch, Held, Lease};
pub use store::Store;
pub use sweeper::{SweepOptions, sweep_until};
