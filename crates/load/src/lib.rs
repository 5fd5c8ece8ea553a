//! The load tester of Jobcast: opens many streams, publishes events through the gateways, and checks that every stream tells
//! every event once and in order.
//!
//! ```no_run
//! use load::{Plan, Scenario};
//! use tokio_util::sync::CancellationToken;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let plan = Plan { streams: 5000, ..Plan::new(Scenario::Fanout, "narrate".parse()?) };
//! let report = load::run(plan, CancellationToken::new(), |progress| println!("{progress:?}")).await?;
//! println!("{}", report.table());
//! assert!(report.is_clean());
//! # Ok(())
//! # }
//! ```
//!
//! It needs HTTP alone: the jobs are external ones, so no worker takes part, and their events are reports. [`hold`] is the part
//! that holds and checks streams, for whoever has events of another source.
//!
//! **Invariant:** nothing that is measured waits for what it measures: events are due by a schedule made before the run, and
//! latency counts from there.

mod check;
mod clock;
mod course;
mod crew;
mod error;
pub mod hold;
mod join;
mod limits;
mod marks;
mod plan;
mod publish;
mod report;
mod run;
mod schedule;
mod submit;
mod times;
mod watch;
mod wire;

pub use error::{Error, PlanError};
pub use join::join;
pub use plan::{Plan, Scenario};
pub use report::{
    Checker, Events, Faults, Kernel, Planned, Point, Process, Publishing, Report, Role, Storm, Streams,
};
pub use run::{Phase, Progress, run};
pub use times::{Counted, Figures};
