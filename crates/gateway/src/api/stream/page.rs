//! A job's log as JSON, a page at a time: the same events as its stream, for clients that don't stream.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, VARY};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use model::{Cursor, JobId, Owner, Position};

use super::Start;
use crate::App;
use crate::hub::{Found, NoPage};
use crate::problem::Problem;

/// `{events, next}`: the events after the start, as many as fit a page, and the cursor to go on with; `next` is null when
/// nothing will follow. Where the log can't go on from the start, the first event is the snapshot that says so.
pub(super) async fn page(
    app: &App,
    owner: &Owner,
    id: JobId,
    start: Start<Position>,
) -> Result<Response, Problem> {
    let (events, next) = match start {
        Start::Now => {
            let job =
                app.store().job(id).await?.filter(|job| job.owner == *owner).ok_or(Problem::NotFound)?;
            app.hub().looked_at(id, job.status, job.cancel_on_disconnect).await;
            let next = Some(job.last_event).filter(|_| !job.status.is_terminal());
            (vec![app.hub().snapshot(job).map_err(NoPage::from)?], next)
        }
        Start::After(position) => {
            // Not the whole job: its result may be large, and there may be many pages.
            let job =
                app.store().peek(id).await?.filter(|job| job.owner == *owner).ok_or(Problem::NotFound)?;
            app.hub().looked_at(id, job.status, job.cancel_on_disconnect).await;
            let found = app.hub().page(&id.into(), position).await?.ok_or(Problem::NotFound)?;
            told(found)
        }
    };
    let next = next.map_or_else(|| "null".to_owned(), |next| format!("\"{next}\""));
    let mut body = b"{\"events\":[".to_vec();
    for (n, event) in events.iter().enumerate() {
        body.extend_from_slice(if n == 0 { b"" } else { b"," });
        body.extend_from_slice(event);
    }
    body.extend_from_slice(format!("],\"next\":{next}}}").as_bytes());
    let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store"), (VARY, "accept")];
    Ok((headers, body).into_response())
}

/// The JSON of what was found, and where to go on.
fn told(found: Found) -> (Vec<Bytes>, Option<Cursor>) {
    let Found { page, ended, restart } = found;
    // Without entries and from no new start, the position is the log's end.
    let start = if restart.is_some() { page.start() } else { page.last };
    let end = page.entries.last().map_or(start, |entry| entry.head.cursor());
    let next = Some(end).filter(|end| !(ended && end.seq == page.last.seq));
    let bodies = page.entries.into_iter().filter_map(|entry| entry.body).map(|body| body.json);
    (restart.into_iter().filter(|json| !json.is_empty()).chain(bodies).collect(), next)
}
