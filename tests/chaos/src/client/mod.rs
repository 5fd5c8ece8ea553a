//! Clients that follow, each as an EventSource would, and that write down all they see.

mod crowd;
mod follower;
mod jobs;
mod wire;

pub use crowd::{Crowd, CrowdPlan};
pub use follower::{Choice, Seen};
pub use jobs::{Known, Work};
