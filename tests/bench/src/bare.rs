//! The bare scripts' rates, which the others are held against.

use tokio::time::Instant;

use crate::figure::Record;
use crate::floor::Part;
use crate::scene::Scene;

/// Submits `jobs`, then claims and ends as many.
pub async fn measure(scene: &Scene, jobs: usize, record: &mut Record) -> anyhow::Result<()> {
    for (part, rate, cpu) in [
        (Part::Submission, "bare_submissions", "bare_redis_cpu_per_submission"),
        (Part::ClaimAndEnd, "bare_jobs", "bare_redis_cpu_per_job"),
    ] {
        let (before, began) = (scene.cpu().await?, Instant::now());
        let done = scene.floor.take(jobs, part).await? as f64;
        record.add(rate, done / began.elapsed().as_secs_f64());
        record.add(cpu, (scene.cpu().await? - before) / done);
    }
    Ok(())
}
