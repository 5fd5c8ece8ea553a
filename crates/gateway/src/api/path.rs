//! The job that a path names.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use model::JobId;

use crate::App;
use crate::problem::Problem;

/// The `{id}` of a path. What is no UUID, or names a partition that doesn't exist, is as unknown as any other id.
pub(crate) struct JobPath(pub(crate) JobId);

impl FromRequestParts<App> for JobPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let Ok(Path(text)) = Path::<String>::from_request_parts(parts, app).await else {
            return Err(Problem::NotFound);
        };
        let id: JobId = text.parse().map_err(|_| Problem::NotFound)?;
        // Above the most that there can be there is nothing to ask Redis for; below it, an unknown one holds no job.
        if id.partition().0 < model::id::MAX_PARTITIONS { Ok(Self(id)) } else { Err(Problem::NotFound) }
    }
}
