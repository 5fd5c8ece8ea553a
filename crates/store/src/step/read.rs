//! read: a job's state, and pages of its log.

use std::collections::HashMap;
use std::sync::LazyLock;

use bytes::Bytes;
use model::replay::LogPage;
use model::{Cursor, Entry, EntryHead, Job, JobId, Owner, Status, Timestamp};
use redis::Value;

use super::reply::{Reply, unreadable};
use crate::connect::Request;
use crate::keys::keys_of;
use crate::script::Script;
use crate::{Store, StoreError};

static READ: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("read.lua"), &[]));

/// What a gateway asks of every job that is named to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peek {
    /// Whose job it is.
    pub owner: Owner,
    /// Where it stands.
    pub status: Status,
    /// The cursor of its newest event.
    pub last: Cursor,
}

/// One atomic read of a log, with the job's owner and status.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogRead {
    /// Whose job it is.
    pub owner: Owner,
    /// Where it stands.
    pub status: Status,
    /// The page.
    pub page: LogPage,
}

impl Store {
    /// The owner, status and newest event of `job`; `None` if there is no such job.
    pub async fn peek(&self, job: JobId) -> Result<Option<Peek>, StoreError> {
        let Ok(keys) = keys_of(self.prefix(), job.partition()) else { return Ok(None) };
        let cmd = peek_command(&keys.job(job));
        read_peek(self.router().call(keys.slot, &Request::Command(&cmd)).await?)
    }

    /// The same for many jobs of one partition at once, one try, each with an answer of its own: an error means "not known",
    /// never "gone".
    pub async fn peek_each(&self, jobs: &[JobId]) -> Vec<Result<Option<Peek>, StoreError>> {
        let Some(keys) = jobs.first().and_then(|job| keys_of(self.prefix(), job.partition()).ok()) else {
            return jobs.iter().map(|_| Ok(None)).collect();
        };
        let cmds: Vec<_> = jobs.iter().map(|&job| peek_command(&keys.job(job))).collect();
        self.router().each(keys.slot, &cmds).await.into_iter().map(|value| read_peek(value?)).collect()
    }

    /// Finds out anew which server holds `job`: before a client is told that history changed.
    pub async fn confirm_primary(&self, job: JobId) {
        if let Ok(keys) = keys_of(self.prefix(), job.partition()) {
            self.router().confirm(keys.slot).await;
        }
    }

    /// The entries of `job`'s log after `seq`, up to about `max_bytes` of them and at least one, with what
    /// [`model::replay::settle`] needs. `None` if there is no such job.
    pub async fn log(&self, job: JobId, seq: u64, max_bytes: usize) -> Result<Option<LogRead>, StoreError> {
        let Ok(keys) = keys_of(self.prefix(), job.partition()) else { return Ok(None) };
        let call = READ.call(vec![keys.job(job), keys.log(job)]).arg(seq).arg(max_bytes);
        let mut reply = Reply::new(self.router().call(keys.slot, &Request::Script(&call)).await?)?;
        if reply.is_empty() { Ok(None) } else { read_log(&mut reply).map(Some) }
    }

    /// Everything that is told of `job`; `None` if there is no such job.
    pub async fn job(&self, job: JobId) -> Result<Option<Job>, StoreError> {
        let Ok(keys) = keys_of(self.prefix(), job.partition()) else { return Ok(None) };
        let mut cmd = redis::cmd("HMGET");
        cmd.arg(keys.job(job)).arg(JOB_FIELDS);
        let value = self.router().call(keys.slot, &Request::Command(&cmd)).await?;
        let Value::Array(values) = value else { return Err(unreadable(&value)) };
        let fields = JOB_FIELDS.iter().copied().zip(values).filter_map(|(name, value)| match value {
            Value::BulkString(bytes) => Some((name, String::from_utf8_lossy(&bytes).into_owned())),
            _ => None,
        });
        read_job(job, &Fields(fields.collect()))
    }
}

fn peek_command(key: &str) -> redis::Cmd {
    let mut cmd = redis::cmd("HMGET");
    cmd.arg(key).arg(&["owner", "status", "seq", "mark"]);
    cmd
}

fn read_peek(value: Value) -> Result<Option<Peek>, StoreError> {
    if let Value::Array(values) = &value
        && values.get(1) == Some(&Value::Nil)
    {
        return Ok(None);
    }
    let mut reply = Reply::new(value)?;
    let (owner, status) = (reply.parse()?, reply.parse()?);
    Ok(Some(Peek { owner, status, last: Cursor::new(reply.parse()?, reply.parse()?) }))
}

fn read_log(reply: &mut Reply) -> Result<LogRead, StoreError> {
    let (owner, status) = (reply.parse()?, reply.parse()?);
    let last = Cursor::new(reply.parse()?, reply.parse()?);
    let (first, anchor) = (reply.bytes()?, reply.text()?);
    let head = |bytes: Vec<u8>| -> Result<EntryHead, StoreError> {
        Ok(Entry::parse(&Bytes::from(bytes)).map_err(|error| unreadable(&error))?.head)
    };
    let first = if first.is_empty() { None } else { Some(head(first)?) };
    let anchor =
        if anchor.is_empty() { None } else { Some(anchor.parse().map_err(|_| unreadable(&anchor))?) };
    let mut entries = Vec::new();
    while !reply.is_empty() {
        entries.push(Entry::parse(&Bytes::from(reply.bytes()?)).map_err(|error| unreadable(&error))?);
    }
    Ok(LogRead { owner, status, page: LogPage { first, last, anchor, entries } })
}

const JOB_FIELDS: &[&str] = &[
    "owner",
    "task",
    "status",
    "progress",
    "message",
    "result",
    "error",
    "errorCode",
    "attempt",
    "maxAttempts",
    "metadata",
    "createdAt",
    "at",
    "startedAt",
    "finishedAt",
    "expiresAt",
    "seq",
    "mark",
];

struct Fields(HashMap<&'static str, String>);

impl Fields {
    fn text(&self, name: &str) -> &str {
        self.0.get(name).map(String::as_str).unwrap_or_default()
    }

    fn parse<T: std::str::FromStr>(&self, name: &str) -> Result<T, StoreError> {
        self.text(name).parse().map_err(|_| unreadable(&(name, self.text(name))))
    }

    /// An absent, empty or `null` field is none.
    fn json<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StoreError> {
        match self.text(name) {
            "" => Ok(None),
            text => serde_json::from_str(text).map_err(|error| unreadable(&(name, error.to_string()))),
        }
    }

    fn time(&self, name: &str) -> Result<Option<Timestamp>, StoreError> {
        if self.text(name).is_empty() {
            Ok(None)
        } else {
            self.parse(name).map(Timestamp::from_millis).map(Some)
        }
    }
}

fn read_job(id: JobId, fields: &Fields) -> Result<Option<Job>, StoreError> {
    if fields.text("status").is_empty() {
        return Ok(None);
    }
    Ok(Some(Job {
        id,
        owner: fields.parse("owner")?,
        task: fields.parse("task")?,
        status: fields.parse("status")?,
        progress: fields.json("progress")?,
        message: fields.json("message")?,
        result: fields.json("result")?,
        error: fields.json("error")?,
        error_code: fields.text("errorCode").parse().ok(),
        attempt: fields.parse("attempt")?,
        max_attempts: fields.parse("maxAttempts")?,
        metadata: fields.json("metadata")?,
        created_at: fields.time("createdAt")?.unwrap_or_default(),
        updated_at: fields.time("at")?.unwrap_or_default(),
        started_at: fields.time("startedAt")?,
        finished_at: fields.time("finishedAt")?,
        expires_at: fields.time("expiresAt")?.unwrap_or_default(),
        last_event: Cursor::new(fields.parse("seq")?, fields.parse("mark")?),
    }))
}
