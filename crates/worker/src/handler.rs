//! What a task is to the worker: a handler.

use std::future::Future;
use std::pin::Pin;

use model::Json;

use crate::Context;

/// Does the work of one task. One handler serves all of its task's jobs, many at once.
///
/// ```
/// use model::Json;
/// use worker::{Context, Failure, Handler};
///
/// struct Double;
///
/// impl Handler for Double {
///     async fn run(&self, ctx: Context, payload: Json) -> Result<Json, Failure> {
///         let number: f64 = serde_json::from_str(payload.as_str()).map_err(|error| Failure::fatal(error.to_string()))?;
///         ctx.progress(50.0, "doubling");
///         ctx.text("nearly there").await?;
///         Json::of(&(number * 2.0)).map_err(|error| Failure::fatal(error.to_string()))
///     }
/// }
/// ```
pub trait Handler: Send + Sync + 'static {
    /// Works on `payload` and returns the result. It may be dropped at any await: on cancellation, at the run limit, when the
    /// lease is lost, and at the end of a shutdown's grace. A panic fails the job, not the worker.
    fn run(&self, ctx: Context, payload: Json) -> impl Future<Output = Result<Json, Failure>> + Send;
}

/// Why a handler gave up.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Failure {
    /// Another attempt may help.
    #[error("{0}")]
    Retry(String),
    /// It is the end.
    #[error("{0}")]
    Fatal(String),
    /// The attempt is over whatever the handler says: the job was cancelled or the lease lost. From [`Context`]'s calls.
    #[error("the attempt is over")]
    Over,
}

impl Failure {
    /// Another attempt may help; `error` is a sentence.
    pub fn retry(error: impl Into<String>) -> Self {
        Self::Retry(error.into())
    }

    /// It is the end; `error` is a sentence.
    pub fn fatal(error: impl Into<String>) -> Self {
        Self::Fatal(error.into())
    }
}

/// A [`Handler`] of any type, so that a worker can hold several.
pub trait AnyHandler: Send + Sync + 'static {
    /// As [`Handler::run`].
    fn run_boxed(
        &self,
        ctx: Context,
        payload: Json,
    ) -> Pin<Box<dyn Future<Output = Result<Json, Failure>> + Send + '_>>;
}

impl<H: Handler> AnyHandler for H {
    fn run_boxed(
        &self,
        ctx: Context,
        payload: Json,
    ) -> Pin<Box<dyn Future<Output = Result<Json, Failure>> + Send + '_>> {
        Box::pin(self.run(ctx, payload))
    }
}
