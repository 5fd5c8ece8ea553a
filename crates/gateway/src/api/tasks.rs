//! Tasks, for who runs them: how they stand, and whether their jobs start. All of it concerns all owners.

use axum::Json as JsonResponse;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use model::TaskName;
use model::wire::{TaskView, TasksResponse};
use service::config::{Scope, TaskConfig};
use store::{QueueState, StoreError};

use crate::App;
use crate::owner::Caller;
use crate::problem::Problem;

/// `GET /api/tasks`
pub(crate) async fn list(State(app): State<App>, caller: Caller) -> Result<Response, Problem> {
    caller.must(Scope::Admin)?;
    let mut tasks = Vec::new();
    for (task, declared) in &app.config().tasks {
        tasks.push(view(&app, task, declared).await?);
    }
    tasks.sort_by(|one, other| one.task.cmp(&other.task));
    Ok(JsonResponse(TasksResponse { tasks }).into_response())
}

/// `POST /api/tasks/{task}/pause`
pub(crate) async fn pause(
    State(app): State<App>,
    caller: Caller,
    path: Path<String>,
) -> Result<Response, Problem> {
    let (task, declared) = known(&app, &caller, &path)?;
    app.store().pause_task(&task).await?;
    Ok(JsonResponse(view(&app, &task, declared).await?).into_response())
}

/// `POST /api/tasks/{task}/resume`
pub(crate) async fn resume(
    State(app): State<App>,
    caller: Caller,
    path: Path<String>,
) -> Result<Response, Problem> {
    let (task, declared) = known(&app, &caller, &path)?;
    app.store().resume_task(&task).await?;
    Ok(JsonResponse(view(&app, &task, declared).await?).into_response())
}

/// The declared task that a path names.
fn known<'a>(
    app: &'a App,
    caller: &Caller,
    Path(name): &Path<String>,
) -> Result<(TaskName, &'a TaskConfig), Problem> {
    caller.must(Scope::Admin)?;
    let task: TaskName = name.parse().map_err(|_| Problem::NotFound)?;
    let declared = app.config().tasks.get(&task).ok_or_else(|| Problem::unknown_task(&task, app.config()))?;
    Ok((task, declared))
}

/// How `task` stands in all partitions together. Paused in some of them only, as after a pause that failed, it counts as paused:
/// then another call ends what was begun.
async fn view(app: &App, task: &TaskName, declared: &TaskConfig) -> Result<TaskView, StoreError> {
    let QueueState { ready, oldest, running, paused } = app.store().whole_queue(task).await?;
    Ok(TaskView {
        task: task.clone(),
        paused,
        ready,
        oldest,
        running,
        concurrency: declared.concurrency,
        max_running: declared.max_running,
        max_running_per_owner: declared.max_running_per_owner,
    })
}
