//! Makes the jobs whose events are published.

use std::time::Duration;

use client::{Client, JobId, Submit};
use model::Token;
use tokio::task::JoinSet;

use crate::error::Error;
use crate::plan::Plan;

/// Submissions under way at once.
const AT_ONCE: usize = 32;
/// The longest lease there is: the publisher sends no heartbeats.
const LEASE: Duration = Duration::from_hours(1);
/// How long an ended job is kept, for streams that come back late; then nothing is left of the run.
const RETENTION: Duration = Duration::from_mins(5);

/// A client of each URL of `plan`.
pub(crate) fn clients(plan: &Plan) -> Result<Vec<(String, Client)>, Error> {
    let client = |url: &String| {
        let mut builder = Client::builder(url).retry_for(Duration::from_secs(5));
        if let Some(key) = &plan.key {
            builder = builder.key(key);
        }
        Ok((url.clone(), builder.build()?))
    };
    plan.urls.iter().map(client).collect()
}

/// Submits the jobs of `plan`, by all gateways in turn, and asks each gateway of one: so all of them are known to answer.
/// `each` hears of how many there are. Those that were accepted are in `jobs`, whatever becomes of the others.
pub(crate) async fn submit(
    plan: &Plan,
    clients: &[(String, Client)],
    jobs: &mut Vec<(JobId, Token)>,
    mut each: impl FnMut(usize),
) -> Result<(), Error> {
    let wanted = plan.jobs();
    let payload = serde_json::json!({ "by": "jobcast load" });
    let submission = Submit::new(plan.task.clone(), &payload).map_err(|source| Error::Payload { source })?;
    // A tester that is killed leaves jobs behind, though not for long.
    let submission =
        submission.external_lease(LEASE).queue_timeout(plan.duration + LEASE).retention(RETENTION);
    let mut tasks = JoinSet::new();
    let mut begun = 0;
    while jobs.len() < wanted {
        // The first one alone: what is wrong with it would be wrong with all.
        let most = if jobs.is_empty() { 1 } else { AT_ONCE };
        while begun < wanted && tasks.len() < most {
            let (url, client) = clients[begun % clients.len()].clone();
            let submission = submission.clone();
            tasks.spawn(async move {
                let submitted = client.submit(&submission).await;
                submitted.map_err(|source| Error::Call { url, source })
            });
            begun += 1;
        }
        let Some(Ok(submitted)) = tasks.join_next().await else { continue };
        let submitted = submitted?;
        let Some(token) = submitted.lease_token else { return Err(Error::NoToken) };
        jobs.push((submitted.id, token));
        if jobs.len() == 1 {
            probe(clients, submitted.id).await?;
        }
        each(jobs.len());
    }
    Ok(())
}

/// Asks each gateway of `job`: one that isn't there, or is another installation's, is named before the load begins.
async fn probe(clients: &[(String, Client)], job: JobId) -> Result<(), Error> {
    for (url, client) in clients {
        let asked = client.get(job).await;
        asked.map_err(|source| Error::Call { url: url.clone(), source })?;
    }
    Ok(())
}
