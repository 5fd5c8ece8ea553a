//! Tasks, for who runs them.

use std::time::Duration;

use model::TaskName;
use model::wire::{TaskView, TasksResponse};
use reqwest::Method;

use crate::client::Client;
use crate::error::Error;

impl Client {
    /// How all tasks stand. Needs a key with the scope `admin`, as do the other calls about tasks.
    pub async fn tasks(&self) -> Result<Vec<TaskView>, Error> {
        let (response, _) =
            self.send_safely(Duration::ZERO, |_| self.request(Method::GET, "/api/tasks")).await?;
        self.read(response).await.map(|TasksResponse { tasks }| tasks)
    }

    /// No job of `task` starts from now on; what runs goes on. How it stands then.
    pub async fn pause_task(&self, task: &TaskName) -> Result<TaskView, Error> {
        self.change_task(task, "pause").await
    }

    /// Jobs of `task` start again. How it stands then.
    pub async fn resume_task(&self, task: &TaskName) -> Result<TaskView, Error> {
        self.change_task(task, "resume").await
    }

    async fn change_task(&self, task: &TaskName, call: &str) -> Result<TaskView, Error> {
        let path = format!("/api/tasks/{task}/{call}");
        // A repeat is harmless.
        let (response, _) = self.send_safely(Duration::ZERO, |_| self.request(Method::POST, &path)).await?;
        self.read(response).await
    }
}
