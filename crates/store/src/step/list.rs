//! list: an owner's jobs, the newest first, a page at a time.
//!
//! The index of each partition has the ids in order of creation, so the ids of all partitions together are a merge. These are
//! reads, not a step: a job that comes or goes meanwhile is in the page or isn't.

use std::collections::VecDeque;

use futures_util::future::{try_join, try_join_all};
use model::{Job, JobId, Owner, Partition, Status, TaskName};
use redis::Value;

use super::reply::{Reply, unreadable};
use crate::connect::Request;
use crate::keys::{Keys, keys_of};
use crate::{Store, StoreError};

/// The most ids that a page looks at: with a filter that few jobs pass it comes back short.
const MOST_IDS: usize = 1000;

/// How many ids are looked at together at least.
const BATCH: usize = 100;

/// The most bytes of results in a page, but for those of its first job.
const MOST_RESULTS: usize = 8 << 20;

/// Which of an owner's jobs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListQuery {
    /// Whose jobs.
    pub owner: Owner,
    /// Those that stand so; all if `None`.
    pub status: Option<Status>,
    /// Those of this task; all if `None`.
    pub task: Option<TaskName>,
    /// Those made before this one, which needn't be there any more.
    pub after: Option<JobId>,
    /// How many at most, from 1.
    pub limit: usize,
}

/// A page of jobs.
#[derive(Clone, PartialEq, Debug)]
pub struct Listed {
    /// The jobs, the newest first.
    pub jobs: Vec<Job>,
    /// The next page is [`after`](ListQuery::after) this job; `None` if there are no more.
    pub next: Option<JobId>,
}

impl ListQuery {
    fn wants(&self, status: Status, task: &TaskName) -> bool {
        self.status.is_none_or(|wanted| wanted == status)
            && self.task.as_ref().is_none_or(|wanted| wanted == task)
    }
}

impl Store {
    /// A page of jobs. It looks at no more than 1,000 ids, and holds no more than 8 MiB of results, so it may be short, even
    /// empty, and yet have a next one. Failed jobs have an index of their own. Jobs that have expired are passed over.
    pub async fn list(&self, query: &ListQuery) -> Result<Listed, StoreError> {
        let mut ids = Merge::of(self, query).await?;
        let (mut jobs, mut last) = (Vec::new(), None);
        let (mut looked, mut bytes) = (0, 0);
        loop {
            let wanted = query.limit.saturating_sub(jobs.len());
            let batch = ids.take(wanted.max(BATCH).min(MOST_IDS - looked)).await?;
            looked += batch.len();
            let heads = try_join_all(batch.iter().map(|&id| self.head(id))).await?;
            let (mut chosen, mut passed) = (Vec::new(), 0);
            for (&id, head) in batch.iter().zip(heads) {
                if chosen.len() == wanted {
                    break;
                }
                if let Some(head) = head.filter(|head| query.wants(head.status, &head.task)) {
                    if bytes > 0 && bytes + head.result > MOST_RESULTS {
                        break;
                    }
                    bytes += head.result;
                    chosen.push(id);
                }
                (last, passed) = (Some(id), passed + 1);
            }
            let found = try_join_all(chosen.into_iter().map(|id| self.job(id))).await?;
            // Some may have gone on, or gone, since.
            jobs.extend(found.into_iter().flatten().filter(|job| query.wants(job.status, &job.task)));
            if passed < batch.len() {
                return Ok(Listed { jobs, next: last });
            }
            if ids.is_over().await? {
                return Ok(Listed { jobs, next: None });
            }
            if jobs.len() >= query.limit || looked >= MOST_IDS {
                return Ok(Listed { jobs, next: last });
            }
        }
    }

    async fn head(&self, job: JobId) -> Result<Option<Head>, StoreError> {
        let keys = keys_of(self.prefix(), job.partition())?;
        let (mut fields, mut length) = (redis::cmd("HMGET"), redis::cmd("HSTRLEN"));
        fields.arg(keys.job(job)).arg(&["status", "task"]);
        length.arg(keys.job(job)).arg("result");
        let (fields, length) = (Request::Command(&fields), Request::Command(&length));
        let router = self.router();
        let (fields, length) =
            try_join(router.call(keys.slot, &fields), router.call(keys.slot, &length)).await?;
        let mut reply = Reply::new(fields)?;
        let Some(status) = reply.text_if_any()? else { return Ok(None) };
        let Value::Int(length) = length else { return Err(unreadable(&length)) };
        let status = status.parse().map_err(|_| unreadable(&status))?;
        Ok(Some(Head { status, task: reply.parse()?, result: usize::try_from(length).unwrap_or(0) }))
    }
}

/// What decides whether a job is in the page.
struct Head {
    status: Status,
    task: TaskName,
    /// The bytes of its result.
    result: usize,
}

/// The ids of all partitions, the newest first.
struct Merge<'a> {
    store: &'a Store,
    sources: Vec<Source>,
}

/// The ids of one partition.
struct Source {
    keys: Keys,
    index: String,
    /// The next ones.
    ids: VecDeque<JobId>,
    /// The one before those that aren't read yet.
    after: Option<JobId>,
    /// There may be some that aren't read yet.
    more: bool,
}

impl<'a> Merge<'a> {
    async fn of(store: &'a Store, query: &ListQuery) -> Result<Self, StoreError> {
        let source = |partition: Partition| {
            let keys = keys_of(store.prefix(), partition)?;
            let index = match query.status {
                Some(Status::Failed) => keys.failed_of(&query.owner),
                _ => keys.jobs_of(&query.owner),
            };
            Ok(Source { keys, index, ids: VecDeque::new(), after: query.after, more: true })
        };
        let sources = store.partitions().await?.map(source).collect::<Result<_, StoreError>>()?;
        Ok(Self { store, sources })
    }

    /// The next ids, fewer than `most` only if there are no more.
    async fn take(&mut self, most: usize) -> Result<Vec<JobId>, StoreError> {
        let mut taken = Vec::with_capacity(most);
        while taken.len() < most {
            self.fill(most - taken.len()).await?;
            let newest = self.sources.iter_mut().max_by_key(|source| source.ids.front().copied());
            let Some(id) = newest.and_then(|source| source.ids.pop_front()) else { break };
            taken.push(id);
        }
        Ok(taken)
    }

    async fn is_over(&mut self) -> Result<bool, StoreError> {
        self.fill(1).await?;
        Ok(self.sources.iter().all(|source| source.ids.is_empty()))
    }

    /// Reads on wherever the next id isn't known; about as many as the partition's part of `wanted`, and some to spare.
    async fn fill(&mut self, wanted: usize) -> Result<(), StoreError> {
        let count = (2 * wanted.div_ceil(self.sources.len().max(1))).clamp(16, MOST_IDS);
        let store = self.store;
        let empty = self.sources.iter_mut().filter(|source| source.ids.is_empty() && source.more);
        try_join_all(empty.map(|source| source.read(store, count))).await.map(drop)
    }
}

impl Source {
    async fn read(&mut self, store: &Store, count: usize) -> Result<(), StoreError> {
        let after = self.after.map_or_else(|| "+".to_owned(), |id| format!("({id}"));
        let mut cmd = redis::cmd("ZRANGE");
        cmd.arg(&self.index).arg(after).arg("-").arg(&["BYLEX", "REV", "LIMIT", "0"]).arg(count);
        let mut reply = Reply::new(store.router().call(self.keys.slot, &Request::Command(&cmd)).await?)?;
        while !reply.is_empty() {
            self.ids.push_back(reply.parse()?);
        }
        self.more = self.ids.len() == count;
        self.after = self.ids.back().copied().or(self.after);
        Ok(())
    }
}
