//! Handlers, and what came of them.

use std::time::Duration;

use model::{JobId, Json, Status};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use worker::{Context, Failure, Handler};

use crate::bench::{Bench, json};

/// A handler from a closure.
pub struct Act<F>(pub F);

impl<F, Fut> Handler for Act<F>
where
    F: Fn(Context, Json) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Json, Failure>> + Send,
{
    async fn run(&self, ctx: Context, payload: Json) -> Result<Json, Failure> {
        (self.0)(ctx, payload).await
    }
}

/// Tells when it is dropped.
struct OnDrop(CancellationToken);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// A handler that never ends by itself, and a token that is cancelled when it is dropped.
pub fn endless() -> (CancellationToken, impl Handler) {
    let dropped = CancellationToken::new();
    let told = dropped.clone();
    let handler = Act(move |ctx: Context, _| {
        let told = OnDrop(told.clone());
        async move {
            let _told = told;
            ctx.progress(1.0, "never ending");
            std::future::pending().await
        }
    });
    (dropped, handler)
}

/// A handler that counts up to `end` in outputs, one each 20 ms.
pub fn counter(end: u32) -> impl Handler {
    Act(move |ctx: Context, _| async move {
        for n in 1..=end {
            ctx.output(&json(n)).await?;
            ctx.progress(f64::from(n * 100 / end), "counting");
            sleep(Duration::from_millis(20)).await;
        }
        Ok(json(end))
    })
}

pub async fn check_counted(bench: &Bench, id: JobId, end: u32) {
    let job = bench.ended(id).await;
    assert_eq!((job.status, job.attempt, job.error), (Status::Completed, 1, None));
    let expected: Vec<_> = (1..=end).map(serde_json::Value::from).collect();
    assert_eq!(bench.outputs(id).await, expected, "each once, in order");
}
