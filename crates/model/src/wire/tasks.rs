//! Tasks, for who runs them.

use serde::{Deserialize, Serialize};

use crate::{TaskName, Timestamp};

/// The 200 of `GET /api/tasks`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TasksResponse {
    /// Each declared task, by name.
    pub tasks: Vec<TaskView>,
}

/// How a task stands, over all owners.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskView {
    /// Its name.
    pub task: TaskName,
    /// Nothing of it starts, until it is resumed.
    pub paused: bool,
    /// Jobs that could start now.
    pub ready: u64,
    /// When the oldest of them was submitted.
    pub oldest: Option<Timestamp>,
    /// Attempts that run.
    pub running: u64,
    /// How many may run in one worker; null: as many as the worker runs at all.
    pub concurrency: Option<u32>,
    /// How many may run over the whole fleet; null: any number.
    pub max_running: Option<u32>,
    /// How many of one owner may run; null: any number.
    pub max_running_per_owner: Option<u32>,
}
