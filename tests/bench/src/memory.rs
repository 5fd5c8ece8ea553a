//! What a finished job of eight events takes of Redis' memory until its retention is over.

use testkit::redis::{MultiplexedConnection, cmd};

use crate::figure::Record;
use crate::floor::Part;
use crate::scene::Scene;

/// Lets `jobs` live, and sees by how much Redis has grown. What is gone a lease later doesn't count, and its owner's feed is
/// full already, or is a part of it.
pub async fn measure(scene: &Scene, jobs: usize, record: &mut Record) -> anyhow::Result<()> {
    let mut redis = scene.redis.clone();
    forget_claims(&mut redis).await?;
    let before = used(&mut redis).await?;
    let done = scene.floor.take(jobs, Part::All).await? as f64;
    forget_claims(&mut redis).await?;
    record.add("memory_per_finished_job", (used(&mut redis).await? - before) / done);
    Ok(())
}

/// Deletes the records of claims, which last for one lease after an attempt's end: so nobody has to wait for that.
async fn forget_claims(redis: &mut MultiplexedConnection) -> anyhow::Result<()> {
    let claims: Vec<String> = cmd("KEYS").arg("jc:*}:claim:*").query_async(redis).await?;
    for some in claims.chunks(1_000) {
        cmd("DEL").arg(some).exec_async(redis).await?;
    }
    Ok(())
}

/// The bytes that Redis has in use.
pub async fn used(redis: &mut MultiplexedConnection) -> anyhow::Result<f64> {
    let info: String = cmd("INFO").arg("memory").query_async(redis).await?;
    let value = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
    Ok(value.unwrap_or_default().trim().parse()?)
}
