//! What a nemesis prefers: all kinds of faults, or those that bring a planted one to light.

use crate::plant::LAST_MESSAGE_DROPPED;

/// A nemesis' taste.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Everything.
    All,
    /// Live messages are dropped all the time, and replies lost.
    LostMessages,
    /// Workers sleep longer than their leases.
    SleepyWorkers,
    /// Primaries die with replicas that lag.
    Lag,
    /// Nothing is done.
    Calm,
}

impl Profile {
    /// The taste that brings a planted fault, by its name, to light.
    pub fn of_plant(planted: Option<&str>) -> Self {
        match planted {
            Some("gap-fill-off" | "dedupe-off") => Self::LostMessages,
            Some("fencing-off") => Self::SleepyWorkers,
            Some("rewind-off") => Self::Lag,
            Some(LAST_MESSAGE_DROPPED) => Self::Calm,
            None | Some(_) => Self::All,
        }
    }
}
