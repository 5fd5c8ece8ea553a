//! How many events go together in one call of the append step, where a handler puts out 2,000 small outputs a second.

use std::time::Duration;

use store::{NewJob, Options, Store, Submitted, Target};
use testkit::redis::RedisServer;
use tokio::time::sleep;

use crate::figure::Record;
use crate::monitor::Monitor;
use crate::scene::{burst, new_job};
use crate::worker::{self, OUTPUTS};

/// One job through one worker process.
pub async fn measure(record: &mut Record) -> anyhow::Result<()> {
    let server = RedisServer::builder().append_only(false).start().await;
    let store = Store::new(Options::new(Target::parse(&server.url())?));
    let monitor = Monitor::start(&server).await?;
    let job = NewJob { task: burst(), ..new_job() };
    let (Submitted::Created(id) | Submitted::Replayed(id)) = store.submit(&job).await?;
    let _worker = worker::start(&server.url())?;
    while !store.job(id).await?.is_some_and(|job| job.status.is_terminal()) {
        sleep(Duration::from_millis(50)).await;
    }
    // Append names the job's hash and its log.
    let log = format!("log:{id}");
    let heard = monitor.stop(&server).await?;
    let calls =
        heard.iter().filter(|words| words[0] == "EVALSHA" && words[2] == "2" && words[4].ends_with(&log));
    record.add("outputs_per_append", OUTPUTS as f64 / calls.count() as f64);
    Ok(())
}
