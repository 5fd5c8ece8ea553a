//! What a webhook says.

use serde::Serialize;

use crate::wire::JobView;
use crate::{JobId, Json, Status, Timestamp};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    r#type: &'static str,
    timestamp: Timestamp,
    data: &'a JobView,
    job_id: JobId,
    status: Status,
    result: &'a Option<Json>,
    error: &'a Option<String>,
}

/// The body that tells the end of `job`: `{"type":"job.completed","timestamp",…,"data":{job}}`, and `jobId`, `status`, `result` and
/// `error` beside them for the simplest receivers. The same bytes for the same job. `timestamp` is the end's.
pub fn body(job: &JobView) -> String {
    let r#type = match job.status {
        Status::Failed => "job.failed",
        Status::Cancelled => "job.cancelled",
        Status::Completed | Status::Pending | Status::Processing => "job.completed",
    };
    let body = Body {
        r#type,
        timestamp: job.finished_at.unwrap_or(job.updated_at),
        data: job,
        job_id: job.id,
        status: job.status,
        result: &job.result,
        error: &job.error,
    };
    // A job's view always has a JSON form.
    serde_json::to_string(&body).unwrap_or_default()
}
