//! The stream of several jobs.

use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use futures_util::{StreamExt, TryStreamExt, stream};
use model::several::{ListHash, Seen, decode, encode};
use model::stream_token::MAX_JOBS;
use model::{Job, JobId, Owner, Position};
use store::{Peek, StoreError};

use super::{Look, Start, StartQuery, open};
use crate::App;
use crate::carrier::body::{Opened, Source, as_it_is};
use crate::hub::{Member, Several, gone_frame, snapshot_frame};
use crate::owner::Viewer;
use crate::problem::Problem;

/// How many of a stream's jobs are asked for at once: a call takes kilobytes while it waits, and many streams come back together.
const AT_ONCE: usize = 16;

/// `GET /api/events?job=…&job=…`
pub(crate) async fn several(
    State(app): State<App>,
    viewer: Viewer,
    query: Result<Query<Vec<(String, String)>>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Query(pairs) = query?;
    let (jobs, query) = read_query(pairs)?;
    viewer.may_stream(&jobs)?;
    let list = ListHash::of_jobs(&jobs);
    let start = Start::of(&headers, &query, vec![Seen::NOTHING; jobs.len()], |text| {
        decode(text, |logs| (logs == jobs.len()).then_some(list))
    })?;
    let own = app.clone();
    let look = move || {
        let (app, owner, jobs, start) = (own.clone(), viewer.owner.clone(), jobs.clone(), start.clone());
        async move { look(&app, &owner, &jobs, &start).await }
    };
    open(app, as_it_is, look).await
}

/// The jobs, each once, in the order in which they were named; and the start.
fn read_query(pairs: Vec<(String, String)>) -> Result<(Vec<JobId>, StartQuery), Problem> {
    let (mut jobs, mut query) = (Vec::new(), StartQuery::default());
    for (name, value) in pairs {
        let field = match name.as_str() {
            "job" => {
                let job = value.parse().map_err(|_| Problem::NotFound)?;
                if !jobs.contains(&job) {
                    jobs.push(job);
                }
                continue;
            }
            "lastEventId" => &mut query.last_event_id,
            "from" => &mut query.from,
            _ => continue,
        };
        if field.replace(value).is_some() {
            return Err(Problem::Malformed(format!(
                "`{name}` is in the query more than once; send it once."
            )));
        }
    }
    if !(1..=MAX_JOBS).contains(&jobs.len()) {
        let says = format!("Name the jobs in the query, as `?job=<id>&job=<id>`: 1 to {MAX_JOBS} of them.");
        return Err(Problem::Malformed(says));
    }
    Ok((jobs, query))
}

/// What is put before the stream, and how far it has told of each job then.
struct Lead {
    list: ListHash,
    seen: Vec<Seen>,
    /// Which of them are cancelled when nobody follows them, and after how long.
    keep: Vec<Option<Duration>>,
    bytes: Vec<u8>,
}

impl Lead {
    fn id(&self) -> String {
        encode(self.list, self.seen.iter().copied())
    }

    fn opened(self, source: Source) -> Opened {
        Opened { lead: Some(self.bytes).filter(|lead| !lead.is_empty()).map(Into::into), source }
    }
}

async fn look(
    app: &App,
    owner: &Owner,
    jobs: &[JobId],
    start: &Start<Vec<Seen>>,
) -> Result<Look, StoreError> {
    let list = ListHash::of_jobs(jobs);
    let keep = vec![None; jobs.len()];
    let (lead, open) = match start {
        Start::After(seen) => {
            after(app, owner, jobs, Lead { list, seen: seen.clone(), keep, bytes: Vec::new() }).await?
        }
        Start::Now => {
            let seen = vec![Seen::NOTHING; jobs.len()];
            now(app, owner, jobs, Lead { list, seen, keep, bytes: Vec::new() }).await?
        }
    };
    let Some(open) = open else { return Ok(Look::Absent) };
    if open.iter().all(|open| !open) {
        let seen_all = lead.bytes.is_empty();
        return Ok(if seen_all { Look::Seen } else { Look::Stream(lead.opened(Source::Over)) });
    }
    let hub = app.hub();
    let members =
        jobs.iter().zip(&lead.seen).zip(open).zip(&lead.keep).map(|(((&job, &seen), open), &keep)| {
            if open {
                Member::open(hub, job.into(), seen).keeping(keep)
            } else {
                Member::over(job.into(), seen)
            }
        });
    let several = Several::of_jobs(hub, list, members.collect());
    Ok(Look::Stream(lead.opened(Source::Several(Box::new(several)))))
}

/// Which of the jobs go on from where the client is; `None` if it can see none of them.
async fn after(
    app: &App,
    owner: &Owner,
    jobs: &[JobId],
    mut lead: Lead,
) -> Result<(Lead, Option<Vec<bool>>), StoreError> {
    let asked = jobs.iter().copied().map(|job| app.store().peek(job));
    let found: Vec<Option<Peek>> = stream::iter(asked)
        .buffered(AT_ONCE)
        .map_ok(|peek| peek.filter(|peek| peek.owner == *owner))
        .try_collect()
        .await?;
    if found.iter().all(Option::is_none) {
        return Ok((lead, None));
    }
    let mut open = vec![false; jobs.len()];
    for (index, (&job, found)) in jobs.iter().zip(found).enumerate() {
        match (found, lead.seen[index]) {
            (_, Seen::Gone) => {}
            (None, Seen::UpTo(_)) => {
                lead.seen[index] = Seen::Gone;
                let frame = gone_frame(job, &lead.id());
                lead.bytes.extend_from_slice(&frame);
            }
            (Some(Peek { status, last, cancel_on_disconnect, .. }), Seen::UpTo(cursor)) => {
                lead.keep[index] = cancel_on_disconnect;
                open[index] = !(status.is_terminal() && Position::from(cursor).is(last));
            }
        }
    }
    Ok((lead, Some(open)))
}

/// The same, after a snapshot of each.
async fn now(
    app: &App,
    owner: &Owner,
    jobs: &[JobId],
    mut lead: Lead,
) -> Result<(Lead, Option<Vec<bool>>), StoreError> {
    let asked = jobs.iter().copied().map(|job| app.store().job(job));
    let found: Vec<Option<Job>> = stream::iter(asked)
        .buffered(AT_ONCE)
        .map_ok(|job| job.filter(|job| job.owner == *owner))
        .try_collect()
        .await?;
    if found.iter().all(Option::is_none) {
        return Ok((lead, None));
    }
    let mut open = vec![false; jobs.len()];
    for (index, (&id, found)) in jobs.iter().zip(found).enumerate() {
        let frame = match found {
            None => {
                lead.seen[index] = Seen::Gone;
                gone_frame(id, &lead.id())
            }
            Some(job) => {
                lead.seen[index] = Seen::UpTo(job.last_event);
                lead.keep[index] = job.cancel_on_disconnect;
                open[index] = !job.status.is_terminal();
                let json =
                    app.hub().snapshot(job).map_err(|error| StoreError::Unreadable(error.to_string()))?;
                snapshot_frame(&json, lead.id())
            }
        };
        lead.bytes.extend_from_slice(&frame);
    }
    Ok((lead, Some(open)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_names_each_job_once() {
        let id = |n: u32| format!("019ab3c4-5d6e-7f80-9a1b-2c3d4e5f60{n:02}");
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let jobs = |numbers: &[u32]| numbers.iter().map(|&n| pair("job", &id(n))).collect::<Vec<_>>();
        for (pairs, want) in [
            (jobs(&[2, 1, 2]), Some(2)),
            ([jobs(&[1]), vec![pair("token", "x"), pair("from", "now")]].concat(), Some(1)),
            (vec![], None),
            (vec![pair("job", "x")], None),
            ([jobs(&[1]), vec![pair("from", "now"), pair("from", "now")]].concat(), None),
            ((0..100).map(|n| pair("job", &id(n))).collect(), Some(100)),
            (
                (0..101).map(|n| pair("job", &format!("019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6{n:03}"))).collect(),
                None,
            ),
        ] {
            let read = read_query(pairs.clone());
            assert_eq!(read.ok().map(|(jobs, _)| jobs.len()), want, "{pairs:?}");
        }
    }
}
