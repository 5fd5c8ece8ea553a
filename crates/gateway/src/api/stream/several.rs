//! The stream of several jobs.

use std::mem;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use futures_util::{StreamExt, TryStreamExt, stream};
use model::several::{ListHash, Seen, decode, encode};
use model::stream_token::MAX_JOBS;
use model::{JobId, LogId, Owner, Position};
use store::{Peek, StoreError};
use tokio::time::sleep;

use super::{AGAIN, Look, Start, StartQuery, open};
use crate::App;
use crate::carrier::stream::{Opened, Source, as_it_is};
use crate::hub::{Follow, Hub, Member, Several, gone_frame, snapshot_frame};
use crate::owner::Viewer;
use crate::problem::Problem;

/// How many of a stream's jobs are asked for at once: a call takes kilobytes while it waits, and many streams come back together.
const AT_ONCE: usize = 16;
/// How many bytes of snapshots are told together: no stream holds more of them, and the last one.
const TOGETHER: usize = 16 << 10;

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

/// One of the jobs, at the stream's opening.
struct Place {
    job: JobId,
    /// How far it was told.
    seen: Seen,
    /// It is there, and the client may see it.
    exists: bool,
    /// Something of it may follow.
    open: bool,
    /// It is cancelled when nobody has followed it for so long.
    within: Option<Duration>,
}

/// The jobs at the stream's opening, and what is put before the stream.
struct Opening {
    list: ListHash,
    places: Vec<Place>,
    /// How many of the jobs were looked at: of the others a snapshot is still to come.
    shown: usize,
    /// Those that are cancelled when nobody follows them: until the last snapshot is told, which may take long, somebody does.
    followed: Vec<Follow>,
    lead: Vec<u8>,
}

impl Opening {
    fn new(jobs: &[JobId], seen: impl IntoIterator<Item = Seen>) -> Self {
        let place = |(&job, seen)| Place { job, seen, exists: false, open: false, within: None };
        let places = jobs.iter().zip(seen).map(place).collect();
        Self { list: ListHash::of_jobs(jobs), places, shown: 0, followed: Vec::new(), lead: Vec::new() }
    }

    /// The id of a frame that is told now.
    fn id(&self) -> String {
        encode(self.list, self.places.iter().map(|place| place.seen))
    }

    /// Says that the job at `index` doesn't exist.
    fn gone(&mut self, index: usize) {
        self.places[index].seen = Seen::Gone;
        let frame = gone_frame(self.places[index].job, &self.id());
        self.lead.extend_from_slice(&frame);
    }

    /// Adds snapshots of the next jobs, as many as are told together. After an error it goes on where it was.
    async fn show(&mut self, app: &App) -> Result<(), StoreError> {
        while self.shown < self.places.len() && self.lead.len() < TOGETHER {
            self.show_next(app).await?;
            self.shown += 1;
        }
        Ok(())
    }

    async fn show_next(&mut self, app: &App) -> Result<(), StoreError> {
        let index = self.shown;
        let Place { job, exists, .. } = self.places[index];
        let Some(job) = (if exists { app.store().job(job).await? } else { None }) else {
            self.gone(index);
            return Ok(());
        };
        let place = &mut self.places[index];
        place.seen = Seen::UpTo(job.last_event);
        place.within = job.cancel_on_disconnect;
        place.open = !job.status.is_terminal();
        let json = app.hub().snapshot(job).map_err(|error| StoreError::Unreadable(error.to_string()))?;
        let frame = snapshot_frame(&json, self.id());
        self.lead.extend_from_slice(&frame);
        Ok(())
    }

    /// What all of it comes to.
    fn look(self, app: &App) -> Look {
        match self.opened(app) {
            Opened { lead: None, source: Source::Over } => Look::Seen,
            opened => Look::Stream(opened),
        }
    }

    /// What is told now, and what is behind it.
    fn opened(mut self, app: &App) -> Opened {
        let lead = Some(mem::take(&mut self.lead)).filter(|lead| !lead.is_empty()).map(Into::into);
        let source = if self.shown < self.places.len() {
            // A result may be large: the next one is asked for when the client has taken what comes before.
            Source::Opening(Box::pin(self.go_on(app.clone())))
        } else {
            self.source(app.hub())
        };
        Opened { lead, source }
    }

    async fn go_on(mut self, app: App) -> Opened {
        while let Err(error) = self.show(&app).await {
            tracing::debug!(%error, "a stream's snapshots wait for Redis");
            sleep(AGAIN).await;
        }
        self.opened(&app)
    }

    /// What follows the snapshots.
    fn source(self, hub: &Hub) -> Source {
        if !self.places.iter().any(|place| place.open) {
            return Source::Over;
        }
        let member = |Place { job, seen, open, within, .. }| {
            if open {
                Member::open(hub, LogId::Job(job), seen).keeping(within)
            } else {
                Member::over(LogId::Job(job), seen)
            }
        };
        let members = self.places.into_iter().map(member).collect();
        Source::Several(Box::new(Several::of_jobs(hub, self.list, members)))
    }
}

async fn look(
    app: &App,
    owner: &Owner,
    jobs: &[JobId],
    start: &Start<Vec<Seen>>,
) -> Result<Look, StoreError> {
    let opening = match start {
        Start::After(seen) => after(app, owner, Opening::new(jobs, seen.iter().copied())).await?,
        Start::Now => now(app, owner, Opening::new(jobs, jobs.iter().map(|_| Seen::NOTHING))).await?,
    };
    Ok(opening.map_or(Look::Absent, |opening| opening.look(app)))
}

/// What there is of each job, but for what is somebody else's; `None` if nothing is left.
async fn found(app: &App, owner: &Owner, opening: &Opening) -> Result<Option<Vec<Option<Peek>>>, StoreError> {
    let jobs: Vec<_> = opening.places.iter().map(|place| place.job).collect();
    let asked = stream::iter(jobs.into_iter().map(|job| app.store().peek(job)));
    let all = asked.buffered(AT_ONCE).map_ok(|found| found.filter(|peek| peek.owner == *owner));
    let all: Vec<_> = all.try_collect().await?;
    Ok(Some(all).filter(|all| all.iter().any(Option::is_some)))
}

/// Where the client goes on from in each of the jobs; `None` if it can see none of them.
async fn after(app: &App, owner: &Owner, mut opening: Opening) -> Result<Option<Opening>, StoreError> {
    let Some(found) = found(app, owner, &opening).await? else { return Ok(None) };
    for (index, found) in found.into_iter().enumerate() {
        let place = &mut opening.places[index];
        match (found, place.seen) {
            (_, Seen::Gone) => {}
            (None, Seen::UpTo(_)) => opening.gone(index),
            (Some(Peek { status, last, cancel_on_disconnect, .. }), Seen::UpTo(cursor)) => {
                place.within = cancel_on_disconnect;
                place.open = !(status.is_terminal() && Position::from(cursor).is(last));
            }
        }
    }
    opening.shown = opening.places.len();
    Ok(Some(opening))
}

/// The same, after a snapshot of each: with the first of them.
async fn now(app: &App, owner: &Owner, mut opening: Opening) -> Result<Option<Opening>, StoreError> {
    let Some(found) = found(app, owner, &opening).await? else { return Ok(None) };
    let Opening { places, followed, .. } = &mut opening;
    for (place, found) in places.iter_mut().zip(found) {
        let Some(Peek { status, last, cancel_on_disconnect, .. }) = found else { continue };
        place.exists = true;
        if cancel_on_disconnect.is_some() && !status.is_terminal() {
            let follow = app.hub().follow(place.job, last.into());
            followed.push(follow.keeping(cancel_on_disconnect));
        }
    }
    opening.show(app).await?;
    Ok(Some(opening))
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
