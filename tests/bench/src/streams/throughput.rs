//! How many events a second one gateway takes through with one core: as many as it can, but never two of one log at a time, which
//! would go together.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Size;
use super::crowd::Carrier;
use super::process::CrowdProcess;
use super::scene::Scene;
use crate::figure::Record;

/// In how many pieces all logs get an event.
const PIECES: usize = 16;
/// As fast as they can be written.
const AT_ONCE: f64 = 1e9;

/// A job for each stream.
pub(super) async fn measure(size: Size, record: &mut Record) -> anyhow::Result<()> {
    let streams = size.streams;
    let scene = Scene::set(streams, size.pin).await?;
    let mut crowd = CrowdProcess::gather(&scene.address, &scene.paths(streams), Carrier::Socket).await?;
    let mut replay = scene.replay().await?;
    let (piece, mut wanted) = (streams / PIECES, streams);
    wanted += replay.round(streams as f64, 1).await?;
    let first = crowd.wait_for(wanted as u64).await?;
    let (began, from) = (Instant::now(), scene.used()?);
    while began.elapsed() < size.time {
        wanted += replay.publish(piece, AT_ONCE, 1).await?;
        // All logs but those of one piece may have one under way.
        while wanted as u64 - crowd.events().await?.count > (streams - 2 * piece) as u64 {
            sleep(Duration::from_millis(1)).await;
        }
    }
    let came = crowd.events().await?.count - first.count;
    let (time, busy) = (began.elapsed().as_secs_f64(), (scene.used()?.cpu - from.cpu) / 1e6);
    let last = crowd.wait_for(wanted as u64).await?;
    anyhow::ensure!(last.broken == 0, "{} streams broke", last.broken);
    let rate = came as f64 / time;
    eprintln!("throughput: {rate:.0} events a second, with {:.2} of a core", busy / time);
    record.add("throughput_jobs", rate);
    record.add("throughput_cores", busy / time);
    Ok(())
}
