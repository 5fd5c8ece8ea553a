//! The stream of an owner's feed: the life-cycle events of all of the owner's jobs.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use futures_util::future::try_join_all;
use model::cursor::BadCursor;
use model::id::MAX_PARTITIONS;
use model::several::{ListHash, Seen, decode, encode};
use model::wire::{FeedSnapshot, SnapshotReason};
use model::{LogId, Owner, Partition};
use store::StoreError;

use super::{Look, Start, StartQuery, open};
use crate::App;
use crate::carrier::stream::{Opened, Source, as_it_is};
use crate::hub::{Several, snapshot_frame};
use crate::owner::Viewer;
use crate::problem::Problem;

/// `GET /api/feed`
pub(crate) async fn feed(
    State(app): State<App>,
    viewer: Viewer,
    query: Result<Query<StartQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    viewer.may_stream_feed()?;
    let Query(query) = query?;
    let start = Start::of(&headers, &query, Vec::new(), |text| {
        let most = usize::from(MAX_PARTITIONS);
        let seen = decode(text, |logs| (logs <= most).then(|| ListHash::of_feed(logs)))?;
        // No feed was ever gone.
        if seen.contains(&Seen::Gone) { Err(BadCursor) } else { Ok(seen) }
    })?;
    let own = app.clone();
    let look = move || {
        let (app, owner, start) = (own.clone(), viewer.owner.clone(), start.clone());
        async move { look(&app, &owner, start).await }
    };
    open(app, as_it_is, look).await
}

async fn look(app: &App, owner: &Owner, start: Start<Vec<Seen>>) -> Result<Look, StoreError> {
    let partitions: Vec<_> = app.store().partitions().await?.collect();
    let (lead, seen) = match start {
        Start::After(seen) => {
            if let Some(last) = seen.len().checked_sub(1).and_then(|last| u16::try_from(last).ok()) {
                // If more partitions than this node knows of have been added, it hears of them now.
                app.store().has_partition(Partition(last)).await?;
            }
            (None, seen)
        }
        Start::Now => {
            let seen = newest(app, owner, &partitions).await?;
            let json = serde_json::to_vec(&FeedSnapshot { reason: SnapshotReason::Now })
                .map_err(|error| StoreError::Unreadable(error.to_string()))?;
            (Some(snapshot_frame(&json, encode(ListHash::of_feed(seen.len()), seen.iter().copied()))), seen)
        }
    };
    let several = Several::of_feed(app.hub(), owner.clone(), seen);
    Ok(Look::Stream(Opened { lead, source: Source::Several(Box::new(several)) }))
}

/// The newest event of each partition's feed.
async fn newest(app: &App, owner: &Owner, partitions: &[Partition]) -> Result<Vec<Seen>, StoreError> {
    let asked = partitions.iter().map(async |&partition| {
        let found = app.store().tip(&LogId::Feed(partition, owner.clone())).await?;
        Ok::<_, StoreError>(found.map_or(Seen::NOTHING, Seen::UpTo))
    });
    try_join_all(asked).await
}
