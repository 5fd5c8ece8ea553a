//! What a finished job of eight events takes of Redis' memory until its retention is over.

use testkit::redis::{MultiplexedConnection, cmd};

use crate::figure::Record;
use crate::floor::Part;
use crate::scene::Scene;

/// Lets `jobs` live, and sees by how much Redis has grown. Its owner's feed is full already, or is a part of it.
pub async fn measure(scene: &Scene, jobs: usize, record: &mut Record) -> anyhow::Result<()> {
    let mut redis = scene.redis.clone();
    let before = used(&mut redis).await?;
    let done = scene.floor.take(jobs, Part::All).await? as f64;
    record.add("memory_per_finished_job", (used(&mut redis).await? - before) / done);
    Ok(())
}

/// The bytes that Redis has in use.
pub async fn used(redis: &mut MultiplexedConnection) -> anyhow::Result<f64> {
    let info: String = cmd("INFO").arg("memory").query_async(redis).await?;
    let value = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
    Ok(value.unwrap_or_default().trim().parse()?)
}
