//! How a worker over HTTP gets a job, and a job that nobody takes home is given back.

use std::time::Duration;

use axum::Json as JsonResponse;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use model::wire::{ClaimRequest, ClaimResponse};
use model::{Partition, TaskName, Token};
use serde::Deserialize;
use service::config::{Scope, TaskConfig};
use store::{Claimable, Claimed, Lease, StoreError};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout_at};

use crate::App;
use crate::body::JsonBody;
use crate::carrier::guarded::Guarded;
use crate::owner::Caller;
use crate::problem::Problem;

/// The most tasks of one claim.
const MOST: usize = 1000;

/// How often it is looked for what a claim without an answer got, once Redis answers: the claim came by another connection, and may
/// be read later.
const LOOKS: usize = 3;
/// How long between looks.
const PAUSE: Duration = Duration::from_secs(1);

/// The query of a claim.
#[derive(Deserialize)]
pub(crate) struct ClaimQuery {
    /// Seconds to wait for a job.
    wait: Option<u64>,
}

/// `POST /api/work/claim`
pub(crate) async fn claim(
    State(app): State<App>,
    caller: Caller,
    query: Result<Query<ClaimQuery>, QueryRejection>,
    JsonBody(request): JsonBody<ClaimRequest>,
) -> Result<Response, Problem> {
    caller.must(Scope::Work)?;
    let Query(query) = query?;
    if request.tasks.is_empty() || request.tasks.len() > MOST {
        return Err(Problem::OutOfRange(format!("tasks lists 1 to {MOST} tasks.")));
    }
    if let Some(unknown) = request.tasks.iter().find(|task| !app.config().tasks.contains_key(task)) {
        return Err(Problem::unknown_task(unknown, app.config()));
    }
    let wait = Duration::from_secs(query.wait.unwrap_or(0)).min(app.config().jobs.max_wait);
    let Some(claimed) = next_job(&app, request.tasks, wait).await? else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    Ok(answer(&app, claimed))
}

/// Claims in a task of its own: a client that goes away drops the handler, and what was claimed meanwhile is given back.
async fn next_job(app: &App, tasks: Vec<TaskName>, wait: Duration) -> Result<Option<Claimed>, Problem> {
    let (sender, receiver) = oneshot::channel();
    app.shutdown().tasks().spawn({
        let app = app.clone();
        async move { claim_for(&app, &tasks, wait, sender).await }
    });
    let mut heard = Heard { app, receiver };
    (&mut heard.receiver).await.map_err(|_| Problem::Internal)?.map_err(Problem::from)
}

type Found = Result<Option<Claimed>, StoreError>;
type Answer = oneshot::Sender<Found>;

/// What the handler hears. A claim that was sent when it was dropped, and that it didn't come to, is given back.
struct Heard<'a> {
    app: &'a App,
    receiver: oneshot::Receiver<Found>,
}

impl Drop for Heard<'_> {
    fn drop(&mut self) {
        self.receiver.close();
        if let Ok(Ok(Some(claimed))) = self.receiver.try_recv() {
            let app = self.app.clone();
            self.app.shutdown().tasks().spawn(async move { give_back(&app, &claimed.lease).await });
        }
    }
}

/// Never dropped half-way: a claim that is on its way must be answered or given back.
async fn claim_for(app: &App, tasks: &[TaskName], wait: Duration, mut client: Answer) {
    let found = look_or_wait(app, tasks, wait, &mut client).await;
    if let Err(Ok(Some(claimed))) = client.send(found) {
        give_back(app, &claimed.lease).await;
    }
}

async fn look_or_wait(app: &App, tasks: &[TaskName], wait: Duration, client: &mut Answer) -> Found {
    let deadline = Instant::now() + wait;
    loop {
        // In line before the look, so that a ring in between is heard.
        let waiting = if wait.is_zero() { None } else { Some(app.bells().wait(tasks).await?) };
        if let Some(claimed) = look_everywhere(app, tasks).await? {
            return Ok(Some(claimed));
        }
        let Some(mut waiting) = waiting else { return Ok(None) };
        let rung = tokio::select! {
            biased;
            () = client.closed() => None,
            () = app.shutdown().soft().cancelled() => None,
            rung = timeout_at(deadline, waiting.rung()) => rung.ok().flatten(),
        };
        let Some(partition) = rung else { return Ok(None) };
        if let Some(claimed) = claim_in(app, partition, tasks).await? {
            return Ok(Some(claimed));
        }
    }
}

/// A partition that doesn't answer keeps nobody from the jobs of the others; if none does, it is an error.
async fn look_everywhere(app: &App, tasks: &[TaskName]) -> Result<Option<Claimed>, StoreError> {
    let mut partitions: Vec<_> = app.store().partitions().await?.collect();
    let first = rand::random_range(0..partitions.len());
    partitions.rotate_left(first);
    let (mut answered, mut failed) = (false, None);
    for partition in partitions {
        match claim_in(app, partition, tasks).await {
            Ok(Some(claimed)) => return Ok(Some(claimed)),
            Ok(None) => answered = true,
            Err(error) => {
                failed = Some(error);
                // Each that doesn't answer takes a while, and a stop hasn't that long.
                if app.shutdown().soft().is_cancelled() {
                    break;
                }
            }
        }
    }
    match failed {
        Some(error) if !answered => Err(error),
        _ => Ok(None),
    }
}

async fn claim_in(
    app: &App,
    partition: Partition,
    tasks: &[TaskName],
) -> Result<Option<Claimed>, StoreError> {
    let token = Token::from_random(rand::random());
    let declared = &app.config().tasks;
    let limits = |task| declared.get(task).map(TaskConfig::run_limits).unwrap_or_default();
    let tasks: Vec<_> =
        tasks.iter().map(|task| Claimable { task: task.clone(), limits: limits(task) }).collect();
    let claimed = app.store().claim(partition, &tasks, token, app.config().jobs.lease).await;
    if let Err(StoreError::Unavailable(_)) = claimed {
        let finding = give_back_what_is_found(app.clone(), partition, token);
        app.shutdown().tasks().spawn(app.shutdown().soft().clone().run_until_cancelled_owned(finding));
    }
    claimed
}

/// Redis may come to a claim after nobody waits for it any more. What `token` turns out to have got is given back, so that no job
/// waits for a lease to end that nobody knows of.
async fn give_back_what_is_found(app: App, partition: Partition, token: Token) {
    let lease = app.config().jobs.lease;
    let (end, mut answers) = (Instant::now() + lease, 0);
    while answers < LOOKS && Instant::now() < end {
        // With no task it claims nothing, and only finds what was claimed.
        match app.store().claim(partition, &[], token, lease).await {
            Ok(Some(claimed)) => return give_back(&app, &claimed.lease).await,
            Ok(None) => answers += 1,
            Err(_) => {}
        }
        sleep(PAUSE).await;
    }
}

async fn give_back(app: &App, lease: &Lease) {
    if let Err(error) = app.store().release(lease).await {
        tracing::info!(job = %lease.job, %error, "a claim whose client has gone is left to its lease");
    }
}

/// The 200; a client that goes before it was written has claimed nothing.
fn answer(app: &App, claimed: Claimed) -> Response {
    let lease = claimed.lease;
    let body = ClaimResponse {
        job_id: lease.job,
        task: claimed.task,
        payload: claimed.payload,
        attempt: claimed.attempt,
        max_attempts: claimed.max_attempts,
        lease_token: lease.token,
        lease_expires_at: claimed.expires_at,
    };
    let app = app.clone();
    let tasks = app.shutdown().tasks().clone();
    Guarded::wrap(JsonResponse(body).into_response(), move || {
        tasks.spawn(async move { give_back(&app, &lease).await });
    })
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use model::Status;
    use store::{NewJob, Submitted};
    use testkit::eventually;
    use testkit::redis::RedisServer;

    use super::*;
    use crate::rig;

    const LONG: Duration = Duration::from_mins(1);

    #[tokio::test]
    async fn what_was_sent_and_never_heard_is_given_back() {
        let server = RedisServer::start().await;
        let app = rig::app(&server.url());
        let task: TaskName = "report".parse().unwrap();
        let job = NewJob::new("acme".parse().unwrap(), task.clone());
        let Submitted::Created(id) = app.store().submit(&job).await.unwrap() else { panic!("a new job") };
        let mut handler = Box::pin(next_job(&app, vec![task], Duration::ZERO));
        assert!(handler.as_mut().now_or_never().is_none());
        eventually(LONG, "it is claimed, and sent", async || app.shutdown().tasks().is_empty()).await;
        assert_eq!(app.store().job(id).await.unwrap().unwrap().status, Status::Processing);
        // As it is when the connection breaks just then.
        drop(handler);
        // Nobody sweeps here.
        eventually(LONG, "it is given back", async || {
            app.store().job(id).await.unwrap().unwrap().status == Status::Pending
        })
        .await;
    }
}
