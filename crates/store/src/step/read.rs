//! read: a job's state, and pages of logs.

use std::borrow::Cow;
use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use model::replay::LogPage;
use model::{Cursor, Entry, EntryHead, Job, JobId, LogId, Owner, Partition, Priority, Status, Timestamp};
use redis::Value;

use super::PAGE;
use super::reply::{Reply, unreadable};
use crate::connect::Request;
use crate::keys::{Keys, keys_of};
use crate::script::Script;
use crate::{Store, StoreError};

static READ: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("read.lua"), &[PAGE]));
static READ_FEED: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("read_feed.lua"), &[PAGE]));

/// What a gateway asks of every job that is named to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peek {
    /// Whose job it is.
    pub owner: Owner,
    /// Where it stands.
    pub status: Status,
    /// The cursor of its newest event.
    pub last: Cursor,
    /// It is cancelled when nobody has followed it for so long.
    pub cancel_on_disconnect: Option<Duration>,
}

/// One atomic read of a log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogRead {
    /// The page.
    pub page: LogPage,
    /// The log's newest event is terminal: the job has ended. A feed never does.
    pub ended: bool,
}

impl Store {
    /// The owner, status and newest event of `job`; `None` if there is no such job, by the word of the primary that is named.
    pub async fn peek(&self, job: JobId) -> Result<Option<Peek>, StoreError> {
        let Ok(keys) = keys_of(self.prefix(), job.partition()) else { return Ok(None) };
        let cmd = peek_command(&keys.job(job));
        if let Some(found) = read_peek(self.router().call(keys.slot, &Request::Command(&cmd)).await?)? {
            return Ok(Some(found));
        }
        self.doubt().await;
        read_peek(self.router().call(keys.slot, &Request::Command(&cmd)).await?)
    }

    /// Before it is told that there is nothing, which people take for the last word: a server that comes back from a crash may
    /// know nothing, and not that it was replaced. Where nobody can say who is primary, the one that is known is.
    async fn doubt(&self) {
        self.router().confirm().await;
    }

    /// The newest events of many logs of one partition at once, one try, each with an answer of its own: an error means "not
    /// known", never "gone". `None` for a job that isn't there, and for a feed that has no event.
    pub async fn tips(&self, logs: &[LogId]) -> Vec<Result<Option<Cursor>, StoreError>> {
        let Some(keys) = logs.first().and_then(|log| keys_of(self.prefix(), log.partition()).ok()) else {
            return logs.iter().map(|_| Ok(None)).collect();
        };
        let cmds: Vec<_> = logs.iter().map(|log| tip_command(&keys, log)).collect();
        let values = self.router().each(keys.slot, &cmds).await;
        values.into_iter().zip(logs).map(|(value, log)| read_tip(log, value?)).collect()
    }

    /// The newest event of `log`; `None` for a job that isn't there, and for a feed that has no event.
    pub async fn tip(&self, log: &LogId) -> Result<Option<Cursor>, StoreError> {
        let Ok(keys) = keys_of(self.prefix(), log.partition()) else { return Ok(None) };
        let cmd = tip_command(&keys, log);
        read_tip(log, self.router().call(keys.slot, &Request::Command(&cmd)).await?)
    }

    /// Finds out anew which server holds `partition`, by the word of the Sentinels or of most primaries of the Cluster: before
    /// a client is told that history changed. Later calls go there, and the partition's live channels follow.
    pub async fn confirm_primary(&self, partition: Partition) {
        if let Ok(keys) = keys_of(self.prefix(), partition) {
            self.router().confirm().await;
            self.live().follow_primary(keys.slot);
        }
    }

    /// The same for all partitions.
    pub(crate) async fn confirm_primaries(&self) {
        self.router().confirm().await;
        self.live().follow_primaries();
    }

    /// The entries of `log` after `seq`, up to about `max_bytes` of them and at least one, with what
    /// [`model::replay::settle`] needs. `None` if there is no such job; an owner without events has an empty feed.
    pub async fn log(&self, log: &LogId, seq: u64, max_bytes: usize) -> Result<Option<LogRead>, StoreError> {
        let Ok(keys) = keys_of(self.prefix(), log.partition()) else { return Ok(None) };
        let call = match log {
            LogId::Job(job) => READ.call(vec![keys.job(*job), keys.log(*job)]),
            LogId::Feed(_, owner) => READ_FEED.call(vec![keys.feed(owner)]),
        };
        let call = call.arg(seq).arg(max_bytes);
        let mut reply = Reply::new(self.router().call(keys.slot, &Request::Script(&call)).await?)?;
        if reply.is_empty() {
            return Ok(None);
        }
        let ended = matches!(log, LogId::Job(_)) && reply.parse::<Status>()?.is_terminal();
        Ok(Some(LogRead { page: read_page(&mut reply)?, ended }))
    }

    /// Everything that is told of `job`; `None` if there is no such job, by the word of the primary that is named.
    pub async fn job(&self, job: JobId) -> Result<Option<Job>, StoreError> {
        let Ok(keys) = keys_of(self.prefix(), job.partition()) else { return Ok(None) };
        let mut cmd = redis::cmd("HMGET");
        cmd.arg(keys.job(job)).arg(JOB_FIELDS);
        if let Some(found) = read_fields(job, self.router().call(keys.slot, &Request::Command(&cmd)).await?)?
        {
            return Ok(Some(found));
        }
        self.doubt().await;
        read_fields(job, self.router().call(keys.slot, &Request::Command(&cmd)).await?)
    }
}

fn read_fields(job: JobId, value: Value) -> Result<Option<Job>, StoreError> {
    let Value::Array(values) = value else { return Err(unreadable(&value)) };
    let fields = JOB_FIELDS.iter().copied().zip(&values).filter_map(|(name, value)| match value {
        Value::BulkString(bytes) => Some((name, String::from_utf8_lossy(bytes))),
        _ => None,
    });
    read_job(job, &Fields(fields.collect()))
}

/// A job as its deliveries tell it: each field's name, length and bytes.
pub(super) fn read_told(job: JobId, told: &[u8]) -> Result<Job, StoreError> {
    let bad = || unreadable(&"a delivery's body");
    let (mut fields, mut names, mut rest) = (Vec::with_capacity(JOB_FIELDS.len()), JOB_FIELDS, told);
    while !rest.is_empty() {
        let end = rest.iter().position(|&byte| byte == b'\n').ok_or_else(bad)?;
        let (head, after) = rest.split_at(end);
        let (name, length) =
            std::str::from_utf8(head).ok().and_then(|head| head.split_once(' ')).ok_or_else(bad)?;
        let length: usize = length.parse().map_err(|_| bad())?;
        let (value, after) =
            after.get(1..).and_then(|after| after.split_at_checked(length)).ok_or_else(bad)?;
        // They come in this order, perhaps with others that a newer release writes.
        if let Some(at) = names.iter().position(|known| *known == name) {
            fields.push((names[at], String::from_utf8_lossy(value)));
            names = &names[at + 1..];
        }
        rest = after;
    }
    read_job(job, &Fields(fields))?.ok_or_else(bad)
}

fn peek_command(key: &str) -> redis::Cmd {
    let mut cmd = redis::cmd("HMGET");
    cmd.arg(key).arg(&["owner", "status", "seq", "mark", "disconnectMs"]);
    cmd
}

fn read_peek(value: Value) -> Result<Option<Peek>, StoreError> {
    if let Value::Array(values) = &value
        && values.get(1) == Some(&Value::Nil)
    {
        return Ok(None);
    }
    let mut reply = Reply::new(value)?;
    Ok(Some(Peek {
        owner: reply.parse()?,
        status: reply.parse()?,
        last: Cursor::new(reply.parse()?, reply.parse()?),
        cancel_on_disconnect: reply.millis_if_any()?,
    }))
}

fn tip_command(keys: &Keys, log: &LogId) -> redis::Cmd {
    match log {
        LogId::Job(job) => peek_command(&keys.job(*job)),
        LogId::Feed(_, owner) => {
            let mut cmd = redis::cmd("LINDEX");
            cmd.arg(keys.feed(owner)).arg(-1);
            cmd
        }
    }
}

fn read_tip(log: &LogId, value: Value) -> Result<Option<Cursor>, StoreError> {
    match (log, value) {
        (LogId::Job(_), value) => Ok(read_peek(value)?.map(|peek| peek.last)),
        (LogId::Feed(..), Value::Nil) => Ok(None),
        (LogId::Feed(..), Value::BulkString(entry)) => Ok(Some(read_head(entry)?.cursor())),
        (LogId::Feed(..), other) => Err(unreadable(&other)),
    }
}

fn read_head(entry: Vec<u8>) -> Result<EntryHead, StoreError> {
    Ok(Entry::parse(&Bytes::from(entry)).map_err(|error| unreadable(&error))?.head)
}

fn read_page(reply: &mut Reply) -> Result<LogPage, StoreError> {
    let last = Cursor::new(reply.parse()?, reply.parse()?);
    let (first, anchor) = (reply.bytes()?, reply.text()?);
    let first = if first.is_empty() { None } else { Some(read_head(first)?) };
    let anchor =
        if anchor.is_empty() { None } else { Some(anchor.parse().map_err(|_| unreadable(&anchor))?) };
    let mut entries = Vec::new();
    while !reply.is_empty() {
        entries.push(Entry::parse(&Bytes::from(reply.bytes()?)).map_err(|error| unreadable(&error))?);
    }
    Ok(LogPage { first, last, anchor, entries })
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
    "priority",
    "createdAt",
    "at",
    "startedAt",
    "finishedAt",
    "expiresAt",
    "seq",
    "mark",
    "disconnectMs",
];

/// Few enough to be looked for one by one.
struct Fields<'a>(Vec<(&'static str, Cow<'a, str>)>);

impl Fields<'_> {
    fn text(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, text)| &**text).unwrap_or_default()
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

fn read_job(id: JobId, fields: &Fields<'_>) -> Result<Option<Job>, StoreError> {
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
        priority: fields.parse("priority").ok().and_then(Priority::of_rank).unwrap_or_default(),
        metadata: fields.json("metadata")?,
        created_at: fields.time("createdAt")?.unwrap_or_default(),
        updated_at: fields.time("at")?.unwrap_or_default(),
        started_at: fields.time("startedAt")?,
        finished_at: fields.time("finishedAt")?,
        expires_at: fields.time("expiresAt")?.unwrap_or_default(),
        last_event: Cursor::new(fields.parse("seq")?, fields.parse("mark")?),
        cancel_on_disconnect: fields.time("disconnectMs")?.map(|ms| Duration::from_millis(ms.as_millis())),
    }))
}
