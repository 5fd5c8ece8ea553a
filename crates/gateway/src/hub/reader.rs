//! Reads of a log in Redis, and the verdict on the place that they were asked for.

use bytes::Bytes;
use model::replay::{self, LogPage, Verdict};
use model::wire::{FeedSnapshot, JobView, Snapshot, SnapshotReason};
use model::{Job, LogId, Position};
use store::{LogRead, Plant, StoreError, planted};

use super::Shared;
use super::page::BrokenPage;
use super::permits::ReadPermit;

/// What Redis has of a log after a position.
#[derive(Debug)]
pub(crate) struct Found {
    /// The entries after the position; from the log's first one, if the log can't go on from there.
    pub(crate) page: LogPage,
    /// The log's newest event is terminal.
    pub(crate) ended: bool,
    /// The log can't go on from the position: the JSON of the snapshot that says so, or nothing, where there is nothing to say.
    pub(crate) restart: Option<Bytes>,
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoPage {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Broken(#[from] BrokenPage),
    #[error("too many reads of its partition wait for Redis")]
    Busy,
    #[error("the job was forgotten while it was read")]
    Forgotten,
    #[error("another server answered than a moment ago: its history isn't the one that was read")]
    Changed,
    #[error("the snapshot can't be written: {0}")]
    Snapshot(#[from] serde_json::Error),
}

/// Whether a server that lost everything, or was replaced, would say the same.
fn is_grave(verdict: Verdict, read: &LogRead) -> bool {
    match verdict {
        Verdict::Rewound => true,
        Verdict::Trimmed => read.page.first.is_none(),
        Verdict::Follows | Verdict::Begins => false,
    }
}

impl Shared {
    /// Waits until `log` may be read.
    pub(super) async fn permit(&self, log: &LogId) -> ReadPermit<'_> {
        self.reads.get(log.partition(), self.store.known_partitions()).await
    }

    /// What follows `position` in `log`, about [`page`](super::HubOptions::page) bytes of it. `None` if there is no such job.
    pub(super) async fn find(&self, log: &LogId, position: Position) -> Result<Option<Found>, NoPage> {
        let mut judged = self.judged(log, position).await?;
        if judged.as_ref().is_none_or(|(verdict, read)| is_grave(*verdict, read)) {
            // Before a client is told that its history is void, the primary is asked that really is it.
            self.store.confirm_primary(log.partition()).await;
            judged = self.judged(log, position).await?;
        }
        let Some((verdict, LogRead { page, ended })) = judged else { return Ok(None) };
        match verdict {
            Verdict::Rewound if planted(Plant::RewindOff) => {
                let page = LogPage { first: None, entries: Vec::new(), ..page };
                Ok(Some(Found { page, ended, restart: Some(Bytes::new()) }))
            }
            Verdict::Follows => Ok(Some(Found { page, ended, restart: None })),
            Verdict::Begins => Ok(Some(Found { page, ended, restart: Some(Bytes::new()) })),
            Verdict::Trimmed => self.whole(log, SnapshotReason::Trimmed).await,
            Verdict::Rewound => self.whole(log, SnapshotReason::Rewound).await,
        }
    }

    async fn judged(
        &self,
        log: &LogId,
        position: Position,
    ) -> Result<Option<(Verdict, LogRead)>, StoreError> {
        let read = self.store.log(log, position.seq, self.options.page).await?;
        let judge = match log {
            LogId::Job(_) => replay::settle,
            LogId::Feed(..) => replay::settle_feed,
        };
        Ok(read.map(|read| (judge(position, &read.page), read)))
    }

    /// The log from its first entry, with the snapshot that says why.
    async fn whole(&self, log: &LogId, reason: SnapshotReason) -> Result<Option<Found>, NoPage> {
        let Some(LogRead { page, ended }) = self.store.log(log, 0, self.options.page).await? else {
            return Ok(None);
        };
        let snapshot = match log {
            LogId::Job(job) => {
                let job = self.store.job(*job).await?.ok_or(NoPage::Forgotten)?;
                // Read after the log, it is as far or farther; unless a failover came between the two.
                let (at, last) = (job.last_event, page.last);
                if at.seq < last.seq || (at.seq == last.seq && at != last) {
                    return Err(NoPage::Changed);
                }
                self.snapshot(job, reason)?
            }
            LogId::Feed(..) => serde_json::to_vec(&FeedSnapshot { reason })?.into(),
        };
        Ok(Some(Found { page, ended, restart: Some(snapshot) }))
    }

    /// The JSON of a `snapshot` of `job`.
    pub(super) fn snapshot(&self, job: Job, reason: SnapshotReason) -> Result<Bytes, serde_json::Error> {
        let snapshot = Snapshot { job_id: job.id, reason, job: JobView::new(job, &self.options.base_url) };
        serde_json::to_vec(&snapshot).map(Bytes::from)
    }
}
