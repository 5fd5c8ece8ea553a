//! end: how an attempt ends, and the job with it.

use std::sync::LazyLock;

use model::report::EVENT_OVERHEAD;
use model::{ErrorCode, Json, Report, Status};

use super::append::held;
use super::reply::Reply;
use super::{ALL, Batch, Held, Lease, batch_word, random_word, with_reports};
use crate::keys::keys_of;
use crate::script::Script;
use crate::{Store, WorkError};

static END: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("end.lua"), ALL));

/// The most bytes of an error sentence; a longer one is cut.
const MAX_ERROR: usize = 2048;

/// How an attempt ends.
#[derive(Clone, PartialEq, Debug)]
pub enum End {
    /// Well, with this result.
    Completed(Json),
    /// Badly, and for good.
    Failed {
        /// What went wrong: a sentence.
        error: String,
        /// The same for programs.
        code: ErrorCode,
    },
    /// Badly, but another attempt may help; if none is left it is the end.
    Retry {
        /// What went wrong: a sentence.
        error: String,
        /// The same for programs.
        code: ErrorCode,
    },
}

/// What became of the job.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ended {
    /// As for every call; `cancelled` if the job was cancelled before.
    pub held: Held,
    /// Where the job stands now; `None` for a repeat and for a cancelled job.
    pub status: Option<Status>,
}

/// What an attempt had to write when it ended.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct LastReports<'a> {
    /// The number of the write.
    pub batch: Batch,
    /// All that is left.
    pub reports: &'a [Report],
    /// How many of them, from the first, are that write's own, and may be written already: they aren't written again. Those behind
    /// them were never sent before.
    pub sent: usize,
}

impl Store {
    /// Ends the attempt as `end` says; `reports` go with it, as write number `batch`, in the same step. A `batch` without reports
    /// is checked all the same: an end is refused where a write before it is missing. A repeat answers as the first time. Works
    /// when Redis is full. After `NotReplicated` the attempt has ended, and a repeat answers once that is replicated.
    pub async fn end(
        &self,
        lease: &Lease,
        end: &End,
        batch: Batch,
        reports: &[Report],
    ) -> Result<Ended, WorkError> {
        self.end_with(lease, end, LastReports { batch, reports, sent: reports.len() }).await
    }

    /// The same with more than one write: of `last`, what may be written already and what was never sent.
    pub async fn end_with(
        &self,
        lease: &Lease,
        end: &End,
        last: LastReports<'_>,
    ) -> Result<Ended, WorkError> {
        match self.end_once(lease, end, last).await {
            Err(WorkError::NotStarted) => {
                self.start(lease).await?;
                self.end_once(lease, end, last).await
            }
            done => done,
        }
    }

    async fn end_once(&self, lease: &Lease, end: &End, last: LastReports<'_>) -> Result<Ended, WorkError> {
        let keys = keys_of(self.prefix(), lease.job.partition())?;
        let (how, value, code, omit) = match end {
            End::Completed(result) => (
                "completed",
                result.to_string(),
                "",
                result.as_str().len() + EVENT_OVERHEAD > self.max_event(),
            ),
            End::Failed { error, code } => ("failed", sentence(error), code.as_str(), false),
            End::Retry { error, code } => ("retry", sentence(error), code.as_str(), false),
        };
        let mut call = END
            .call(keys.still())
            .arg(self.now_word())
            .arg(random_word())
            .arg(lease.job)
            .arg(lease.token)
            .arg(how)
            .arg(value)
            .arg(code)
            .arg(u8::from(omit));
        let LastReports { batch, reports, sent } = last;
        if batch.is_some() || !reports.is_empty() {
            call = with_reports(call.arg(batch_word(batch)).arg(sent), reports);
        }
        let answer = self.router().acknowledge(keys.slot, &call, &["ok"]).await?;
        let held = held(Reply::new(answer.value.clone())?)?;
        let status = if held.cancelled { None } else { ended_as(answer.value)? };
        if let Some(status) = status.filter(|status| status.is_terminal()) {
            self.count_end(status, code.parse().ok());
        }
        answer.lasts?;
        Ok(Ended { held, status })
    }
}

fn ended_as(value: redis::Value) -> Result<Option<Status>, WorkError> {
    let mut reply = Reply::new(value)?;
    let (_, _) = (reply.text()?, reply.text()?);
    let word = reply.text()?;
    Ok(if word == "retrying" { Some(Status::Pending) } else { word.parse().ok() })
}

/// `error` as JSON, cut to a length that an event and a feed can bear.
pub(super) fn sentence(error: &str) -> String {
    let mut end = error.len().min(MAX_ERROR);
    while !error.is_char_boundary(end) {
        end -= 1;
    }
    let cut = if end < error.len() { format!("{}…", &error[..end]) } else { error.to_owned() };
    serde_json::Value::String(cut).to_string()
}
