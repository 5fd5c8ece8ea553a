//! The names of keys and channels. Scripts make the same names from the same prefix.

use model::webhook::DeliveryId;
use model::{JobId, LogId, Owner, Partition, TaskName};

use crate::StoreError;
use crate::partition::{Place, Slot, place};

/// The keys of one partition.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    prefix: String,
    pub(crate) slot: Slot,
}

impl Keys {
    /// The keys of `partition`; `None` if there can be no such partition.
    pub(crate) fn of(prefix: &str, partition: Partition) -> Option<Self> {
        place(partition)
            .map(|Place { tag, slot }| Self { prefix: format!("{prefix}:{{{tag}}}:"), slot: *slot })
    }

    fn name(&self, rest: impl std::fmt::Display) -> String {
        format!("{}{rest}", self.prefix)
    }

    pub(crate) fn job(&self, id: JobId) -> String {
        self.name(format_args!("job:{id}"))
    }

    pub(crate) fn log(&self, id: JobId) -> String {
        self.name(format_args!("log:{id}"))
    }

    pub(crate) fn feed(&self, owner: &Owner) -> String {
        self.name(format_args!("feedof:{owner}"))
    }

    /// The index of an owner's jobs.
    pub(crate) fn jobs_of(&self, owner: &Owner) -> String {
        self.name(format_args!("jobsof:{owner}"))
    }

    /// The index of those that failed.
    pub(crate) fn failed_of(&self, owner: &Owner) -> String {
        self.name(format_args!("failedof:{owner}"))
    }

    /// The live channel of a log of this partition.
    pub(crate) fn live(&self, log: &LogId) -> String {
        match log {
            LogId::Job(id) => self.name(format_args!("live:{id}")),
            LogId::Feed(_, owner) => self.name(format_args!("feedlive:{owner}")),
        }
    }

    pub(crate) fn delivery(&self, id: DeliveryId) -> String {
        self.name(format_args!("delivery:{id}"))
    }

    /// What a job's deliveries send.
    pub(crate) fn body(&self, id: JobId) -> String {
        self.name(format_args!("body:{id}"))
    }

    /// The deliveries that aren't settled, by time.
    pub(crate) fn due(&self) -> String {
        self.name("due")
    }

    /// An owner's dead letters, by time.
    pub(crate) fn dead_of(&self, owner: &Owner) -> String {
        self.name(format_args!("deadof:{owner}"))
    }

    /// What wakes an idle courier. No task has this name.
    pub(crate) fn due_bell(&self) -> String {
        self.name("bell:!due")
    }

    pub(crate) fn bell(&self, task: &TaskName) -> String {
        self.name(format_args!("bell:{task}"))
    }

    /// Two keys that never exist: they route a step, and hold it while the slot moves.
    pub(crate) fn still(&self) -> Vec<String> {
        vec![self.name("still:1"), self.name("still:2")]
    }
}

/// The keys of a partition that exists as far as its number goes.
pub(crate) fn keys_of(prefix: &str, partition: Partition) -> Result<Keys, StoreError> {
    Keys::of(prefix, partition)
        .ok_or_else(|| StoreError::Unreadable(format!("there is no partition {partition}")))
}
